"""Derived tables of loaded files: their sensor, exact decimals, and a table of the package."""

from datetime import date
from decimal import Decimal

import dagster as dg
import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.schema import DropTable

from orchestration_project.assets.own_derived import build_derived_assets
from orchestration_project.domains.fx.tables import fx_rates_daily
from orchestration_project.engine.contracts.chain import ChainKey
from orchestration_project.engine.own_derived import load_derivations
from orchestration_project.engine.own_sources import load_declarations
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.own_derived import derive_outdated, explain_value
from orchestration_project.sensors.factory import derived_sensor
from orchestration_project.services.own_derived_explanation import require_query
from orchestration_project.tables.schema import HISTORY, METADATA, OWN
from tests.own.file_loading import FileLoading, LaterClock
from tests.own_project import opened_project

SALES = """
from orchestration_project import Daily, Dataset, Field, decimal, derived, file_source

sales = Dataset(
    "sales",
    key=["shop"],
    partitions=Daily("2026-01-01"),
    fields=[
        Field("shop", str, "name of the shop"),
        Field("amount", decimal(18, 6), "euros"),
    ],
    source=file_source("{partition}.csv", format="csv"),
)
"""
TOTALS = """
from orchestration_project import Field, decimal, derived

totals = derived(
    "totals",
    key=["day"],
    partition_by="day",
    fields=[Field("day", "date", "day"), Field("amount", decimal(18, 6), "euros")],
    sql="SELECT day, cast(sum(amount_micros) AS bigint) AS amount_micros FROM sales GROUP BY day",
)


def doubled(totals):
    return totals.select("day", amount=totals["amount"] * 2)


doubles = derived(
    "doubles",
    inputs=["totals"],
    key=["day"],
    fields=[Field("day", "date", "day"), Field("amount", decimal(18, 6), "euros")],
    function=doubled,
)
"""
RATED = """
from orchestration_project import Field, decimal, derived

rated = derived(
    "rated",
    key=["day", "shop"],
    partition_by="day",
    input_columns={"fx_rates_daily": "rate_date"},
    fields=[
        Field("day", "date", "day"),
        Field("shop", str, "name of the shop"),
        Field("rate", decimal(12, 6), "dollars per euro"),
    ],
    sql=\"\"\"
        SELECT s.day, s.shop, r.rate AS rate_micros FROM sales s
        JOIN fx_rates_daily r ON r.rate_date = s.day AND r.currency_code = 'USD'
    \"\"\",
)
"""
DAY, NEXT_DAY = "2026-01-05", "2026-01-06"
KEY = ChainKey(bytes(range(32)))


class Shop(FileLoading):
    """A project with sales, and the tables that it derives of them."""

    instance: dg.DagsterInstance

    def __init__(self, warehouse, folder, clock):
        super().__init__(warehouse, folder, clock)
        [self.sales] = [declaration.dataset for declaration in load_declarations()]
        self.derived = {derivation.derived.name: derivation for derivation in load_derivations()}
        warehouse.upgrade(holds="real")

    def sell(self, day, *lines):
        self.load_file(self.sales, day, "\n".join(["shop,amount", *lines, ""]))

    def derive(self, name):
        return derive_outdated(self.warehouse, self.derived[name], "run").partition_count

    def explain(self, name, key, column):
        with self.warehouse.reading() as connection:
            return explain_value(self.derived[name], connection, key, column)

    def values(self, name, *columns):
        table = self.derived[name].table
        statement = select(*(table.c[column] for column in columns)).order_by(table.c.day)
        with self.warehouse.reading() as connection:
            return [tuple(row) for row in connection.execute(statement)]


