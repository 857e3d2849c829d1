"""Causes of alerts, one for each kind, on a throw-away installation: none touches another state.

A cause is a generator: what raises the alert, then a `yield`, then what makes it well again.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import SecretStr
from sqlalchemy import delete, insert

from orchestration_project.domains.plugins.tables import plugins
from orchestration_project.engine.connections.log_files import FOLDER, LOST
from orchestration_project.engine.contracts.edits import Action
from orchestration_project.engine.contracts.failures import QUARANTINED
from orchestration_project.instance.stored import repository_origin
from orchestration_project.resources.plugins.state import BY_VIOLATIONS
from orchestration_project.services.alerts.alertmanager import ReceivedAlert, store_alert
from orchestration_project.services.edits import Edit
from orchestration_project.services.hosts import record_heartbeat
from orchestration_project.services.objectives.counting import add_events
from orchestration_project.services.objectives.evaluating import evaluate
from orchestration_project.services.objectives.rules.objectives import Events, GatewayLatency
from orchestration_project.services.schedules.launching import raise_alerts
from orchestration_project.services.schedules.store import SCHEDULE_STORE
from orchestration_project.tables.operations_deployment import operations_backups
from orchestration_project.tables.operations_objectives import operations_host_samples
from tests.alert_trial import Trial
from tests.dagster_storage import add_queued_run, add_tick

Cause = Callable[[Trial], Iterator[None]]

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

MAX_HEADROOM_MIB = 2**40
"""More free space than any disk has."""

NAME = "caused"
"""Host, asset, job or schedule that an alert is about."""


def _failing_asset(trial: Trial, metadata: Mapping[str, Any]) -> Iterator[None]:
    """Run an asset that fails, after an observation with ``metadata``; then one that succeeds."""
    is_bad = [True]

    @dg.asset(key=[NAME, "asset"], partitions_def=dg.StaticPartitionsDefinition([NAME]))
    def asset(context: dg.AssetExecutionContext) -> None:
        if is_bad[0]:
            if metadata:
                context.log_event(
                    dg.AssetObservation([NAME, "asset"], partition=NAME, metadata=metadata)
                )
            raise dg.Failure("caused for a trial of alerts", allow_retries=False)

    for _ in range(2):
        dg.materialize([asset], instance=trial.instance, partition_key=NAME, raise_on_error=False)
        if is_bad[0]:
            is_bad[0] = False
            yield


def _failed(trial: Trial) -> Iterator[None]:
    return _failing_asset(trial, {})


def _held_back(trial: Trial) -> Iterator[None]:
    reason = {"outcome": QUARANTINED, "category": "contract", "reason": "caused for a trial"}
    return _failing_asset(trial, reason)


def _job_failed(trial: Trial) -> Iterator[None]:
    is_bad = [True]

    @dg.op
    def caused_op() -> None:
        if is_bad[0]:
            raise dg.Failure("caused for a trial of alerts", allow_retries=False)

    @dg.job(name=NAME)
    def caused_job() -> None:
        caused_op()

    caused_job.execute_in_process(instance=trial.instance, raise_on_error=False)
    yield
    is_bad[0] = False
    caused_job.execute_in_process(instance=trial.instance)


def _check(trial: Trial) -> Iterator[None]:
    is_good = [False]

    @dg.asset(key=[NAME, "asset"], check_specs=[dg.AssetCheckSpec("holds", asset=[NAME, "asset"])])
    def asset() -> dg.MaterializeResult:
        found = dg.AssetCheckResult(passed=is_good[0], severity=dg.AssetCheckSeverity.ERROR)
        return dg.MaterializeResult(check_results=[found])

    dg.materialize([asset], instance=trial.instance)
    yield
    is_good[0] = True
    dg.materialize([asset], instance=trial.instance)


def _notice(kind: str) -> Cause:
    def cause(trial: Trial) -> Iterator[None]:
        @dg.asset(key=[NAME, "asset"])
        def asset() -> dg.MaterializeResult[Any]:
            return dg.MaterializeResult(
                metadata={"notice": "caused for a trial of alerts", "notice_kind": kind}
            )

        dg.materialize([asset], instance=trial.instance)
        yield

    return cause


def _tick_failed(trial: Trial) -> Iterator[None]:
    sensor = dg.SensorDefinition(name=NAME, evaluation_fn=lambda _: None, job_name=NAME)
    add_tick(trial.instance, sensor, repository_origin(), error="caused for a trial of alerts")
    yield
    add_tick(trial.instance, sensor, repository_origin())


def _daemon_silent(trial: Trial) -> Iterator[None]:
    trial.beat(trial.now() - HOUR)
    yield
    trial.beat(trial.now())


def _queue_stuck(trial: Trial) -> Iterator[None]:
    run_id = add_queued_run(trial.instance, NAME, repository_origin(), trial.now() - 2 * HOUR)
    yield
    trial.instance.delete_run(run_id)


def _disk_low(trial: Trial) -> Iterator[None]:
    trial.set(disk_headroom_mib=MAX_HEADROOM_MIB)
    yield
    trial.set(disk_headroom_mib=0)


def _alert_rules(trial: Trial) -> Iterator[None]:
    file = Path(trial.settings.alert_rules)
    before = file.read_text(encoding="utf-8")
    file.write_text("rules: [", encoding="utf-8")
    yield
    file.write_text(before, encoding="utf-8")


def _database(trial: Trial) -> Iterator[None]:
    trial.set(database_url=SecretStr("postgresql://caused@127.0.0.1:1/caused"))
    yield
    trial.set(database_url=None)


def _program(trial: Trial, seen_at: datetime, **changes: Any) -> None:
    row = {
        "host": NAME,
        "role": "worker",
        "release": "caused",
        "tables_version": "caused",
        "started_at": trial.now() - HOUR,
        "last_seen_at": seen_at,
        "stopped_at": None,
        **dict.fromkeys(("cores", "memory_bytes", "disk_bytes", "disk_free_bytes"), 1),
    }
    with trial.warehouse() as warehouse:
        record_heartbeat(warehouse, row | changes)


def _host_silent(trial: Trial) -> Iterator[None]:
    _program(trial, trial.now() - HOUR)
    yield
    _program(trial, trial.now())


def _two_releases(trial: Trial) -> Iterator[None]:
    _program(trial, trial.now())
    _program(trial, trial.now(), role="gateway", release="older")
    yield
    _program(trial, trial.now(), role="gateway", release="older", stopped_at=trial.now())


def _host_overloaded(trial: Trial) -> Iterator[None]:
    samples = operations_host_samples
    use = {"cpu_share": 1.0, "memory_share": 0.1, "disk_share": 0.1, "open_files_share": 0.1}
    rows = [
        {
            "host": NAME,
            "role": "worker",
            "at": trial.now() - minutes * MINUTE,
            **use,
            "open_files": 1,
            "process_memory_bytes": 1,
        }
        for minutes in (1, 6, 11)
    ]
    with trial.warehouse() as warehouse, warehouse.writing() as connection:
        connection.execute(insert(samples), rows)
    yield
    with trial.warehouse() as warehouse, warehouse.writing() as connection:
        connection.execute(delete(samples))
        connection.execute(insert(samples), [{**row, "cpu_share": 0.1} for row in rows])


def _log_lines_lost(trial: Trial) -> Iterator[None]:
    folder = trial.settings.state_path / FOLDER / NAME
    folder.mkdir(parents=True)
    (folder / LOST).write_text("1", encoding="ascii")
    yield
    (folder / LOST).unlink()


def _objective_burning(trial: Trial) -> Iterator[None]:
    objective = GatewayLatency(
        name=NAME, indicator="gateway_latency", target=0.9, max_seconds=1, min_events=1
    )
    for number, events in enumerate((Events(0, 10), Events(1000, 1000))):
        with trial.warehouse() as warehouse:
            with warehouse.writing() as connection:
                add_events(connection, NAME, trial.now(), events)
            evaluate(warehouse, [objective.model_copy(update={"target": 0.95})], trial.now(), ())
        if not number:
            yield


def _backup(trial: Trial, started_at: datetime, verified_at: datetime | None) -> None:
    row = {
        "backup_id": f"{started_at:%Y%m%dT%H%M%S}-caused",
        "location": NAME,
        "started_at": started_at,
        "ended_at": started_at,
        "release": "caused",
        "manifest_sha256": "0" * 64,
        "verified_at": verified_at,
        **dict.fromkeys(("database_bytes", "blob_count", "blob_bytes", "missing_count"), 0),
    }
    with trial.warehouse() as warehouse, warehouse.writing() as connection:
        connection.execute(insert(operations_backups), [row])


def _backup_old(trial: Trial) -> Iterator[None]:
    _backup(trial, trial.now() - 3 * DAY, None)
    yield
    _backup(trial, trial.now(), None)


def _restore_untried(trial: Trial) -> Iterator[None]:
    _backup(trial, trial.now() - 8 * DAY, None)
    yield
    _backup(trial, trial.now(), trial.now())


def _certificate_expiring(trial: Trial) -> Iterator[None]:
    trial.set(public_url="https://localhost", public_certificate_file=trial.certificate(days=3))
    yield
    trial.set(public_certificate_file=trial.certificate(days=90))


def _schedule_disabled(trial: Trial) -> Iterator[None]:
    fields = {"job": "operations_checks", "cron": "0 6 * * *", "timezone": "UTC"}
    with trial.warehouse() as warehouse:
        SCHEDULE_STORE.apply(warehouse, Edit(Action.CREATE, NAME, NAME, trial.now(), fields))
        with warehouse.writing() as connection:
            reasons = {NAME: "caused for a trial of alerts"}
            SCHEDULE_STORE.disable(connection, reasons, by=NAME, at=trial.now())
        raise_alerts(warehouse, trial.alerts)
    yield
    with trial.warehouse() as warehouse:
        edit = Edit(Action.RESUME, NAME, NAME, trial.now(), expected_version=2)
        SCHEDULE_STORE.apply(warehouse, edit)
        raise_alerts(warehouse, trial.alerts)


def _prometheus(trial: Trial) -> Iterator[None]:
    labels = {"alertname": NAME, "severity": "error"}
    summary = {"summary": "caused for a trial of alerts"}
    begun, fingerprint = trial.now(), "0" * 16
    for is_firing in (True, False):
        with trial.alerts.inbox() as inbox:
            store_alert(inbox, ReceivedAlert(fingerprint, begun, is_firing, labels, summary))
        if is_firing:
            yield


def _plugin_disabled(trial: Trial) -> Iterator[None]:
    row = {
        **dict.fromkeys(("version", "sha256", "publisher", "kind"), NAME),
        "id": NAME,
        "listed_keys": "[]",
        "manifest": "{}",
        "share": 1.0,
        "is_signed": False,
        "state": "disabled",
        "reason": "caused for a trial of alerts",
        "version_number": 1,
        "changed_by": BY_VIOLATIONS,
        "changed_at": trial.now(),
    }
    with trial.warehouse() as warehouse, warehouse.writing() as connection:
        connection.execute(insert(plugins), [row])
    yield
    with trial.warehouse() as warehouse, warehouse.writing() as connection:
        connection.execute(delete(plugins))


CAUSES: Mapping[str, Cause] = {
    "held_back": _held_back,
    "failed": _failed,
    "job_failed": _job_failed,
    "check": _check,
    "tick_failed": _tick_failed,
    "daemon_silent": _daemon_silent,
    "queue_stuck": _queue_stuck,
    "disk_low": _disk_low,
    "host_silent": _host_silent,
    "two_releases": _two_releases,
    "host_overloaded": _host_overloaded,
    "log_lines_lost": _log_lines_lost,
    "objective_burning": _objective_burning,
    "backup_old": _backup_old,
    "restore_untried": _restore_untried,
    "certificate_expiring": _certificate_expiring,
    "alert_rules": _alert_rules,
    "database": _database,
    "schedule_disabled": _schedule_disabled,
    "plugin_disabled": _plugin_disabled,
    "prometheus": _prometheus,
    "restatement": _notice("restatement"),
    "items_failed": _notice("items_failed"),
    "landed": _notice("landed"),
}
"""By kind of alert; `recovered` and `test` come of the others and of `alerts test`."""

NOTICES = ("restatement", "items_failed", "landed")
"""Kinds that recover from nothing."""
