"""Look-ups of a symbol or venue over all weeks: the same rows, and no table is read whole."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.catalogue import known_tables, relation, relation_as_of
from orchestration_project.tables.key_groups import KEY_GROUPS, groups_of
from orchestration_project.tables.queries.published import published_by
from orchestration_project.tables.queries.relations import Relation
from orchestration_project.tables.schema import METADATA, Query, key_names
from tests.resources.weeks import MONDAY, PartitionLoader, row

NOW = datetime(2026, 1, 5, tzinfo=UTC)
LATER = NOW + timedelta(days=9)
GROUP = ("week_start", "tier", "market")

groups = st.sets(
    st.tuples(
        st.sampled_from([MONDAY + timedelta(days=7 * number) for number in range(4)]),
        st.sampled_from(["OTCE", "T1", "T2"]),
        st.sampled_from(["", "ATS", "NON_ATS"]),
    )
)


@pytest.fixture(scope="module")
def connection(tmp_path_factory) -> Iterator[Connection]:
    file = tmp_path_factory.mktemp("groups") / "tables.sqlite"
    with writing(f"sqlite:///{file}") as opened:
        yield opened


@pytest.fixture(scope="module")
def of_postgresql(postgres_url: str) -> Iterator[Connection]:
    with writing(postgres_url) as opened:
        yield opened


@contextmanager
def writing(url: str) -> Iterator[Connection]:
    with closing(Warehouse(url, clock=Clock())) as warehouse:
        warehouse.prepare(holds="demo")
        with warehouse.writing() as opened:
            yield opened


def stored(week: date, tier: str, market: str, symbol: str) -> dict[str, object]:
    return {
        "week_start": week,
        "tier": tier,
        "market": market,
        "symbol": symbol,
        "venue_id": "V",
        "week_end": week,
        "share_quantity": 1,
        "trade_count": 1,
        "capture_id": 1,
        "known_from": NOW,
    }


@pytest.mark.slow
@given(groups)
def test_the_groups_are_the_distinct_first_columns_of_the_key(
    connection: Connection, of_postgresql: Connection, found: set[tuple[date, str, str]]
):
    for database in (connection, of_postgresql):
        assert groups_in(database, found) == sorted(found)


def groups_in(
    connection: Connection, found: set[tuple[date, str, str]]
) -> list[tuple[object, ...]]:
    connection.execute(finra_otc_weekly.delete())
    if found:
        rows = [stored(*each, symbol) for each, symbol in product(found, ("A", "B"))]
        connection.execute(insert(finra_otc_weekly), rows)
    read = connection.execute(select(groups_of(finra_otc_weekly, GROUP))).all()
    return [tuple(record) for record in read if record[0] is not None]


QUERIES = {
    "present": relation("finra_otc_weekly"),
    "past": relation_as_of("finra_otc_weekly", NOW),
    "history": relation("finra_otc_weekly_history"),
    "published": published_by("finra_otc_weekly", NOW.date()).relation,
    "published, past": published_by("finra_otc_weekly", NOW.date(), NOW).relation,
    "view": relation("v_finra_otc_weekly"),
}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("chosen", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("where", ["symbol=A", "symbol in (A,B)", "(symbol=A) or (symbol=B)"])
def test_a_symbol_is_looked_up_and_no_table_is_read_whole(
    connection: Connection, chosen: Relation, where: str
):
    assert_looked_up(connection, chosen.select(["week_start", "share_quantity"], [where]))


GROUPED = [name for name, table in known_tables().items() if KEY_GROUPS in table.info]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("name", GROUPED)
def test_each_table_by_week_or_day_is_looked_up_by_symbol_venue_or_bond(
    connection: Connection, name: str
):
    chosen = relation(name)
    key = key_names(chosen.table)
    place = chosen.table.info[KEY_GROUPS]
    assert key[place] in ("symbol", "venue_id", "cusip", "mpid", "participant_name")
    found = plan_of(connection, chosen.select(key, [f"{key[place]}=A"]))
    own = name.removeprefix("v_")
    assert not [step for step in found if step.startswith(f"SCAN {own}")], found
    assert [step for step in found if step.startswith(f"SEARCH {own} ") and key[place] in step]


def test_a_table_by_day_or_week_before_the_symbol_is_looked_up_in_groups():
    late = [
        name
        for name, table in METADATA.tables.items()
        if name.startswith("finra_") and {"symbol", "venue_id"} & set(key_names(table)[1:])
    ]
    assert set(late) <= set(GROUPED)


def test_where_the_key_is_named_up_to_the_symbol_no_groups_are_needed(connection: Connection):
    wheres = ["week_start=2025-11-10", "tier=T1", "market in (ATS,NON_ATS)", "symbol=A"]
    statement = relation("finra_otc_weekly").select(["share_quantity"], wheres)
    assert "groups_of" not in str(statement)
    assert any("symbol=?" in step for step in plan_of(connection, statement))


def test_rows_that_were_not_published_are_looked_up_by_symbol_too(connection: Connection):
    published = published_by("finra_otc_weekly", NOW.date())
    for statement in (published.left_out(["symbol=A"]), published.missing(["symbol=A"])):
        assert_looked_up(connection, statement)


def assert_looked_up(connection: Connection, statement: Query) -> None:
    plan = plan_of(connection, statement)
    assert any("symbol=?" in step for step in plan), plan
    assert not [step for step in plan if step.startswith("SCAN finra_otc")], plan


def plan_of(connection: Connection, statement: Query) -> list[str]:
    compiled = statement.compile(connection, compile_kwargs={"literal_binds": True})
    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")
    return [str(record[3]) for record in rows]


@pytest.mark.slow_after_first
def test_a_symbol_has_the_same_rows_as_with_all_others(partition_loader: PartitionLoader):
    partition_loader.write_batch(row("AAA"), row("BBB"), row("AAA", venue="OTHER"))
    partition_loader.write_batch(row("AAA"), version="2")
    past = relation_as_of("finra_otc_weekly", LATER)
    published = published_by("finra_otc_weekly", LATER.date()).relation
    for chosen in (QUERIES["present"], past, QUERIES["view"], published):
        looked_up, whole = (
            rows(partition_loader, chosen, text) for text in ("symbol=AAA", "symbol>=AAA")
        )
        assert looked_up == [record for record in whole if record[3] == "AAA"]
        assert looked_up
        assert rows(partition_loader, chosen, "(symbol=AAA) or (share_quantity>=0)") == whole


def rows(
    partition_loader: PartitionLoader, chosen: Relation, where: str
) -> list[tuple[object, ...]]:
    names = ["week_start", "tier", "market", "symbol", "venue_id"]
    with partition_loader.warehouse.reading() as connection:
        return [tuple(record) for record in connection.execute(chosen.select(names, [where]))]