@pytest.fixture(params=["sqlite", "postgresql"])
def warehouse(request, tmp_path, prepared):
    """An empty database whose loads are chained."""
    clock = LaterClock()
    if request.param == "sqlite":
        url = prepared.sqlite(tmp_path / "warehouse.sqlite")
        with Warehouse(url, clock=clock, chain_key=lambda: KEY) as opened:
            yield opened
        return
    with (
        prepared.schema() as (url, schema),
        Warehouse(url, clock=clock, schema=schema, chain_key=lambda: KEY) as opened,
    ):
        opened.prepare(holds="real")
        yield opened
        opened.prepare(holds="real")  # which declares the recorded tables
        with opened.writing() as connection:  # the schema is lent to other tests after it
            for table in [table for table in METADATA.tables.values() if table.info.get(OWN)]:
                connection.execute(DropTable(table))
                METADATA.remove(table)


@pytest.fixture
def shop(warehouse, tmp_path):
    """The project with its sales and totals."""
    files = {"sales/source.py": SALES, "totals/source.py": TOTALS}
    with opened_project(tmp_path / "shop", files), dg.DagsterInstance.ephemeral() as instance:
        made = Shop(warehouse, tmp_path, warehouse._clock)
        made.instance = instance
        yield made


class Sensor:
    """The sensor of a derived table, which keeps its cursor."""

    def __init__(self, shop, name):
        self.shop, self.cursor = shop, None
        self.made = build_derived_assets(shop.derived[name])
        self.sensor = derived_sensor(self.made)
        self.instance = shop.instance

    def tick(self):
        """Return the keys of the requested runs, or why there is none."""
        resources = {"clock": self.shop.clock, "warehouse": self.shop.warehouse}
        with dg.build_sensor_context(self.instance, self.cursor, resources=resources) as context:
            found = self.sensor.evaluate_tick(context)
            self.cursor = found.cursor
        keys = [request.run_key for request in found.run_requests or []]
        return keys or str(found.skip_message)

    def run(self):
        """Execute the job of the table, and return what it reports of its partitions."""
        resources = {"warehouse": self.shop.warehouse}
        defs = dg.Definitions([self.made.table], jobs=[self.made.job], resources=resources)
        job = defs.resolve_job_def(self.made.job.name)
        done = job.execute_in_process(instance=self.instance)
        [event] = done.get_asset_materialization_events()
        return event.materialization.metadata["partitions_derived"].value


@pytest.mark.slow
def test_a_load_of_an_input_starts_a_run_that_derives_what_it_reaches(shop):
    sensor = Sensor(shop, "totals")
    assert "totals is current" in sensor.tick()
    shop.sell(DAY, "a,1.10", "b,2.20")
    shop.sell(NEXT_DAY, "a,4")
    [request] = sensor.tick()
    assert sensor.run() == 2
    assert "totals is current" in sensor.tick()
    assert "no load since totals was compared" in sensor.tick()
    shop.sell(NEXT_DAY, "a,5")
    [later] = sensor.tick()
    assert len({request, later}) == 2
    assert sensor.run() == 1
    assert shop.values("totals", "amount") == [(Decimal("3.300000"),), (Decimal("5.000000"),)]
    shop.sell(NEXT_DAY, "a,5.000")
    assert "totals is current" in sensor.tick()


@pytest.mark.slow_after_first
def test_a_derived_input_starts_what_is_made_of_it(shop):
    sensor = Sensor(shop, "doubles")
    shop.sell(DAY, "a,1.10")
    assert "doubles is current" in sensor.tick()
    shop.derive("totals")
    assert len(sensor.tick()) == 1
    assert sensor.run() == 1
    assert shop.values("doubles", "amount") == [(Decimal("2.200000"),)]


@pytest.mark.slow_after_first
def test_decimals_of_all_digits_are_exact_by_sql_and_by_a_function(shop):
    shop.sell(DAY, "a,123456789012.123456", "b,0.000001", "c,-0.000002")
    shop.derive("totals")
    shop.derive("doubles")
    assert shop.values("totals", "amount") == [(Decimal("123456789012.123455"),)]
    assert shop.values("doubles", "amount") == [(Decimal("246913578024.246910"),)]


