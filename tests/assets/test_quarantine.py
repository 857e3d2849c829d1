"""What an observation reports of a partition that is quarantined, or not published yet."""

import dagster as dg
import pytest

from orchestration_project.engine.contracts.failures import format_quarantine, read_quarantine
from orchestration_project.engine.contracts.problems import Problem
from orchestration_project.errors import ContractError, TransientError
from orchestration_project.services.alerts.rules.decisions import find_problems
from orchestration_project.services.ended_runs import RunEnd, read_run

WEEKS = dg.StaticPartitionsDefinition(["a", "b"])


@pytest.mark.parametrize(
    "error",
    [
        ContractError("a is quarantined", expected="0", found="1", remedy="wait", partition="a"),
        TransientError("the source does not answer"),
    ],
)
def test_an_error_is_read_again_as_it_was_written(error):
    found = read_quarantine(format_quarantine(error))
    assert found == (error.category, error.is_retryable, str(error))


def test_observations_of_earlier_versions_are_read_and_others_are_no_quarantine():
    earlier = {"outcome": "held back", "category": "contract", "reason": "why\n  found: 1"}
    assert read_quarantine(earlier) == ("contract", True, "why\n  found: 1")
    assert read_quarantine({"outcome": "not published", "reason": "until Monday"}) is None


@dg.asset(partitions_def=WEEKS, backfill_policy=dg.BackfillPolicy.single_run())
def rows():
    failed = format_quarantine(ContractError("a is quarantined"))
    yield dg.AssetObservation("rows", partition="a", metadata=failed)
    yield dg.AssetObservation("rows", partition="b", metadata={"outcome": "not published"})
    raise dg.Failure("1 of 2 partitions did not load", allow_retries=False)


def test_a_partition_that_is_not_published_is_no_problem_of_a_run_that_failed_for_another():
    job = dg.define_asset_job("rows_job", selection=[rows])
    resolved = dg.Definitions(assets=[rows], jobs=[job]).resolve_job_def("rows_job")
    ends = ("start", "a"), ("end", "b")
    tags = {f"dagster/asset_partition_range_{end}": key for end, key in ends}
    with dg.DagsterInstance.ephemeral() as instance:
        result = resolved.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
        assert not result.success
        run = read_run(instance, RunEnd(1, result.run_id, "failure"))
    assert run is not None
    assert find_problems(run) == {Problem("held_back", "rows", "a")}
