"""Requests backfills for schedules and jobs, as open-source Dagster cannot, and reads them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.partitioning import LoadOutcome, load_outcome
from orchestration_project.engine.contracts.problems import FailedBackfill, Unit
from orchestration_project.engine.dagster_private.backfills import (
    BulkActionStatus,
    PartitionBackfill,
    add_asset_backfill,
    find_backfills,
    iterate_missing,
    iterate_targets,
)
from orchestration_project.engine.loads import read_partition_keys
from orchestration_project.engine.run_statuses import ACTIVE_STATUSES
from orchestration_project.services.ended_runs import (
    extract_message,
    find_unpublished,
    read_entries,
    read_unit_ends,
)

REQUESTED_BY = "requested_by"
"""Tag of the schedule that asked for a backfill: its runs count as the schedule's."""

BACKFILL = "dagster/backfill"
"""Tag of a backfill's runs, with its id."""

LAUNCHED_BY_JOB = "launched_by_job"
"""Tag of the job that a person asked for a backfill with."""

MAX_FAILED = 100
"""Failed backfills that are looked at, the latest first."""

READ = {dg.DagsterEventType.ASSET_OBSERVATION, dg.DagsterEventType.ASSET_MATERIALIZATION}
"""Events by which the outcome of a run is known."""

ACTIVE = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]