@pytest.mark.slow_after_first
def test_a_table_of_the_package_is_an_input(warehouse, tmp_path, monkeypatch):
    monkeypatch.setenv("DOMAINS", "fx")
    files = {"sales/source.py": SALES, "rated/source.py": RATED}
    with opened_project(tmp_path / "shop", files):
        shop = Shop(warehouse, tmp_path, warehouse._clock)
        assert sorted(input_table.name for input_table in shop.derived["rated"].inputs) == [
            "fx_rates_daily",
            "sales",
        ]
        shop.sell(DAY, "a,1")
        set_rate(shop, 1_080_100)
        assert shop.derive("rated") == 1
        assert shop.values("rated", "shop", "rate") == [("a", Decimal("1.080100"))]
        with warehouse.writing() as connection:
            connection.execute(fx_rates_daily.delete())
        set_rate(shop, 1_090_000)
        assert shop.derive("rated") == 1
        assert shop.values("rated", "rate") == [(Decimal("1.090000"),)]
        with warehouse.reading() as connection:
            history = shop.derived["rated"].table.info[HISTORY]
            found = connection.scalars(select(history.c.rate)).all()
        assert found == [Decimal("1.080100")]


def set_rate(shop, millionths):
    """Insert the rate of a day, as a load of the package's table does."""
    row = {
        "rate_date": date.fromisoformat(DAY),
        "currency_code": "USD",
        "rate": millionths,
        "capture_id": 1,
        "known_from": shop.clock.now(),
    }
    with shop.warehouse.writing() as connection:
        connection.execute(insert(fx_rates_daily), row)


@pytest.mark.slow_after_first
def test_a_derived_value_has_its_query_and_the_loads_of_its_inputs(shop):
    shop.sell(DAY, "North,2.5", "South,3")
    shop.sell(NEXT_DAY, "North,1")
    shop.derive("totals")
    shop.derive("doubles")
    found = shop.explain("totals", DAY, "amount")
    assert (found.published, found.recomputed, found.is_equal) == ("5.500000", "5.500000", True)
    kind, sql, said = found.formula
    assert (kind, sql.split()[0], said["declared_in"]) == ("sql", "SELECT", "defs/totals/source.py")
    assert (said["partition"], said["is_current"], found.rows_of) == (DAY, True, "sales")
    [load] = found.inputs
    assert (load.key, load.values["rows"], load.values["run"]) == (f"sales {DAY}", 2, "run")
    assert load.values["delivery"] == f"sales:{DAY}#1"
    assert len(load.values["record_sha256"]) == 64

    found = shop.explain("doubles", NEXT_DAY, "amount")
    assert (found.formula[:2], found.published) == (["function", "doubled"], "2.000000")
    assert (found.is_equal, found.rows_of) == (True, "totals")
    assert sum(row.values["rows"] for row in found.inputs) == 2
    require_query(shop.derived["totals"])
    with pytest.raises(
        ConfigurationError, match="invalid table doubles: expected one that a query"
    ):
        require_query(shop.derived["doubles"])  # as the gateway does


def test_a_derived_value_that_is_not_made_again_says_why(shop):
    shop.sell(DAY, "North,2.5", "South,3")
    shop.derive("totals")
    assert shop.explain("totals", DAY, "amount").formula[2]["problem"] is None
    with shop.warehouse.writing() as connection:
        connection.execute(text("DELETE FROM sales"))
    found = shop.explain("totals", DAY, "amount")
    assert (found.published, found.recomputed, found.is_equal) == ("5.500000", None, False)
    assert found.formula[2]["problem"] == "it makes no row of this key now, of 0 rows"


def test_a_derived_value_of_changed_inputs_says_so(shop):
    shop.sell(DAY, "North,2.5")
    shop.derive("totals")
    shop.sell(DAY, "North,3")
    found = shop.explain("totals", DAY, "amount")
    assert (found.published, found.recomputed, found.is_equal) == ("2.500000", "3.000000", False)
    assert found.formula[2]["is_current"] is False
    with pytest.raises(ConfigurationError, match="invalid column 'amounts' of totals"):
        shop.explain("totals", DAY, "amounts")
    with pytest.raises(ConfigurationError, match="invalid key of totals"):
        shop.explain("totals", "2026-01-07", "amount")
