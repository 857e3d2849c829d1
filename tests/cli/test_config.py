"""The commands about settings: what is in effect, what differs, what is invalid."""

import json

import pytest

from orchestration_project.__main__ import main
from orchestration_project.settings import settings_class
from orchestration_project.settings.given import ENV_FILE


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    return tmp_path


def shown(capsys, *arguments):
    status = main(["config", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_show_lists_values_with_their_origin_and_masks_secrets(monkeypatch, capsys):
    secret = "-".join(["s3cr3t", "t0k3n", "of", "jira"])
    monkeypatch.setenv("JIRA_TOKEN", secret)
    monkeypatch.setenv("FINRA_MAX_REJECT_RATIO", "0.25")
    status, rows = shown(capsys, "show")
    found = {row["name"]: row for row in rows}
    assert status == 0
    assert found["FINRA_MAX_REJECT_RATIO"]["value"] == "0.25"
    assert found["FINRA_MAX_REJECT_RATIO"]["origin"] == "environment"
    assert found["FINRA_LOOKBACK_WEEKS"]["origin"] == "default"
    assert found["checks: prices_daily.jump_ratio"]["value"] == "0.4"
    assert secret not in json.dumps(rows)


def test_diff_lists_what_is_not_the_default(monkeypatch, capsys):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "9")
    status, rows = shown(capsys, "diff")
    names = {row["name"] for row in rows}
    assert status == 0
    assert "FINRA_LOOKBACK_WEEKS" in names
    assert "FINRA_MAX_REJECT_RATIO" not in names


def test_diff_with_a_file_lists_what_the_file_sets_otherwise(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "9")
    file = tmp_path / "other.env"
    file.write_text("FINRA_LOOKBACK_WEEKS=12\n")
    _, rows = shown(capsys, "diff", str(file))
    [row] = [row for row in rows if row["name"] == "FINRA_LOOKBACK_WEEKS"]
    assert (row["value"], row["other"]) == ("9", "12")


def test_check_of_valid_settings_exits_with_0(capsys):
    assert shown(capsys, "check") == (0, {"is_valid": True, "problems": []})


def test_check_names_an_invalid_setting_and_exits_with_1(monkeypatch, capsys):
    monkeypatch.setenv("FINRA_SOURCE", "apii")
    status, document = shown(capsys, "check")
    assert status == 1
    assert not document["is_valid"]
    assert "FINRA_SOURCE='apii' (environment)" in document["problems"][0]


def test_check_names_a_file_that_is_invalid(tmp_path, monkeypatch, capsys):
    file = tmp_path / "checks.yaml"
    file.write_text("prices_daily: {jump_ratio: -1}\n")
    monkeypatch.setenv("CHECKS_FILE", str(file))
    status, document = shown(capsys, "check")
    assert status == 1
    assert "jump_ratio" in document["problems"][0]


def test_show_and_diff_name_the_line_of_the_env_file(tmp_path, monkeypatch, capsys):
    file = tmp_path / ".env"
    file.write_text("# first\n\nFINRA_LOOKBACK_WEEKS=9\n")
    monkeypatch.setitem(settings_class().model_config, "env_file", file)
    monkeypatch.delenv("FINRA_LOOKBACK_WEEKS", raising=False)
    for command in ("show", "diff"):
        _, rows = shown(capsys, command)
        [row] = [row for row in rows if row["name"] == "FINRA_LOOKBACK_WEEKS"]
        assert (row["value"], row["origin"]) == ("9", ".env line 3")
    assert row["other"] == "30"


def test_values_of_the_option_env_file_show_its_name_and_line(tmp_path, monkeypatch, capsys):
    file = tmp_path / "local.env"
    for name in (ENV_FILE, "FINRA_LOOKBACK_WEEKS", "DEMO_SEED"):
        monkeypatch.setenv(name, "")  # what the option sets goes with the test
        monkeypatch.delenv(name)
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    file.write_text("# first\nFINRA_LOOKBACK_WEEKS=9\nLOG_LEVEL=INFO\n")
    _, rows = shown(capsys, "show", "--env-file", str(file))
    found = {row["name"]: (row["value"], row["origin"]) for row in rows}
    assert found["FINRA_LOOKBACK_WEEKS"] == ("9", "local.env line 2")
    assert found["LOG_LEVEL"] == ("ERROR", "environment")
    file.write_text("DEMO_SEED=x\n")
    status, document = shown(capsys, "check", "--env-file", str(file))
    assert status == 1
    assert "DEMO_SEED='x' (local.env line 1): expected an integer" in document["problems"][0]


def test_diff_lists_limits_of_checks_and_other_secrets_without_showing_them(
    tmp_path, monkeypatch, capsys
):
    limits = tmp_path / "checks.yaml"
    limits.write_text("prices_daily: {jump_ratio: 0.5}\n")
    monkeypatch.setenv("CHECKS_FILE", str(limits))
    monkeypatch.setenv("JIRA_TOKEN", "s3cret-here")
    file = tmp_path / "other.env"
    file.write_text("JIRA_TOKEN=s3cret-there\n")
    _, rows = shown(capsys, "diff", str(file))
    found = {row["name"]: (row["value"], row["other"]) for row in rows}
    assert found["checks: prices_daily.jump_ratio"] == ("0.5", "0.4")
    assert found["JIRA_TOKEN"] == ("***", "***")


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("setting", "text", "problem"),
    [
        ("ALERT_RULES", "rules: [{name: a, window: 4}]", "invalid alert rules"),
        ("EXPORTS_FILE", "exports: {a: {table: nope}}", "table or view not found: 'nope'"),
        ("WEBHOOKS_FILE", "sources: {a: {scheme: none}}", "webhook sources"),
        ("PRICES_SYMBOLS_FILE", "bloomberg: {}", "bloomberg"),
    ],
)
def test_check_reads_each_yaml_file(tmp_path, monkeypatch, capsys, setting, text, problem):
    file = tmp_path / "file.yaml"
    file.write_text(text)
    monkeypatch.setenv(setting, str(file))
    status, document = shown(capsys, "check")
    assert (status, len(document["problems"])) == (1, 1)
    assert problem in document["problems"][0]


def test_check_reads_the_presets(tmp_path, monkeypatch, capsys):
    (tmp_path / "half.yaml").write_text("# Loads half.\n# Job: finra_otc_weekly\nops: {a: {}}\n")
    monkeypatch.setattr("orchestration_project.services.presets.PRESETS", tmp_path)
    status, document = shown(capsys, "check")
    assert status == 1
    assert "half" in document["problems"][0]
