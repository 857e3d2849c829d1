"""Settings: read from `.env` and the environment, all problems at once, secrets never shown."""

import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import (
    PROJECT_ROOT,
    Settings,
    child_environment,
    load_settings,
    origins,
    read_secrets,
    settings_class,
    shown_values,
    without_secrets,
)
from orchestration_project.settings.checks import CheckLimits
from orchestration_project.settings.described import ESSENTIAL, described_settings
from orchestration_project.settings.given import PRIVATE
from orchestration_project.settings.page import example
from orchestration_project.settings.renamed import MOVED_TO_CHECKS, RENAMED
from orchestration_project.settings.settings import secrets_of
from orchestration_project.settings.values import GROUPS

EXAMPLE = (PROJECT_ROOT / ".env.example").read_text()
SECRETS = (
    *("ALERT_URLS", "SLACK_WEBHOOK", "DATABASE_URL", "DAGSTER_DATABASE_URL"),
    *("FINRA_ACCESS_TOKEN", "FINRA_CLIENT_SECRET"),
)


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in settings_class().model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


SAAS = "PEOPLEFORCE_API_KEY=a\nJIRA_URL=https://j\nJIRA_EMAIL=a@b\nJIRA_TOKEN=b"


def read(folder: Path, text: str = "") -> Any:
    """Read the settings with ``text`` as `.env`."""
    file = folder / ".env"
    file.write_text(text)
    make: Any = settings_class()  # pydantic's plugin does not know _env_file
    return make(_env_file=file)


def test_without_any_setting_the_demo_runs_on_sqlite_below_var(tmp_path: Path):
    settings = read(tmp_path)
    assert (settings.finra_source, settings.is_demo) == ("demo", True)
    assert (settings.database_url, settings.artifacts_url, settings.demo_clock_now) == (None,) * 3
    assert settings.state_path == PROJECT_ROOT / "var"


def test_the_environment_goes_before_the_env_file_and_that_before_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    settings = read(tmp_path, "LOG_LEVEL=DEBUG\nDEMO_SEED=7\n")
    assert (settings.log_level, settings.demo_seed, settings.demo_rows_per_week) == (
        "ERROR",
        7,
        160_000,
    )


def test_a_blank_value_is_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DEMO_SEED", "")
    settings = read(tmp_path, "FINRA_CLIENT_ID=\nDATABASE_URL=\nUNKNOWN=1\n")
    assert (settings.finra_client_id, settings.database_url) == (None, None)
    assert settings.demo_seed == 20_250_106


@pytest.mark.parametrize(
    ("name", "meant"), [("FINRA_SORCE", "FINRA_SOURCE"), ("ALERT_URL", "ALERT_URLS")]
)
def test_a_name_that_is_nearly_a_settings_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
):
    monkeypatch.setenv(name, "s3cret-value")
    refused = rf"{name} \(environment\): unknown setting, did you mean {meant}"
    with pytest.raises(ConfigurationError, match=refused) as refusal:
        load_settings()
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize("name", ["ALERT_URL_S", "WEBHOOK_SECRET_FILE", "FINRA_OTHER", "SOURCE"])
def test_other_names_are_left_alone(monkeypatch: pytest.MonkeyPatch, name: str):
    before = load_settings().model_dump()
    monkeypatch.setenv(name, "json://example.org")
    after = load_settings().model_dump()
    changed = {field for field, value in after.items() if value != before[field]}
    assert changed <= {"alert_url_name"}  # ALERT_URL_S is a channel


def test_values_are_read_as_what_they_are(tmp_path: Path):
    settings = read(
        tmp_path,
        "FINRA_SOURCE=files\nFINRA_FILES_DIR=/data/finra\nFINRA_FIRST_WEEK=2025-11-10\n"
        "DEMO_CLOCK_NOW=2026-03-02T12:00:00Z\nSTATE_DIR=/srv/state\nDATABASE_URL=sqlite:///x\n",
    )
    assert settings.finra_files_dir == Path("/data/finra")
    assert settings.finra_first_week == date(2025, 11, 10)
    assert settings.demo_clock_now == datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert settings.state_path == Path("/srv/state")
    assert settings.database_url == SecretStr("sqlite:///x")


