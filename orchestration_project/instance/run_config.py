"""Refuses runs whose config or settings are invalid before their first step does work."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.events import EngineEventData

from orchestration_project.catalog.configuration import CONFIGURATION
from orchestration_project.engine.contracts.job_options import find_mapping, require_valid
from orchestration_project.engine.dagster_private.definitions import find_models
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.loads import LoadOptions, refuse_unused_options
from orchestration_project.engine.tracing.traceparent import trace_of_tags
from orchestration_project.errors import OrchestrationError
from orchestration_project.registry import Registry
from orchestration_project.services.ledger.rules.entries import BY_CLI, LAUNCHED_BY
from orchestration_project.services.links import build_log_path, build_trace_path, link
from orchestration_project.services.pauses import PausedError, Pauses
from orchestration_project.settings import load_shared_settings


def refuse_unused(run_config: Mapping[str, Any], models: Mapping[str, type[dg.Config]]) -> None:
    """Make sure that no load gives options of a replay, and no replay those of a load.

    Raises:
        ConfigurationError: It does.
    """
    for op, model in models.items():
        if issubclass(model, LoadOptions):
            refuse_unused_options(find_mapping(run_config, "ops", op, "config"), model)


class CheckingExecutor(dg.Executor):
    """Executes the steps of a run as another executor does, once config and settings are valid."""

    def __init__(self, executor: dg.Executor, registry: Registry) -> None:
        self._executor = executor
        self._registry = registry

    @property
    def retries(self) -> Any:
        """Whether steps are retried."""
        return self._executor.retries

    @property
    def step_dependency_config(self) -> Any:
        """When a step may start."""
        return self._executor.step_dependency_config

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """Execute the steps.

        Raises:
            ConfigurationError: A model refuses the run's config, or the settings or files of a
                domain whose assets the run makes are invalid.
            PausedError: A pause holds a run that a command executes in its own process.
        """
        _refuse_paused(plan_context)
        if links := _build_links(plan_context):
            data = EngineEventData(links)
            yield dg.DagsterEvent.engine_event(plan_context, "Log lines and trace of the run", data)
        job = plan_context.job.get_definition()
        require_valid(plan_context.run_config, find_models([job]))
        settings, names = load_shared_settings(), _find_domains(job)
        for domain in self._registry.selected:
            if domain.name in names:
                domain.require_valid(settings)
        yield from self._executor.execute(plan_context, execution_plan)


def _refuse_paused(plan_context: Any) -> None:
    """Refuse a run that no queue has seen; one of the queue waited there.

    Raises:
        PausedError: A pause holds it.
    """
    if plan_context.run_tags.get(LAUNCHED_BY) != BY_CLI:
        return
    try:
        with open_warehouse(load_shared_settings()) as warehouse:
            Pauses(warehouse).require_unpaused(plan_context.instance, plan_context.dagster_run)
    except PausedError:
        raise
    except OrchestrationError:
        return  # the steps that need the database say why they cannot use it


def _build_links(plan_context: Any) -> dict[str, dg.MetadataValue[Any]]:
    """Return links to the log lines and the trace of a run, of which either may be missing."""
    trace = trace_of_tags(plan_context.run_tags)
    lines = load_shared_settings().log_keep_mib > 0
    return {
        **({"log_lines": link(build_log_path(plan_context.run_id))} if lines else {}),
        **({"trace": link(build_trace_path(trace.trace_id))} if trace else {}),
    }


def _find_domains(job: dg.JobDefinition) -> set[str]:
    """Return the domains of what a job makes, without those whose settings it only checks."""
    keys = job.asset_layer.executable_asset_keys
    made_names = {key.path[0] for key in keys if key.path[-1] != CONFIGURATION}
    return made_names if keys else {job.tags.get("domain", "")}


def in_process_if_valid(registry: Registry) -> dg.ExecutorDefinition:
    """Return the executor of all steps in one process, if the run's config is valid."""

    @dg.executor(name="in_process", config_schema=dg.in_process_executor.config_schema.as_field())
    def in_process(context: dg.InitExecutorContext) -> dg.Executor:
        """Execute all steps in one process, if the run's config is valid."""
        create = dg.in_process_executor.executor_creation_fn
        if create is None:
            raise AssertionError("Dagster's executor can be created")
        return CheckingExecutor(create(context), registry)

    return in_process
