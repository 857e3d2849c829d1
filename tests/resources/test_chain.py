"""Chain of load records: what an owner of the database changes is found, and nothing else."""

import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    Table,
    Text,
    and_,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
)
from orchestration_project.engine.contracts.chain import (
    ChainKey,
    ChainProblem,
    hash_rows,
    read_heads,
    sign_heads,
)
from orchestration_project.engine.warehouse import QuarantinedError, Warehouse
from orchestration_project.engine.warehouse.chain_amending import record_amendments
from orchestration_project.engine.warehouse.chain_checking import (
    check_heads,
    check_table,
    find_unknown_chains,
    list_chained_tables,
)
from orchestration_project.engine.warehouse.chaining import ChainTail, read_chain_heads
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.schema import UtcTimestamp, key_names
from orchestration_project.tables.spine import (
    audits,
    captures,
    chain_heads,
    deliveries,
    landings,
    load_chain,
    rejects,
)
from tests.prepared import Prepared
from tests.resources.weeks import (
    FAILED,
    MONDAY,
    NOON,
    PASSED,
    PartitionLoader,
    StoppedClock,
    rejected,
    row,
)

KEY = ChainKey(bytes(range(32)))
OTHER_KEY = ChainKey(bytes(32))
TRUSTED = frozenset({KEY.public_key})

COVERED = (
    finra_otc_weekly,
    finra_otc_weekly_history,
    deliveries,
    landings,
    captures,
    audits,
    rejects,
    load_chain,
    chain_heads,
)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, prepared: Prepared
) -> Iterator[tuple[str, str | None]]:
    """URL and schema of an empty database."""
    if request.param == "sqlite":
        yield prepared.sqlite(tmp_path / "chained.sqlite"), None
    else:
        with prepared.schema() as (url, schema):
            yield url, schema


@pytest.fixture
def chained(place: tuple[str, str | None], clock: StoppedClock) -> Iterator[Warehouse]:
    """A warehouse whose loads are chained."""
    url, schema = place
    with Warehouse(url, clock=clock, schema=schema, chain_key=lambda: KEY) as opened:
        opened.prepare(holds="real")
        yield opened


@pytest.fixture
def loaded(chained: Warehouse, tmp_path: Path, clock: StoppedClock) -> Warehouse:
    """Weeks with restatements, a removal, rejects, ranges, a quarantine and a replay."""
    partition_loader = PartitionLoader(chained, tmp_path / "artifacts")
    partition_loader.write_batch(row("AAA"), row("BBB"), row("CCC", "YATS"), rejects=rejected(3, 7))
    clock.at += timedelta(days=1)
    partition_loader.write_batch(row("AAA", share_quantity=7), row("BBB"), row("DDD"), version="v2")
    clock.at += timedelta(days=1)
    with pytest.raises(QuarantinedError):
        partition_loader.write_batch(row("AAA"), audits=[FAILED], version="v3")
    later = replace(partition_loader, week_start=MONDAY + timedelta(days=7))
    later.write_batch(*(row(f"S{number}") for number in range(6)), ranges_of=2, audits=[PASSED])
    clock.at += timedelta(days=1)
    later.write_batch(*(row(f"S{number}", share_quantity=5) for number in range(4)), version="v2")
    return chained


def problems_of(connection: Connection, trusted: frozenset[str] = TRUSTED) -> list[ChainProblem]:
    problems = find_unknown_chains(connection)
    for table in list_chained_tables(connection):
        problems += check_table(connection, table, trusted).problems
    return problems