def test_all_problems_are_listed_at_once_and_no_value_of_a_secret(
    monkeypatch: pytest.MonkeyPatch,
):
    wrong = {
        "FINRA_SOURCE": "ftp",
        "FINRA_FIRST_WEEK": "2025-11-11",
        "FINRA_REQUESTS_PER_SECOND": "many",
        "FINRA_MAX_REJECT_RATIO": "1.5",
        "FINRA_CLIENT_SECRET": "hunter2",
        "DEMO_CLOCK_NOW": "2026-03-02T12:00:00",
        "DEMO_IDLE_SECONDS": "0",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    problems = [
        "FINRA_SOURCE='ftp' (environment): expected one of demo, api, files",
        "FINRA_CLIENT_SECRET='***' (environment): expected FINRA_CLIENT_ID and "
        "FINRA_CLIENT_SECRET, both or neither",
        "FINRA_FIRST_WEEK='2025-11-11' (environment): expected a Monday, found a Tuesday",
        "FINRA_REQUESTS_PER_SECOND='many' (environment): expected an integer >= 0",
        "FINRA_MAX_REJECT_RATIO='1.5' (environment): expected a number >= 0, <= 1",
        "DEMO_CLOCK_NOW='2026-03-02T12:00:00' (environment): expected a time zone, e.g. "
        "2026-03-02T12:00:00+00:00",
        "DEMO_IDLE_SECONDS='0' (environment): expected a number > 0",
    ]
    assert str(refused.value).split("\n") == [
        f"7 invalid settings: {'; '.join(problems)}",
        "  what to do: correct them in the environment or in .env; .env.example lists all",
    ]
    assert "hunter2" not in repr(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("year", ["0001", "1970", "2201", "9999"])
def test_a_clock_that_cannot_be_reckoned_with_is_refused(
    monkeypatch: pytest.MonkeyPatch, year: str
):
    monkeypatch.setenv("DEMO_CLOCK_NOW", f"{year}-06-01T00:00:00+00:00")
    with pytest.raises(
        ConfigurationError, match=r"DEMO_CLOCK_NOW=.* expected a year from 1971 to 2200"
    ):
        load_settings()


@pytest.mark.parametrize("name", ["STATE_DIR", "FINRA_FILES_DIR", "ALERT_RULES", "WEBHOOKS_FILE"])
def test_a_home_of_an_unknown_user_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "~nosuchuser/folder")
    with pytest.raises(ConfigurationError, match="the path ~nosuchuser/folder leads nowhere"):
        paths_of(load_settings())


def paths_of(settings: Settings) -> object:
    return settings.state_path, settings.alert_rules_path, settings.webhooks_path


@pytest.mark.parametrize("folder", ["/srv/what?", "/srv/100%41"])
def test_a_state_dir_that_sqlite_would_be_given_as_another_is_refused(
    monkeypatch: pytest.MonkeyPatch, folder: str
):
    monkeypatch.setenv("STATE_DIR", folder)
    with pytest.raises(ConfigurationError, match=r"STATE_DIR=.*: expected a path without \? and %"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALERT_REPEAT_AFTER_HOURS", "inf"),
        ("PREFLIGHT_CACHE_MINUTES", "inf"),
        ("FINRA_FRESHNESS_GRACE_HOURS", "1e300"),
        ("FINRA_LOOKBACK_WEEKS", "999999"),
        ("PRICES_UNIVERSE_WEEKS", "999999"),
        ("SESSION_HOURS", "99999999"),
        ("SESSION_IDLE_MINUTES", "9999999999"),
        ("DAGSTER_RUN_LOG_DAYS", "999999"),
        ("ARTIFACTS_CAPTURED_DAYS", "999999"),
        ("ARTIFACTS_STAGED_DAYS", "999999"),
        ("ARTIFACTS_PICTURE_DAYS", "999999"),
    ],
)
def test_a_time_further_back_than_the_calendar_goes_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=rf"{name}=.*: expected .* <= \d+"):
        load_settings()


