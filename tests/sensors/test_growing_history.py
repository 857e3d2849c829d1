"""Reads of ticks, checks and the end of a run do not grow with earlier loads."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from sqlalchemy import Table, func, select, text

from orchestration_project.assets.specs import FRESHNESS_CHECK
from orchestration_project.definitions import defs
from orchestration_project.domains.prices.audits import SECOND_SOURCE
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.presets import Preset
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.resources.prices.second_source import failing_second_source
from orchestration_project.services.attention.failed_runs import read_failed_runs
from orchestration_project.services.ledger import Ledger
from orchestration_project.services.ledger.control_tower import read_observation
from orchestration_project.services.ledger.rules.entries import RunFacts
from orchestration_project.services.presets import Presets
from orchestration_project.services.status import read_quarantined
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_edits import operations_presets
from orchestration_project.tables.operations_runs import operations_runs, operations_steps
from orchestration_project.tables.spine import audits, captures, deliveries, landings
from tests.prepared import Prepared
from tests.resources.definitions import RESOURCES
from tests.resources.weeks import MONDAY, NOON, PartitionLoader, row
from tests.runs import part_of_daily
from tests.sensors.statements import Reader, Statement, collected
from tests.situations import Situation

FIRST, LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
WEEK, MONTH = "T1|2026-01-26", "2026-02-01"
RUN = RunFacts("run", "finra_otc_weekly", "SUCCESS", NOON, NOON, NOON, NOON, steps=[])
FEW, MAX_GROWTH = 1_000, 1.2
ENOUGH_FOR_INDEXES = 20_000
"""Of fewer rows, PostgreSQL reads a table as a whole, which is faster."""

COPY_OF = "~"
"""Stands in the group_id of what `grow` adds, and in no other."""

Work = Mapping[str, Callable[[], object]]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request, demo_settings, prepared: Prepared, tmp_path, monkeypatch) -> str:
    """The URL of an empty database of each kind, set as DATABASE_URL."""
    is_sqlite = request.param == "sqlite"
    found = prepared.sqlite(tmp_path / "w.sqlite") if is_sqlite else prepared.postgresql()
    monkeypatch.setenv("DATABASE_URL", found)
    monkeypatch.setenv("PRICES_UNIVERSE_SIZE", "3")
    return found


@pytest.fixture
def instance(kept_instance):
    return kept_instance


def check_freshness(instance: dg.DagsterInstance) -> None:
    check = dg.AssetCheckKey(dg.AssetKey(["finra", "otc_weekly"]), FRESHNESS_CHECK)
    assert part_of_daily("finra", check).execute_in_process(instance=instance).success


def run(instance: dg.DagsterInstance, job: str, partition: str | None = None) -> None:
    tags = {FIRST: partition, LAST: partition} if partition else {}
    defs.resolve_job_def(job).execute_in_process(instance=instance, tags=tags)


def load(instance: dg.DagsterInstance, folder: Path) -> None:
    """Load a week and a month as jobs do, and more weeks as one that loaded long ago."""
    run(instance, "finra_otc_weekly", WEEK)
    run(instance, "prices_daily", MONTH)
    with open_warehouse(load_settings()) as warehouse:
        for weeks_ago in range(10):
            week = MONDAY - timedelta(weeks=weeks_ago)
            for tier in ("T1", "T2"):
                PartitionLoader(warehouse, folder, tier, week).write_batch(row("AAA"))


def ticks(instance: dg.DagsterInstance) -> Work:
    """Return what evaluates each sensor, and each schedule that reads anything."""
    repository = defs.get_repository_def()

    def evaluate(definition: Any, build_context: Callable[..., Any]) -> None:
        with dg.build_resources(RESOURCES, instance) as made:
            resources = {name: getattr(made, name) for name in definition.required_resource_keys}
            given = {"resources": resources, "repository_def": repository}
            context = build_context(instance, **given)
            definition.evaluate_tick(context)
            if cursor := getattr(context, "cursor", None):  # the first tick may only set it
                definition.evaluate_tick(build_context(instance, cursor=cursor, **given))

    return {
        definition.name: lambda each=definition, build=build: evaluate(each, build)
        for definitions, build in (
            (repository.sensor_defs, dg.build_sensor_context),
            (repository.schedule_defs, dg.build_schedule_context),
        )
        for definition in definitions
        if definition.required_resource_keys
    }


def ends_of_runs(instance: dg.DagsterInstance) -> Work:
    """Return runs that find nothing new, and what else is computed when a run has ended."""

    def over(read: Callable[[Warehouse], object]) -> Callable[[], object]:
        def open_and_read() -> object:
            with open_warehouse(load_settings()) as warehouse:
                return read(warehouse)

        return open_and_read

    return {
        "a run of a week": lambda: run(instance, "finra_otc_weekly", WEEK),
        "a run of a month of prices": lambda: run(instance, "prices_daily", MONTH),
        "the checks of freshness": lambda: check_freshness(instance),
        "the check of the second source": over(failing_second_source),
        "the control tower": over(lambda warehouse: read_observation(warehouse, NOON)),
        "the quarantined partitions": over(read_quarantined),
        "the ledger": over(lambda warehouse: Ledger(warehouse, Clock()).drawn_up([RUN])),
    }


def requested(url: str, work: Work) -> dict[str, list[Statement]]:
    """Return what each work asks about deliveries; of runs there are more at each call."""
    found: dict[str, list[Statement]] = {}
    for name, do in work.items():
        with collected(url) as statements:
            do()
        found[name] = [statement for statement in statements if statement.is_of_deliveries]
    return found


def grow(total: int) -> None:
    """Repeat, as of earlier, what is recorded of deliveries, until there are ``total`` loads."""
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        count = connection.execute(select(func.count()).select_from(landings)).scalar_one()
        originals = {table: originals_of(warehouse, table) for table in GROWING}
        copies = (total - count) // len(originals[landings])
        numbers = pl.DataFrame({"number": range(count, count + copies)})
        for table, have in originals.items():
            many = have.join(numbers, how="cross")
            insert_frame(connection, table, many.with_columns(CHANGED[table]).select(have.columns))
        if connection.dialect.name == "postgresql":  # which does it by itself, a minute later
            connection.execute(text("ANALYZE"))


def originals_of(warehouse: Warehouse, table: Table) -> pl.DataFrame:
    wanted = table.select().where(table.c.group_id.not_like(f"%{COPY_OF}%"), *GROWING[table])
    return warehouse.frame(wanted, table)


GROWING = {
    landings: (),
    deliveries: (),
    captures: (captures.c.part_number == 1,),
    audits: (audits.c.name.in_((SECOND_SOURCE, "has_unique_keys")),),
}
"""Tables that grow with every delivery, and which of their rows are repeated."""

OF_STATES = ("operations_on_state_change",)
STATES = {"operations_runs": operations_runs, "operations_presets": operations_presets}
"""Tables that grow with runs and with applied presets."""

GROUP = pl.format("{}" + COPY_OF + "{}", "group_id", "number").alias("group_id")
RUN_ID = pl.format("{}-{}", "run_id", "number").alias("run_id")
CAPTURE_ID = (pl.int_range(pl.len()) + 10_000_000 * pl.col("number").min()).alias("capture_id")


def earlier(name: str) -> pl.Expr:
    return pl.col(name) - pl.duration(seconds=pl.col("number"))


CHANGED = {
    landings: [GROUP, RUN_ID, earlier("landed_at")],
    deliveries: [GROUP, RUN_ID, earlier("recorded_at")],
    captures: [GROUP, RUN_ID, CAPTURE_ID],
    audits: [GROUP, RUN_ID, earlier("audited_at"), pl.lit("0 of 20 closes").alias("found")],
}


@pytest.mark.slow
@pytest.mark.parametrize("many", [800, pytest.param(200_000, marks=pytest.mark.slow)])
def test_a_tick_and_the_end_of_a_run_read_as_much_with_a_long_history(
    url, instance, tmp_path, many
):
    reader = Reader(url)

    def costs(found: Mapping[str, list[Statement]]) -> dict[str, int]:
        return {name: sum(map(reader.cost, statements)) for name, statements in found.items()}

    load(instance, tmp_path)
    grow(FEW)
    before = costs(requested(url, {**ends_of_runs(instance), **ticks(instance)}))
    grow(many if url.startswith("sqlite") else max(many, ENOUGH_FOR_INDEXES))
    found = requested(url, {**ticks(instance), **ends_of_runs(instance)})
    assert [
        (name, scan)
        for name, statements in found.items()
        for statement in statements
        for scan in reader.scanned(statement)
    ] == []
    after = costs(found)
    assert set(after) == set(before)
    assert {"finra_on_landing", "prices_on_landing", "a run of a week"} <= {
        *filter(after.get, after)
    }
    grown = {name: (before[name], cost) for name, cost in after.items()}
    assert {name: value for name, value in grown.items() if value[1] > MAX_GROWTH * value[0]} == {}


def repeat_states(first: int, last: int) -> None:
    """Repeat a run of long ago, and an application of a preset, with other numbers."""
    numbers = pl.DataFrame({"number": range(first, last)})
    changed = {
        operations_runs: [RUN_ID, earlier("created_at"), earlier("changed_at")],
        operations_presets: [pl.col("number").alias("applied_number")],
    }
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        for table, columns in changed.items():
            have = warehouse.frame(table.select().order_by(*table.primary_key.columns), table)
            many = have.head(1).join(numbers, how="cross").with_columns(columns)
            insert_frame(connection, table, many.select(have.columns))
        if connection.dialect.name == "postgresql":
            connection.execute(text("ANALYZE"))


def test_a_tick_of_states_reads_as_much_with_more_runs_and_applied_presets(url, instance):
    reader = Reader(url)

    def costs() -> dict[str, int]:
        found: dict[str, int] = {}
        for name in OF_STATES:
            with collected(url) as statements:
                ticks(instance)[name]()
            own = [
                statement
                for statement in statements
                if any(table in statement.sql for table in STATES)
            ]
            found[name] = sum(map(reader.cost, own))
        return found

    with open_warehouse(load_settings()) as warehouse:
        Ledger(warehouse, Clock()).record([RUN])
        for name, job in (("latest", "finra_backfill"), ("full", "finra_otc_weekly")):
            preset = Preset(name, job, {})
            Presets(warehouse, Clock()).apply(preset, user="ada", reason="", run_id="run")
    repeat_states(2, 300)
    before = costs()
    repeat_states(300, 6_000)
    assert before["operations_on_state_change"]
    assert {
        name: (before[name], cost)
        for name, cost in costs().items()
        if cost > MAX_GROWTH * before[name]
    } == {}


def repeat_loads(first: int, last: int) -> None:
    """Repeat the load that succeeded, of other partitions, with its step."""
    numbers = pl.DataFrame({"number": range(first, last)})
    partition = pl.format("{}-{}", "partition_key", "number").alias("partition_key")
    changed = {operations_runs: [RUN_ID, partition], operations_steps: [RUN_ID]}
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        for table, columns in changed.items():
            have = warehouse.frame(table.select().where(table.c.run_id == "run-2"), table)
            many = have.join(numbers, how="cross").with_columns(columns)
            insert_frame(connection, table, many.select(have.columns))
        if connection.dialect.name == "postgresql":
            connection.execute(text("ANALYZE"))


def test_the_failed_runs_are_read_without_the_runs_that_succeeded_since(url):
    reader = Reader(url)

    def read() -> tuple[int, list[str]]:
        with collected(url) as statements, open_warehouse(load_settings()) as warehouse:
            entries = read_failed_runs(warehouse, dict).entries
        own = [statement for statement in statements if "operations_runs" in statement.sql]
        return sum(map(reader.cost, own)), [entry.run_id for entry in entries]

    with open_warehouse(load_settings()) as warehouse:
        situation = Situation(warehouse)
        for number, status in enumerate(("FAILURE", "SUCCESS"), start=1):
            situation.run(number, status, partition_key="T1|2026-01-05", asset="finra/otc_weekly")
        for number, status in enumerate(("FAILURE", "SUCCESS", "FAILURE"), start=3):
            situation.run(number, status, job="operations_checks", domain="operations")
    repeat_loads(0, 300)
    before, found = read()
    assert found == ["run-5"]
    repeat_loads(300, 6_000)
    after, found = read()
    assert found == ["run-5"]
    assert after <= MAX_GROWTH * before
