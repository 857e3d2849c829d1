"""Exports as the daemon starts them: by schedules and retries, with an alert after a while."""

import codecs
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.definitions import defs
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_kinds import EXPORT_TABLES, LIST_SESSIONS, JobKind
from orchestration_project.errors import ConfigurationError
from orchestration_project.sensors.operations import operations_on_due_export
from orchestration_project.tables.operations_artifacts import operations_exports
from orchestration_project.tables.spine import work_items
from tests import databases
from tests.receivers import http_receiver
from tests.resources.definitions import RESOURCES
from tests.runs import metadata_by_partition
from tests.sensors.test_operations import Watch

EXPORTS = """
targets: {shelf: {kind: database}}
exports:
  labels: {table: database_labels, schedule: 0 6 * * *, timezone: America/New_York}
  shelved: {table: database_labels, target: shelf, alert_after_hours: 0}
"""
SIX_IN_NEW_YORK = datetime(2026, 3, 2, 11, tzinfo=UTC)


@pytest.fixture
def exports_file(demo_settings, tmp_path: Path, monkeypatch) -> Path:
    """The file of exports, and an empty database."""
    file = tmp_path / "exports.yaml"
    file.write_text(EXPORTS)
    monkeypatch.setenv("EXPORTS_FILE", str(file))
    monkeypatch.setenv("DISK_HEADROOM_MIB", "0")
    return file


@pytest.fixture
def instance(kept_instance):
    return kept_instance


@pytest.fixture
def url(demo_settings) -> str:
    return databases.sqlite_url(demo_settings.state_path)


def run(instance, *names: str, kind: JobKind = EXPORT_TABLES) -> dg.ExecuteInProcessResult:
    options = {"names": list(names)} if names else {}
    return defs.resolve_job_def(kind.job).execute_in_process(
        instance=instance, raise_on_error=False, run_config=kind.run_config(options)
    )


def expect_failure(result: dg.ExecuteInProcessResult) -> str:
    failure = result.failure_data_for_node("export")
    assert failure
    assert failure.error
    assert failure.error.cause
    return failure.error.cause.message


def test_a_csv_export_begins_with_the_byte_order_mark_that_it_declares(instance, exports_file, url):
    table = "table: database_labels, format: csv"
    exports_file.write_text(
        f"exports:\n  plain: {{{table}}}\n  excel: {{{table}, byte_order_mark: true}}\n"
    )
    assert run(instance).success
    columns = (operations_exports.c.name, operations_exports.c.uri)
    files = {
        name: Path(uri.removeprefix("file://")).read_bytes()
        for name, uri in databases.rows(url, select(*columns))
    }
    plain, excel = files["plain"], files["excel"]
    assert excel == codecs.BOM_UTF8 + plain
    assert not plain.startswith(codecs.BOM_UTF8)