def test_load_settings_reads_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DEMO_SEED", "42")
    assert load_settings().demo_seed == 42


def test_an_env_file_that_is_no_text_is_a_clear_error(tmp_path: Path, monkeypatch):
    (tmp_path / ".env").write_bytes(b"FINRA_CLIENT_SECRET=hunter2\xff")
    monkeypatch.setitem(settings_class().model_config, "env_file", tmp_path / ".env")
    with pytest.raises(ConfigurationError, match=r"the file \.env cannot be read") as refused:
        load_settings()
    assert refused.value.expected == f"a text file in UTF-8 at {tmp_path}/.env"
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("FINRA_SOURCE=files", "required when FINRA_SOURCE=files"),
        ("FINRA_CLIENT_ID=me", "FINRA_CLIENT_ID and FINRA_CLIENT_SECRET, both or neither"),
        ("FINRA_CLIENT_SECRET=x", "FINRA_CLIENT_ID and FINRA_CLIENT_SECRET, both or neither"),
        ("DEMO_ROWS_PER_WEEK=299", "greater than or equal to 300"),
        ("DEMO_ROWS_PER_WEEK=1000001", "less than or equal to 1000000"),
        ("DEMO_SEED=-1", "greater than or equal to 0"),
        ("FINRA_LOOKBACK_WEEKS=0", "greater than or equal to 1"),
        ("LOG_LEVEL=loud", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("DOCUMENTS_OCR=on", "'auto', 'always' or 'never'"),
        ("DOCUMENTS_OCR_LANGUAGES=eng;rm", "String should match pattern"),
        (
            "DOCUMENTS_CHUNK_WORDS=100\nDOCUMENTS_CHUNK_OVERLAP=51",
            "expected at most 50, half of DOCUMENTS_CHUNK_WORDS",
        ),
        ('DOCUMENTS_PASSWORDS="' + r"a\n" * 101 + '"', "expected at most 100 lines, got 101"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(tmp_path: Path, text: str, problem: str):
    with pytest.raises(ValidationError, match=problem):
        read(tmp_path, text)


def test_passwords_of_documents_are_lines_and_each_is_kept_out_of_logs(tmp_path: Path):
    settings = read(tmp_path, r'DOCUMENTS_PASSWORDS="first one,;\n\n second ä \nfirst one,;"')
    assert settings.passwords == ("first one,;", " second ä ")
    assert shown_values(settings)["documents_passwords"] == "***"
    assert {"first one,;", " second ä "} <= set(secrets_of(settings))
    assert "first one" not in repr(settings)


def test_secrets_are_not_shown(tmp_path: Path):
    text = "FINRA_CLIENT_ID=me\n" + "".join(f"{name}=s3cr3t://hunter2\n" for name in SECRETS)
    settings = read(tmp_path, text)
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hunter2" not in shown
        assert shown.count("**********") == len(SECRETS)


def test_settings_do_not_change(tmp_path: Path):
    settings: Any = read(tmp_path)
    with pytest.raises(ValidationError, match="frozen"):
        settings.demo_seed = 1


def test_the_example_is_the_one_that_the_settings_make():
    """Made by `python -m orchestration_project.settings > .env.example`."""
    assert example() == EXAMPLE


def test_the_group_of_the_demo_has_its_own_settings_alone():
    groups = {setting.name: setting.group for setting in described_settings()}
    of_demo = {name for name, group in groups.items() if group == "demo"}
    assert of_demo == {name for name in groups if name.startswith("DEMO_")}
    assert {groups[name] for name in ("FINRA_FIRST_WEEK", "SAAS_SOURCE", "JIRA_URL")} == {"tuning"}


def test_the_example_with_its_comments_taken_off_gives_the_defaults(tmp_path: Path):
    values = re.findall(r"^#([A-Z_]+=.*)$", EXAMPLE, re.MULTILINE)
    assert len(values) == len(settings_class().model_fields) - 1  # ALERT_URL_<CHANNEL> has no name
    assert read(tmp_path, "\n".join(values)) == read(tmp_path)


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("", ("demo", "demo", "demo", "demo")),
        ("FINRA_SOURCE=demo", ("demo", "demo", "demo", "demo")),
        ("DATA_PROFILE=demo", ("demo", "demo", "demo", "demo")),
        ("FINRA_SOURCE=api", ("real", "api", None, None)),
        ("PRICES_SOURCE=yahoo", ("real", None, "yahoo", None)),
        ("DATA_PROFILE=real", ("real", None, None, None)),
        ("SAAS_SOURCE=api\n" + SAAS, ("real", None, None, "api")),
        ("SAAS_SOURCE=api\nDATA_PROFILE=real\n" + SAAS, ("real", None, None, "api")),
    ],
)
def test_one_profile_decides_which_domains_use_their_demo(tmp_path: Path, text: str, read_as):
    found = read(tmp_path, text)
    sources = (found.finra_source, found.prices_source, found.saas_source)
    assert (found.data_profile, *sources) == read_as
    assert found.is_demo == (found.data_profile == "demo")


