"""Exports as a service: what a target gets, once per load, all or nothing."""

import csv
import io
import json
import random
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine

from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.contracts.exports import read_exports
from orchestration_project.engine.dagster_private.automation import is_valid_cron_string
from orchestration_project.errors import TransientError
from orchestration_project.services.exports import find_scheduled
from orchestration_project.services.exports.work import (
    find_due_exports,
    find_overdue_exports,
)
from orchestration_project.tables.queries.changes import changed_rows
from tests.resources.exporting import AN_HOUR, listening
from tests.resources.weeks import NOON, row


def records(text: str) -> list[tuple[str, ...]]:
    return [tuple(record) for record in csv.reader(io.StringIO(text, newline=""))][1:]


WHOLE = """
exports:
  weekly: {table: finra_otc_weekly, columns: [symbol, share_quantity], where: [share_quantity>=10],
           format: csv}
"""
CHANGES = WHOLE.replace("format: csv", "format: csv, incremental: true")


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_table_is_exported_once_per_load(installation):
    installation.declare(WHOLE)
    assert installation.export().outcome == "unchanged"
    installation.write_batch(row("AAA", share_quantity=10), row("BBB", share_quantity=9))
    first = installation.export()
    assert (first.outcome, installation.read_without_failure(first)) == (
        "delivered",
        "symbol,share_quantity\r\nAAA,10.000000\r\n",
    )
    assert installation.export().outcome == "unchanged"
    installation.write_batch(row("AAA", share_quantity=12))
    second = installation.export()
    assert records(installation.read_without_failure(second)) == [("AAA", "12.000000")]
    one, two = installation.recorded()
    assert (one["to_load"], one["from_load"], one["row_count"]) == (NOON + AN_HOUR, None, 1)
    assert (two["to_load"], two["run_id"]) == (NOON + 3 * AN_HOUR, "run 4")
    assert two["delivered_at"] == installation.clock.at
    assert two["uri"] == f"{installation.store.url}/{two['artifact']}"
    assert json.loads(two["condition"]) == ["share_quantity>=10"]
    assert installation.files() == sorted(export["artifact"] for export in (one, two))


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_an_incremental_export_has_added_changed_and_removed_rows(installation):
    installation.declare(CHANGES)
    same = row("SAME", share_quantity=50)
    installation.write_batch(
        same,
        row("AAA", share_quantity=10),
        row("GONE", share_quantity=20),
        row("LESS", share_quantity=30),
        row("SMALL", share_quantity=1),
    )
    assert records(installation.read_without_failure(installation.export())) == [
        ("added", "AAA", "10.000000"),
        ("added", "GONE", "20.000000"),
        ("added", "LESS", "30.000000"),
        ("added", "SAME", "50.000000"),
    ]
    installation.write_batch(
        same,
        row("AAA", share_quantity=11),
        row("LESS", share_quantity=3),
        row("NEW", share_quantity=40),
        row("SMALL", share_quantity=15),
    )
    second = installation.export()
    assert records(installation.read_without_failure(second)) == [
        ("changed", "AAA", "11.000000"),
        ("removed", "GONE", "20.000000"),
        ("removed", "LESS", "30.000000"),
        ("added", "NEW", "40.000000"),
        ("added", "SMALL", "15.000000"),
    ]
    first, after = installation.recorded()
    assert after["from_load"] == first["to_load"]
    assert installation.export().outcome == "unchanged"


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_increments_lead_from_any_state_to_any_later_one(installation):
    """Applied to the state before, whatever is loaded between, they give the state after."""
    draw = random.Random(7)  # noqa: S311 - rows of a test
    symbols, times, states = [f"S{number}" for number in range(9)], [], []
    for _ in range(3):
        chosen = draw.sample(symbols, draw.randint(1, 8))
        rows = [row(each, share_quantity=draw.choice([5, 10, 11])) for each in chosen]
        installation.write_batch(*rows)
        times.append(installation.clock.at)
        states.append({e["symbol"]: e["share_quantity"] for e in rows if e["share_quantity"] > 9})
    for start, since in enumerate([None, *times]):
        for end, until in enumerate(times):
            if since is not None and until < since:
                continue
            state = dict(states[start - 1]) if since else {}
            chosen = changed_rows("finra_otc_weekly", since, until, ["share_quantity>9"])
            statement = chosen.select(["change", "symbol", "share_quantity"], [])
            found = installation.warehouse.frame(statement, chosen.table)
            for change, symbol, quantity in found.select(
                "change", "symbol", "share_quantity"
            ).rows():
                assert (symbol in state) == (change != "added")
                if change == "removed":
                    del state[symbol]
                else:
                    state[symbol] = quantity
            assert state == states[end]


