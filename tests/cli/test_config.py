import json

import pytest

from orchestration_project.__main__ import main


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
    found = {each["name"]: each for each in rows}
    assert status == 0
    assert found["FINRA_MAX_REJECT_RATIO"]["value"] == "0.25"
    assert found["FINRA_MAX_REJECT_RATIO"]["origin"] == "environment"
    assert found["FINRA_LOOKBACK_WEEKS"]["origin"] == "default"
    assert found["checks: prices_daily.jump_ratio"]["value"] == "0.4"
    assert secret not in json.dumps(rows)


def test_diff_lists_what_is_not_the_default(monkeypatch, capsys):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "9")
    status, rows = shown(capsys, "diff")
    names = {each["name"] for each in rows}
    assert status == 0
    assert "FINRA_LOOKBACK_WEEKS" in names
    assert "FINRA_MAX_REJECT_RATIO" not in names


def test_diff_with_a_file_lists_what_the_file_sets_otherwise(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "9")
    file = tmp_path / "other.env"
    file.write_text("FINRA_LOOKBACK_WEEKS=12\n")
    _, rows = shown(capsys, "diff", str(file))
    [row] = [each for each in rows if each["name"] == "FINRA_LOOKBACK_WEEKS"]
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
