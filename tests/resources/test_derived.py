"""The engine of derived tables, on both databases, with tables that are declared here alone."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl
import pytest
from sqlalchemy import Connection, MetaData, Table, delete, insert, select, update

from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.derived import (
    DerivedLoad,
    DerivedPart,
    DerivedTable,
    Inputs,
    PendingDerivation,
    Reach,
    find_outdated,
)
from orchestration_project.engine.warehouse import SupersededError, Warehouse
from orchestration_project.engine.warehouse.delivery import ATTEMPTS_AGAINST_OTHERS
from orchestration_project.engine.warehouse.fencing import read_derived_versions
from orchestration_project.engine.warehouse.frames import match_scope, read_frame
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.tables.schema import count, text
from orchestration_project.tables.spine import fences

TOYS = MetaData()
DAYS = Table(
    "toy_days",
    TOYS,
    *(text("day", "", key=True), count("number", "", key=True)),
    *(count("change", ""), count("amount", "")),
)
SUMS = Table("toy_sums", TOYS, text("day", "", key=True), count("amount", ""))
COPIES = Table(
    "toy_copies",
    TOYS,
    *(text("day", "", key=True), count("number", "", key=True)),
    count("amount", ""),
)

LoadedVersions = Mapping[str, int]


class TwoDays:
    """A day is made of itself and of the day before."""

    def required(self, key: str) -> Sequence[str]:
        return [key]

    def inputs(self, key: str) -> Sequence[str]:
        return [chr(ord(key) - 1), key]

    def reached(
        self, key: str, *, requested: Collection[str], loaded: LoadedVersions
    ) -> Sequence[str]:
        following = chr(ord(key) + 1)
        return [key, following] if following in loaded and following not in requested else [key]

    def candidates(self, loaded: LoadedVersions) -> Sequence[str]:
        return sorted(loaded)

    def version(self, key: str, loaded: LoadedVersions) -> str:
        return " ".join(f"{part}#{loaded[part]}" for part in self.inputs(key) if part in loaded)


class SameDay(Reach):
    """A day is made of itself."""

    def version(self, key: str, loaded: LoadedVersions) -> str:
        return f"copy of {loaded[key]}"


def loaded_days(connection: Connection, _key: str | None) -> LoadedVersions:
    return {row.day: row.change for row in connection.execute(select(DAYS.c.day, DAYS.c.change))}


def sums_of(reads: list[list[str]]) -> DerivedTable[pl.DataFrame]:
    """Declare the table of sums; ``reads`` notes which days are read at a time."""

    def read(connection: Connection, due: Sequence[PendingDerivation]) -> pl.DataFrame:
        days = sorted({one for partition in due for one in partition.inputs})
        reads.append(days)
        own = match_scope(DAYS, {"day": tuple(days)})
        return read_frame(connection, select(DAYS).where(own), DAYS)

    def make(due: PendingDerivation, days: pl.DataFrame) -> DerivedPart:
        amount = days.filter(pl.col("day").is_in(due.inputs))["amount"].sum()
        rows = pl.DataFrame([{"day": due.key, "amount": amount}], derive_schema(SUMS))
        return DerivedPart(rows, f"{amount} in all")

    return DerivedTable(
        table=SUMS,
        inputs=Inputs(read_loaded=loaded_days, read=read, job="toy_days"),
        reach=TwoDays(),
        scope=lambda key: {"day": key},
        make=make,
    )


def copies_of(sums: DerivedTable[pl.DataFrame]) -> DerivedTable[pl.DataFrame]:
    """Declare a table that shares the inputs: a copy of each day from its second row on."""

    def make(due: PendingDerivation, days: pl.DataFrame) -> DerivedPart:
        own = days.filter(pl.col("day") == due.key, pl.col("number") >= 2)
        return DerivedPart(own.select(list(derive_schema(COPIES))), part={"number": (2, 3)})

    return replace(sums, table=COPIES, reach=SameDay(), make=make)


class Toys:
    """A database with the tables of this module."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.reads: list[list[str]] = []
        self.sums = sums_of(self.reads)

    def deliver(self, day: str, *amounts: int) -> None:
        """Replace a day's rows, as the next delivery of it."""
        with self.warehouse.writing() as connection:
            change = loaded_days(connection, None).get(day, 0) + 1
            connection.execute(delete(DAYS).where(DAYS.c.day == day))
            rows = [
                {"day": day, "number": number, "change": change, "amount": amount}
                for number, amount in enumerate(amounts, 1)
            ]
            connection.execute(insert(DAYS), rows)

    def load(self, *tables: DerivedTable, requested: Collection[str] = ()) -> DerivedLoad:
        return DerivedLoad(tables or [self.sums], self.warehouse, requested)

    def derive(self, key: str, *tables: DerivedTable) -> dict[str, dict[str, int]]:
        """Derive a day, and return by table how many rows of which days were written."""
        load = self.load(*tables)
        found = load.write_batch(load.take(key)).tables
        return {name: dict(value.recomputed) for name, value in found.items()}

    def outdated(self) -> list[str]:
        return find_outdated(self.warehouse, [self.sums])[1]

    def rows(self, table: Table) -> list[tuple]:
        with self.warehouse.reading() as connection:
            return [tuple(row) for row in connection.execute(select(table).order_by(*table.c))]

    def versions(self, table: Table) -> dict[str, str]:
        with self.warehouse.reading() as connection:
            return read_derived_versions(connection, table)


