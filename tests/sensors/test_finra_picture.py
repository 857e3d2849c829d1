"""The sensor that draws the picture, ticked by the test over the real demo source."""

import dagster as dg
import pytest

from orchestration_project.definitions import defs
from orchestration_project.sensors.finra import finra_on_gold
from tests.resources.definitions import RESOURCES
from tests.runs import part_of_daily

pytestmark = pytest.mark.usefixtures("demo_settings")


def tick_and_expect_run_or_skip(instance) -> str | dg.RunRequest:
    """Return what a tick says, or requests."""
    with dg.build_resources(
        {name: RESOURCES[name] for name in ("clock", "warehouse")}, instance
    ) as resources:
        context = dg.build_sensor_context(instance=instance, resources=resources._asdict())
        result = finra_on_gold(context)
    assert isinstance(result, dg.RunRequest | dg.SkipReason)
    return str(result.skip_message) if isinstance(result, dg.SkipReason) else result


def run(instance, job: str, **tags: str) -> None:
    defs.resolve_job_def(job).execute_in_process(instance=instance, tags=tags)


def test_without_loads_there_is_nothing_to_draw(instance):
    assert tick_and_expect_run_or_skip(instance) == "Nothing to draw: no week is loaded."


@pytest.mark.slow
def test_a_load_and_its_derivation_each_request_a_picture_once(instance):
    partition = {"dagster/partition": "T1|2026-01-26"}
    run(instance, "finra_otc_weekly", **partition)
    loaded = tick_and_expect_run_or_skip(instance)
    assert isinstance(loaded, dg.RunRequest)
    drawing = part_of_daily("finra", *loaded.asset_selection or ())
    assert drawing.execute_in_process(instance=instance).success
    assert tick_and_expect_run_or_skip(instance) == (
        f"Nothing to do: the picture shows the present gold ({str(loaded.run_key).split()[0]})."
    )
    run(instance, "finra_gold", **partition)
    derived = tick_and_expect_run_or_skip(instance)
    assert isinstance(derived, dg.RunRequest)
    assert derived.run_key != loaded.run_key


@pytest.mark.slow
def test_while_a_picture_is_being_drawn_no_other_is_asked_for(instance):
    run(instance, "finra_otc_weekly", **{"dagster/partition": "T1|2026-01-26"})
    job = defs.resolve_job_def("finra_daily")
    waiting = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert (
        tick_and_expect_run_or_skip(instance)
        == f"The run {waiting.run_id} of finra_daily is under way."
    )
