"""Rules of the production checks: a good and a bad answer for each line of the checklist."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from orchestration_project.services.production.rules import (
    EXPECTED,
    BackupTimes,
    DatabaseAddress,
    KeyTerms,
    Listener,
    Verdict,
    build_check,
    is_clean_up,
    judge_admin,
    judge_alert_delivery,
    judge_alerts,
    judge_backup,
    judge_bind,
    judge_clean_up,
    judge_clock,
    judge_data_profile,
    judge_database,
    judge_database_tls,
    judge_disk,
    judge_keys,
    judge_login,
    judge_logs,
    judge_migrations,
    judge_restore,
    judge_retention,
    judge_session_secret,
    judge_tls,
    list_hosts,
)
from orchestration_project.settings import PROJECT_ROOT

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
DAY, GIB = timedelta(days=1), 1024**3
RANDOM = "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZg"
HTTPS = "https://pipelines.example.org"


def key(*, is_admin: bool = True, is_first: bool = False, age: int = 1, left: int = 89) -> KeyTerms:
    return KeyTerms("a1", is_admin, is_first, NOW - age * DAY, NOW + left * DAY)


def backups(latest: float | None = 0.5, verified: int | None = 3, missing: int = 0) -> BackupTimes:
    return BackupTimes(
        None if latest is None else NOW - latest * DAY,
        None if verified is None else NOW - verified * DAY,
        missing,
    )


def address(backend: str = "postgresql", host: str = "", sslmode: str = "") -> DatabaseAddress:
    return DatabaseAddress("DATABASE_URL", backend, host, sslmode)


def bind(*listeners: tuple[str, str], is_behind_proxy: bool = False) -> Verdict:
    return judge_bind(
        [Listener(program, host, 3000) for program, host in listeners],
        is_behind_proxy=is_behind_proxy,
    )


def delivery(*days: float, refusal: str = "") -> Verdict:
    accepted_at = {f"channel-{age}": NOW - age * DAY for age in days}
    return judge_alert_delivery(list(accepted_at), accepted_at, refusal, NOW)


CASES: list[tuple[Callable[[], Verdict], str, str]] = [
    (lambda: judge_tls(HTTPS, ["127.0.0.1"]), "ok", "TRUSTED_PROXIES=127.0.0.1"),
    (lambda: judge_tls("http://a.example", ["127.0.0.1"]), "warning", "http://a.example"),
    (lambda: judge_tls(HTTPS, []), "failed", "TRUSTED_PROXIES=not set"),
    (lambda: judge_tls("http://127.0.0.1:3000", []), "failed", "not set"),
    (lambda: judge_login("on"), "ok", "GATEWAY_AUTH=on"),
    (lambda: judge_login("off"), "failed", "GATEWAY_AUTH=off"),
    (lambda: judge_session_secret(RANDOM), "ok", "different characters"),
    (lambda: judge_session_secret("abc" * 12), "failed", "3 different characters"),
    (lambda: judge_session_secret(None), "warning", "generated"),
    (lambda: bind(), "unknown", "no gateway or code server"),
    (lambda: bind(("gateway", "127.0.0.1"), ("code-server", "::1")), "ok", "127.0.0.1:3000"),
    (lambda: bind(("code-server", "::ffff:127.0.0.1")), "ok", "::ffff:127.0.0.1"),
    (lambda: bind(("code-server", "::ffff:10.0.0.5")), "warning", "10.0.0.5"),
    (lambda: bind(("gateway", "0.0.0.0")), "failed", "gateway on 0.0.0.0:3000"),  # noqa: S104
    (lambda: bind(("gateway", "10.0.0.5")), "failed", "10.0.0.5"),
    (lambda: bind(("gateway", "::"), is_behind_proxy=True), "ok", "gateway on :::3000"),
    (lambda: bind(("code-server", "10.0.0.5"), is_behind_proxy=True), "warning", "10.0.0.5"),
    (lambda: bind(("code-server", "::"), is_behind_proxy=True), "failed", "code-server"),
    (
        lambda: bind(("gateway", "127.0.0.1"), ("code-server", "")),
        "unknown",
        "code-server of another",
    ),
    (lambda: bind(("gateway", "10.0.0.5"), ("code-server", "")), "failed", "10.0.0.5"),
    (lambda: judge_data_profile(is_demo=False, has_demo_clock=False), "ok", "real"),
    (lambda: judge_data_profile(is_demo=True, has_demo_clock=False), "failed", "demo"),
    (lambda: judge_data_profile(is_demo=False, has_demo_clock=True), "failed", "DEMO_CLOCK_NOW"),
    (lambda: judge_admin([key()], has_oidc_admin=False, now=NOW), "ok", "2027-01-30 12:00 UTC"),
    (lambda: judge_admin([], has_oidc_admin=True, now=NOW), "ok", "OIDC_ROLES"),
    (lambda: judge_admin([key(left=13)], has_oidc_admin=False, now=NOW), "warning", "2026-11-15"),
    (lambda: judge_admin([key(is_admin=False)], has_oidc_admin=False, now=NOW), "failed", "no"),
    (lambda: judge_keys([key(), key(age=365, left=365)], NOW), "ok", "2 valid keys"),
    (lambda: judge_keys([key(age=366)], NOW), "failed", "a1"),
    (lambda: judge_keys([key(left=366)], NOW), "failed", "a1"),
    (lambda: judge_keys([key(is_first=True)], NOW), "warning", "first key of `ui`: a1"),
    (lambda: judge_database([address()], ""), "ok", "DATABASE_URL: postgresql"),
    (lambda: judge_database([address(), address("sqlite")], ""), "failed", "sqlite"),
    (lambda: judge_database([address()], "it is away"), "failed", "it is away"),
    (lambda: judge_database_tls([address(), address(host="/run/pg")]), "ok", "no PostgreSQL"),
    (lambda: judge_database_tls([address(host="localhost")]), "ok", "no PostgreSQL"),
    (lambda: judge_database_tls([address(host="/run/pg,10.0.0.5")]), "failed", "10.0.0.5"),
    (lambda: judge_database_tls([address(host="service pg")]), "failed", "service pg"),
    (lambda: judge_database_tls([address(host="db", sslmode="verify-full")]), "ok", "db"),
    (lambda: judge_database_tls([address(host="db", sslmode="require")]), "warning", "require"),
    (lambda: judge_database_tls([address(host="db", sslmode="prefer")]), "failed", "prefer"),
    (lambda: judge_database_tls([address(host="db")]), "failed", "sslmode not set"),
    (lambda: judge_migrations("0086", "0086"), "ok", "0086"),
    (lambda: judge_migrations("0085", "0086"), "failed", "version 0085, not 0086"),
    (lambda: judge_migrations(None, "0086"), "failed", "no tables"),
    (lambda: judge_backup(backups(), DAY, NOW), "ok", "2026-11-02 00:00 UTC"),
    (lambda: judge_backup(backups(1.1), DAY, NOW), "failed", "2026-11-01"),
    (lambda: judge_backup(backups(missing=2), DAY, NOW), "warning", "without 2 artifacts"),
    (lambda: judge_backup(backups(None), DAY, NOW), "failed", "no backup"),
    (lambda: judge_restore(backups(verified=31), NOW), "ok", "2026-10-02"),
    (lambda: judge_restore(backups(verified=32), NOW), "warning", "2026-10-01"),
    (lambda: judge_restore(backups(verified=None), NOW), "failed", "no recorded restore"),
    (lambda: judge_retention({"A": 90, "B": 30}), "ok", "A=90, B=30"),
    (lambda: judge_retention({"A": 90, "B": None}), "warning", "not set: B"),
    (lambda: judge_clean_up(NOW - 31 * DAY, NOW), "ok", "2026-10-02"),
    (lambda: judge_clean_up(NOW - 32 * DAY, NOW), "warning", "2026-10-01"),
    (lambda: judge_clean_up(None, NOW), "warning", "no recorded run"),
    (lambda: judge_alerts(["ops"], ""), "ok", "ops"),
    (lambda: judge_alerts([], ""), "failed", "no channel"),
    (lambda: judge_alerts(["ops"], "invalid rule"), "failed", "invalid rule"),
    (lambda: delivery(1, 31), "ok", "2026-10-02"),
    (lambda: delivery(1, 32), "warning", "2026-10-01"),
    (lambda: delivery(1, refusal="ops: 2 wait"), "failed", "ops: 2 wait"),
    (lambda: judge_alert_delivery(["ops"], {}, "", NOW), "unknown", "no recorded message to ops"),
    (lambda: judge_alert_delivery([], {}, "", NOW), "unknown", "no channel"),
    (lambda: judge_clock(-2.0), "ok", "-2.0 s"),
    (lambda: judge_clock(2.1), "failed", "+2.1 s"),
    (lambda: judge_clock(-2.1), "failed", "-2.1 s"),
    (lambda: judge_clock(None), "unknown", "SQLite"),
    (lambda: judge_disk(15 * GIB, 100 * GIB, GIB), "ok", "15 % free (15,360 MiB)"),
    (lambda: judge_disk(14 * GIB, 100 * GIB, GIB), "warning", "14 % free"),
    (lambda: judge_disk(4 * GIB, 100 * GIB, GIB), "failed", "4 % free"),
    (lambda: judge_disk(20 * GIB, 100 * GIB, 21 * GIB), "failed", "20 % free"),
    (lambda: judge_logs("json", "INFO"), "ok", "LOG_FORMAT=json, LOG_LEVEL=INFO"),
    (lambda: judge_logs("text", "INFO"), "warning", "LOG_FORMAT=text"),
    (lambda: judge_logs("json", "DEBUG"), "warning", "LOG_LEVEL=DEBUG"),
]


@pytest.mark.parametrize(("judge", "state", "found"), CASES)
def test_a_rule_judges_good_and_bad_answers(judge: Callable[[], Verdict], state: str, found: str):
    verdict = judge()
    assert verdict.state == state
    assert found in verdict.found
    assert bool(verdict.remedy) or state in ("ok", "unknown")
    assert not (verdict.remedy and state == "ok")


@pytest.mark.parametrize(
    ("host", "query", "environment", "hosts"),
    [
        ("db", {}, {"PGHOST": "other"}, ["db"]),
        (None, {"host": ("/run/pg", "10.0.0.5")}, {}, ["/run/pg", "10.0.0.5"]),
        (None, {"hostaddr": "10.0.0.5"}, {}, ["10.0.0.5"]),
        (None, {}, {"PGHOSTADDR": "10.0.0.5"}, ["10.0.0.5"]),
        (None, {"service": "pg"}, {}, ["service pg"]),
        (None, {}, {"PGSERVICE": "pg"}, ["service pg"]),
        (None, {}, {}, []),
    ],
)
def test_hosts_are_all_that_the_driver_may_connect_to(host, query, environment, hosts):
    assert list_hosts(host, query, environment) == hosts


@pytest.mark.parametrize(
    ("params", "is_deleting"),
    [
        ('{"ops": {"clean_up": {"config": {"prune_run_logs": {"dry_run": false}}}}}', True),
        ('{"ops": {"clean_up": {"config": {"prune_run_logs": {"dry_run": true}}}}}', False),
        ('{"ops": {"clean_up": {"config": {"list_artifacts": {}}}}}', False),
        ('{"ops": {"clean_up": {"config": null}}}', False),
        ('{"ops": {"clean_up": {"config": {"prune_run_logs": null}}}}', False),
        ("{}", False),
        ("[]", False),
    ],
)
def test_a_run_that_only_measures_is_no_clean_up(params: str, is_deleting: bool):
    assert is_clean_up(params) is is_deleting


def test_a_check_says_what_was_expected_and_found():
    check = build_check("login", judge_login("off"))
    assert check.message == "expected GATEWAY_AUTH=on, found GATEWAY_AUTH=off"
    assert (check.name, check.state, check.remedy) == ("login", "failed", "remove it")


def test_each_line_of_the_checklist_has_its_check_and_the_reverse():
    page = (PROJECT_ROOT / "docs/explanation/security.md").read_text()
    section = page.split("\n## Production checklist\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE)
    assert [(name, text.replace("`", "")) for name, text in rows] == [
        (name, text.replace("`", "")) for name, text in EXPECTED.items()
    ]