@pytest.mark.slow_on_postgresql
def test_an_increment_waits_for_a_load_that_is_committed_late(installation):
    """SQLite has one writer at a time: there, no load is late."""
    is_sqlite = installation.warehouse.shown_url.startswith("sqlite")
    installation.declare(CHANGES)
    installation.write_batch(row("AAA"))
    assert installation.export().outcome == "delivered"
    with nullcontext() if is_sqlite else installation.warehouse.writing() as connection:
        if connection:
            connection.exec_driver_sql("CREATE TEMPORARY TABLE written (x int)")
        installation.clock.at += timedelta(seconds=1)
        installation.partition_loader.write_batch(row("AAA"), row("BBB"), version="2")
        result = installation.export()
        assert result.outcome == ("delivered" if is_sqlite else "unchanged")
    installation.clock.at += AN_HOUR
    result = result if is_sqlite else installation.export()
    assert records(installation.read_without_failure(result)) == [("added", "BBB", "100.000000")]


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    ("table", "more"),
    [
        ("v_finra_otc_weekly", ""),
        ("finra_symbol_week", ""),
        ("landings", ""),
        ("leases", "internal: true"),
    ],
)
def test_views_derived_tables_and_those_of_operations_are_exported_whole(
    installation, table: str, more: str
):
    installation.declare(f"exports: {{weekly: {{table: {table}, {more}}}}}")
    installation.write_batch(row("AAA"))
    result = installation.export()
    assert result.export
    frame = pl.read_parquet(installation.store.get(result.export.artifact))
    assert frame.height == result.export.row_count > 0
    installation.clock.at += AN_HOUR
    assert installation.export().outcome == "unchanged"
    assert len(installation.files()) == 1
    if table != "leases":
        installation.write_batch(row("AAA"), row("BBB"))
        assert installation.export().outcome == "delivered"


@pytest.mark.slow_on_postgresql
def test_another_declaration_exports_all_rows_again(installation):
    installation.declare(CHANGES)
    installation.write_batch(row("AAA"))
    installation.export()
    installation.write_batch(row("AAA"), row("BBB"))
    installation.declare(CHANGES.replace(">=10", ">=20"))
    assert [
        record[:2] for record in records(installation.read_without_failure(installation.export()))
    ] == [
        ("added", "AAA"),
        ("added", "BBB"),
    ]