@pytest.fixture
def toys(warehouse: Warehouse) -> Iterator[Toys]:
    with warehouse.writing() as connection:
        TOYS.create_all(connection)
    yield Toys(warehouse)
    with warehouse.writing() as connection:
        TOYS.drop_all(connection)


def test_a_partition_is_out_of_date_exactly_when_its_inputs_changed(toys):
    assert toys.outdated() == []
    for day, amount in {"a": 1, "b": 10, "d": 100}.items():
        toys.deliver(day, amount)
    assert toys.outdated() == ["a", "b", "d"]
    for day in "abd":
        toys.derive(day)
    assert toys.outdated() == []
    assert toys.rows(SUMS) == [("a", 1), ("b", 11), ("d", 100)]
    assert toys.versions(SUMS) == {"a": "a#1", "b": "a#1 b#1", "d": "d#1"}
    toys.deliver("b", 20)
    assert toys.outdated() == ["b"]
    toys.deliver("c", 5)
    assert toys.outdated() == ["b", "c", "d"]


def test_a_change_derives_its_dependents_and_reads_for_all_of_them_once(toys):
    for day in "abcd":
        toys.deliver(day, 1)
    assert toys.derive("b") == {"toy_sums": {"b": 1, "c": 1}}
    assert toys.reads == [["a", "b", "c"]]
    assert toys.outdated() == ["a", "d"]
    load = toys.load(requested=("b", "c"))
    toys.deliver("b", 7)
    assert [str(load.write_batch(load.take(day))) for day in "bc"] == ["derived b", "derived c, d"]
    assert toys.rows(SUMS) == [("b", 8), ("c", 8), ("d", 2)]


def test_without_a_change_no_row_of_the_inputs_is_read_and_nothing_is_written(toys):
    toys.deliver("a", 1)
    toys.derive("a")
    toys.reads.clear()
    load = toys.load()
    result = load.write_batch(load.take("a"))
    assert (toys.reads, str(result), result.recomputed) == ([], "unchanged", [])
    table = result.tables["toy_sums"]
    assert (table.row_count, table.recomputed, table.versions) == (1, {}, {"a": "a#1"})


def test_the_result_has_row_counts_versions_and_summaries_of_what_was_derived(toys):
    toys.deliver("a", 1)
    toys.deliver("b", 10)
    load = toys.load()
    result = load.write_batch(load.take("a"))
    table = result.tables["toy_sums"]
    assert (table.row_count, table.recomputed) == (1, {"a": 1, "b": 1})
    assert table.versions == {"a": "a#1", "b": "a#1 b#1"}
    assert table.summaries == {"a": "1 in all", "b": "11 in all"}


def test_of_two_runs_the_slower_one_is_superseded_and_writes_nothing(toys):
    toys.deliver("a", 1)
    slow = toys.load().take("a")
    toys.deliver("a", 9)
    toys.derive("a")
    with pytest.raises(SupersededError):
        toys.load().write_batch(slow)
    assert toys.rows(SUMS) == [("a", 9)]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("others", [1, ATTEMPTS_AGAINST_OTHERS])
