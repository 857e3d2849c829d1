"""Tables that a project derives, on both databases: reach, history, as of a time, and refusals."""

from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.schema import DropTable

from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.own_derived import load_derivations
from orchestration_project.engine.own_sources import load_declarations
from orchestration_project.engine.warehouse.as_of import StateAsOf
from orchestration_project.engine.warehouse.frames import insert_frame, read_frame
from orchestration_project.engine.warehouse.own_schema import list_own_tables
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.resources.own_derived import (
    derive_as_of,
    derive_outdated,
    outdated_versions,
)
from orchestration_project.tables.schema import HISTORY
from tests.own_project import opened_project

SALES = """
from orchestration_project import Daily, Dataset, Field, decimal, file_source

sales = Dataset(
    "sales",
    key=["shop"],
    partitions=Daily("2026-01-01"),
    fields=[
        Field("shop", str, "name of the shop"),
        Field("amount", decimal(9, 2), "euros"),
        Field("note", str, "a note", optional=True),
    ],
    source=file_source("{partition}.csv", format="csv"),
)
shops = Dataset(
    "shops",
    key=["shop"],
    partitions=Daily("2026-01-01", column="listed_on"),
    fields=[Field("shop", str, "name of the shop"), Field("city", str, "its city")],
    source=file_source("{partition}.csv", format="csv"),
)
"""
BY_DAY = '''
from orchestration_project import Field, decimal, derived

totals = derived(
    "totals",
    key=["day", "city"],
    partition_by="day",
    input_columns={"shops": ""},
    fields=[
        Field("city", str, "city of the shops"),
        Field("day", "date", "day of the sales"),
        Field("amount", decimal(9, 2), "euros"),
        Field("is_noted", bool, "whether a sale has a note with 100%"),
        Field("newest", "timestamp", "latest load of a sale"),
    ],
    sql="""
        -- '%' and ':x' stay as they are
        WITH placed AS (SELECT s.*, "shops".city FROM sales s JOIN "shops" ON shops.shop = s.shop)
        SELECT city, max(day) AS day, cast(sum(amount_micros) AS bigint) AS amount_micros,
            count(CASE WHEN note LIKE '%100%%' THEN 1 END) > 0 AS is_noted,
            max(known_from) AS newest
        FROM placed GROUP BY city, day;
    """,
)
'''
OF_TOTALS = """
import polars as pl

from orchestration_project import Field, decimal, derived


def cities(totals, sales):
    found = totals.group_by("city").agg(pl.col("amount").sum(), pl.len().alias("days"))
    return found.with_columns(sale_count=pl.lit(len(sales)))


cities = derived(
    "cities",
    key=["city"],
    inputs=["totals", "sales"],
    function=cities,
    fields=[
        Field("city", str, "city"),
        Field("amount", decimal(9, 2), "euros of all days"),
        Field("days", int, "days with a sale"),
        Field("sale_count", int, "sales of all cities"),
    ],
)
"""
FIRST, LATER = (datetime(2026, 1, day, 12, tzinfo=UTC) for day in (5, 9))
ONE, TWO = date(2026, 1, 1), date(2026, 1, 2)


