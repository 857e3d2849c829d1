"""Programs of `ui` are killed while a backfill is under way: the backfill comes to its end.

`ui` restarts its programs. Where it was killed itself, it is started again, as a service manager
or a person would, and the rest is waited for.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import select

from orchestration_project.domains.finra.anomaly_bands import WARNINGS
from orchestration_project.instance.storage import open_instance
from orchestration_project.tables.operations_alerts import (
    operations_alert_deliveries,
    operations_alerts,
    operations_evaluations,
)
from orchestration_project.tables.operations_runs import operations_runs, operations_steps
from tests import databases, programs
from tests.faults.disks import tiny_disk
from tests.faults.matrix import Database, Fault, strikes
from tests.faults.servers import OwnServer
from tests.faults.stack import PARTS, Stack, count_loads, weeks_of
from tests.receivers import http_receiver

pytestmark = [pytest.mark.faults, pytest.mark.slow]

FIRST_WEEK, WEEKS = date(2026, 1, 5), 4
SLOWLY = {"DEMO_LATENCY_SECONDS": "0.5", "FINRA_FIRST_WEEK": FIRST_WEEK.isoformat()}
"""So that a run takes some seconds, and is caught in the middle."""

MORE_SLOWLY = {"DEMO_LATENCY_SECONDS": "3"}
"""So that runs are caught although `ui` sends an alert of the daemon's end before it ends them."""

ENDS_AT_ONCE = {"PROGRAM_MAX_ENDS": "1"}
"""So that the end of one program ends `ui`, and with it the runs."""

WITHOUT_RUNS = ("the daemon", "the web server")
"""Parts whose restart ends no run."""

TIERS = ("T1", "T2", "OTCE")
PARTITIONS = [
    f"{tier}|{FIRST_WEEK + timedelta(weeks=week)}" for tier in TIERS for week in range(WEEKS)
]
ACTIVE_STATUSES = ("NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING")
ENDS_WITHIN_SECONDS = 420
LAST_RUN_ENDS_WITHIN_SECONDS = 240
ALERTING = ("operations_on_run_end",)
OF_FAILURE = ("failed", "job_failed", "held_back", "tick_failed")
OF_RUNS = "operations_"
OF_PROGRAMS = (OF_RUNS, "operations/", "dagster_daemon")
"""How the names of leases and fences begin that programs hold, and no load."""
DEAD_RUN_MESSAGES = (
    *("logs/code-server.log", "marked as failed from outside the execution context"),
    "An exception was thrown during execution",
)
"""How a run fails on a full disk: by run monitoring, or the code server, or its own last words."""

UNDISTURBED = ("dagster", "job", "execute", "-m", "orchestration_project.definitions")


class Expected(NamedTuple):
    """State after an undisturbed load: all tables, and each week's number of rows."""

    tables: Mapping[str, databases.Rows]
    weeks: set[tuple[Any, ...]]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """Rows of every table after an undisturbed load, and the weeks that it publishes."""
    state = tmp_path_factory.mktemp("undisturbed") / "state"
    for tier in TIERS:
        keys = [partition for partition in PARTITIONS if partition.startswith(f"{tier}|")]
        tags = (
            f'{{"dagster/asset_partition_range_start": "{keys[0]}", '
            f'"dagster/asset_partition_range_end": "{keys[-1]}"}}'
        )
        job = (*UNDISTURBED, "-j", "finra_otc_weekly", "--tags", tags)
        first_week = SLOWLY | {"DEMO_LATENCY_SECONDS": "0"}
        process = programs.start(state, *job, **first_week)
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
    url = databases.sqlite_url(state)
    return Expected(tables(url), set(weeks_of(url)))


def tables(url: str) -> Mapping[str, databases.Rows]:
    """Return every table's rows, but for those of runs, and for the audits that only warn.

    They compare a week with those that were loaded before it, and a week that is retried
    comes after others.
    """
    found = {
        name: rows for name, rows in databases.contents(url).items() if not name.startswith(OF_RUNS)
    }
    blocking = [row for row in found["audits"] if not WARNINGS.keys() & set(row)]
    held = {
        name: [row for row in found[name] if not str(row[0]).startswith(OF_PROGRAMS)]
        for name in ("fences", "leases")
    }
    return {**found, "audits": blocking, **held}