def test_a_superseded_derivation_is_made_again_from_what_is_newest(toys, others: int):
    toys.deliver("a", 1)
    amounts = iter(range(10, 10 + others))

    def make(due: PendingDerivation, days: pl.DataFrame) -> DerivedPart:
        made = toys.sums.make(due, days)
        if (amount := next(amounts, None)) is not None:  # another run is first
            toys.deliver("a", amount)
            toys.derive("a")
            toys.deliver("a", 10 * amount)
        return made

    load = toys.load(replace(toys.sums, make=make))
    if others < ATTEMPTS_AGAINST_OTHERS:
        assert str(load.derive("a")) == "derived a"
        assert (toys.rows(SUMS), toys.outdated()) == ([("a", 100)], [])
    else:
        with pytest.raises(SupersededError):
            load.derive("a")
        assert (toys.rows(SUMS), toys.outdated()) == ([("a", 9 + others)], ["a"])


def test_tables_with_the_same_inputs_are_written_together_or_not_at_all(toys):
    toys.deliver("a", 1, 2)
    copies = copies_of(toys.sums)
    nulls = pl.DataFrame({"day": ["a"], "number": [2], "amount": [None]}, derive_schema(COPIES))
    broken = replace(copies, make=lambda due, days: DerivedPart(nulls))
    with pytest.raises(ContractError, match="lacks required values"):
        toys.derive("a", toys.sums, broken)
    assert (toys.rows(SUMS), toys.rows(COPIES)) == ([], [])
    assert (toys.versions(SUMS), toys.versions(COPIES)) == ({}, {})
    toys.reads.clear()
    assert toys.derive("a", toys.sums, copies) == {"toy_sums": {"a": 1}, "toy_copies": {"a": 1}}
    assert toys.reads == [["a"]]
    assert toys.derive("a", toys.sums, copies) == {"toy_sums": {}, "toy_copies": {}}
    assert find_outdated(toys.warehouse, [toys.sums, copies]) == ({"a": 1}, [])


def test_only_the_rows_of_the_part_that_was_made_are_replaced(toys):
    toys.deliver("a", 1, 2, 3)
    with toys.warehouse.writing() as connection:
        kept = [{"day": "a", "number": number, "amount": 7} for number in (1, 3, 4)]
        connection.execute(insert(COPIES), kept)
    assert toys.derive("a", copies_of(toys.sums)) == {"toy_copies": {"a": 2}}
    assert toys.rows(COPIES) == [("a", 1, 7), ("a", 2, 2), ("a", 3, 3), ("a", 4, 7)]
    assert toys.versions(COPIES) == {"a": "copy of 1"}


def test_rows_that_are_compared_are_made_each_time_and_written_where_they_differ(toys):
    compared = replace(toys.sums, is_compared=True)
    toys.deliver("a", 1)
    assert toys.derive("a", compared) == {"toy_sums": {"a": 1}}
    first = toys.versions(SUMS)["a"]
    assert first.startswith("a#1; rows ")
    assert find_outdated(toys.warehouse, [compared])[1] == []
    assert toys.derive("a", compared) == {"toy_sums": {}}
    assert len(toys.reads) == 2
    with toys.warehouse.writing() as connection:  # what no number of a delivery names
        connection.execute(update(DAYS).values(amount=5))
    load = toys.load(compared)
    table = load.write_batch(load.take("a")).tables["toy_sums"]
    assert (table.recomputed, table.summaries) == ({"a": 1}, {"a": "5 in all"})
    assert toys.versions(SUMS)["a"].startswith("a#1; rows ")
    assert toys.versions(SUMS)["a"] != first
    toys.deliver("a", 5)
    assert find_outdated(toys.warehouse, [compared])[1] == ["a"]


def test_what_is_not_loaded_is_refused_with_the_job_that_loads_it(toys):
    with pytest.raises(ConfigurationError, match="a cannot be derived") as refused:
        toys.derive("a")
    assert refused.value.found == "not loaded: a"
    assert refused.value.remedy == "load that first, by the job toy_days"
    with toys.warehouse.reading() as connection:
        assert connection.execute(select(fences)).all() == []
