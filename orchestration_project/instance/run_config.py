"""Runs whose config is invalid: refused before their first step, wherever they were launched."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction

from orchestration_project.domains.operations.run_config import require_valid


def models_of(jobs: Iterable[dg.JobDefinition]) -> Mapping[str, type[dg.Config]]:
    """Return the models of the config of the ops of jobs, by the op's name in a run config."""
    return {
        node.name: node.definition.compute_fn.get_config_arg().annotation
        for job in jobs
        for node in job.nodes
        if isinstance(node.definition, dg.OpDefinition)
        and isinstance(node.definition.compute_fn, DecoratedOpFunction)
        and node.definition.compute_fn.has_config_arg()
    }


class CheckingExecutor(dg.Executor):
    """Executes the steps of a run as another executor does, once its config is found valid."""

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

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
            ConfigurationError: A model refuses the run's config.
        """
        job = plan_context.job.get_definition()
        require_valid(plan_context.run_config, models_of([job]))
        yield from self._executor.execute(plan_context, execution_plan)


@dg.executor(name="in_process", config_schema=dg.in_process_executor.config_schema.as_field())
def in_process_if_valid(context: dg.InitExecutorContext) -> dg.Executor:
    """Execute all steps in one process, if the run's config is valid."""
    create = dg.in_process_executor.executor_creation_fn
    if create is None:
        raise AssertionError("Dagster's executor can be created")
    return CheckingExecutor(create(context))
