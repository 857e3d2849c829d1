"""The gate that a run's work goes through before anything of it is opened."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import partial
from typing import Any

import dagster as dg

from orchestration_project.resources.clock import Clock
from orchestration_project.resources.effective_config import effective_config
from orchestration_project.resources.gate import Gate, Register, Run
from orchestration_project.resources.opening import at_first_use
from orchestration_project.resources.providers.probes import open_probes
from orchestration_project.settings import load_settings

CONFIG_TAG = "config_hash"
"""Run tag: the hash of the settings and presets that change results, as the run found them."""

FORCED_TAG = "forced_past"
"""Run tag: the dependencies that were not ready when the run went on all the same."""


@dg.resource(
    description="Lets a run's work through while what it depends on is ready.",
    required_resource_keys={"warehouse"},
    config_schema={
        "force": dg.Field(
            bool,
            default_value=False,
            description="Go on although a dependency is not ready; the run is tagged with which.",
        )
    },
)
def gate_resource(context: dg.InitResourceContext) -> Iterator[Gate]:
    """The gate that whatever a run opens for its work goes through."""
    with at_first_use(lambda: nullcontext(_gate(context))) as gate:
        yield gate


def _gate(context: dg.InitResourceContext) -> Gate:
    settings, instance, run_id = load_settings(), instance_of(context), _run_id(context)
    warehouse = context.resources.warehouse
    return Gate(
        open_probes(settings, lambda: instance, warehouse),
        Register(warehouse),
        clock=Clock(),
        max_age=timedelta(minutes=settings.readiness_max_age_minutes),
        config_hash=effective_config(settings).full_hash,
        run=Run(
            run_id,
            is_forced=context.resource_config["force"],
            is_queued=partial(_was_queued, instance, run_id),
            note_forced=lambda names: instance.add_run_tags(run_id, {FORCED_TAG: ", ".join(names)}),
        ),
    )


def instance_of(context: dg.InitResourceContext) -> dg.DagsterInstance:
    """Return Dagster's instance, which a run's resources are given."""
    if context.instance is None:
        raise AssertionError("Dagster gives a run's resources its instance")
    return context.instance


def _run_id(context: dg.InitResourceContext) -> str:
    if context.run is None:
        raise AssertionError("only a run goes through the gate")
    return context.run.run_id


def _was_queued(instance: dg.DagsterInstance, run_id: str) -> bool:
    enqueued = dg.DagsterEventType.RUN_ENQUEUED
    return bool(instance.get_records_for_run(run_id, of_type=enqueued, limit=1).records)


def admitted(
    context: dg.InitResourceContext, work: str, opening: AbstractContextManager[Any]
) -> AbstractContextManager[Any]:
    """Return ``opening``, of which nothing is open yet, once the gate lets a run through.

    A tick of a sensor or schedule, which only asks what there is, does not go through it.
    """
    admit(context, work)
    return opening


def admit(context: dg.InitResourceContext, work: str) -> None:
    """Let a run through whose dependencies are ready; a tick goes without."""
    if context.run is not None:
        context.resources.gate.admit(work)
