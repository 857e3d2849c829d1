"""Equations of backfills: what each was to make is what its runs did of it, or it is named."""

import json
import time
from collections.abc import Sequence

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemotePartitionSetOrigin,
    RemoteRepositoryOrigin,
)
from sqlalchemy import select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.failures import NOT_PUBLISHED
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.sensors.operations import operations_on_run_end
from orchestration_project.services.backfills import request_backfill
from orchestration_project.tables.spine import balances
from tests import databases
from tests.expecting import expect_present
from tests.resources.balances import verify
from tests.resources.definitions import RESOURCES

KEYS = dg.StaticPartitionsDefinition(["a", "b", "c"])


@dg.multi_asset(
    specs=[dg.AssetSpec("crates", skippable=True), dg.AssetSpec("lids", skippable=True)],
    partitions_def=KEYS,
    can_subset=True,
)
def packing(context: dg.AssetExecutionContext):
    """Crates and their lids, in one step."""
    if context.run.tags.get("broken"):
        raise ZeroDivisionError("no wood")
    if context.run.tags.get("unpublished"):
        outcome = {"outcome": NOT_PUBLISHED}
        for name in ("crates", "lids"):
            yield dg.AssetObservation(name, partition=context.partition_key, metadata=outcome)
        return
    if not context.run.tags.get("silent"):
        for name in ("crates", "lids"):
            yield dg.MaterializeResult(asset_key=name)


@dg.asset(deps=["crates"], partitions_def=KEYS)
def labels() -> None:
    """One label per crate."""


DEFINITIONS = dg.Definitions(
    assets=[packing, labels], jobs=[dg.define_asset_job("packing_job", [packing])]
)
REPOSITORY = DEFINITIONS.get_repository_def()
ORIGIN = RemoteRepositoryOrigin(
    code_location_origin=RegisteredCodeLocationOrigin("packing"), repository_name="packing"
)
CRATES, LIDS = dg.AssetKey("crates"), dg.AssetKey("lids")


class Backfills:
    """Backfills that a test requests and runs, and the ticks of the sensor that records them."""

    def __init__(self, instance: dg.DagsterInstance, url: str) -> None:
        self.instance, self.url, self.cursor = instance, url, None
        self.repository = REPOSITORY
        self.tick_and_expect_skip()

    def tick_and_expect_skip(self) -> str:
        used = {name: RESOURCES[name] for name in ("alerts", "clock", "warehouse")}
        with dg.build_resources(used, self.instance) as resources:
            context = dg.build_sensor_context(
                self.instance,
                self.cursor,
                resources=resources._asdict(),
                repository_def=self.repository,
            )
            skipped = operations_on_run_end(context)
            self.cursor = context.cursor
        assert isinstance(skipped, dg.SkipReason)
        return str(skipped.skip_message)

    def request(self, *keys: str, assets: Sequence[dg.AssetKey] = (CRATES, LIDS)) -> str:
        return request_backfill(self.instance, REPOSITORY, assets, keys, tags={}, title="Crates")

    def request_job(self, *keys: str) -> str:
        backfill = PartitionBackfill(
            "job",
            status=BulkActionStatus.REQUESTED,
            from_failure=False,
            tags={},
            backfill_timestamp=time.time(),
            partition_set_origin=RemotePartitionSetOrigin(
                repository_origin=ORIGIN, partition_set_name="packing_job_partition_set"
            ),
            partition_names=list(keys),
        )
        self.instance.add_backfill(backfill)
        return backfill.backfill_id

    def run(self, backfill_id: str, key: str, **tags: str) -> str:
        ended = DEFINITIONS.resolve_job_def("packing_job").execute_in_process(
            instance=self.instance,
            partition_key=key,
            tags={"dagster/backfill": backfill_id, **tags},
            raise_on_error=False,
        )
        return ended.run_id

    def end(self, backfill_id: str, status: BulkActionStatus) -> str:
        self.update(backfill_id, status)
        return self.tick_and_expect_skip()

    def cancel(self, backfill_id: str) -> None:
        self.update(backfill_id, BulkActionStatus.CANCELED)

    def update(self, backfill_id: str, status: BulkActionStatus) -> None:
        backfill = expect_present(self.instance.get_backfill(backfill_id))
        self.instance.update_backfill(backfill.with_status(status))

    def store_in_old_form(self, backfill_id: str) -> None:
        backfill = expect_present(self.instance.get_backfill(backfill_id))
        graph = REPOSITORY.asset_graph
        text = backfill.get_asset_backfill_data(graph).serialize(self.instance, graph)
        update = {"serialized_asset_backfill_data": text, "asset_backfill_data": None}
        self.instance.update_backfill(backfill._replace(**update))

    def recorded(self) -> dict[str, tuple[int | None, str, str]]:
        row = balances.c
        statement = select(row.subject, row.came_in, row.went_to, row.state)
        return {
            subject: (came_in, went_to, state)
            for subject, came_in, went_to, state in databases.rows(self.url, statement)
        }