@pytest.fixture
def storage(request: pytest.FixtureRequest, database: Database) -> dict[str, str]:
    """The settings that say where our tables and Dagster's own are; none of them for SQLite."""
    if database == "sqlite":
        return {}
    return of_postgresql(request.getfixturevalue("new_database"))


def of_postgresql(new_database: Callable[[], str]) -> dict[str, str]:
    return {name: new_database() for name in ("DATABASE_URL", "DAGSTER_DATABASE_URL")}


@pytest.fixture
def stack_over(tmp_path: Path) -> Iterator[Callable[[Mapping[str, str]], Stack]]:
    """Starts `ui` with the settings of a storage, and ends all of it."""
    stack = Stack(tmp_path, **SLOWLY)

    def start(storage: Mapping[str, str]) -> Stack:
        stack.environment |= storage
        stack.start()
        return stack

    yield start
    stack.kill_all()


@pytest.mark.parametrize(
    ("fault", "database"),
    strikes("kill -9 during a backfill"),
    ids=lambda value: getattr(value, "stage", value),
)
def test_a_backfill_comes_to_its_end_whatever_is_killed_on_the_way(
    fault: Fault, stack_over, storage: dict[str, str], expected: Expected, monkeypatch
):
    stack = stack_over(storage)
    url = storage.get("DATABASE_URL", databases.sqlite_url(stack.state_dir))
    stack.backfill_without_failure(PARTITIONS)
    programs.wait_for(lambda: count_loads(url) >= 2, seconds=240)
    stack.kill(fault.stage)
    if not PARTS[fault.stage]:
        stack.wait_for_its_end()
        stack.start()
    statuses = check_until_completed(stack, url, expected)
    assert ("FAILURE" in statuses) == (fault.stage not in WITHOUT_RUNS), "the kill came too late"
    assert stack.starts == (1 if PARTS[fault.stage] else 2)
    assert stack.is_up
    assert_nothing_is_left(stack, storage, monkeypatch)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_ledger_and_alerts_are_complete_although_the_daemon_was_killed_during_a_backfill(
    database: Database, stack_over, storage: dict[str, str], expected: Expected
):
    with http_receiver() as hook:
        stack: Stack = stack_over(
            storage | MORE_SLOWLY | ENDS_AT_ONCE | {"ALERT_URLS": f"info={hook.url()}"}
        )
        url = storage.get("DATABASE_URL", databases.sqlite_url(stack.state_dir))
        stack.switch_on_without_failure(*ALERTING)
        stack.backfill_without_failure(PARTITIONS)
        programs.wait_for(lambda: count_loads(url) >= 1, seconds=240)
        stack.kill("the daemon")
        stack.wait_for_its_end()
        stack.start()
        check_until_completed(stack, url, expected)
        statuses = stack.statuses()
        assert "FAILURE" in statuses.values(), "the kill came too late"
        programs.wait_for(lambda: ledger(url) == stack.statuses(), seconds=120)
        programs.wait_for(lambda: looked_at(url) >= statuses.keys(), seconds=120)
        programs.wait_for(lambda: undelivered(url) == [], seconds=120)
        assert_alerts_are_complete(url, hook.titles)
    ended = select(operations_runs.c.error_category).where(operations_runs.c.status == "FAILURE")
    assert set(databases.rows(url, ended)) <= {("crash",), ("canceled",)}
    stepless = select(operations_runs.c.run_id).where(
        operations_runs.c.status == "SUCCESS",
        operations_runs.c.run_id.not_in(select(operations_steps.c.run_id)),
    )
    assert databases.rows(url, stepless) == []


def assert_alerts_are_complete(url: str, received: Sequence[str]) -> None:
    """Each alert was received once, none reports what has loaded since, and each week once."""
    alert = operations_alerts.c
    alerts = databases.rows(url, select(alert.kind, alert.state, alert.title, alert.partitions))
    # An alert of a failed run may stay open for a check that it reports as well.
    left = databases.rows(url, select(alert.open_problems).where(alert.state == "open"))
    assert [kind for (each,) in left for kind, *_ in json.loads(each) if kind in OF_FAILURE] == []
    assert sorted(received) == sorted(title for _, _, title, _ in alerts)
    loaded = [key for kind, *_, keys in alerts if kind == "landed" for key in json.loads(keys)]
    assert sorted(loaded) == sorted(PARTITIONS)


def ledger(url: str) -> dict[str, str]:
    """Return the status of every run, as the ledger has it."""
    runs = select(operations_runs.c.run_id, operations_runs.c.status)
    return {row[0]: row[1] for row in databases.rows(url, runs)}