def another(value: object, column: Any) -> object:
    """Return another value of a column's type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, datetime):
        return value - timedelta(seconds=1)
    if isinstance(value, date):
        return value - timedelta(days=1)
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, int | Decimal):
        return value + 1
    if isinstance(column.type, UtcTimestamp):
        return NOON
    return {date: MONDAY, str: "x", bool: True}.get(column.type.python_type, 1)


def is_row(table: Table, found: Mapping[str, Any]) -> Any:
    return and_(*(table.c[name] == found[name] for name in key_names(table)))


def alter(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], dice) -> bool:
    found, name = dice.choice(rows), dice.choice(list(table.columns.keys()))
    value = another(found[name], table.c[name])
    connection.execute(update(table).where(is_row(table, found)).values({name: value}))
    return True


def remove(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], dice) -> bool:
    connection.execute(delete(table).where(is_row(table, dice.choice(rows))))
    return True


def add(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], dice) -> bool:
    found, name = dict(dice.choice(rows)), dice.choice(key_names(table))
    while is_there(rows, table, found):
        found[name] = another(found[name], table.c[name])
    connection.execute(insert(table).values(found))
    return True


def is_there(rows: Sequence[Mapping[str, Any]], table: Table, found: Mapping[str, Any]) -> bool:
    names = key_names(table)
    return any(all(present[name] == found[name] for name in names) for present in rows)


def swap(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], dice) -> bool:
    """Exchange the values of two rows that differ in more than their keys."""
    values = [name for name in list(table.columns.keys()) if name not in key_names(table)]
    pairs = [
        (one, two) for one in rows for two in rows if any(one[name] != two[name] for name in values)
    ]
    if not pairs:
        return False
    one, two = dice.choice(pairs)
    for target, source in ((one, two), (two, one)):
        changed = {name: source[name] for name in values}
        connection.execute(update(table).where(is_row(table, target)).values(changed))
    return True


def back_date(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], dice
) -> bool:
    times = [name for name, column in table.columns.items() if column.type.python_type is datetime]
    if not times:
        return False
    found, name = dice.choice(rows), dice.choice(times)
    if found[name] is None:
        return False
    value = found[name] - timedelta(days=dice.randint(1, 400))
    connection.execute(update(table).where(is_row(table, found)).values({name: value}))
    return True


def change_something(connection: Connection, dice: random.Random) -> str:
    """Change the database as its owner could; return what was done."""
    while True:
        table, change = dice.choice(COVERED), dice.choice([alter, remove, add, swap, back_date])
        rows = [dict(found) for found in read_rows(connection, table)]
        if rows and change(connection, table, rows, dice):
            return f"{change.__name__} {table.name}"


def read_rows(connection: Connection, table: Table) -> list[dict[str, Any]]:
    columns = list(table.columns.items())
    found = connection.execute(select(*(column for _, column in columns)))
    return [dict(zip(table.columns.keys(), values, strict=True)) for values in found]


def changes_not_found(warehouse: Warehouse, count: int, seed: int) -> list[str]:
    """Make changes, one at a time; return those that the chain did not find."""
    dice, missed = random.Random(seed), []  # noqa: S311 - the same changes each time
    for _ in range(count):
        with warehouse.writing() as connection:
            attempt, done = connection.begin_nested(), ""
            while not done:
                try:
                    done = change_something(connection, dice)
                except IntegrityError:  # another row has the key
                    attempt.rollback()
                    attempt = connection.begin_nested()
            if not problems_of(connection):
                missed.append(done)
            attempt.rollback()
    return missed


def test_an_untouched_database_has_no_problem(loaded):
    with loaded.reading() as connection:
        [table] = list_chained_tables(connection)
        report = check_table(connection, table, TRUSTED)
    assert report.problems == []
    assert (report.record_count, report.row_count, report.unchained_count) == (7, 15, 0)


@pytest.mark.slow
def test_each_of_many_changes_is_found(loaded):
    assert changes_not_found(loaded, 25, seed=7) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_each_of_a_thousand_changes_is_found(loaded, seed):
    assert changes_not_found(loaded, 100, seed) == []


@pytest.mark.slow_after_first
def test_new_loads_continue_the_chain_of_each_table(loaded, tmp_path, clock):
    clock.at += timedelta(days=1)
    PartitionLoader(loaded, tmp_path / "artifacts").write_batch(row("AAA"), version="v9")
    with loaded.reading() as connection:
        assert problems_of(connection) == []
        heads = read_chain_heads(connection)
    assert {name: head.number for name, head in heads.items()} == {"finra_otc_weekly": 8}


@pytest.mark.slow_after_first
def test_loads_from_before_the_chain_are_counted_and_not_compared(place, tmp_path, clock, chained):
    with Warehouse(place[0], clock=clock, schema=place[1]) as unchained:
        PartitionLoader(unchained, tmp_path / "artifacts").write_batch(row("AAA"), row("BBB"))
    clock.at += timedelta(days=1)
    PartitionLoader(chained, tmp_path / "artifacts").write_batch(
        row("AAA", share_quantity=3), version="v2"
    )
    with chained.reading() as connection:
        report = check_table(connection, finra_otc_weekly, TRUSTED)
    assert (report.problems, report.unchained_count, report.row_count) == ([], 1, 1)
    with chained.writing() as connection:
        connection.execute(delete(finra_otc_weekly_history))
        assert problems_of(connection) != []


def test_a_signature_by_another_key_is_named(loaded):
    with loaded.reading() as connection:
        problems = problems_of(connection, frozenset({OTHER_KEY.public_key}))
    assert {problem.cause for problem in problems} == {
        f"expected a signature by a trusted key, found the key {KEY.public_key}"
    }


def test_the_first_record_that_does_not_fit_is_named_first(loaded):
    with loaded.writing() as connection:
        attempt = connection.begin_nested()
        connection.execute(
            update(finra_otc_weekly)
            .where(finra_otc_weekly.c.symbol == "S1")
            .values({finra_otc_weekly.c.share_quantity: 9})
        )
        [problem] = problems_of(connection)
        attempt.rollback()
    assert str(problem) == (
        "finra_otc_weekly, record 7 (finra_otc_weekly:T1|2025-11-17#2): "
        "expected the rows that it has written, found others"
    )


def test_loads_whose_rows_are_gone_are_named_with_both_counts(loaded):
    with loaded.writing() as connection:
        connection.execute(delete(finra_otc_weekly))
        causes = [problem.cause for problem in problems_of(connection)]
    assert "expected 2 rows that it has written, found 0" in causes


def test_a_record_without_its_partition_is_named(loaded):
    with loaded.writing() as connection:
        is_one = (load_chain.c.table_name == finra_otc_weekly.name, load_chain.c.kind == "load")
        latest = select(func.max(load_chain.c.number)).where(*is_one).scalar_subquery()
        connection.execute(
            update(load_chain)
            .where(load_chain.c.table_name == finra_otc_weekly.name, load_chain.c.number == latest)
            .values(partition=None)
        )
        causes = [problem.cause for problem in problems_of(connection)]
    assert "expected the partition of a delivery, found NULL" in causes


def test_deleted_newest_records_are_found_by_exported_heads(loaded, clock):
    with loaded.reading() as connection:
        exported = sign_heads(read_chain_heads(connection), KEY, clock.at)
    heads = read_heads(exported, "heads.json", TRUSTED)
    with loaded.writing() as connection:
        assert check_heads(connection, heads) == []
        connection.execute(delete(load_chain))
        connection.execute(delete(chain_heads))
        [problem] = check_heads(connection, heads)
        assert problem.cause.endswith("the newest records were deleted")


def test_exported_heads_that_were_changed_are_refused(loaded, clock):
    with loaded.reading() as connection:
        exported = sign_heads(read_chain_heads(connection), KEY, clock.at)
    assert read_heads(exported, "heads.json", TRUSTED)
    for old, new in [('"tables"', '"tabels"'), ("chain heads 1", "chain heads 2"), (": ", " ")]:
        with pytest.raises(ConfigurationError):
            read_heads(exported.replace(old, new), "heads.json", TRUSTED)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("kind", "partitions"),
    [("erasure", None), ("retention", {finra_otc_weekly: ["T1|2025-11-10"]})],
)
def test_allowed_changes_are_records_and_hide_no_earlier_change(loaded, clock, kind, partitions):
    with loaded.writing() as connection:
        changed = finra_otc_weekly.c.symbol == "S1"
        connection.execute(update(finra_otc_weekly).where(changed).values(participant_name="x"))
    clock.at += timedelta(days=1)
    with (
        loaded.writing() as connection,
        record_amendments(connection, kind, "rule", clock.at, partitions),
    ):
        for table in (finra_otc_weekly, finra_otc_weekly_history):
            connection.execute(delete(table).where(table.c.symbol == "BBB"))
    with loaded.reading() as connection:
        [problem] = problems_of(connection)
        erased = select(load_chain.c.salt).where(load_chain.c.number == 3)
        salt = connection.execute(erased).scalar_one()
    assert "T1|2025-11-17" in problem.name
    assert salt is None


@pytest.mark.slow
def test_loads_at_once_continue_one_chain(chained, tmp_path):
    weeks = [MONDAY + timedelta(days=7 * number) for number in range(8)]

    def load(week: date) -> None:
        partition_loader = PartitionLoader(chained, tmp_path / f"artifacts {week}", week_start=week)
        partition_loader.write_batch(row("AAA"), row("BBB"))
        partition_loader.write_batch(row("AAA", share_quantity=7), version="v2")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(load, weeks))
    with chained.reading() as connection:
        report = check_table(connection, finra_otc_weekly, TRUSTED)
    assert (report.problems, report.record_count) == ([], 2 + 2 * len(weeks))


@pytest.mark.slow_after_first
def test_loads_of_before_a_new_column_and_after_it_fit(loaded, tmp_path, clock):
    """A migration adds a column; records of before hash the columns that there were."""
    with loaded.writing() as connection:
        connection.execute(text("ALTER TABLE finra_otc_weekly ADD COLUMN note TEXT"))
    extended = finra_otc_weekly.to_metadata(MetaData())
    extended.append_column(Column("note", Text()))
    extended.info.update(finra_otc_weekly.info)
    with loaded.writing() as connection:
        assert check_table(connection, extended, TRUSTED).problems == []
        ChainTail(connection, extended, KEY, clock.at).append([])
        report = check_table(connection, extended, TRUSTED)
    assert (report.problems, report.record_count) == ([], 8)


@given(st.integers(0, 10**15), st.integers(0, 5))
def test_a_quantity_has_one_hash_however_many_decimals_it_is_stored_with(millionths, more):
    value = Decimal(millionths).scaleb(-6)
    stored = Decimal(millionths * 10**more).scaleb(-6 - more)
    assert hash_rows([[value]]) == hash_rows([[stored]])
