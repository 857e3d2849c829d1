"""Refuses runs whose config or settings are invalid before their first step does work."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.events import EngineEventData

from orchestration_project.catalog.configuration import CONFIGURATION
from orchestration_project.contracts.job_options import require_valid, within
from orchestration_project.engine.dagster_private import models_of
from orchestration_project.engine.loads import ReplayOptions, options_of
from orchestration_project.errors import ConfigurationError
from orchestration_project.registry import Registry
from orchestration_project.services.links import link, log_lines_path, trace_path
from orchestration_project.settings import load_shared_settings
from orchestration_project.tracing.traceparent import trace_of_tags


def refuse_options_of_other_jobs(
    job: str,
    run_config: Mapping[str, Any],
    models: Mapping[str, type[dg.Config]],
    replay_jobs: Collection[str],
) -> None:
    """Make sure that a load gives no option of a replay, and a replay none of a load.

    Both jobs share an op, so Dagster's schema takes the options of both.

    Raises:
        ConfigurationError: It does.
    """
    is_replay = job in replay_jobs
    for op, model in models.items():
        if not issubclass(model, ReplayOptions):
            continue
        own = options_of(model, is_replay=is_replay)
        given = within(run_config, "ops", op, "config")
        if others := [name for name, value in given.items() if value and name not in own]:
            raise ConfigurationError(
                f"invalid {', '.join(others)} in the config of {op}: expected an option of "
                f"{'a replay' if is_replay else 'a load'}, one of {', '.join(own)}"
            )


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
        """
        if links := _links_of(plan_context):
            data = EngineEventData(links)
            yield dg.DagsterEvent.engine_event(plan_context, "Log lines and trace of the run", data)
        job = plan_context.job.get_definition()
        require_valid(plan_context.run_config, models_of([job]))
        settings, names = load_shared_settings(), _domains_of(job)
        for domain in self._registry.selected:
            if domain.name in names:
                domain.require_valid(settings)
        yield from self._executor.execute(plan_context, execution_plan)


def _links_of(plan_context: Any) -> dict[str, dg.MetadataValue[Any]]:
    """Return links to the log lines and the trace of a run, of which either may be missing."""
    trace = trace_of_tags(plan_context.run_tags)
    lines = load_shared_settings().log_keep_mib > 0
    return {
        **({"log_lines": link(log_lines_path(plan_context.run_id))} if lines else {}),
        **({"trace": link(trace_path(trace.trace_id))} if trace else {}),
    }


def _domains_of(job: dg.JobDefinition) -> set[str]:
    """Return the domains of what a job makes, without those whose settings it only checks."""
    keys = job.asset_layer.executable_asset_keys
    made = {key.path[0] for key in keys if key.path[-1] != CONFIGURATION}
    return made if keys else {job.tags.get("domain", "")}


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
