"""Subject of a launch, resolved as in Dagster: its assets, checks, ops and job.

It reads snapshots that are private to Dagster 1.13; roles decide by tags, by
`engine/contracts/roles.py`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import dagster as dg
from dagster import JobSelector
from dagster._core.definitions.sensor_definition import SensorType
from dagster._core.remote_representation.code_location import is_implicit_asset_job_name

from orchestration_project.engine.contracts.job_options import find_mapping
from orchestration_project.engine.contracts.roles import select_kind_tags, split_kind_tags
from orchestration_project.engine.dagster_private.backfills import PartitionBackfill

Part = Mapping[str, str] | None
"""The tags of an asset, an op or a job that would run; None if it cannot be resolved."""

UNRESOLVED: Sequence[Part] = (None,)

Repository: TypeAlias = Any
"""The definitions of a code location, as Dagster's workspace has them."""

Plan: TypeAlias = Any
Step: TypeAlias = Any
"""An execution plan, as stored with a run, and a step of it."""


class Launches:
    """Resolves launches in the workspace of one request."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def of_run(self, run: dg.DagsterRun) -> Sequence[Part]:
        """Return the parts of a run: those of its stored execution plan, whatever selected them."""
        plan_id, origin = run.execution_plan_snapshot_id, run.remote_job_origin
        if plan_id is None or origin is None:
            return UNRESOLVED
        repository = self._repository(
            origin.location_name, origin.repository_origin.repository_name
        )
        plan = self._context.instance.get_execution_plan_snapshot(plan_id)
        if repository is None or not repository.has_job(run.job_name):
            return UNRESOLVED
        return [
            repository.get_full_job(run.job_name).tags,
            *_find_plan_parts(repository, run, plan),
        ]

    def job_tags(self, run: dg.DagsterRun) -> Mapping[str, str]:
        """Return the tags of the definition of a run's job; none of an unknown job."""
        origin = run.remote_job_origin
        if origin is None:
            return {}
        repository = self._repository(
            origin.location_name, origin.repository_origin.repository_name
        )
        if repository is None or not repository.has_job(run.job_name):
            return {}
        return repository.get_full_job(run.job_name).tags

    def of_backfill(self, backfill: PartitionBackfill) -> Sequence[Part]:
        """Return the parts of all runs of a backfill; its daemon may launch them later."""
        chosen = backfill.asset_selection or ()
        if backfill.is_asset_backfill:
            return [self._asset(key) for key in chosen] or UNRESOLVED
        origin = backfill.partition_set_origin
        if origin is None:
            return UNRESOLVED
        repository = self._repository(
            origin.selector.location_name, origin.selector.repository_name
        )
        if repository is None or not repository.has_partition_set(origin.partition_set_name):
            return UNRESOLVED
        job = repository.get_partition_set(origin.partition_set_name).job_name
        if not chosen:
            return _find_job_parts(repository, job)
        return [repository.get_full_job(job).tags, *(_read_tags(repository, key) for key in chosen)]

    def of_job(self, selector: JobSelector) -> Sequence[Part] | None:
        """Return the parts of a whole job, None for an unknown job."""
        repository = self._repository(selector.location_name, selector.repository_name)
        if repository is None or not repository.has_job(selector.job_name):
            return None
        return _find_job_parts(repository, selector.job_name)

    def of_schedule(self, selector: Any) -> Sequence[Part] | None:
        """Return the parts that a schedule may launch, None for an unknown schedule."""
        schedule = self._context.get_schedule(selector)
        repository = self._repository(selector.location_name, selector.repository_name)
        if schedule is None or repository is None:
            return None
        return _find_job_parts(repository, schedule.job_name)

    def of_sensor(self, selector: Any) -> Sequence[Part] | None:
        """Return the parts that a sensor may launch, None for an unknown sensor."""
        sensor = self._context.get_sensor(selector)
        repository = self._repository(selector.location_name, selector.repository_name)
        if sensor is None or repository is None:
            return None
        if sensor.asset_selection is not None:
            return _find_selection_parts(repository, sensor)
        jobs = [target.job_name for target in sensor.get_targets()]
        return [part for job in jobs for part in _find_job_parts(repository, job)]

    def of_automation(self) -> Sequence[Part]:
        """Return the parts of what Dagster may launch by the automation conditions of assets."""
        return [
            snap.tags or {}
            for repository in self._repositories()
            for snap in repository.get_asset_node_snaps()
            if _is_automated(repository, snap.asset_key)
        ]

    def _asset(self, key: dg.AssetKey) -> Part:
        """Return the tags of an asset of any code location."""
        entries = [_read_tags(repository, key) for repository in self._repositories()]
        tag_sets = [tags for tags in entries if tags is not None]
        return (
            {name: value for tags in tag_sets for name, value in tags.items()} if tag_sets else None
        )

    def _repository(self, location: str, name: str) -> Repository | None:
        if not self._context.has_code_location(location):
            return None
        code_location = self._context.get_code_location(location)
        return code_location.get_repository(name) if code_location.has_repository(name) else None

    def _repositories(self) -> Iterator[Repository]:
        for location in self._context.code_locations:
            yield from location.get_repositories().values()


