"""Partitions whose latest attempt failed and that did not land since, by the events of Dagster.

Dagster's own record is read rather than the ledger, which may be some ticks behind; what kind of
failure it was follows from the same facts and rules as in the ledger.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import dagster as dg

from orchestration_project.connections.clock import Clock
from orchestration_project.domains.access.roles import REQUIRES_ADMIN
from orchestration_project.domains.operations.failures import run_category, step_category
from orchestration_project.domains.operations.ledger import RunFacts
from orchestration_project.domains.operations.retries import FailedPartition
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.ended_runs import (
    asset_of,
    entries_of,
    retry_of,
    units_left_by,
)
from orchestration_project.services.ledger.reading import read_facts

BY_HAND = {"retries": "by hand"}
"""Tag of jobs whose runs are not repeated by a backfill of the same partitions."""

ENDED_BADLY = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)

LONGEST_UNTIL_A_RETRY = timedelta(minutes=10)
"""Dagster tries a run again within a minute or two, or never: one that a shell executed, or whose
backfill is over, keeps the word that it will be."""

Quarantined = Mapping[tuple[str, str], tuple[str, str]]
"""By asset and partition: category and reason of a quarantined one."""


def failed_partitions(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    *,
    domain: str | None = None,
    since: datetime | None = None,
    left_by: str | None = None,
) -> list[FailedPartition]:
    """Return them by asset and key.

    Args:
        instance: Whose record is read.
        repository: Has the assets.
        domain: Of this domain alone.
        since: Only where the run of the latest attempt ended after this time.
        left_by: Only what the run of this id did not materialize either; the latest attempt may
            be another run's.

    Raises:
        ConfigurationError: The domain does not exist.
    """
    graph = repository.asset_graph
    keys = sorted(key for key in graph.materializable_asset_keys if graph.get(key).is_partitioned)
    domains = sorted({key.path[0] for key in keys})
    if domain is not None and domain not in domains:
        raise ConfigurationError(
            f"no domain {domain!r} has partitions",
            expected=f"one of {', '.join(domains)}",
            remedy="correct the run's config",
        )
    groups = {
        tuple(sorted(graph.get(key).execution_set_asset_keys))
        for key in keys
        if domain in (None, key.path[0])
    }
    found = [each for group in groups for each in _of_group(instance, repository, group, since)]
    if left_by is not None:
        left = units_left_by(instance, left_by)
        found = [
            each for each in found if any((asset, each.partition) in left for asset in each.assets)
        ]
    return sorted(found, key=lambda each: (each.assets, each.partition))


def _of_group(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    group: Sequence[dg.AssetKey],
    since: datetime | None,
) -> Iterator[FailedPartition]:
    """Yield the failed partitions of assets that are made together, by run."""
    assets = repository.assets_defs_by_key[group[0]]
    is_admins = any(REQUIRES_ADMIN.keys() & repository.asset_graph.get(key).tags for key in group)
    by_run: dict[str, set[str]] = {}
    for partition, run_id in _attempts(instance, group).items():
        by_run.setdefault(run_id, set()).add(partition)
    for record in _ended_badly(instance, list(by_run), since):
        run = _FailedRun(instance, record)
        for partition in sorted(by_run[record.dagster_run.run_id]):
            is_known = assets.partitions_def and assets.partitions_def.has_partition_key(partition)
            obstacle = "" if is_known else "there is no such partition any more"
            obstacle = "only an admin may launch it" if is_admins else obstacle
            yield run.failed(group, partition, assets.op.name, obstacle)


def _attempts(instance: dg.DagsterInstance, group: Sequence[dg.AssetKey]) -> dict[str, str]:
    """Return the run of each partition's latest attempt, where that did not make all of it."""
    latest: dict[str, tuple[int, str]] = {}
    for key in group:
        found = instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(  # noqa: E501 - Dagster's name
            key
        )
        for partition, (run_id, event) in found.items():
            latest[partition] = max(latest.get(partition, (0, "")), (event, run_id))
    return {partition: run_id for partition, (_, run_id) in latest.items()}


def _ended_badly(
    instance: dg.DagsterInstance, run_ids: Sequence[str], since: datetime | None
) -> list[dg.RunRecord]:
    if not run_ids:
        return []
    filters = dg.RunsFilter(run_ids=run_ids, statuses=ENDED_BADLY, updated_after=since)
    return list(instance.get_run_records(filters))


class _FailedRun:
    """A run that ended badly, and why each of its partitions did."""

    def __init__(self, instance: dg.DagsterInstance, record: dg.RunRecord) -> None:
        self._run = record.dagster_run
        self._facts = read_facts(instance, record)
        self._ended_at = self._facts.ended_at or self._facts.changed_at
        self._held_back = _held_back(instance, self._run.run_id)
        self._obstacle = _obstacle(instance, self._run, self._ended_at)

    def failed(
        self, group: Sequence[dg.AssetKey], partition: str, op: str, obstacle: str
    ) -> FailedPartition:
        assets = tuple(key.to_user_string() for key in group)
        units = [(each, partition) for each in assets]
        quarantined = [self._held_back[unit] for unit in units if unit in self._held_back]
        category, reason = quarantined[0] if quarantined else _failure(self._facts, assets)
        config = self._facts.config.get("ops", {}).get(op)
        return FailedPartition(
            assets=assets,
            partition=partition,
            run_id=self._run.run_id,
            ended_at=self._ended_at,
            category=category,
            reason=reason,
            config={"ops": {op: config}} if config else {},
            obstacle=obstacle or self._obstacle,
        )


def _held_back(instance: dg.DagsterInstance, run_id: str) -> Quarantined:
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for entry in entries_of(instance, run_id, {dg.DagsterEventType.ASSET_OBSERVATION}):
        event, observation = entry.dagster_event, entry.asset_observation
        if event is None or observation is None:
            continue
        metadata = {name: value.value for name, value in observation.metadata.items()}
        if metadata.get("outcome") == "held back":
            unit = (asset_of(event), observation.partition or "")
            found[unit] = (str(metadata["category"]), str(metadata["reason"]))
    return found


def _failure(run: RunFacts, assets: Sequence[str]) -> tuple[str, str]:
    """Return what kind of failure kept a run from a partition that it says nothing of, and why."""
    if run.status == dg.DagsterRunStatus.CANCELED.value:
        return "canceled", "the run was canceled"
    failed = [step for step in run.steps if step.status == "FAILURE"]
    own = [step for step in failed if set(step.assets) & set(assets)]
    if own:
        return step_category(own[0].error_classes, ()), own[0].error or ""
    others = [step_category(step.error_classes, step.refusals) for step in failed]
    return run_category(others, run.error_classes), run.error or ""


def _obstacle(instance: dg.DagsterInstance, run: dg.DagsterRun, ended_at: datetime) -> str:
    if run.tags.items() >= BY_HAND.items():
        return f"a run of {run.job_name} is repeated by launching that job again"
    may_be_retried = (
        run.status == dg.DagsterRunStatus.FAILURE
        and Clock().now() - ended_at < LONGEST_UNTIL_A_RETRY  # both are the machine's time
    )
    if may_be_retried and retry_of(instance, run.run_id) == "announced":
        return "Dagster tries the run again by itself"
    return ""