class Shop:
    """A project with sales, and what it derives of them."""

    def __init__(self, warehouse):
        self.warehouse = warehouse
        self.tables = {
            declaration.dataset.name: declaration.table for declaration in load_declarations()
        }
        self.derived = {derivation.derived.name: derivation for derivation in load_derivations()}
        warehouse.upgrade(holds="real")

    def load(self, name, *rows, at=FIRST):
        table = self.tables[name]
        full = [(*row, 1, at) for row in rows]
        with self.warehouse.writing() as connection:
            insert_frame(connection, table, pl.DataFrame(full, derive_schema(table), orient="row"))

    def correct(self, shop, amount, at=LATER):
        """Replace the amount of a shop's sales, as a load does."""
        sales = self.tables["sales"]
        history = sales.info[HISTORY]
        is_it = sales.c.shop == shop
        with self.warehouse.writing() as connection:
            old = read_frame(connection, select(sales).where(is_it), sales).with_columns(
                known_to=pl.lit(at), change_cause=pl.lit("source"), rule_version=pl.lit("1")
            )
            schema = pl.Schema(derive_schema(history))
            insert_frame(connection, history, old.cast(schema).select(list(schema)))
            connection.execute(update(sales).where(is_it).values(amount=amount, known_from=at))

    def derive(self, name):
        return derive_outdated(self.warehouse, self.derived[name], "run")

    def rows(self, name, *columns, history=False):
        table = self.derived[name].table
        table = table.info[HISTORY] if history else table
        with self.warehouse.reading() as connection:
            found = read_frame(connection, select(table), table)
        return sorted(found.select(columns).rows())

    def as_of(self, name, key, at=None, day=None):
        with self.warehouse.reading() as connection:
            return derive_as_of(self.derived[name], StateAsOf(connection, at, day), key).rows


@pytest.fixture
def shop(warehouse, tmp_path):
    """A project whose totals are derived by SQL and by day, and its cities by a function."""
    files = {"sales/source.py": SALES, "totals/source.py": BY_DAY, "cities/source.py": OF_TOTALS}
    with opened_project(tmp_path / "shop", files):
        made = Shop(warehouse)
        made.load("shops", (ONE, "a", "Bonn"), (ONE, "b", "Bonn"), (ONE, "c", "Köln"))
        made.load(
            "sales",
            (ONE, "a", Decimal("1.10"), "a 100% sale"),
            (ONE, "b", Decimal("2.20"), None),
            (TWO, "c", Decimal("3.30"), "10"),
        )
        tables = list_own_tables()
        yield made
        with warehouse.writing() as connection:  # the schema is lent to other tests after it
            for table in tables:
                connection.execute(DropTable(table))


@pytest.mark.slow_after_first
def test_a_change_recomputes_the_partitions_that_it_reaches(shop):
    assert [input_table.name for input_table in shop.derived["totals"].inputs] == ["sales", "shops"]
    assert list(shop.derived) == ["totals", "cities"]
    first = shop.derive("totals")
    assert (first.partition_count, first.rows_written, first.row_count) == (2, 2, 2)
    assert shop.rows("totals", "day", "city", "amount", "is_noted", "newest") == [
        (ONE, "Bonn", Decimal("3.300000"), True, FIRST),
        (TWO, "Köln", Decimal("3.300000"), False, FIRST),
    ]
    assert shop.derive("totals").partition_count == 0

    shop.correct("c", Decimal("4.40"))
    assert list(outdated_versions(shop.warehouse, shop.derived["totals"])) == [str(TWO)]
    assert shop.derive("totals").partition_count == 1
    assert shop.rows("totals", "day", "amount") == [
        (ONE, Decimal("3.300000")),
        (TWO, Decimal("4.400000")),
    ]
    shop.load("shops", (ONE, "d", "Bonn"), at=LATER)
    assert shop.derive("totals").partition_count == 2  # each part reads the shops whole
    assert len(shop.rows("totals", "day", history=True)) == 1  # equal rows stay


def test_rows_go_when_those_that_they_are_made_of_did(shop):
    shop.derive("totals")
    sales = shop.tables["sales"]
    with shop.warehouse.writing() as connection:
        connection.execute(delete(sales).where(sales.c.day == TWO))
    assert shop.derive("totals").partition_count == 1
    assert shop.rows("totals", "day") == [(ONE,)]
    assert shop.rows("totals", "day", "change_cause", history=True) == [(TWO, "source")]


@pytest.mark.slow_after_first
def test_a_function_gets_frames_and_is_derived_after_its_inputs(shop):
    shop.derive("totals")
    shop.derive("cities")
    columns = ("city", "amount", "days", "sale_count")
    first = [
        ("Bonn", Decimal("3.300000"), 1, 3),
        ("Köln", Decimal("3.300000"), 1, 3),
    ]
    assert shop.rows("cities", *columns) == first
    shop.correct("c", Decimal("4.40"))
    shop.derive("totals")
    shop.derive("cities")
    assert shop.rows("cities", *columns)[1] == ("Köln", Decimal("4.400000"), 1, 3)
    assert shop.rows("cities", "city", "amount", history=True) == [("Köln", Decimal("3.300000"))]


