"""An export of a large view stays small: nothing is sorted in memory, no batch is kept."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Text, delete, func, insert, literal, select

from orchestration_project.engine.warehouse import Warehouse, bounded, bulk
from orchestration_project.settings import PROJECT_ROOT, child_environment
from orchestration_project.tables.catalogue import known_tables, relation, relation_as_of
from orchestration_project.tables.queries.relations import Relation
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import database_labels, landings
from tests.prepared import Prepared
from tests.resources.weeks import StoppedClock

SORTED = {
    *("finra_firms", "operations_alert_states", "operations_events", "operations_sessions"),
    "v_documents_chunks",
}
"""Views of several tables or of groups, of which no index has the key."""

LOADS = 250_000
"""Each is two events: loaded and restated."""

VALUES = {
    "group_id": "printf('%032x', n * 40503 % 1000003)",
    "landed_at": "printf('2026-01-%02d 12:00:00.123456', 1 + n * 7919 % 28)",
    "change_cause": "'source'",
}
MAX_MIB = 64
EXPORT = """
import resource, sys
from orchestration_project.__main__ import main

def peak(*arguments):
    assert main(["export", *arguments, "--output", sys.argv[1], "--force"]) == 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

idle = peak("database_labels", "--internal")
print(peak("operations_events") - idle)
"""


@pytest.fixture
def on_sqlite(tmp_path: Path, clock: StoppedClock, prepared: Prepared):
    with Warehouse(prepared.sqlite(tmp_path / "tables.sqlite"), clock=clock) as warehouse:
        yield warehouse


def exported() -> dict[str, Relation]:
    """Return all that can be exported, by a name of its own."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    earlier = [
        name
        for name, known_table in known_tables().items()
        if known_table.info.get(HISTORY) is not None
    ]
    return {name: relation(name) for name in known_tables()} | {
        f"{name} as of": relation_as_of(name, moment) for name in earlier
    }


def test_all_but_some_views_are_read_in_the_order_of_their_key(on_sqlite: Warehouse):
    with on_sqlite.reading() as connection:

        def plan(chosen: Relation) -> str:
            requested = chosen.select(chosen.columns([]), [])
            sql = requested.compile(connection, compile_kwargs={"literal_binds": True})
            return str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}").all())

        found = {name for name, value in exported().items() if "TEMP B-TREE" in plan(value)}
    assert found == SORTED


@pytest.fixture
def moved_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Clock of the time limit of a read, whose batches have one row."""
    now = [0.0]
    monkeypatch.setattr(bulk, "ROWS_PER_BATCH", 1)
    monkeypatch.setattr(bounded, "STEPS", 1)
    monkeypatch.setattr(bounded, "monotonic", lambda: now[0])
    return now


def test_a_limit_of_time_begins_again_with_each_batch(
    on_sqlite: Warehouse, moved_clock: list[float]
):
    insert_labels(on_sqlite, 5)
    with on_sqlite.batches(select(database_labels), database_labels, seconds=10) as batches:
        assert [moved_clock.append(moved_clock.pop() + 9) or batch.height for batch in batches] == [
            *(0, 1, 1, 1, 1, 1)
        ]
    assert moved_clock == [54.0]


def test_a_query_of_which_no_batch_comes_in_time_is_ended(
    on_sqlite: Warehouse, moved_clock: list[float]
):
    insert_labels(on_sqlite, 5)

    def read() -> None:
        with on_sqlite.batches(select(database_labels), database_labels, seconds=10) as batches:
            for _ in batches:
                moved_clock[0] += 11

    with pytest.raises(TimeoutError, match="exceeded its time limit"):
        read()


def test_postgresql_ends_a_query_of_which_no_batch_comes_in_time(
    prepared: Prepared, clock: StoppedClock
):
    asleep = select(func.pg_sleep(literal(10)).cast(Text).label("name"))
    with (
        Warehouse(prepared.postgresql(), clock=clock) as warehouse,
        pytest.raises(TimeoutError, match="exceeded its time limit"),
        warehouse.batches(
            asleep.add_columns(literal("x").label("value")), database_labels, seconds=0.1
        ) as batches,
    ):
        list(batches)


def insert_labels(warehouse: Warehouse, number: int) -> None:
    with warehouse.writing() as connection:
        connection.execute(delete(database_labels))
        labels = [{"name": str(digit), "value": "x"} for digit in range(number)]
        connection.execute(insert(database_labels), labels)


def test_loads_go_on_to_sort_in_memory_after_an_export(on_sqlite: Warehouse):
    with on_sqlite.batches(select(database_labels), database_labels) as batches:
        list(batches)
    with on_sqlite.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA temp_store").scalar_one() == 2  # MEMORY


@pytest.mark.slow
def test_a_large_view_that_is_sorted_is_exported_within_64_mib(
    on_sqlite: Warehouse, tmp_path: Path
):
    columns = ", ".join(column.name for column in landings.columns)
    values = ", ".join(VALUES.get(column.name, "n") for column in landings.columns)
    with on_sqlite.writing() as connection:
        connection.exec_driver_sql(
            "WITH RECURSIVE numbers(n) AS "  # noqa: S608 - our own names
            f"(SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {LOADS}) "
            f"INSERT INTO landings ({columns}) SELECT {values} FROM numbers"
        )
    environment = child_environment(
        PYTHONPATH=str(PROJECT_ROOT),
        DATABASE_URL=on_sqlite.shown_url,
        STATE_DIR=str(tmp_path / "state"),
    )
    child = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", EXPORT, str(tmp_path / "events.csv")],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert f"{2 * LOADS} rows" in child.stderr
    assert int(child.stdout) < MAX_MIB
