"""Runs of a job's backfill over ranges, as Dagster's daemon makes them, in both storages."""

import gc
import logging
import time
import warnings
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.execution.job_backfill import execute_job_backfill_iteration
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget

from orchestration_project.instance.storage import open_instance
from orchestration_project.settings import PROJECT_ROOT
from tests.instance.every_other import LETTERS

START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
TIERS = dg.MultiPartitionsDefinition(
    {
        "tier": dg.StaticPartitionsDefinition(["T1", "T2"]),
        "week": dg.StaticPartitionsDefinition(["1", "2"]),
    }
)


@dg.asset(partitions_def=TIERS, backfill_policy=dg.BackfillPolicy.single_run())
def weeks() -> None:
    """Rows of a tier and week."""


JOB = dg.Definitions(
    assets=[weeks], jobs=[dg.define_asset_job("loading", [weeks])]
).resolve_job_def("loading")


@pytest.fixture(params=["sqlite", "postgresql"])
def instance(request, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("DAGSTER_DATABASE_URL", raising=False)
    if request.param == "postgresql":
        monkeypatch.setenv("DAGSTER_DATABASE_URL", request.getfixturevalue("postgres_url"))
    with open_instance() as instance:
        yield instance


def a_backfill(name: str, *partitions: str, origin=None) -> PartitionBackfill:
    return PartitionBackfill(
        name,
        BulkActionStatus.REQUESTED,
        False,
        {},
        time.time(),
        partition_set_origin=origin,
        partition_names=partitions,
    )


@pytest.mark.slow_on_postgresql
def test_a_run_over_a_range_is_stored_without_the_dimensions_of_another_runs_partition(instance):
    dimensions = {"dagster/partition/tier": "T1", "dagster/partition/week": "1"}
    of_range = {START: "T1|2", END: "T2|2", "dagster/partition_set": "loading_partition_set"}
    run = instance.create_run_for_job(JOB, tags=of_range | dimensions)
    assert run.tags.items() >= of_range.items()
    assert run.tags.keys().isdisjoint(dimensions)
    assert instance.get_run_by_id(run.run_id) == run
    of_one = {"dagster/partition": "T1|1", "dagster/partition_set": "loading_partition_set"}
    run = instance.create_run_for_job(JOB, tags=of_one | dimensions)
    assert run.tags.items() >= dimensions.items()


@pytest.mark.slow_on_postgresql
def test_a_checkpoint_is_kept_of_backfills_with_a_run_for_each_partition_alone(instance):
    for name, tags in (
        ("ranges", {START: "T1|1", END: "T1|2"}),
        ("single", {"dagster/partition": "T1|1"}),
    ):
        backfill = a_backfill(name, "T1|1", "T1|2", "T2|1")
        instance.add_backfill(backfill)
        instance.create_run_for_job(JOB, tags={"dagster/backfill": name, **tags})
        instance.update_backfill(backfill.with_partition_checkpoint("T1|1"))
    checkpoints = {
        backfill.backfill_id: backfill.last_submitted_partition_name
        for backfill in instance.get_backfills()
    }
    assert {name: checkpoints[name] for name in ("ranges", "single")} == {
        "ranges": None,
        "single": "T1|1",
    }


@pytest.fixture
def forgotten_code_servers() -> Iterator[None]:
    """Forget the code servers of a test: Dagster stops them, and waits for none to end."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.slow
@pytest.mark.usefixtures("forgotten_code_servers")
def test_the_daemon_makes_a_run_for_each_of_many_ranges_in_whatever_order_they_were_named(
    instance,
):
    target = ModuleTarget("tests.instance.every_other", None, str(PROJECT_ROOT), "here")
    requested = LETTERS[::2][::-1]
    with create_test_daemon_workspace_context(target, instance) as workspace:
        [repository] = (
            workspace.create_request_context().code_locations[0].get_repositories().values()
        )
        origin = repository.get_partition_set("printing_partition_set").get_remote_origin()
        backfill = a_backfill("pages", *requested, origin=origin)
        instance.add_backfill(backfill)
        log = logging.getLogger("daemon")
        assert not execute_job_backfill_iteration(backfill, log, workspace, None, instance)
    runs = instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": "pages"}))
    assert sorted(run.tags[START] for run in runs) == sorted(requested)