@pytest.fixture
def backfills(kept_instance, demo_settings, tmp_path, prepared, monkeypatch) -> Backfills:
    url = prepared.sqlite(tmp_path / "warehouse.sqlite")
    monkeypatch.setenv("DATABASE_URL", url)
    return Backfills(kept_instance, url)


COMPLETED, FAILED = BulkActionStatus.COMPLETED_SUCCESS, BulkActionStatus.FAILED


@pytest.mark.slow
def test_a_backfill_is_what_its_runs_made_of_it_and_is_recorded_once(backfills):
    backfill_id = backfills.request("a", "b", "c")
    backfills.run(backfill_id, "a")
    backfills.run(backfill_id, "b", broken="yes")
    backfills.run(backfill_id, "c", unpublished="yes")
    backfills.tick_and_expect_skip()
    assert backfills.recorded() == {}  # it has not ended
    backfills.end(backfill_id, BulkActionStatus.COMPLETED_FAILED)
    places = '{"failed": 2, "materialized": 2, "without_data": 2}'
    assert backfills.recorded() == {f"backfill {backfill_id}": (6, places, "balanced")}
    backfills.tick_and_expect_skip()
    assert len(backfills.recorded()) == 1


@pytest.mark.slow
def test_the_last_attempt_at_a_partition_counts(backfills):
    backfill_id = backfills.request("a")
    backfills.run(backfill_id, "a", broken="yes")
    backfills.run(backfill_id, "a")
    backfills.end(backfill_id, COMPLETED)
    assert list(backfills.recorded().values()) == [(2, '{"materialized": 2}', "balanced")]


@pytest.mark.slow
def test_a_partition_whose_run_vanished_is_a_difference(backfills):
    backfill_id = backfills.request("a", "b")
    backfills.run(backfill_id, "a")
    backfills.instance.delete_run(backfills.run(backfill_id, "b"))
    problem = backfills.end(backfill_id, COMPLETED)
    assert f"backfill {backfill_id}" in problem
    assert "backfill: 4 != 2 materialized" in problem
    subject = f"backfill {backfill_id} (failed)"
    assert backfills.recorded() == {subject: (4, '{"materialized": 2}', "unbalanced")}
    with Warehouse(backfills.url, clock=Clock()) as warehouse:
        [imbalance] = verify(warehouse).imbalances
    assert (imbalance.subject, imbalance.balance.difference) == (subject, 2)


@pytest.mark.slow
def test_a_run_that_succeeds_and_says_nothing_of_a_partition_is_a_difference(backfills):
    backfill_id = backfills.request("a")
    backfills.run(backfill_id, "a", silent="yes")
    assert "backfill: 2 != 0" in backfills.end(backfill_id, COMPLETED)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("status", "place"), [(BulkActionStatus.CANCELED, "canceled"), (FAILED, "never_started")]
)
def test_partitions_without_a_run_are_named_by_the_end_of_the_backfill(backfills, status, place):
    backfill_id = backfills.request("a", "b")
    backfills.run(backfill_id, "a")
    backfills.end(backfill_id, status)
    [(requested, places, state)] = backfills.recorded().values()
    assert (requested, json.loads(places), state) == (4, {place: 2, "materialized": 2}, "balanced")