class FixedClock(Clock):
    """A time that a test sets."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self.at = at

    def now(self) -> datetime:
        return self.at


def tick(instance, at: datetime, cursor: str | None) -> tuple[list[list[str]], str | None]:
    """Tick at a time; return the names of each requested run, and the cursor."""
    resources = {name: RESOURCES[name] for name in ("registry", "settings", "warehouse")}
    with dg.build_sensor_context(
        instance, cursor, resources={**resources, "clock": FixedClock(at)}
    ) as context:
        found = operations_on_due_export.evaluate_tick(context)
        requests = found.run_requests or []
        names = [
            request.run_config["ops"]["export"]["config"]["export_tables"]["names"]
            for request in requests
        ]
        return names, found.cursor


@pytest.mark.slow
def test_a_schedule_starts_its_export_once(instance, exports_file):
    names, cursor = tick(instance, SIX_IN_NEW_YORK - timedelta(minutes=1), None)
    assert names == []
    names, cursor = tick(instance, SIX_IN_NEW_YORK + timedelta(seconds=5), cursor)
    assert names == [["labels"]]
    names, cursor = tick(instance, SIX_IN_NEW_YORK + timedelta(seconds=35), cursor)
    assert names == []
    names, cursor = tick(instance, SIX_IN_NEW_YORK + timedelta(days=5), cursor)
    assert names == [["labels"]]
    exports_file.write_text("exports: {}")
    assert tick(instance, SIX_IN_NEW_YORK + timedelta(days=6), cursor)[0] == []


def test_a_run_delivers_what_is_declared_and_reports_it(instance, exports_file, url):
    result = run(instance, "labels")
    assert result.success
    [found] = metadata_by_partition(result)["exports"].values()
    assert (found["delivered_count"], found["failed_count"], found["rows"]) == (1, 0, 2)
    rows = databases.rows(url, select(operations_exports.c.name, operations_exports.c.run_id))
    assert rows == [("labels", result.run_id)]
    refused = run(instance, "unknown")
    assert "invalid export 'unknown'" in expect_failure(refused)


@pytest.mark.slow
def test_an_undelivered_export_is_retried_and_alerts_until_it_is_delivered(
    instance, exports_file, url, tmp_path, monkeypatch
):
    with http_receiver() as hook:
        monkeypatch.setenv("ALERT_URLS", hook.url())
        watch = Watch(instance, url)
        monkeypatch.setenv("EXPORT_URL_SHELF", f"sqlite:///{exports_file}/not-a-folder/x.sqlite")
        failed = run(instance)
        assert failed.success  # the other export was delivered
        [check] = failed.get_asset_check_evaluations()
        assert (check.passed, check.metadata["overdue_count"].value) == (False, 1)
        assert "delivers_exports_in_time" in watch.tick_and_expect_skip()
        states = databases.rows(url, select(work_items.c.item_key, work_items.c.state))
        assert sorted(states) == [
            ("labels", "done"),
            ("shelved", "dead"),
        ]
        monkeypatch.setenv("EXPORT_URL_SHELF", f"sqlite:///{tmp_path}/shelf.sqlite")
        [check] = run(instance, "shelved").get_asset_check_evaluations()
        assert check.passed
        assert "Recovered" in watch.tick_and_expect_skip()


def test_the_sensor_starts_what_a_run_left(instance, exports_file, url, monkeypatch):
    monkeypatch.setenv("EXPORT_URL_SHELF", "postgresql://127.0.0.1:1/unknown?connect_timeout=2")
    now = Clock().now()
    assert run(instance, "shelved").success
    [(state, due_at)] = databases.rows(url, select(work_items.c.state, work_items.c.due_at))
    assert state == "failed"
    cursor = now.isoformat()
    assert tick(instance, due_at - timedelta(seconds=1), cursor)[0] == []
    assert ["shelved"] in tick(instance, due_at + timedelta(seconds=1), cursor)[0]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("exports: {a: {table: nope}}", "table or view not found: 'nope'"),
        ("exports: {a: {table: landings, schedule: monthly}}", "expected a cron expression"),
        ("exports: {a: {table: landings, colour: red}}", "exports.a.colour: unknown name"),
        ('exports: {a: {table: "a\\0b"}}', "table or view not found"),
        ("exports: [", "invalid YAML"),
        (None, "the file cannot be read"),
    ],
)
def test_a_broken_file_stops_exports_and_nothing_else(instance, exports_file, text, problem):
    if text is None:
        exports_file.unlink()
    else:
        exports_file.write_text(text)
    refused = expect_failure(run(instance))
    assert refused.startswith("orchestration_project.errors.ConfigurationError: invalid exports")
    assert problem in refused
    with pytest.raises(ConfigurationError, match="invalid exports"):
        tick(instance, SIX_IN_NEW_YORK, None)


def test_other_jobs_of_operations_run_with_a_broken_file(instance, exports_file):
    exports_file.write_text("exports: [")
    assert run(instance, kind=LIST_SESSIONS).success
