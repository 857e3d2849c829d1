"""The change feed: each change once, in the order of commits, whatever comes between two reads."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from sqlalchemy import Connection, Text, delete, event, insert, select, update

from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
)
from orchestration_project.engine.contracts.chain import ChainKey
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.chain_amending import record_amendments
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.change_feed import (
    BEGIN,
    Change,
    ChangePage,
    ChangesMissingError,
    parse_position,
    read_changes,
    read_last_position,
)
from orchestration_project.tables.catalogue import known_tables
from orchestration_project.tables.schema import HISTORY, key_names
from orchestration_project.tables.spine import landings, load_chain
from orchestration_project.tables.webhooks import events_webhooks
from tests.expecting import expect_set
from tests.prepared import Prepared
from tests.resources.histories import HISTORIES, check_history
from tests.resources.weeks import MONDAY, PartitionLoader, StoppedClock, row

KEY = ChainKey(bytes(range(32)))
NAME = finra_otc_weekly.name
NEXT_WEEK = MONDAY + timedelta(days=7)


def place_of(kind: str, tmp_path: Path, prepared: Prepared) -> AbstractContextManager[Any]:
    """Give URL and schema of an empty database."""
    if kind == "postgresql":
        return prepared.schema()
    return nullcontext((prepared.sqlite(tmp_path / "chained.sqlite"), None))


@contextmanager
def open_chained(place: tuple[str, str | None], clock: StoppedClock) -> Iterator[Warehouse]:
    """Give a warehouse whose loads are chained."""
    url, schema = place
    with Warehouse(url, clock=clock, schema=schema, chain_key=lambda: KEY) as opened:
        opened.prepare(holds="real")
        yield opened


@pytest.fixture(params=["sqlite", "postgresql"])
def chained(
    request: pytest.FixtureRequest, tmp_path: Path, prepared: Prepared, clock: StoppedClock
) -> Iterator[Warehouse]:
    """A warehouse whose loads are chained, of each kind."""
    with (
        place_of(request.param, tmp_path, prepared) as place,
        open_chained(place, clock) as warehouse,
    ):
        yield warehouse


@pytest.fixture
def postgresql(prepared: Prepared, clock: StoppedClock) -> Iterator[Warehouse]:
    """A warehouse in which loads run at once."""
    with prepared.schema() as place, open_chained(place, clock) as warehouse:
        yield warehouse


@pytest.fixture
def loader(chained: Warehouse, tmp_path: Path) -> PartitionLoader:
    """Loads the week of MONDAY."""
    return PartitionLoader(chained, tmp_path / "artifacts")


@pytest.fixture
def next_week(chained: Warehouse, tmp_path: Path) -> PartitionLoader:
    """Loads the week after."""
    return PartitionLoader(chained, tmp_path / "artifacts", week_start=NEXT_WEEK)


@dataclass
class Mirror:
    """A copy of the table, kept in step by the feed alone.

    Attributes:
        warehouse: Has the table.
        limit: Changes of a page.
        record_limit: Records of the chain that a page reads.
        rows: The copy, by key.
        changes: All changes that came.
    """

    warehouse: Warehouse
    limit: int = 100
    cursor: str | None = None
    record_limit: int = 500
    rows: dict[tuple[Any, ...], Any] = field(default_factory=dict[tuple[Any, ...], Any])
    changes: list[Change] = field(default_factory=list[Change])

    def follow_and_check_limits(self) -> list[Change]:
        """Read to the end of the feed; return the new changes."""
        before = len(self.changes)
        is_more = True
        while is_more:
            with self.warehouse.reading() as connection:
                page = read_changes(
                    connection,
                    NAME,
                    parse_position(NAME, self.cursor),
                    limit=self.limit,
                    record_limit=self.record_limit,
                )
            assert len(page.changes) <= self.limit
            self.apply(page)
            is_more = page.is_more
        return self.changes[before:]

    def apply(self, page: ChangePage) -> None:
        """Apply the changes of a page, and keep its cursor."""
        for change in page.changes:
            self._check_and_apply(change)
        self.cursor = str(page.position)

    def _check_and_apply(self, change: Change) -> None:
        self.changes.append(change)
        if change.row is None:
            self.rows = {
                key: values
                for key, values in self.rows.items()
                if {name: str(values[name]) for name in change.partition} != change.partition
            }
            return
        key = tuple(change.row[name] for name in key_names(finra_otc_weekly))
        if change.change == "removed":
            assert key in self.rows or any(change.change == "reset" for change in self.changes)
            self.rows.pop(key, None)
        else:
            self.rows[key] = change.row


def read_table(connection: Connection) -> dict[tuple[Any, ...], Any]:
    """Return the present rows by key."""
    columns = [column.label(column.key) for column in finra_otc_weekly.columns]
    rows = connection.execute(select(*columns)).mappings()
    return {
        tuple(record[name] for name in key_names(finra_otc_weekly)): dict(record) for record in rows
    }


def summarize(changes: list[Change]) -> list[tuple[str, str, str | None]]:
    """Return change, symbol and cause of each."""
    return [(item.change, item.row["symbol"] if item.row else "", item.cause) for item in changes]


@pytest.mark.slow_after_first
def test_a_change_has_its_cause_delivery_and_times(chained, loader, clock):
    first = loader.write_batch(row("AAA"), row("BBB"))
    clock.at += timedelta(days=1)
    second = loader.write_batch(row("BBB", share_quantity=7), row("CCC"), version="v2")
    mirror = Mirror(chained)
    changes = mirror.follow_and_check_limits()
    assert summarize(changes) == [
        ("added", "AAA", "first"),
        ("added", "BBB", "first"),
        ("removed", "AAA", "source"),
        ("changed", "BBB", "source"),
        ("added", "CCC", "source"),
    ]
    removed = changes[2]
    assert (removed.known_from, removed.known_to) == (first.known_from, second.known_from)
    assert {item.group_id for item in changes[2:]} == {second.group_id}
    assert (changes[3].known_from, changes[3].known_to) == (second.known_from, None)
    assert changes[3].row is not None
    assert changes[3].row["share_quantity"] == 7
    assert removed.partition == {"tier": "T1", "week_start": str(MONDAY)}
    assert isinstance(changes[3].published_on, date)


@pytest.mark.slow_after_first
def test_the_past_of_a_feed_does_not_change(chained, loader, clock):
    loader.write_batch(row("AAA"), row("BBB"))
    early = Mirror(chained).follow_and_check_limits()
    clock.at += timedelta(days=1)
    loader.write_batch(row("AAA", share_quantity=7), version="v2")
    assert Mirror(chained).follow_and_check_limits()[: len(early)] == early


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_each_change_comes_once_whatever_the_page(chained, loader, next_week, clock, limit):
    mirror = Mirror(chained, limit)
    for number in range(4):
        clock.at += timedelta(days=1)
        loader.write_batch(
            row("AAA", share_quantity=number), row(f"S{number}"), version=f"v{number}"
        )
        next_week.write_batch(
            *(row(f"N{index}") for index in range(number + 1)), version=f"v{number}"
        )
        mirror.follow_and_check_limits()
        with chained.reading() as connection:
            assert mirror.rows == read_table(connection)
    again = Mirror(chained, 3)
    again.follow_and_check_limits()
    assert again.changes == mirror.changes
    assert len({str(item.position) for item in mirror.changes}) == len(mirror.changes) == 15


@pytest.mark.slow
@settings(max_examples=8)
@given(history=HISTORIES)
def test_a_mirror_equals_the_table_after_any_history(history, tmp_path_factory, prepared):
    folder = tmp_path_factory.mktemp("history")
    clock = StoppedClock()
    url = prepared.sqlite(folder / "chained.sqlite")
    with Warehouse(url, clock=clock, chain_key=lambda: KEY) as warehouse:
        warehouse.prepare(holds="real")
        check_history(PartitionLoader(warehouse, folder / "artifacts"), clock, history)
        mirror = Mirror(warehouse, 2)
        mirror.follow_and_check_limits()
        with warehouse.reading() as connection:
            assert mirror.rows == read_table(connection)


def write_webhooks(warehouse: Warehouse, at: datetime) -> None:
    """Write 3,000 earlier webhooks of a source, and a load of one more with its record."""
    shop = {"source": "shop", "received_at": at, "kind": None, "payload": None, "capture_id": 1}
    early = {**shop, "known_from": at - timedelta(days=1)}
    names = {"table_name": "events_webhooks", "partition_key": "shop", "group_id": "shop#2"}
    texts = {column.name: "" for column in landings.columns if isinstance(column.type, Text)}
    numbers = {column.name: 0 for column in landings.columns if column.name.startswith("rows_")}
    record = {"kind": "load", "partition": '{"source": "shop"}', "payload": "{}"}
    with warehouse.writing() as connection:
        rows = [{**early, "delivery_id": str(number)} for number in range(3000)]
        rows.append({**shop, "delivery_id": "new", "known_from": at})
        connection.execute(insert(events_webhooks), rows)
        load = {**texts, **numbers, **names, "rows_added": 1, "landed_at": at}
        connection.execute(insert(landings), load)
        chained = {**names, **record, "number": 1, "record_sha256": "a" * 64, "recorded_at": at}
        connection.execute(insert(load_chain), chained)
        connection.exec_driver_sql("ANALYZE")


@pytest.mark.slow_after_first
def test_changes_of_one_load_are_found_by_index_where_partitions_only_grow(warehouse, clock):
    write_webhooks(warehouse, clock.at)
    statements: list[tuple[str, Any]] = []

    def keep(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        statements.append((statement, values))

    with warehouse.reading() as connection:
        event.listen(connection, "before_cursor_execute", keep)
        [change] = read_changes(connection, "events_webhooks", BEGIN).changes
        event.remove(connection, "before_cursor_execute", keep)
        explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
        [(statement, values)] = [
            pair for pair in statements if "events_webhooks_history" in pair[0]
        ]
        steps = connection.exec_driver_sql(f"{explain} {statement}", values).all()
    assert change.row is not None
    assert (change.change, change.row["delivery_id"]) == ("added", "new")
    text = "\n".join(str(step) for step in steps)
    assert "events_webhooks_by_known_from" in text
    assert "Seq Scan on events_webhooks " not in text
    assert "SCAN" not in text


@pytest.mark.parametrize("name", ["events_webhooks", "web_pages", "web_items"])
def test_partitions_that_only_grow_are_indexed_by_load(name):
    table = known_tables()[name]
    indexes = {index.name for part in (table, table.info[HISTORY]) for index in part.indexes}
    assert {
        f"{name}_by_known_from",
        f"{name}_history_by_known_from",
        f"{name}_history_by_known_to",
    } <= indexes


def test_the_order_is_that_of_commits_and_not_of_starts(postgresql, tmp_path, clock):
    """A load that began first commits last, with a reader between; its time is the earlier one."""
    loader = PartitionLoader(postgresql, tmp_path / "artifacts")
    next_week = replace(loader, week_start=NEXT_WEEK)
    has_begun, may_end = threading.Event(), threading.Event()

    def wait(_connection: Connection, batches: Any) -> Any:
        has_begun.set()
        expect_set(may_end, 30)
        return [()] * len(batches)

    mirror = Mirror(postgresql)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(loader.write_batch, row("AAA"), warn=wait)
        assert has_begun.wait(30)
        clock.at += timedelta(hours=1)
        fast = next_week.write_batch(row("BBB"))
        between = mirror.follow_and_check_limits()
        may_end.set()
        began_first = slow.result()
    assert began_first.known_from < fast.known_from
    assert summarize(between) == [("added", "BBB", "first")]
    assert summarize(mirror.follow_and_check_limits()) == [("added", "AAA", "first")]


@pytest.mark.slow_after_first
def test_an_erasure_resets_its_partition_once(chained, loader, next_week, clock):
    loader.write_batch(row("AAA"), row("BBB"))
    clock.at += timedelta(days=1)
    loader.write_batch(row("AAA", share_quantity=7), row("BBB"), version="v2")
    next_week.write_batch(row("CCC"))
    mirror = Mirror(chained, 1)
    mirror.follow_and_check_limits()
    clock.at += timedelta(days=1)
    erase(chained, "AAA", clock.at)
    erased = mirror.follow_and_check_limits()
    assert summarize(erased) == [("reset", "", None), ("present", "BBB", None)]
    with chained.reading() as connection:
        assert mirror.rows == read_table(connection)


def erase(warehouse: Warehouse, symbol: str, at: datetime) -> None:
    """Delete the rows of a symbol, and record it as an erasure does."""
    with warehouse.writing() as connection, record_amendments(connection, "erasure", "request", at):
        for table in (finra_otc_weekly, finra_otc_weekly_history):
            connection.execute(delete(table).where(table.c.symbol == symbol))


@pytest.mark.slow_after_first
def test_two_erasures_at_one_time_reset_a_partition_twice(chained, loader, clock):
    loader.write_batch(row("AAA"), row("BBB"), row("CCC"))
    mirror = Mirror(chained, 1)
    mirror.follow_and_check_limits()
    for symbol, left in (("AAA", ["BBB", "CCC"]), ("BBB", ["CCC"])):
        erase(chained, symbol, clock.at)
        expected = [("reset", "", None), *(("present", key, None) for key in left)]
        assert summarize(mirror.follow_and_check_limits()) == expected
    with chained.reading() as connection:
        assert mirror.rows == read_table(connection)


@pytest.mark.slow_after_first
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_changes_that_are_not_as_many_as_the_load_counted_are_refused(
    chained, loader, clock, limit
):
    loader.write_batch(row("AAA"), row("BBB"), row("CCC"))
    clock.at += timedelta(days=1)
    second = loader.write_batch(
        row("AAA", share_quantity=7), row("BBB", share_quantity=7), version="v2"
    )
    with chained.writing() as connection:  # past the loader, without a record of the chain
        connection.execute(delete(finra_otc_weekly).where(finra_otc_weekly.c.symbol == "BBB"))
    mirror = Mirror(chained, limit)
    with pytest.raises(ChangesMissingError, match="lack changes that a load counted") as refusal:
        mirror.follow_and_check_limits()
    assert (refusal.value.expected, refusal.value.found) == (
        "0 added, 2 changed, 1 removed",
        "0 added, 1 changed, 2 removed",
    )
    assert second.group_id in str(refusal.value)
    assert [change.cause for change in mirror.changes] == ["first"] * 3


@pytest.mark.slow_after_first
def test_a_reset_is_of_its_partition_alone_and_survives_loads_between_its_pages(
    chained, loader, next_week, clock
):
    loader.write_batch(row("AAA"), row("BBB"), row("CCC"), row("DDD"))
    next_week.write_batch(row("NNN"))
    mirror = Mirror(chained, 2)
    mirror.follow_and_check_limits()
    erase(chained, "AAA", clock.at)
    with chained.reading() as connection:
        start = parse_position(NAME, mirror.cursor)
        page = read_changes(connection, NAME, start, limit=2)
    assert [change.change for change in page.changes] == ["reset", "present"]
    assert page.changes[0].partition == {"tier": "T1", "week_start": str(MONDAY)}
    assert page.is_more
    clock.at += timedelta(days=1)
    loader.write_batch(row("CCC", share_quantity=7), row("EEE"), version="v2")
    mirror.apply(page)
    following = summarize(mirror.follow_and_check_limits())
    assert [change for change in following if change[0] != "present"] == [
        ("removed", "BBB", "source"),
        ("changed", "CCC", "source"),
        ("removed", "DDD", "source"),
        ("added", "EEE", "source"),
    ]
    with chained.reading() as connection:
        assert mirror.rows == read_table(connection)


def test_rows_without_a_chain_are_refused_until_a_load_begins_one(prepared, tmp_path, clock):
    url = prepared.sqlite(tmp_path / "unchained.sqlite")
    with Warehouse(url, clock=clock) as unchained:
        unchained.prepare(holds="real")
        assert Mirror(unchained).follow_and_check_limits() == []
        loader = PartitionLoader(unchained, tmp_path / "artifacts")
        loader.write_batch(row("AAA"))
        with pytest.raises(ConfigurationError, match="its rows are older than its chain"):
            Mirror(unchained).follow_and_check_limits()


def test_rows_of_before_the_chain_come_as_a_reset(prepared, tmp_path, clock):
    url = prepared.sqlite(tmp_path / "unchained.sqlite")
    with Warehouse(url, clock=clock) as unchained:
        unchained.prepare(holds="real")
        PartitionLoader(unchained, tmp_path / "artifacts").write_batch(row("AAA"), row("BBB"))
    clock.at += timedelta(days=1)
    with Warehouse(url, clock=clock, chain_key=lambda: KEY) as chained:
        PartitionLoader(chained, tmp_path / "artifacts").write_batch(
            row("BBB", share_quantity=7), version="v2"
        )
        mirror = Mirror(chained)
        changes = mirror.follow_and_check_limits()
        assert [item.change for item in changes][:2] == ["reset", "present"]
        with chained.reading() as connection:
            assert list(mirror.rows) == list(read_table(connection))


@pytest.mark.slow_after_first
def test_a_load_without_changes_and_a_quarantine_are_no_changes(chained, loader, clock):
    loader.write_batch(row("AAA"))
    mirror = Mirror(chained)
    mirror.follow_and_check_limits()
    clock.at += timedelta(days=1)
    loader.write_batch(row("AAA"), version="v2")
    before = mirror.cursor
    assert mirror.follow_and_check_limits() == []
    assert mirror.cursor != before


@pytest.mark.slow_after_first
def test_pages_of_records_go_on_without_changes(chained, loader, clock):
    for number in range(5):
        clock.at += timedelta(days=1)
        loader.write_batch(row("AAA", share_quantity=number), version=f"v{number}")
    assert len(Mirror(chained, record_limit=2).follow_and_check_limits()) == 5


def test_the_last_position_is_after_all_changes(chained, loader):
    with chained.reading() as connection:
        assert read_last_position(connection, NAME) == BEGIN
    loader.write_batch(row("AAA"))
    with chained.reading() as connection:
        last = read_last_position(connection, NAME)
        assert read_changes(connection, NAME, last).changes == []
    assert Mirror(chained, cursor=str(last)).follow_and_check_limits() == []


@pytest.mark.slow_after_first
def test_a_cursor_of_another_database_is_refused(chained, loader):
    loader.write_batch(row("AAA"))
    mirror = Mirror(chained)
    mirror.follow_and_check_limits()
    with chained.writing() as connection:
        connection.execute(
            update(load_chain).where(load_chain.c.kind == "load").values(record_sha256="0" * 64)
        )
    with pytest.raises(ConfigurationError, match="names a load that finra_otc_weekly does not"):
        mirror.follow_and_check_limits()
    mirror.cursor = "99.abcdef"
    with pytest.raises(ConfigurationError, match="restored or replaced"):
        mirror.follow_and_check_limits()


@pytest.mark.parametrize("cursor", ["", "x", "-1.ab", "1", "1.", "1.ab.!", "1.ab.W10x", "9" * 30])
def test_a_cursor_that_is_none_is_refused(cursor):
    with pytest.raises(ConfigurationError, match="cursor"):
        parse_position(NAME, cursor)


def test_positions_are_ordered_and_read_as_they_are_written(chained, loader):
    loader.write_batch(row("AAA"), row("BBB"))
    changes = Mirror(chained).follow_and_check_limits()
    positions = [item.position for item in changes]
    assert positions == sorted(positions)
    assert [parse_position(NAME, str(position)) for position in positions] == positions


def test_a_table_without_history_has_no_feed(chained):
    with chained.reading() as connection, pytest.raises(ConfigurationError, match="no history"):
        read_changes(connection, "finra_symbols", BEGIN)
