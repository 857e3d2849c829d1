"""Definitions: a repository to execute, models of ops, parts of jobs and runs, check results."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
from dagster import StepExecutionContext
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster_shared.record import replace

__all__ = [
    "UnenforcedCheckResult",
    "UnresolvedAssetJobDefinition",
    "declare_model",
    "find_models",
    "load_repository",
]


def load_repository(module: str, attribute: str, folder: Path) -> ReconstructableRepository:
    """Return the definitions of a module in a form whose jobs run in processes of their own.

    Dagster 1.13: `ReconstructableRepository`. No public way: `dg.reconstructable` needs a function
    for each job, and definitions name theirs only. At an upgrade: a job of it is executed.
    """
    return ReconstructableRepository.for_module(module, attribute, str(folder))


MODEL = "model"
"""Attribute of the function of an op that has a config schema in place of a model."""


def declare_model(op: dg.OpDefinition, model: type[dg.Config]) -> None:
    """Record the model of an op whose config schema Dagster cannot make of it.

    Dagster 1.13: `DecoratedOpFunction.decorated_fn`. No public way: an op has no attributes of its
    own. At an upgrade: `find_models` returns the model.
    """
    if isinstance(op.compute_fn, DecoratedOpFunction):
        setattr(op.compute_fn.decorated_fn, MODEL, model)


def find_models(jobs: Iterable[dg.JobDefinition]) -> Mapping[str, type[dg.Config]]:
    """Return the models of the config of the ops of jobs, by the op's name in a run config.

    Dagster 1.13: `DecoratedOpFunction.get_config_arg`. No public way: a definition has the schema
    that Dagster made of the model, without its ranges. At an upgrade: an op with a model is found.
    """
    models = {node.name: _find_model(node.definition) for job in jobs for node in job.nodes}
    return {name: model for name, model in models.items() if model is not None}


def _find_model(definition: Any) -> type[dg.Config] | None:
    if not isinstance(definition, dg.OpDefinition):
        return None
    function = definition.compute_fn
    if not isinstance(function, DecoratedOpFunction):
        return None
    if function.has_config_arg():
        return function.get_config_arg().annotation
    return getattr(function.decorated_fn, MODEL, None)


class JobParts(NamedTuple):
    """Tags of a job, assets that it makes or checks, and resources that its steps require."""

    tags: Mapping[str, str]
    assets: frozenset[str]
    resources: frozenset[str]


def build_job_parts(job: dg.JobDefinition) -> JobParts:
    """Return the parts of a job of which nothing is selected.

    Dagster 1.13: `JobDefinition.asset_layer`, `all_node_defs`. No public way: a definition lists
    its assets for its repository only. At an upgrade: the job of a source names its resource.
    """
    layer = job.asset_layer
    checked = {spec.asset_key for part in layer.data for spec in part.assets_def.check_specs}
    ops = [node for node in job.all_node_defs if isinstance(node, dg.OpDefinition)]
    return JobParts(
        job.tags,
        frozenset(key.to_user_string() for key in {*layer.executable_asset_keys, *checked}),
        frozenset(name for op in ops for name in op.required_resource_keys),
    )


def read_run_parts(instance: dg.DagsterInstance, run: dg.DagsterRun) -> JobParts:
    """Return the parts of a run: by its stored job and plan, else by its tags and selection.

    Dagster 1.13: snapshots of job and plan. No public way: a run names its selection only. At an
    upgrade: a run of one asset of a job has its assets and resources alone.
    """
    selected = frozenset(key.to_user_string() for key in run.asset_selection or ())
    if run.job_snapshot_id is None or run.execution_plan_snapshot_id is None:
        return JobParts(run.tags, selected, frozenset())
    job = instance.get_job_snapshot(run.job_snapshot_id)
    plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    steps = [step for step in plan.steps if step.key in plan.step_keys_to_execute]
    ops = {step.node_handle_id.rpartition(".")[2] for step in steps}
    required = {op.name: op.required_resource_keys for op in job.node_defs_snapshot.op_def_snaps}
    is_unresolved = not ops <= required.keys()  # an op under another name
    return JobParts(
        {**({"domain": run.tags["domain"]} if "domain" in run.tags else {}), **job.tags},
        selected | {_format_asset(key) for step in steps for key in step.entity_keys},
        frozenset(name for op in (required if is_unresolved else ops) for name in required[op]),
    )


def _format_asset(key: dg.AssetKey | dg.AssetCheckKey) -> str:
    asset = key.asset_key if isinstance(key, dg.AssetCheckKey) else key
    return asset.to_user_string()


class UnenforcedCheckResult(dg.AssetCheckResult):
    """Result of a check that is shown as blocking, and whose failure does not fail its step.

    It judges all partitions: one that was quarantined earlier must not fail the load of others. A
    step that quarantines a partition fails by itself.

    Dagster 1.13: `AssetCheckResult.to_asset_check_evaluation`, called for each result of a step. No
    public way: every failed result of a blocking check fails the step. At an upgrade: a step with a
    failed one succeeds.
    """

    def to_asset_check_evaluation(
        self, step_context: StepExecutionContext
    ) -> dg.AssetCheckEvaluation:
        """Return the event, without the mark that fails the step."""
        return replace(super().to_asset_check_evaluation(step_context), blocking=False)