def test_what_depends_on_a_failed_partition_is_named(backfills):
    backfill_id = backfills.request("a", assets=[CRATES, LIDS, labels.key])
    backfills.run(backfill_id, "a", broken="yes")
    backfill = backfills.instance.get_backfill(backfill_id)
    left_out = {AssetKeyPartitionKey(labels.key, "a")}
    graph = REPOSITORY.asset_graph
    subset = AssetGraphSubset.from_asset_partition_set(left_out, graph)
    state = backfill.get_asset_backfill_data(graph)._replace(failed_and_downstream_subset=subset)
    changed = backfill.with_asset_backfill_data(state, backfills.instance, graph)
    backfills.instance.update_backfill(changed)
    backfills.end(backfill_id, BulkActionStatus.COMPLETED_FAILED)
    places = '{"failed": 2, "upstream_failed": 1}'
    assert list(backfills.recorded().values()) == [(3, places, "balanced")]


@pytest.mark.slow
def test_a_backfill_of_a_job_is_over_with_its_last_run(backfills):
    """Dagster's command marks it as completed when its runs are queued."""
    backfill_id = backfills.request_job("a", "b")
    backfills.run(backfill_id, "a")
    started = backfills.instance.create_run_for_job(
        DEFINITIONS.resolve_job_def("packing_job"),
        tags={"dagster/backfill": backfill_id, "dagster/partition": "b"},
        status=dg.DagsterRunStatus.STARTED,
    )
    backfills.end(backfill_id, COMPLETED)
    assert backfills.recorded() == {}
    backfills.instance.delete_run(started.run_id)
    backfills.run(backfill_id, "b")
    backfills.tick_and_expect_skip()
    assert list(backfills.recorded().values()) == [(4, '{"materialized": 4}', "balanced")]


def test_backfills_that_ended_before_the_first_look_are_not_recorded(backfills):
    backfills.end(backfills.request("a"), BulkActionStatus.CANCELED)
    known = backfills.recorded()
    backfills.cursor = None
    backfills.tick_and_expect_skip()
    backfills.end(backfills.request("b"), BulkActionStatus.CANCELED)
    assert len(known) == 1
    assert len(backfills.recorded()) == 2


@pytest.mark.slow
def test_each_of_many_backfills_between_two_looks_is_recorded(backfills):
    for _ in range(70):
        backfills.cancel(backfills.request("a", assets=[CRATES]))
    backfills.tick_and_expect_skip()
    assert len(backfills.recorded()) == 70


@dg.asset
def crates() -> None:
    """Crates, all at once."""


@dg.asset(name="crates", partitions_def=dg.DailyPartitionsDefinition("2026-01-05"))
def crates_by_day() -> None:
    """Crates of a day."""


@dg.asset(partitions_def=KEYS)
def straps() -> None:
    """Straps around crates, which the job has only now."""


CHANGES = {"gone": [], "whole": [crates], "days": [crates_by_day], "more": [packing, straps]}


def change_definitions(assets: Sequence[dg.AssetsDefinition]) -> dg.RepositoryDefinition:
    jobs = [dg.define_asset_job("packing_job", assets)] if assets else []
    return dg.Definitions(assets=assets, jobs=jobs).get_repository_def()


@pytest.mark.slow_after_first
@pytest.mark.parametrize("assets", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("is_of_job", [True, False], ids=["job", "assets"])
def test_a_backfill_counts_what_it_was_to_make_before_its_definitions_changed(
    backfills, assets, is_of_job
):
    backfill_id = backfills.request_job("a", "b") if is_of_job else backfills.request("a", "b")
    backfills.run(backfill_id, "a")
    backfills.run(backfill_id, "b", broken="yes")
    backfills.repository = change_definitions(assets)
    backfills.end(backfill_id, FAILED)
    places = '{"failed": 2, "materialized": 2}'
    assert list(backfills.recorded().values()) == [(4, places, "balanced")]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("change", ["gone", "whole", "days"])
def test_an_old_backfill_of_changed_definitions_is_alerted_and_not_counted(backfills, change):
    """Dagster stored backfills before 1.6 in a form that needs the definitions of their time."""
    backfill_id = backfills.request("a", "b")
    backfills.store_in_old_form(backfill_id)
    backfills.repository = change_definitions(CHANGES[change])
    assert "gave up a backfill of crates, lids" in backfills.end(backfill_id, FAILED)
    assert list(backfills.recorded().values()) == [(None, "{}", "not_counted")]
