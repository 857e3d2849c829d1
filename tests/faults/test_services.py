"""What `ui` runs is killed while a backfill is under way: the backfill comes to its end.

Nothing here is told to recover: `ui` is started again where it has ended, as a service manager or
a person would, and the rest is waited for.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from orchestration_project.domains.finra.usual import WARNINGS
from orchestration_project.instance.storage import open_instance
from tests import databases, programs
from tests.faults.disks import tiny_disk
from tests.faults.matrix import Database, Fault, strikes
from tests.faults.servers import OwnServer
from tests.faults.stack import Stack, landed_count, weeks_of

pytestmark = [pytest.mark.faults, pytest.mark.slow]

FIRST_WEEK, WEEKS = date(2026, 1, 5), 4
SLOWLY = {"DEMO_LATENCY_SECONDS": "0.5", "FINRA_FIRST_WEEK": FIRST_WEEK.isoformat()}
"""So that a run takes some seconds, and is caught in the middle."""

TIERS = ("T1", "T2", "OTCE")
PARTITIONS = [
    f"{tier}|{FIRST_WEEK + timedelta(weeks=week)}" for tier in TIERS for week in range(WEEKS)
]
UNDER_WAY = ("NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING")
ENDS_WITHIN_SECONDS = 420
UNDISTURBED = ("dagster", "job", "execute", "-m", "orchestration_project.definitions")


class Expected(NamedTuple):
    """What a load that nobody disturbs leaves: all tables, and each week's number of rows."""

    tables: Mapping[str, databases.Rows]
    weeks: set[tuple[Any, ...]]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """What a load that nobody disturbs leaves in every table, and the weeks that it publishes."""
    state = tmp_path_factory.mktemp("undisturbed") / "state"
    for tier in TIERS:
        keys = [each for each in PARTITIONS if each.startswith(f"{tier}|")]
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
    """Return every table's rows, but for the audits that only warn.

    They compare a week with those that were landed before it, and a week that is tried once more
    comes after others.
    """
    found = databases.contents(url)
    blocking = [row for row in found["audits"] if not WARNINGS.keys() & set(row)]
    return {**found, "audits": blocking}


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
    stack.backfill(PARTITIONS)
    programs.wait_for(lambda: landed_count(url) >= 2, seconds=240)
    stack.kill(fault.stage)
    if fault.stage != "the run worker":
        stack.wait_for_its_end()
        stack.start()
    until_completed(stack, url, expected)
    statuses = [status for status, _ in stack.runs()]
    assert "FAILURE" in statuses, "the kill came too late"
    assert stack.is_up
    assert_nothing_is_left(statuses, stack, storage, monkeypatch)


def test_a_backfill_comes_to_its_end_although_the_database_server_is_restarted(
    own_server: OwnServer, stack_over, expected: Expected, monkeypatch
):
    assert strikes("the database server is restarted at once")
    storage = {"DATABASE_URL": own_server.url, "DAGSTER_DATABASE_URL": own_server.url}
    stack = stack_over(storage)
    stack.backfill(PARTITIONS)
    programs.wait_for(lambda: landed_count(own_server.url) >= 2, seconds=240)
    own_server.restart()
    until_completed(stack, own_server.url, expected)
    statuses = [status for status, _ in stack.runs()]
    assert_nothing_is_left(statuses, stack, storage, monkeypatch)


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
        stack = stack_over({})
        url = databases.sqlite_url(stack.state_dir)
        stack.backfill(PARTITIONS)
        programs.wait_for(lambda: landed_count(url) >= 2, seconds=240)
        disk.fill()
        programs.wait_for(lambda: "is full: Dagster cannot record" in stack.said)
        programs.wait_for(lambda: not stack.processes("the run worker"), seconds=240)
        assert stack.is_up
        disk.free()
        until_completed(stack, url, expected)
        assert "has space again" in stack.said
        failures = [said for status, said in stack.runs() if status == "FAILURE"]
        assert failures
        assert all("logs/code-server.log" in each for each in failures)
        last_words = (state / "logs" / "code-server.log").read_text()
        assert folder == state or "disk is full" in last_words
        assert stack.starts == 1
        assert_nothing_is_left([status for status, _ in stack.runs()], stack, {}, monkeypatch)
        stack.kill_all()


def until_completed(stack: Stack, url: str, expected: Expected) -> None:
    """Wait for the backfill; start `ui` again where it has ended; what is read is whole weeks."""
    deadline = time.monotonic() + ENDS_WITHIN_SECONDS
    while stack.backfill_states() != ["COMPLETED_SUCCESS"]:
        assert time.monotonic() < deadline, (stack.backfill_states(), stack.runs())
        assert set(weeks_of(url)) <= expected.weeks, "a reader saw a part of a week"
        if not stack.is_up:
            stack.start()
        time.sleep(1)
    assert tables(url) == expected.tables


def assert_nothing_is_left(
    statuses: Sequence[str],
    stack: Stack,
    storage: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No run is under way, and in no pool is a slot taken or waited for."""
    assert [status for status in statuses if status in UNDER_WAY] == []
    monkeypatch.setenv("STATE_DIR", str(stack.state_dir))
    for name, value in storage.items():
        monkeypatch.setenv(name, value)
    with open_instance() as instance:
        log = instance.event_log_storage
        pools = [log.get_concurrency_info(each) for each in log.get_concurrency_keys()]
    assert [each for each in pools if each.active_slot_count or each.pending_steps] == []
