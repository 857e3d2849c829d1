"""Run configs that the model of an op refuses: no run or backfill is made with one."""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
from dagster._config.stack import EvaluationStackRoot
from dagster._core.execution.backfill import PartitionBackfill
from dagster_graphql.implementation.utils import UserFacingGraphQLError
from dagster_graphql.schema.pipelines.config import (
    GrapheneEvaluationStack,
    GrapheneRunConfigValidationInvalid,
    GrapheneRuntimeMismatchConfigError,
)

from orchestration_project.errors import ConfigurationError

REASON = "RUNTIME_TYPE_MISMATCH"

Check = Callable[[Mapping[str, Any]], None]
"""Raises ConfigurationError for a run config that is invalid."""


def check_run_configs(instance: dg.DagsterInstance, check: Check) -> None:
    """Have all runs and backfills that this process makes checked before they are stored."""
    storage = instance.run_storage
    add_run, add_backfill = storage.add_run, storage.add_backfill

    def add_checked_run(dagster_run: dg.DagsterRun) -> dg.DagsterRun:
        _require_valid(check, dagster_run.job_name, dagster_run.run_config)
        return add_run(dagster_run)

    def add_checked_backfill(partition_backfill: PartitionBackfill) -> None:
        job = partition_backfill.job_name or ""
        _require_valid(check, job, partition_backfill.run_config or {})
        return add_backfill(partition_backfill)

    storage.add_run, storage.add_backfill = add_checked_run, add_checked_backfill


def _require_valid(check: Check, job: str, run_config: Mapping[str, Any]) -> None:
    try:
        check(run_config)
    except ConfigurationError as error:
        raise UserFacingGraphQLError(_invalid(job, error.what)) from error


def _invalid(job: str, message: str) -> Any:
    """Return what Dagster answers of a config that its schema refuses, with this message."""
    stack = GrapheneEvaluationStack(EvaluationStackRoot())
    problem: dict[str, Any] = {"message": message, "path": [], "stack": stack, "reason": REASON}
    errors = [GrapheneRuntimeMismatchConfigError(**problem)]
    answer: dict[str, Any] = {"pipeline_name": job, "errors": errors}
    return GrapheneRunConfigValidationInvalid(**answer)