WITHOUT_DEMO = """
import sys
sys.modules["orchestration_demo"] = None
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import load_settings
try:
    print(load_settings().data_profile)
except ConfigurationError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("given", "read_as"),
    [
        ({}, "^real$"),
        ({"DATA_PROFILE": "demo"}, "expected real, as the demo sources are not installed"),
        ({"FINRA_SOURCE": "demo"}, "expected a real source .* pip install orchestration_demo"),
    ],
)
def test_without_the_demo_sources_data_are_real_and_a_demo_is_refused(
    tmp_path: Path, given: dict[str, str], read_as: str
):
    environment = child_environment(STATE_DIR=str(tmp_path), **{"DATA_PROFILE": "", **given})
    printed = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", WITHOUT_DEMO], env=environment, capture_output=True, text=True
    ).stdout
    assert re.search(read_as, printed.strip()), printed


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("DATA_PROFILE=demo\nPRICES_SOURCE=yahoo", "expected demo or no value"),
        ("DATA_PROFILE=real\nFINRA_SOURCE=demo", "expected a real source or no value"),
        ("FINRA_SOURCE=api\nPRICES_SOURCE=demo", "expected a real source or no value"),
        ("DATA_PROFILE=test", "'demo' or 'real'"),
    ],
)
def test_a_source_of_another_profile_is_refused(tmp_path: Path, text: str, problem: str):
    with pytest.raises(ValidationError, match=problem):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "read_as"),
    [("a,b", ("a", "b")), (" a , b,\n c,", ("a", "b", "c")), ('"a,b",c', ("a,b", "c")), ("", ())],
)
def test_a_list_has_commas_between_its_entries(tmp_path: Path, text: str, read_as):
    assert read(tmp_path, f"ALLOWED_HOSTS='{text}'").allowed_hosts == read_as


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ALLOWED_HOSTS", "a b"),
        ("ALLOWED_HOSTS", "a,b c"),
        ("ALLOWED_HOSTS", '"a'),
        ("PRICES_SYMBOLS", "SPY\nQQQ"),
        ("ALERT_URLS", "json://a warning=mailto://b"),
        ("ALERT_URLS", "json://a,json://b json://c"),
        ("OIDC_ROLES", "admin=me@example.org viewer=@example.org"),
    ],
)
def test_a_list_with_spaces_between_its_entries_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
):
    monkeypatch.setenv(name, text)
    with pytest.raises(
        ConfigurationError, match=rf"{name}=.* \(environment\): expected comma-separated entries"
    ):
        load_settings()


def test_a_channels_url_with_a_comma_is_in_double_quotes(tmp_path: Path):
    settings = read(tmp_path, "ALERT_URLS='\"mailto://h?to=a,b\",warning=json://h'")
    assert settings.every_alert_url == ("mailto://h?to=a,b", "warning=json://h")


SECRET_NAMES = [
    setting.name
    for setting in described_settings()
    if setting.is_secret and "<" not in setting.name
]


BESIDE = {
    "FINRA_CLIENT_SECRET": "FINRA_CLIENT_ID=me\n",
    "OIDC_CLIENT_SECRET": "OIDC_DISCOVERY_URL=https://id\nOIDC_CLIENT_ID=me\n",
}
"""Settings that are required beside a secret."""

FORMS = {
    "WEB_PROXIES": "http://me:s3cret-of-32-characters-or-more@h:1",
    "OTEL_EXPORTER_OTLP_HEADERS": "x-api-key=s3cret-of-32-characters-or-more",
}
"""Secrets of another form than others."""


def private(file: Path, text: str) -> Path:
    """Write a file that no other user may read."""
    file.touch(0o600)
    file.write_text(text)
    return file


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_each_secret_is_read_from_the_file_that_its_variable_names(tmp_path: Path, name: str):
    secret = FORMS.get(name, "json://me:s3cret-of-32-characters-or-more@h")
    private(tmp_path / "secret", f"{secret}\r\n")
    settings = read(tmp_path, f"{BESIDE.get(name, '')}{name}_FILE={tmp_path}/secret\n")
    assert getattr(settings, name.lower()).get_secret_value() == secret
    assert "s3cret" not in f"{settings!r} {shown_values(settings)}"


def test_a_channel_and_a_secret_of_a_webhook_may_be_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    private(tmp_path / "secret", "json://hunter2\n")
    monkeypatch.setenv("ALERT_URL_OPS_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("WEBHOOK_SECRET_GITHUB_FILE", str(tmp_path / "secret"))
    assert load_settings().named_alert_urls == {"ops": "json://hunter2"}
    assert read_secrets("WEBHOOK_SECRET_GITHUB") == {"WEBHOOK_SECRET_GITHUB": "json://hunter2"}
    assert origins()["alert_url_name"] == "environment"


def test_a_secret_that_is_changed_in_its_file_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = private(tmp_path / "secret", "sqlite:///one\n")
    monkeypatch.setenv("DATABASE_URL_FILE", str(file))
    assert load_settings().database_url == SecretStr("sqlite:///one")
    assert origins()["database_url"] == "environment"
    file.write_text("sqlite:///another\n")
    assert load_settings().database_url == SecretStr("sqlite:///another")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        (b"\xff", "cannot be read: not UTF-8"),
    ],
)
def test_a_file_without_a_secret_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, problem: str
):
    file = tmp_path / "token"
    if content is not None:
        private(file, "").write_bytes(content)
    monkeypatch.setenv("DATABASE_URL_FILE", str(file))
    found = re.escape(f"DATABASE_URL_FILE='{file}' (environment): {problem}")
    with pytest.raises(ConfigurationError, match=found):
        load_settings()


@pytest.mark.parametrize(
    ("mode", "is_refused"),
    [(0o600, False), (0o440, False), (0o644, True), (0o602, True), (0o777, True)],
)
def test_a_secret_that_other_users_may_read_or_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, is_refused: bool
):
    file = private(tmp_path / "url", "sqlite:///hunter2\n")
    file.chmod(mode)
    monkeypatch.setenv("DATABASE_URL_FILE", str(file))
    if not is_refused:
        assert load_settings().database_url == SecretStr("sqlite:///hunter2")
        return
    said = f"expected {PRIVATE}, found mode {mode:04o}: chmod o= {file}"
    with pytest.raises(ConfigurationError, match=re.escape(said)) as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)


def test_a_secret_behind_a_link_is_judged_by_the_file_itself(tmp_path: Path, monkeypatch):
    (tmp_path / "link").symlink_to(private(tmp_path / "url", "sqlite:///one\n"))
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "link"))
    assert load_settings().database_url == SecretStr("sqlite:///one")


def test_a_secret_and_its_file_exclude_each_other(tmp_path: Path, monkeypatch):
    file = tmp_path / ".env"
    file.write_text("\n# a comment\nDATABASE_URL=sqlite:///hunter2\n")
    monkeypatch.setitem(settings_class().model_config, "env_file", file)
    monkeypatch.setenv("DATABASE_URL_FILE", str(file))
    both = r"DATABASE_URL \(\.env line 3\) and DATABASE_URL_FILE \(environment\): expected one"
    with pytest.raises(ConfigurationError, match=both) as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)


def test_an_invalid_setting_of_the_env_file_is_named_with_its_line(tmp_path: Path, monkeypatch):
    file = tmp_path / ".env"
    file.write_text("# first\n\nLOG_FORMAT=text\n\nFINRA_LOOKBACK_WEEKS=0\nexport DEMO_SEED=x\n")
    monkeypatch.setitem(settings_class().model_config, "env_file", file)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert refused.value.what == (
        "2 invalid settings: FINRA_LOOKBACK_WEEKS='0' (.env line 5): expected an integer >= 1, "
        "<= 5214; DEMO_SEED='x' (.env line 6): expected an integer >= 0"
    )


def test_each_setting_is_described_in_one_group_the_essential_ones_first():
    found = described_settings()
    assert [setting.name.lower() for setting in found[:12]] == list(ESSENTIAL)
    assert list(dict.fromkeys(setting.group for setting in found)) == list(GROUPS)
    assert (
        len({setting.name for setting in found}) == len(found) == len(settings_class().model_fields)
    )
    assert [setting.name for setting in found if not setting.description.endswith(".")] == []


@pytest.mark.parametrize(
    ("name", "described"),
    [
        ("FINRA_SOURCE", ("choice", "(demo; none if DATA_PROFILE=real)", "demo, api, files", "")),
        ("ALPHA_VANTAGE_IS_PREMIUM", ("boolean", "false", "true, false", "")),
        ("FINRA_LOOKBACK_WEEKS", ("integer", "30", ">= 1, <= 5214", "weeks")),
        ("FX_FIRST_DAY", ("date", "(365 days ago)", ">= 1999-01-04", "")),
        ("STATE_DIR", ("path", "var", "", "")),
    ],
)
def test_a_description_holds_type_default_allowed_values_and_unit(name: str, described):
    [found] = [setting for setting in described_settings() if setting.name == name]
    assert (found.type, found.default, found.allowed, found.unit) == described


def test_secrets_are_described_as_such_and_settings_with_the_condition_that_requires_them():
    found = {setting.name: setting for setting in described_settings()}
    assert {name for name, value in found.items() if value.is_secret} >= {*SECRETS, "JIRA_TOKEN"}
    assert not found["FINRA_CLIENT_ID"].is_secret
    assert found["FINRA_FILES_DIR"].required_when == "FINRA_SOURCE=files"


def test_a_child_gets_this_environment_with_the_changes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("CHANGED", "1")
    environment = child_environment(CHANGED="2", NEW="3")
    assert {name: environment[name] for name in ("KEPT", "CHANGED", "NEW")} == {
        "KEPT": "1",
        "CHANGED": "2",
        "NEW": "3",
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://api.finra.org/data?limit=5", "https://api.finra.org/data?limit=5"),
        ("https://me:hunter2@host:8080/p", "https://host:8080/p"),
        ("postgresql://me:p%40ss@host/db", "postgresql://host/db"),
        ("https://h/q?function=X&apikey=hunter2&b=1", "https://h/q?function=X&apikey=***&b=1"),
        (
            "https://h/q?client_secret=a=b&Access_Token=c",
            "https://h/q?client_secret=***&Access_Token=***",
        ),
        (
            "https://h/q?X-Amz-Signature=a&api%5Fkey=b",
            "https://h/q?X-Amz-Signature=***&api%5Fkey=***",
        ),
        ("https://h/q?sig=a#token", "https://h/q?sig=***"),
        ("postgresql://me:hunter#2@host/db", "postgresql://***"),
        ("postgresql://me:hunter/2@host/db", "postgresql://***"),
        ("https://[me:hunter2@host/", "https://***"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str):
    assert without_secrets(url) == shown


@pytest.mark.parametrize(("earlier", "limit"), MOVED_TO_CHECKS.items())
def test_a_limit_that_was_a_setting_is_refused_with_its_place(
    monkeypatch: pytest.MonkeyPatch, earlier: str, limit: str
):
    monkeypatch.setenv(earlier, "1")
    refused = rf"{earlier} \(environment\): use {limit} in checks.yaml"
    with pytest.raises(ConfigurationError, match=refused):
        load_settings()
    assert limit in CheckLimits().flat()


@pytest.mark.parametrize(("earlier", "present"), RENAMED.items())
def test_an_earlier_name_is_refused_with_the_present_one(
    monkeypatch: pytest.MonkeyPatch, earlier: str, present: str
):
    monkeypatch.setenv(earlier, "s3cret-value")
    with pytest.raises(
        ConfigurationError, match=rf"{earlier} \(environment\): renamed, use {present}"
    ) as refusal:
        load_settings()
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize("place", ["environment", ".env line 2"])
def test_the_second_store_is_refused_with_what_takes_its_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
):
    given = "ARTIFACTS_COPY_URL=s3://second/s3cret"
    file = tmp_path / ".env"
    file.write_text("" if place == "environment" else f"LOG_LEVEL=INFO\n{given}\n")
    monkeypatch.setitem(settings_class().model_config, "env_file", file)
    if place == "environment":
        monkeypatch.setenv(*given.split("="))
    with pytest.raises(ConfigurationError) as refusal:
        load_settings()
    message = str(refusal.value)
    assert f"ARTIFACTS_COPY_URL ({place}): removed" in message
    for expected in ("versioning and replication", "rsync", "artifacts repair --from URL"):
        assert expected in message
    assert "s3cret" not in message


def test_the_webhook_of_slack_is_the_last_of_the_alert_urls(tmp_path: Path):
    settings = read(tmp_path, "ALERT_URLS=json://host\nSLACK_WEBHOOK=https://hooks.slack.com/x\n")
    assert settings.every_alert_url == ("json://host", "https://hooks.slack.com/x")
    assert read(tmp_path).every_alert_url == ()


def test_channels_of_alerts_have_names_from_the_environment_and_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ALERT_URL_OPS", "json://hunter2")
    monkeypatch.setenv("ALERT_URL_NONE", "")
    settings = read(tmp_path, "alert_url_Data=info=json://d\nALERT_URL_OPS=json://file\n")
    assert settings.named_alert_urls == {"ops": "json://hunter2", "data": "info=json://d"}
    assert (settings.alert_urls, origins()["alert_url_name"]) == (None, "environment")
    assert "hunter2" not in f"{settings!r} {settings.model_dump_json()} {shown_values(settings)}"
    assert shown_values(settings)["alert_url_name"] == "data, ops"
    assert read(tmp_path, "ALERT_URL_NAME=json://x\n").named_alert_urls["name"] == "json://x"


def test_the_file_of_rules_need_not_be_there_unless_somebody_names_one(tmp_path: Path):
    assert read(tmp_path).alert_rules_path == PROJECT_ROOT / "config/alerts.yaml"
    assert read(tmp_path, "ALERT_RULES=none.yaml\n").alert_rules_path == PROJECT_ROOT / "none.yaml"


def test_no_class_of_settings_replaces_a_check_of_another():
    """One of the same name would leave a setting unchecked, such as the length of a secret."""
    described_settings()  # imports the classes of all domains
    waiting, found = [Settings], {}
    while waiting:
        each = waiting.pop()
        waiting += each.__subclasses__()
        names = each.__pydantic_decorators__
        for name in (*names.field_validators, *names.model_validators):
            owners = [base.__name__ for base in each.__mro__ if name in vars(base)]
            if len(owners) > 1:
                found[name] = owners
    assert len(Settings.__subclasses__()) >= 6
    assert found == {}