def find_active_backfill(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> str | None:
    """Return the id of a backfill that has these tags and is not over."""
    backfills = find_backfills(instance, statuses=ACTIVE, tags=tags, limit=1)
    return backfills[0].backfill_id if backfills else None


def find_first_backfill(
    instance: dg.DagsterInstance, tags: Mapping[str, str]
) -> PartitionBackfill | None:
    """Return the oldest backfill that has these tags."""
    backfills = find_backfills(instance, tags=tags)
    return backfills[-1] if backfills else None  # the newest stands first


def backfill_outcome(instance: dg.DagsterInstance, backfill_id: str) -> LoadOutcome:
    """Return the outcome of a backfill that has ended, by its runs; without any, it failed."""
    runs = instance.get_runs(dg.RunsFilter(tags={BACKFILL: backfill_id}))
    retried = {run.parent_run_id for run in runs}
    has_failed = not runs or any(not run.is_success for run in runs if run.run_id not in retried)
    unpublished: set[str] = set()
    if not has_failed:
        for run in runs:
            entries = read_entries(instance, run.run_id, READ)
            unpublished |= find_unpublished(
                entry.dagster_event for entry in entries if entry.dagster_event
            )
    return load_outcome(has_failed=has_failed, unpublished=unpublished)


def request_backfill(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    assets: Sequence[dg.AssetKey],
    partition_keys: Sequence[str],
    *,
    tags: Mapping[str, str],
    title: str,
    run_config: Mapping[str, Any] | None = None,
) -> str:
    """Ask the daemon to backfill ``partition_keys`` of ``assets`` and return the backfill's id.

    Its runs get the tags and the run config.
    """
    return add_asset_backfill(
        instance,
        repository,
        assets,
        partition_keys,
        timestamp=Clock().now().timestamp(),
        tags=tags,
        title=title,
        run_config=run_config,
    )


def build_launch_tags(job: str, run_tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of what a run of ``job`` launches; ``user`` is handed on."""
    return {LAUNCHED_BY_JOB: job} | {name: run_tags[name] for name in ("user",) if name in run_tags}


def find_failed_backfills(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, since: datetime
) -> list[FailedBackfill]:
    """Return the backfills that Dagster's daemon ended after ``since`` for an error of its own.

    What ended because runs failed is not among them, nor what somebody canceled.
    """
    failed = find_backfills(instance, statuses=[BulkActionStatus.FAILED], limit=MAX_FAILED)
    return [
        FailedBackfill(
            backfill_id=partition_backfill.backfill_id,
            title=partition_backfill.title or "",
            job=partition_backfill.job_name or "",
            missing=_find_missing_of_job(instance, partition_backfill, repository)
            if partition_backfill.job_name
            else _find_missing_of_assets(partition_backfill, repository),
            together={
                names[0]: frozenset(names)
                for names in _group_by_step(partition_backfill, repository).values()
            },
            error=extract_message(partition_backfill.error)
            if partition_backfill.error
            else "Dagster gives no reason",
        )
        for partition_backfill in failed
        if (partition_backfill.backfill_end_timestamp or partition_backfill.backfill_timestamp)
        > since.timestamp()
    ]


def _find_missing_of_job(
    instance: dg.DagsterInstance, backfill: PartitionBackfill, repository: dg.RepositoryDefinition
) -> frozenset[Unit]:
    """Return the partitions of a job that no run of the backfill made."""
    job = str(backfill.job_name)
    partitions = repository.get_job(job).partitions_def if repository.has_job(job) else None
    runs_filter = dg.RunsFilter(
        tags={BACKFILL: backfill.backfill_id}, statuses=[dg.DagsterRunStatus.SUCCESS]
    )
    runs = instance.get_runs(runs_filter)
    keys = {key for run in runs if partitions for key in read_partition_keys(run.tags, partitions)}
    return frozenset(Unit(job, key) for key in backfill.partition_names or () if key not in keys)


def _find_missing_of_assets(
    backfill: PartitionBackfill, repository: dg.RepositoryDefinition
) -> frozenset[Unit]:
    """Return the unmade units, also of assets and partitions that no longer exist."""
    steps = _group_by_step(backfill, repository)
    return frozenset(
        Unit(steps[asset][0], partition)
        for asset, partition in iterate_missing(backfill, repository)
    )


def find_newest_backfill(instance: dg.DagsterInstance) -> str:
    """Return the id of the backfill that was requested last; empty: there is none."""
    return next((backfill.backfill_id for backfill in find_backfills(instance, limit=1)), "")


def list_newer_backfills(instance: dg.DagsterInstance, backfill_id: str) -> list[str]:
    """Return the ids of backfills that are newer than one, the newest first.

    Twice as many as there are newer ones are read at most; all, if Dagster has no such backfill.
    """
    limit = 1
    while True:
        ids = [backfill.backfill_id for backfill in find_backfills(instance, limit=limit)]
        if backfill_id in ids:
            return ids[: ids.index(backfill_id)]
        if len(ids) < limit:
            return ids
        limit *= 2


def find_target_units(
    backfill: PartitionBackfill, repository: dg.RepositoryDefinition, planned: Collection[Unit]
) -> Mapping[Unit, bool]:
    """Return the units of a backfill, and whether Dagster left each out because others failed.

    The assets of a job are those that its runs ``planned``: the job may have changed since. If it
    has no run, they are those of the job today. Empty: they are unknown.
    """
    if not backfill.job_name:
        return {
            Unit(asset.to_user_string(), partition): is_left_out
            for asset, partition, is_left_out in iterate_targets(backfill, repository)
        }
    keys = set(backfill.partition_names or ())
    units = {unit for unit in planned if unit.partition in keys}
    assets = {unit.asset for unit in units} or _list_assets_of_job(backfill.job_name, repository)
    without_run = keys - {unit.partition for unit in units}
    units |= {Unit(asset, key) for asset in assets for key in without_run}
    return dict.fromkeys(units, False)


def _list_assets_of_job(job: str, repository: dg.RepositoryDefinition) -> set[str]:
    if not repository.has_job(job):
        return set()
    assets = repository.get_job(job).asset_layer.executable_asset_keys
    return {asset.to_user_string() for asset in assets}


def is_over(instance: dg.DagsterInstance, backfill: PartitionBackfill) -> bool:
    """Whether a backfill and all of its runs have ended.

    Dagster's command marks the backfill of a job as completed when its runs are queued.
    """
    if backfill.status in ACTIVE:
        return False
    active = dg.RunsFilter(tags={BACKFILL: backfill.backfill_id}, statuses=ACTIVE_STATUSES)
    return not instance.get_run_ids(active, limit=1)


def backfill_ends(
    instance: dg.DagsterInstance, backfill_id: str, max_runs: int
) -> Mapping[Unit, str] | None:
    """Return how partitions ended in the runs of a backfill; None: it has more than ``max_runs``.

    Of one that several runs had, as at a retry, the latest counts.
    """
    runs = instance.get_runs(dg.RunsFilter(tags={BACKFILL: backfill_id}), limit=max_runs + 1)
    if len(runs) > max_runs:
        return None
    ends: dict[Unit, str] = {}
    for run in reversed(runs):  # the newest stands first
        ends |= read_unit_ends(instance, run)
    return ends


def _group_by_step(
    backfill: PartitionBackfill, repository: dg.RepositoryDefinition
) -> dict[dg.AssetKey, list[str]]:
    """Return by asset of a backfill the names of those that are made in one step with it."""
    graph, chosen = repository.asset_graph, backfill.asset_selection or ()
    return {
        key: sorted(
            asset_key.to_user_string()
            for asset_key in (graph.get(key).execution_set_asset_keys if graph.has(key) else {key})
            if asset_key in chosen
        )
        for key in chosen
    }