class Flaky(FolderStore):
    """A store that fails when it is asked to put."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.error: BaseException | None = None

    def put(self, name: str, content: Any) -> None:
        if self.error:
            raise self.error
        super().put(name, content)


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_store_that_is_down_is_waited_for_and_the_alert_comes_after_its_window(
    installation, tmp_path
):
    installation.declare(WHOLE.replace("format: csv", "format: csv, alert_after_hours: 2"))
    installation.write_batch(row("AAA"))
    installation.store = store = Flaky(tmp_path / "other")
    store.error = TransientError("the store does not answer")

    def due() -> list[str]:
        found = find_due_exports(
            installation.warehouse, installation.clock, installation.declared, lambda _: False
        )
        return [*found]

    def overdue() -> list[str]:
        found = find_overdue_exports(
            installation.warehouse, installation.clock, installation.declared
        )
        return [export.name for export in found]

    for pause in (1, 5, 30, 60):
        assert installation.export().outcome == "failed"
        assert (due(), overdue()) == ([], [])
        installation.clock.at += timedelta(minutes=pause)
        assert due() == ["weekly"]
    assert overdue() == []
    installation.clock.at += AN_HOUR
    assert installation.export().outcome == "failed"
    assert overdue() == ["weekly"]
    installation.write_batch(
        row("AAA"), row("BBB")
    )  # the waiting export has what it was planned with
    store.error = None
    assert records(installation.read_without_failure(installation.export())) == [
        ("AAA", "100.000000")
    ]
    assert (due(), overdue()) == ([], [])
    assert records(installation.read_without_failure(installation.export())) == [
        ("AAA", "100.000000"),
        ("BBB", "100.000000"),
    ]


@pytest.mark.slow_on_postgresql
def test_one_run_at_a_time_delivers_an_export_and_that_of_an_ended_one_is_taken_over(
    installation, tmp_path
):
    installation.declare(WHOLE)
    installation.write_batch(row("AAA"))
    installation.store = store = Flaky(tmp_path / "other")
    store.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        installation.export()
    store.error = None
    installation.under_way = {"run 1"}
    assert installation.export().outcome == "under_way"
    installation.under_way = set()
    due = find_due_exports(
        installation.warehouse, installation.clock, installation.declared, lambda _: False
    )
    assert due == ["weekly"]
    assert installation.export().outcome == "delivered"
    assert len(installation.recorded()) == 1


@pytest.mark.slow_on_postgresql
def test_a_delivery_of_which_another_run_has_taken_the_lease_is_recorded_by_that_run_alone(
    installation, tmp_path
):
    class Slow(FolderStore):
        def put(self, name: str, content: Any) -> None:
            super().put(name, content)
            installation.store = FolderStore(tmp_path / "other")
            results.append(installation.export())  # the first run seems to have ended

    results: list[Any] = []
    installation.declare(WHOLE)
    installation.write_batch(row("AAA"))
    installation.store = Slow(tmp_path / "other")
    results.append(installation.export())
    assert [result.outcome for result in results] == ["delivered", "under_way"]
    [recorded] = installation.recorded()
    assert recorded["run_id"] == "run 2"


@pytest.mark.slow_after_first
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)  # SQLAlchemy has no event of COPY
@pytest.mark.parametrize("more", ["", ", incremental: true"])
def test_a_load_that_comes_while_rows_are_read_is_left_to_the_next_export(installation, more: str):
    installation.declare(WHOLE.replace("format: csv", f"format: csv{more}"))
    installation.write_batch(row("AAA"))
    installation.write_batch(row("AAA"), row("BBB"))
    to_come = [[row("AAA", share_quantity=7), row("CCC")]]

    def execute(_: Any, __: Any, statement: str, *___: Any) -> None:
        if (
            to_come
            and "FROM finra_otc_weekly" in statement
            and "share_quantity_micros >=" in statement
        ):
            installation.write_batch(*to_come.pop())

    with listening(Engine, "before_cursor_execute", execute):
        first = installation.export()
    assert to_come == []
    second = installation.export()
    found = [
        [record[-2:] for record in records(installation.read_without_failure(x))]
        for x in (first, second)
    ]
    assert found[0] == [("AAA", "100.000000"), ("BBB", "100.000000")]
    removed = [("AAA", "100.000000"), ("BBB", "100.000000")] if more else []
    assert found[1] == [*removed, ("CCC", "100.000000")]


def test_formulas_are_escaped_where_the_file_says_so(installation):
    installation.declare(
        "exports: {weekly: {table: finra_otc_weekly, columns: [issue_name], format: csv, "
        "escape_formulas: true}}"
    )
    installation.write_batch(row("AAA", issue_name="=1+1"))
    assert records(installation.read_without_failure(installation.export())) == [("'=1+1",)]


@pytest.mark.parametrize(
    ("schedule", "zone", "due_at"),
    [
        ("0 6 * * *", "UTC", datetime(2026, 3, 9, 6, tzinfo=UTC)),
        ("0 6 * * *", "America/New_York", datetime(2026, 3, 8, 10, tzinfo=UTC)),
        ("@hourly", "UTC", datetime(2026, 3, 9, 8, tzinfo=UTC)),
        ("0 0 1 * *", "UTC", None),
    ],
)
def test_a_schedule_is_due_once_after_it_was_looked_at(schedule: str, zone: str, due_at):
    text = f"exports: {{a: {{table: landings, schedule: '{schedule}', timezone: {zone}}}}}"
    declared = read_exports(text, is_valid_cron_string)
    since, now = datetime(2026, 3, 8, 3, tzinfo=UTC), datetime(2026, 3, 9, 8, 0, 30, tzinfo=UTC)
    expected = {"a": due_at} if due_at else {}
    assert find_scheduled(declared, since, now) == expected
    assert find_scheduled(declared, due_at or since, now) == {}
