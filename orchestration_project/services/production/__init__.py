"""Reads settings, tables, clock, disk and processes, and judges them by the production rules."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import psutil
from sqlalchemy import func, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import ensure_state_folder
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.environment import open_unprepared_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import find_database_url, parse_url
from orchestration_project.errors import OrchestrationError
from orchestration_project.migrations import NEWEST_VERSION
from orchestration_project.services.access.keys import FIRST_KEY_OWNER, Keys
from orchestration_project.services.access.rules.credentials import is_usable
from orchestration_project.services.access.rules.members import read_rules
from orchestration_project.services.alerts import Alerts, build_alerts
from orchestration_project.services.alerts.inbox import Inbox
from orchestration_project.services.alerts.sending import SENT_TEST
from orchestration_project.services.backup_state import USUAL_AGE, read_backup_state
from orchestration_project.services.gate import Register
from orchestration_project.services.gate.certificates import build_certificate_probe
from orchestration_project.services.gate.gate import MIB, measure_skew, read_database_time
from orchestration_project.services.production import rules
from orchestration_project.services.production.rules import (
    UNKNOWN_HOST,
    BackupTimes,
    DatabaseAddress,
    KeyTerms,
    Listener,
    ProductionCheck,
    Verdict,
)
from orchestration_project.settings import Settings, without_secrets
from orchestration_project.settings.given import ENVIRONMENT
from orchestration_project.tables.operations_alerts import operations_alert_deliveries
from orchestration_project.tables.operations_runs import operations_runs

PROGRAMS = ("gateway", "code-server")
"""Arguments of the command lines of programs that listen."""

CLEAN_UP_JOB = "operations_clean_up"

Judge = Callable[[Warehouse], Verdict]
FindListeners = Callable[[Path], Sequence[Listener]]


def check_production(
    settings: Settings, clock: Clock, find_listeners: FindListeners | None = None
) -> list[ProductionCheck]:
    """Return the checks of the page on production, in the order of its checklist.

    Args:
        settings: Settings of this process.
        clock: The present time.
        find_listeners: Returns the addresses of the programs of a DAGSTER_HOME; None: by the
            processes of this host.
    """
    verdicts = {**_judge_settings(settings, clock), **_judge_database(settings, clock)}
    listeners = (find_listeners or read_listeners)(settings.state_path / "dagster")
    is_behind_proxy = verdicts["tls"].state == "ok" and verdicts["login"].state == "ok"
    verdicts["bind"] = rules.judge_bind(listeners, is_behind_proxy=is_behind_proxy)
    return [rules.build_check(name, verdicts[name]) for name in rules.EXPECTED]


def read_listeners(home: Path, processes: Iterable[psutil.Process] | None = None) -> list[Listener]:
    """Return the TCP addresses of gateways and code servers that run with this DAGSTER_HOME.

    Args:
        home: The DAGSTER_HOME.
        processes: Those to look at; None: all of this host.
    """
    listed = psutil.process_iter() if processes is None else processes
    return sorted({listener for process in listed for listener in _iterate(process, home)})


def _iterate(process: psutil.Process, home: Path) -> Iterator[Listener]:
    """Yield the addresses of a process: an unknown one of another user's, none if it ended."""
    program, arguments = None, list[str]()
    try:
        arguments = process.cmdline()
        program = next((name for name in PROGRAMS if name in arguments), None)
        if program is None or process.environ().get("DAGSTER_HOME") != str(home):
            return
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                yield Listener(program, *connection.laddr)
    except psutil.AccessDenied:
        if program and any("orchestration_project" in argument for argument in arguments):
            yield Listener(program, UNKNOWN_HOST, 0)
    except psutil.Error:
        return


def _judge_settings(settings: Settings, clock: Clock) -> Mapping[str, Verdict]:
    """Judge settings and this host, without the database."""
    secret = settings.session_secret
    disk = shutil.disk_usage(ensure_state_folder(settings))
    return {
        "tls": rules.judge_tls(without_secrets(settings.public_url), settings.trusted_proxies),
        "certificate": _judge_certificate(settings, clock),
        "login": rules.judge_login(settings.gateway_auth),
        "session_secret": rules.judge_session_secret(secret.get_secret_value() if secret else None),
        "data_profile": rules.judge_data_profile(
            is_demo=settings.is_demo, has_demo_clock=settings.demo_clock_now is not None
        ),
        "database_tls": rules.judge_database_tls(_list_addresses(settings)),
        "retention": rules.judge_retention(
            {
                name.upper(): getattr(settings, name)
                for name in ("artifacts_captured_days", "webhook_body_days")
            }
        ),
        "disk": rules.judge_disk(disk.free, disk.total, settings.disk_headroom_mib * MIB),
        "logs": rules.judge_logs(settings.log_format, settings.log_level),
    }


def _judge_certificate(settings: Settings, clock: Clock) -> Verdict:
    try:
        answer = build_certificate_probe(settings, clock).run()
    except OrchestrationError as error:
        return Verdict("failed", _describe_error(error), error.remedy)
    return Verdict("ok" if answer.is_applicable else "unknown", answer.got)


def _list_addresses(settings: Settings) -> list[DatabaseAddress]:
    """Return where both databases are, and how they are connected to."""
    dagster_url = settings.dagster_database_url
    urls = {
        "DATABASE_URL": parse_url(find_database_url(settings)),
        "DAGSTER_DATABASE_URL": dagster_url and parse_url(dagster_url.get_secret_value()),
    }
    return [
        DatabaseAddress(
            setting,
            url.get_backend_name(),
            ",".join(rules.list_hosts(url.host, url.query, ENVIRONMENT)),
            str(url.query.get("sslmode") or ENVIRONMENT.get("PGSSLMODE", "")),
        )
        if url
        else DatabaseAddress(setting, "sqlite", "", "")
        for setting, url in urls.items()
    ]