def _read_tags(repository: Repository, key: dg.AssetKey) -> Part:
    snap = repository.get_asset_node_snap(key)
    return None if snap is None else snap.tags or {}


def _find_plan_parts(repository: Repository, run: dg.DagsterRun, plan: Plan) -> Iterator[Part]:
    """Yield the parts of a plan's steps that run, each with the kind that its config selects.

    One step of a graph says nothing of the asset that the graph makes, so steps of a node of the
    job are taken together. Where the plan has no asset of such a node, though the job makes
    assets, the part is not resolved.
    """
    makes_assets = bool(_find_job_keys(repository, run.job_name))
    steps = {step.key: step for step in plan.steps}
    running = [key for key in plan.step_keys_to_execute if key in steps]
    is_whole = not running or len(running) < len(plan.step_keys_to_execute)  # mapped at run time
    nodes = {_get_node(steps[key]) for key in (steps if is_whole else running)}
    for node in nodes:
        entries = [step for step in plan.steps if _get_node(step) == node]
        keys = set(_extract_keys(entries))
        config = find_mapping(run.run_config, "ops", node, "config")
        yield from (select_kind_tags(step.tags or {}, config) for step in entries)
        yield from (_read_tags(repository, key) for key in keys)
        if makes_assets and not keys:
            yield None


def _get_node(step: Step) -> str:
    return step.node_handle_id.partition(".")[0]


def _extract_keys(steps: Iterable[Step]) -> Iterator[dg.AssetKey]:
    for step in steps:
        for entity in step.entity_keys:
            yield entity.asset_key if isinstance(entity, dg.AssetCheckKey) else entity


def _find_job_parts(repository: Repository, name: str) -> Sequence[Part]:
    """Return the parts of all that a job runs where nothing is selected of it."""
    if not repository.has_job(name):
        return UNRESOLVED
    job = repository.get_full_job(name)
    keys = _find_job_keys(repository, name)
    parts = [_read_tags(repository, key) for key in keys] or _find_op_parts(repository, name)
    return [None if part is None else {**job.tags, **part} for part in parts or [{}]]


def _find_op_parts(repository: Repository, job: str) -> Sequence[Part]:
    return [part for op in _list_ops(repository, job) for part in split_kind_tags(op.tags)]


def _find_job_keys(repository: Repository, name: str) -> set[dg.AssetKey]:
    """Return the assets that a job makes or checks, without those that it only reads."""
    ops = {op.name for op in _list_ops(repository, name)}
    asset_node_snaps = repository.get_asset_node_snaps(name)
    return {
        *(snap.asset_key for snap in asset_node_snaps if snap.node_definition_name in ops),
        *(snap.asset_key for snap in repository.get_asset_check_node_snaps(name)),
    }


def _list_ops(repository: Repository, job: str) -> Sequence[Any]:
    return repository.get_full_job(job).job_snapshot.node_defs_snapshot.op_def_snaps


def _find_selection_parts(repository: Repository, sensor: Any) -> Sequence[Part]:
    """Return the parts of the assets that a sensor selects, or may launch by their conditions."""
    selection = sensor.asset_selection
    try:
        keys = selection.resolve(repository.asset_graph) if selection else set()
    except dg.DagsterError:
        return UNRESOLVED
    is_automation = sensor.sensor_type in (SensorType.AUTO_MATERIALIZE, SensorType.AUTOMATION)
    chosen = [key for key in keys if not is_automation or _is_automated(repository, key)]
    targets = [target.job_name for target in sensor.get_targets()]
    named = [job for job in targets if not is_implicit_asset_job_name(job)]
    return [
        *(_read_tags(repository, key) for key in chosen),
        *(part for job in named for part in _find_job_parts(repository, job)),
    ]


def _is_automated(repository: Repository, key: dg.AssetKey) -> bool:
    snap = repository.get_asset_node_snap(key)
    return snap is not None and bool(
        snap.automation_condition_snapshot or snap.auto_materialize_policy
    )