@pytest.mark.slow_after_first
def test_as_of_a_time_each_input_has_the_rows_of_then(shop):
    shop.derive("totals")
    shop.correct("c", Decimal("4.40"))
    before = datetime(2026, 1, 6, tzinfo=UTC)
    assert shop.as_of("totals", str(TWO), before)["amount"].to_list() == [Decimal("3.300000")]
    assert shop.as_of("totals", str(TWO), LATER)["amount"].to_list() == [Decimal("4.400000")]
    assert shop.as_of("totals", str(TWO))["amount"].to_list() == [Decimal("4.400000")]
    with pytest.raises(ConfigurationError, match="cannot be derived"):
        shop.as_of("totals", "2026-01-03", before)
    with pytest.raises(ConfigurationError, match="does not say when it published"):
        shop.as_of("totals", str(TWO), day=TWO)
    with pytest.raises(ConfigurationError, match="invalid partition of totals"):
        shop.as_of("totals", "Bonn", before)
    with pytest.raises(ConfigurationError, match="invalid partition of cities"):
        shop.as_of("cities", "Bonn", before)


@contextmanager
def changed(shop, folder, old, new):
    """Have the project with another query, in the same database."""
    files = {"sales/source.py": SALES, "totals/source.py": BY_DAY.replace(old, new)}
    with opened_project(folder / "changed", files):
        yield Shop(shop.warehouse)


def test_another_query_recomputes_all_and_is_the_cause(shop, tmp_path):
    shop.derive("totals")
    with changed(shop, tmp_path, "sum(amount_micros)", "max(amount_micros)") as later:
        assert later.derive("totals").partition_count == 2
        assert later.rows("totals", "day", "change_cause", history=True) == [(ONE, "ours")]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("old", "new", "expected", "found"),
    [
        ("AS newest", "AS oldest", "newest", "oldest"),
        (
            "GROUP BY city, day",
            "GROUP BY city, day, shop",
            "each day, city once",
            "2026-01-01/Bonn",
        ),
        ("SELECT city,", "SELECT NULLIF(city, 'Bonn') AS city,", "city without NULL", "NULL"),
        ("max(day) AS day", "'2026-01-02' AS day", "rows of day 2026-01-01", "2026-01-02/Bonn"),
        ("max(day) AS day", "'soon' AS day", "a day such as", "'soon'"),
        ("SELECT city,", "SELECT 7 AS city,", "a text", "7, int"),
        (
            "cast(sum(amount_micros) AS bigint)",
            "sum(amount_micros) / 10000000.0",
            "amount_micros: whole millionths",
            "0.33",
        ),
        ("sum(amount_micros)", "1", "up to 2 decimals", "2026-01-01/Bonn"),
    ],
)
def test_a_result_that_is_not_as_declared_fails_and_the_table_stays(
    shop, tmp_path, old, new, expected, found
):
    shop.derive("totals")
    before = shop.rows("totals", "day", "city", "amount")
    with changed(shop, tmp_path, old, new) as later:
        with pytest.raises(ContractError, match="totals is not derived") as refused:
            later.derive("totals")
        assert expected in refused.value.expected
        assert found in refused.value.found
        assert refused.value.context["file"] == "defs/totals/source.py"
        assert later.rows("totals", "day", "city", "amount") == before


def test_a_query_that_the_database_refuses_names_its_file_and_line(shop, tmp_path):
    with (
        changed(shop, tmp_path, "max(day)", "max(weekday)") as later,
        pytest.raises(ConfigurationError, match="the database refuses its query") as refused,
    ):
        later.derive("totals")
    assert "weekday" in refused.value.found
    assert refused.value.context["file"] == "defs/totals/source.py:17"