def _judge_database(settings: Settings, clock: Clock) -> Mapping[str, Verdict]:
    """Judge the rows of the database; without it, or its tables, they are unknown."""
    alerts = build_alerts(settings, lambda _: [])
    channels = [channel.name for channel in alerts.channels]
    alert_problem = alerts.policy.problem.line if alerts.policy.problem else ""
    judges: Mapping[str, Judge] = {
        "admin": partial(_judge_admin, settings, clock),
        "keys": lambda warehouse: rules.judge_keys(_read_keys(warehouse, clock), clock.now()),
        "backup": partial(_judge_backup, settings, clock),
        "restore": lambda warehouse: rules.judge_restore(_read_times(warehouse), clock.now()),
        "clean_up": lambda warehouse: rules.judge_clean_up(_find_clean_up(warehouse), clock.now()),
        "alert_delivery": partial(_judge_delivery, alerts, clock),
    }
    with closing(open_unprepared_warehouse(settings)) as warehouse:
        version, problem = _read_version(warehouse)
        reason = "the database cannot be read" if problem else "the tables are not of this version"
        unknown = Verdict("unknown", reason)
        is_readable = not problem and version == NEWEST_VERSION
        return {
            "database": rules.judge_database(_list_addresses(settings), problem),
            "migrations": unknown if problem else rules.judge_migrations(version, NEWEST_VERSION),
            "alerts": rules.judge_alerts(channels, alert_problem),
            "clock": unknown
            if problem
            else rules.judge_clock(
                measure_skew(lambda: read_database_time(lambda: nullcontext(warehouse)), clock)
            ),
            **{
                name: _judge_stored(judge, warehouse) if is_readable else unknown
                for name, judge in judges.items()
            },
        }


def _judge_stored(judge: Judge, warehouse: Warehouse) -> Verdict:
    """Judge rows of tables; those that this role may not read are unknown."""
    try:
        return judge(warehouse)
    except OrchestrationError as error:
        return Verdict("unknown", _describe_error(error))


def _describe_error(error: OrchestrationError) -> str:
    return f"{error.what}: {error.found}" if error.found else error.what


def _read_version(warehouse: Warehouse) -> tuple[str | None, str]:
    """Return the version of the tables, and why it cannot be read."""
    try:
        return warehouse.version(), ""
    except OrchestrationError as error:
        return None, _describe_error(error)


def _read_keys(warehouse: Warehouse, clock: Clock) -> list[KeyTerms]:
    """Return the valid keys."""
    return [
        KeyTerms(
            key.key_id,
            key.role is Role.ADMIN,
            key.owner == FIRST_KEY_OWNER,
            key.created_at,
            key.expires_at,
        )
        for key in Keys(warehouse, clock).listed()
        if is_usable(clock.now(), expires_at=key.expires_at, revoked_at=key.revoked_at)
    ]


def _judge_admin(settings: Settings, clock: Clock, warehouse: Warehouse) -> Verdict:
    has_oidc_admin = settings.oidc_discovery_url is not None and any(
        rule.role is Role.ADMIN for rule in read_rules(settings.oidc_roles)
    )
    keys = _read_keys(warehouse, clock)
    return rules.judge_admin(keys, has_oidc_admin=has_oidc_admin, now=clock.now())


def _read_times(warehouse: Warehouse) -> BackupTimes:
    state = read_backup_state(warehouse)
    return BackupTimes(state.latest_at, state.verified_at, state.missing_count)


def _judge_backup(settings: Settings, clock: Clock, warehouse: Warehouse) -> Verdict:
    hours = settings.backup_max_age_hours
    max_age = USUAL_AGE if hours is None else timedelta(hours=hours)
    return rules.judge_backup(_read_times(warehouse), max_age, clock.now())


def _find_clean_up(warehouse: Warehouse) -> datetime | None:
    """Return the end of the latest run that deleted what is old; None: the ledger has none."""
    runs = operations_runs.c
    query = (
        select(runs.params, runs.ended_at)
        .where(runs.job == CLEAN_UP_JOB, runs.status == "SUCCESS", runs.ended_at.is_not(None))
        .order_by(runs.ended_at.desc())
    )
    with warehouse.reading() as connection:
        rows = connection.execute(query)
        return next((ended_at for params, ended_at in rows if rules.is_clean_up(params)), None)


def _judge_delivery(alerts: Alerts, clock: Clock, warehouse: Warehouse) -> Verdict:
    """Judge the deliveries of alerts, and the latest test message from this host."""
    channels = [channel.name for channel in alerts.channels]
    reaches = Inbox(warehouse, alerts.policy, clock=clock).reaches()
    refusals = [str(reach) for reach in reaches if reach.channel in channels and not reach.is_well]
    sent = operations_alert_deliveries.c
    query = (
        select(sent.channel, func.max(sent.delivered_at).label("latest_at"))
        .where(sent.delivered_at.is_not(None))
        .group_by(sent.channel)
    )
    with warehouse.reading() as connection:
        accepted_at = {row.channel: row.latest_at for row in connection.execute(query)}
    finding = Register(warehouse).latest().get("alerts")
    if finding is not None and finding.tried == SENT_TEST and finding.outcome == "passed":
        for name in channels:
            accepted_at[name] = max(finding.checked_at, accepted_at.get(name, finding.checked_at))
    return rules.judge_alert_delivery(channels, accepted_at, "; ".join(refusals), clock.now())