def looked_at(url: str) -> set[str]:
    """Return the runs of which it was decided whether their end is reported."""
    causes = databases.rows(url, select(operations_evaluations.c.cause))
    return {word for (cause,) in causes for word in cause.split()}


def undelivered(url: str) -> databases.Rows:
    delivery = operations_alert_deliveries.c
    return databases.rows(url, select(delivery.alert_id).where(delivery.state != "delivered"))


def test_a_backfill_comes_to_its_end_although_the_database_server_is_restarted(
    own_server: OwnServer, stack_over, expected: Expected, monkeypatch
):
    assert strikes("the database server is restarted at once")
    storage = {"DATABASE_URL": own_server.url, "DAGSTER_DATABASE_URL": own_server.url}
    stack = stack_over(storage)
    stack.backfill_without_failure(PARTITIONS)
    programs.wait_for(lambda: count_loads(own_server.url) >= 2, seconds=240)
    own_server.restart()
    check_until_completed(stack, own_server.url, expected)
    assert_nothing_is_left(stack, storage, monkeypatch)


@pytest.mark.parametrize(
    ("fault", "database"),
    strikes("the disk is full during a backfill"),
    ids=lambda value: getattr(value, "stage", value),
)
def test_a_backfill_comes_to_its_end_once_a_full_disk_has_space_again(
    fault: Fault, database, stack_over, expected: Expected, tmp_path, monkeypatch
):
    state = tmp_path / "state"
    folder = {"below Dagster's state": state / "dagster", "below all state": state}[fault.stage]
    with tiny_disk(folder, mebibytes=192) as disk:
        stack = stack_over({"DISK_HEADROOM_MIB": "0"})  # which so small a disk has not
        url = databases.sqlite_url(stack.state_dir)
        stack.backfill_without_failure(PARTITIONS)
        programs.wait_for(lambda: count_loads(url) >= 2, seconds=240)
        disk.fill()
        programs.wait_for(lambda: "is full: Dagster cannot record" in stack.said)
        programs.wait_for(lambda: not stack.processes("the run worker"), seconds=240)
        assert stack.is_up
        disk.free()
        check_until_completed(stack, url, expected)
        assert "has space again" in stack.said
        failures = [said for status, said in stack.runs() if status == "FAILURE"]
        assert failures
        # by itself where its words found space yet, by the code server where they did again
        assert [
            failure
            for failure in failures
            if not any(words in failure for words in DEAD_RUN_MESSAGES)
        ] == []
        last_words = (state / "logs" / "code-server.log").read_text()
        assert folder == state or "disk is full" in last_words
        assert stack.starts == 1
        assert_nothing_is_left(stack, {}, monkeypatch)
        stack.kill_all()


def check_until_completed(stack: Stack, url: str, expected: Expected) -> Collection[str]:
    """Wait for the backfill and its last run, and return how each run ended.

    `ui` is started again where it has ended; what is read is whole weeks. Dagster requests a
    backfill's runs under way, then for those to be retried: if it retries the last one in between,
    neither answer has it, and the backfill is complete while that run goes on to its own end.
    """

    def check_weeks_and_completion() -> bool:
        assert set(weeks_of(url)) <= expected.weeks, "a reader saw a part of a week"
        if not stack.is_up:
            stack.start()
        return stack.backfill_states() == ["COMPLETED_SUCCESS"]

    programs.wait_for(check_weeks_and_completion, seconds=ENDS_WITHIN_SECONDS, poll_seconds=1)
    statuses = programs.wait_for(lambda: ended(stack), seconds=LAST_RUN_ENDS_WITHIN_SECONDS)
    assert tables(url) == expected.tables
    return statuses


def ended(stack: Stack) -> Collection[str]:
    """Return how each run ended, nothing while one is under way."""
    statuses = stack.statuses().values()
    return () if set(statuses) & set(ACTIVE_STATUSES) else statuses


def assert_nothing_is_left(
    stack: Stack, storage: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In no pool is a slot taken or waited for."""
    monkeypatch.setenv("STATE_DIR", str(stack.state_dir))
    for name, value in storage.items():
        monkeypatch.setenv(name, value)
    with open_instance() as instance:
        log = instance.event_log_storage
        pools = [log.get_concurrency_info(key) for key in log.get_concurrency_keys()]
    assert [pool for pool in pools if pool.active_slot_count or pool.pending_steps] == []
