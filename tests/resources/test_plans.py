"""Plans of replays: planted changes are named with their counts, and come true when applied."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import MetaData, Table, func, select, text, update
from sqlalchemy.engine import make_url

from orchestration_project.domains.finra.contract import RULE_VERSION
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.contracts.audits import Audit, Validated
from orchestration_project.engine.deliveries import RecordedDeliveries
from orchestration_project.engine.distributions import measure
from orchestration_project.engine.plans import compare_rows, plan_partition
from orchestration_project.engine.warehouse import QuarantinedError, Warehouse
from orchestration_project.engine.warehouse.target import Transform
from orchestration_project.errors import ContractError
from orchestration_project.plots.distribution import draw_distributions
from orchestration_project.resources.finra.weekly import WeeklyDataset
from orchestration_project.services.plans import bound_share, hash_folders
from orchestration_project.tables.schema import PERSONAL, key_names
from orchestration_project.tables.spine import audits, captures, deliveries, fences, landings
from tests.expecting import expect_type
from tests.prepared import Prepared
from tests.resources.test_finra_replay import KEY, ReplayLoads, text_of
from tests.resources.weeks import LIMITS, PartitionLoader, WeekLoader, week_replay

SYMBOLS = {f"S{number:02}": 100 + number for number in range(40)}
BOOKKEEPING = {"capture_id", "known_from"}


@dataclass(frozen=True, kw_only=True)
class PlantedWeekly(WeeklyDataset):
    """Weeks as changed code validates them."""

    plant: Callable[[Validated], Validated]
    version: str = "planted"

    @property
    def rule_version(self) -> str:
        return self.version

    def validate(self, *arguments: Any, **options: Any) -> Validated:
        return self.plant(super().validate(*arguments, **options))


@pytest.fixture
def replay_loads(partition_loader, clock, tmp_path) -> ReplayLoads:
    replay_loads = ReplayLoads(partition_loader, clock, tmp_path)
    replay_loads.load(text_of(**SYMBOLS))
    clock.at += timedelta(days=7)
    return replay_loads


def changed_code(replay_loads: ReplayLoads, plant: Callable[[Validated], Validated], **fields: Any):
    """Return a loader of the recorded deliveries with changed code."""
    loader = week_replay(*replay_loads.place, run_id="replaying")
    dataset = PlantedWeekly(limits=LIMITS, plant=plant, **fields)
    deliveries = expect_type(loader.deliveries, RecordedDeliveries)
    return replace(loader, dataset=dataset, deliveries=replace(deliveries, dataset=dataset))


def rows_by_key(warehouse: Warehouse, table: Table) -> dict[tuple[Any, ...], dict[str, Any]]:
    columns = [column.label(column.key) for column in table.columns]
    with warehouse.reading() as connection:
        rows = [dict(row) for row in connection.execute(select(*columns)).mappings()]
    return {tuple(row[name] for name in key_names(table)): row for row in rows}


def judge(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> dict[str, Any]:
    """Compare two states of a table row by row."""
    columns = Counter[str]()
    for key in before.keys() & after.keys():
        columns.update(
            name
            for name, value in after[key].items()
            if name not in BOOKKEEPING and value != before[key][name]
        )
    changed = [
        key
        for key in before.keys() & after.keys()
        if any(after[key][name] != before[key][name] for name in after[key].keys() - BOOKKEEPING)
    ]
    return {
        "added": len(after.keys() - before.keys()),
        "changed": len(changed),
        "removed": len(before.keys() - after.keys()),
        "columns": dict(columns),
    }


def with_rows(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Validated], Validated]:
    return lambda validated: replace(validated, rows=change(validated.rows))


def quantity(factor: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.with_columns(pl.col("share_quantity") * factor)


def filtered(validated: Validated, condition: pl.Expr) -> Validated:
    """Return a delivery without rows that a filter leaves out, which it counts."""
    rows = validated.rows.filter(condition)
    return replace(validated, rows=rows, filtered={"planted": len(validated.rows) - len(rows)})


IS_FIRST = pl.col("symbol") == "S00"
PLANTED: Mapping[str, Callable[[Validated], Validated]] = {
    "a filter": lambda validated: filtered(validated, pl.col("share_quantity") < 130),
    "a wider decimal": with_rows(quantity(10)),
    "another encoding of the key": with_rows(
        lambda rows: rows.with_columns(
            pl.when(IS_FIRST).then(pl.lit("S00é")).otherwise("symbol").alias("symbol")
        )
    ),
    "another zone of a date": with_rows(
        lambda rows: rows.with_columns(pl.col("last_update_date") + timedelta(days=1))
    ),
    "another name": with_rows(
        lambda rows: rows.with_columns(pl.col("issue_name").str.to_uppercase())
    ),
    "a count that is another column": with_rows(
        lambda rows: rows.with_columns(trade_count=pl.col("trade_count") + 1)
    ),
    "nothing": lambda validated: validated,
}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_change_is_planned_with_its_counts_and_comes_true(replay_loads, name):
    loader = changed_code(replay_loads, PLANTED[name])
    plan = plan_partition(loader, KEY)
    tables = [finra_otc_weekly, *loader.dataset.transforms]
    before = {
        table.name: rows_by_key(replay_loads.partition_loader.warehouse, table) for table in tables
    }
    loader.write_batch(loader.take(KEY))
    for table, planned in zip(tables, plan.differences, strict=True):
        after = rows_by_key(replay_loads.partition_loader.warehouse, table)
        found = judge(before[table.name], after)
        assert planned.table == table.name
        assert {each: getattr(planned, each) for each in found} == found
        for column in planned.columns:
            for example in planned.examples[column]:
                row_before = before[table.name][tuple(example.key.values())]
                row_after = after[tuple(example.key.values())]
                assert (example.before, example.after) == (row_before[column], row_after[column])
    assert plan.is_any == (name != "nothing")
    assert not plan_partition(loader, KEY).is_any


@pytest.mark.slow_after_first
def test_a_plan_by_the_code_of_before_undoes_an_applied_one(replay_loads):
    planted = changed_code(replay_loads, PLANTED["a filter"])
    before = rows_by_key(replay_loads.partition_loader.warehouse, finra_otc_weekly)
    planted.write_batch(planted.take(KEY))
    former = week_replay(*replay_loads.place, run_id="replaying")
    undo = plan_partition(former, KEY)
    assert (undo.differences[0].added, undo.is_loaded) == (10, True)
    former.write_batch(former.take(KEY))
    after = rows_by_key(replay_loads.partition_loader.warehouse, finra_otc_weekly)
    assert judge(before, after) == {"added": 0, "changed": 0, "removed": 0, "columns": {}}


@pytest.mark.slow_after_first
def test_a_plan_writes_nothing(replay_loads, tmp_path):
    before = replay_loads.contents()
    files = {
        file: file.read_bytes() for file in (tmp_path / "artifacts").rglob("*") if file.is_file()
    }
    plan = plan_partition(changed_code(replay_loads, PLANTED["a wider decimal"]), KEY)
    assert plan.differences[0].changed == len(SYMBOLS)
    assert replay_loads.contents() == before
    found = {
        file: file.read_bytes() for file in (tmp_path / "artifacts").rglob("*") if file.is_file()
    }
    assert found == files


@pytest.mark.slow_after_first
def test_a_stricter_check_would_quarantine(replay_loads):
    def refuse(validated: Validated) -> Validated:
        audit = Audit("is_positive", "failed", "0 rows", "3")
        return replace(validated, audits=[*validated.audits, audit])

    loader = changed_code(replay_loads, refuse)
    plan = plan_partition(loader, KEY)
    assert (plan.outcome_before, plan.outcome) == ("landed", "held_back")
    assert [(turn.check, turn.before, turn.after) for turn in plan.turns] == [
        ("is_positive", "", "failed")
    ]
    assert plan.differences == ()
    with pytest.raises(QuarantinedError):
        loader.write_batch(loader.take(KEY))
    looser = plan_partition(changed_code(replay_loads, lambda validated: validated), KEY)
    assert (looser.outcome_before, looser.outcome) == ("held_back", "landed")
    assert [turn.after for turn in looser.turns] == [""]


def test_a_parser_that_drops_a_line_would_quarantine_as_nothing_balances(replay_loads):
    dropped = with_rows(lambda rows: rows.filter(~IS_FIRST))
    plan = plan_partition(changed_code(replay_loads, dropped), KEY)
    assert plan.outcome == "held_back"
    assert [turn.check for turn in plan.turns] == ["balances"]


def test_code_that_refuses_the_bytes_is_planned_as_a_refusal(replay_loads):
    def refuse(_: Validated) -> Validated:
        raise ContractError("a header is missing", expected="tier", found="nothing")

    plan = plan_partition(changed_code(replay_loads, refuse), KEY)
    assert (plan.outcome, plan.outcome_before) == ("refused", "landed")
    assert "a header is missing" in plan.error
    assert plan.is_any


def reject_first(validated: Validated) -> Validated:
    """Return a delivery whose first row a stricter rule rejects."""
    one = pl.DataFrame(
        {
            "part_number": [1],
            "line_number": [2],
            "byte_offset": [0],
            "record": ["S00"],
            "reason_code": ["too_small"],
            "reason": "too small",
        },
        validated.rejects.schema,
    )
    return replace(
        validated,
        rows=validated.rows.filter(~IS_FIRST),
        rejects=one.select(validated.rejects.columns),
    )


@pytest.mark.slow
def test_records_that_a_rule_rejects_or_no_longer_rejects_are_counted(replay_loads):
    loader = changed_code(replay_loads, reject_first, version="stricter")
    stricter = plan_partition(loader, KEY)
    assert (stricter.newly_rejected, stricter.no_longer_rejected) == (1, 0)
    assert stricter.rejected_examples == [
        {"line_number": 2, "record": "S00", "reason": "too small"}
    ]
    assert stricter.differences[0].removed == 1
    loader.write_batch(loader.take(KEY))
    looser = plan_partition(changed_code(replay_loads, lambda validated: validated), KEY)
    assert (looser.newly_rejected, looser.no_longer_rejected) == (0, 1)
    assert looser.differences[0].added == 1


@pytest.mark.slow_after_first
def test_a_delivery_of_before_a_rename_is_what_a_plan_compares_with(replay_loads):
    loader = changed_code(replay_loads, reject_first, version="stricter")
    loader.write_batch(loader.take(KEY))
    with replay_loads.partition_loader.warehouse.writing() as connection:
        for table in (deliveries, captures, audits, landings):
            renamed = func.replace(table.c.group_id, "finra_otc_weekly:", "former_name:")
            connection.execute(update(table).values(group_id=renamed))
        connection.execute(update(fences).values(delivery_table="former_name"))
    plan = plan_partition(loader, KEY)
    assert plan.group_id == f"former_name:{KEY}#2"
    assert not plan.is_any


@pytest.mark.slow_after_first
def test_a_load_while_bytes_are_refused_is_planned_again(replay_loads, clock):
    attempts: list[int] = []

    def load_and_refuse(validated: Validated) -> Validated:
        attempts.append(len(validated.rows))
        if len(attempts) == 1:
            clock.at += timedelta(days=1)
            replay_loads.load(text_of(**SYMBOLS | {"S00": 7}))
            raise ContractError("a header is missing", expected="tier", found="nothing")
        return validated

    plan = plan_partition(changed_code(replay_loads, load_and_refuse), KEY)
    assert (plan.token, plan.outcome, attempts) == (2, "landed", [40, 40])


@pytest.mark.slow
def test_another_formula_is_planned_and_needs_another_version(replay_loads):
    loader = changed_code(replay_loads, lambda validated: validated, version=RULE_VERSION)
    [name, *_] = loader.dataset.transforms

    def double(rows: pl.DataFrame) -> pl.DataFrame:
        made = loader.dataset.transforms[name].of_all(rows)
        return made.with_columns(total_trade_count=pl.col("total_trade_count") * 2)

    def with_formula(loader: WeekLoader) -> WeekLoader:
        transforms = {**loader.dataset.transforms, name: Transform(double)}
        return replace(loader, dataset=replace(loader.dataset, transforms=transforms))

    plan = plan_partition(with_formula(loader), KEY)
    assert [difference.table for difference in plan.differences if difference.is_any] == [name.name]
    assert plan.differences[1].columns == {"total_trade_count": len(SYMBOLS)}
    assert plan.needs_version
    raised = with_formula(changed_code(replay_loads, lambda validated: validated))
    plan = plan_partition(raised, KEY)
    assert not plan.needs_version
    raised.write_batch(raised.take(KEY))
    assert not plan_partition(raised, KEY).is_any


@pytest.mark.slow
def test_a_role_that_cannot_write_can_plan(prepared: Prepared, clock, tmp_path: Path):
    role = "planner_of_tests"
    with prepared.schema() as (url, schema), Warehouse(url, clock=clock, schema=schema) as owner:
        owner.prepare(holds="real")
        replay_loads = ReplayLoads(PartitionLoader(owner, tmp_path / "artifacts"), clock, tmp_path)
        replay_loads.load(text_of(**SYMBOLS))
        with owner.writing() as connection:
            for statement in (
                f"DROP ROLE IF EXISTS {role}",
                f"CREATE ROLE {role} LOGIN PASSWORD 'x'",
                f"GRANT USAGE ON SCHEMA {schema} TO {role}",
                f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}",
            ):
                connection.execute(text(statement))
        reader = make_url(url).set(username=role, password="x")
        try:
            with Warehouse(
                reader.render_as_string(hide_password=False), clock=clock, schema=schema
            ) as reading:
                reading.prepare(holds="real")
                loader = replace(changed_code(replay_loads, PLANTED["a filter"]), warehouse=reading)
                assert isinstance(loader.deliveries, RecordedDeliveries)
                deliveries = replace(loader.deliveries, warehouse=reading)
                plan = plan_partition(replace(loader, deliveries=deliveries), KEY)
        finally:
            with owner.writing() as connection:
                connection.execute(text(f"DROP OWNED BY {role}"))
                connection.execute(text(f"DROP ROLE {role}"))
    assert plan.differences[0].removed == 10


def test_rows_are_compared_by_key_with_nulls_as_values():
    key = {name: ["x"] for name in key_names(finra_otc_weekly)}
    before = pl.DataFrame({**key, "issue_name": [None], "trade_count": [1]})
    after = pl.DataFrame({**key, "issue_name": ["a"], "trade_count": [1]})
    difference = compare_rows(finra_otc_weekly, before, after)
    assert difference.columns == {"issue_name": 1}
    assert (difference.added, difference.changed, difference.removed) == (0, 1, 0)
    assert not compare_rows(finra_otc_weekly, before, before).is_any


@pytest.mark.parametrize(("count", "of", "most"), [(0, 50, 0.071), (5, 50, 0.214), (50, 50, 1.0)])
def test_a_sample_bounds_the_share_of_all(count: int, of: int, most: float):
    assert bound_share(count, of) == pytest.approx(most, abs=0.001)


def hash_of(package: Path, defaults: Path, project: Path) -> str:
    return hash_folders(package, defaults=defaults, project=project)


def write_files(folder: Path, **texts: str) -> Path:
    """Write files below a folder, `__` being a part of their path."""
    for name, content in texts.items():
        file = folder / f"{name.replace('__', '/')}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder


def test_a_wheel_and_a_checkout_of_the_same_code_have_the_same_hash(tmp_path):
    checkout = write_files(tmp_path / "checkout", config__limits="1", package__code="a")
    wheel = write_files(
        tmp_path / "wheel" / "package",
        defaults__config__limits="1",
        defaults__dagster="x",
        code="a",
    )
    project = tmp_path / "project"
    of_checkout = hash_of(checkout / "package", checkout, checkout)
    assert hash_of(wheel, wheel / "defaults", project) == of_checkout
    write_files(project, config__limits="1")
    assert hash_of(wheel, wheel / "defaults", project) == of_checkout
    write_files(project, config__limits="2")
    assert hash_of(wheel, wheel / "defaults", project) != of_checkout


def test_parts_add_up():
    one = plan_of(2)
    both = one + one
    assert (both.changed, both.columns) == (4, {"issue_name": 4})
    assert len(both.examples["issue_name"]) == 3


def test_values_before_and_after_are_measured_and_add_up():
    names = key_names(finra_otc_weekly)
    key = {name: ["a", "b", "c"] for name in names}
    before = pl.DataFrame({**key, "trade_count": [5, 50, None]})
    after = before.with_columns(trade_count=pl.Series([5, 500, -3]))
    difference = compare_rows(finra_otc_weekly, before, after)
    total = difference + difference
    old, new = total.distributions["trade_count"]
    assert (old.minimum, old.maximum, old.null_count) == (50, 50, 2)
    assert (new.minimum, new.maximum, new.null_count) == (-3, 500, 0)
    assert [count for _, count in new.bins] == [2, 2]
    assert [number < 0 for number, _ in new.bins] == [True, False]
    text = pl.DataFrame({**key, "issue_name": ["a", "b", "c"]})
    other = compare_rows(finra_otc_weekly, text, text.with_columns(issue_name=pl.lit("d")))
    assert other.distributions == {}


def test_values_of_persons_are_not_measured():
    table = finra_otc_weekly.to_metadata(MetaData())
    table.c.trade_count.info = {PERSONAL: True}
    key = {name: ["a"] for name in key_names(table)}
    before = pl.DataFrame({**key, "trade_count": [5]})
    difference = compare_rows(table, before, before.with_columns(trade_count=pl.lit(6)))
    assert difference.columns == {"trade_count": 1}
    assert difference.distributions == {}


@pytest.mark.parametrize(
    "values", [[0.0], [1e-60, 1e300, -1e300, 0.0], [float("nan"), float("inf"), None], []]
)
def test_any_numbers_are_drawn(values: list[float | None]):
    found = dict(measure(pl.Series(values, dtype=pl.Float64)).bins)
    picture = draw_distributions(found, {}, ("a", "b"), "title <")
    assert ("<rect" in picture) == bool(found)
    assert "title <" not in picture


def plan_of(count: int):
    names = key_names(finra_otc_weekly)
    key = {name: [f"{name}{number}" for number in range(count)] for name in names}
    before = pl.DataFrame({**key, "issue_name": ["a"] * count})
    return compare_rows(finra_otc_weekly, before, before.with_columns(issue_name=pl.lit("b")))
