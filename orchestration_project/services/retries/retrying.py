"""Retryable failures: partitions by Dagster's events, work items by state.

A partition failed if its latest attempt failed and it did not load since. Dagster's own record is
read rather than the ledger, which may be some ticks behind; what kind of failure it was follows
from the same facts and rules as in the ledger.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta

import dagster as dg
from sqlalchemy import ColumnElement, Connection, and_, false, func, not_, or_, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.failures import (
    WITHOUT_DATA,
    classify_step,
    run_category,
)
from orchestration_project.engine.contracts.roles import REQUIRES_ADMIN
from orchestration_project.engine.contracts.work_items import FAILED_STATES
from orchestration_project.engine.loads import is_replay
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.work_items import KEYS_PER_STATEMENT
from orchestration_project.registry import Registry
from orchestration_project.services.ended_runs import (
    find_missing_units,
    iterate_unit_events,
    read_entries,
    retry_of,
)
from orchestration_project.services.ledger.reading import read_facts
from orchestration_project.services.ledger.rules.entries import RunFacts
from orchestration_project.services.retries.rules import (
    FailedItem,
    FailedPartition,
    ItemFilter,
    ItemRetryPlan,
    check_domain,
    check_reason_codes,
    check_topics,
    count_topics,
)
from orchestration_project.services.status import ItemTopics
from orchestration_project.tables.spine import work_items

ITEM_COLUMNS = [
    work_items.c[field.name] for field in fields(FailedItem) if field.name in work_items.c
]

ITEMS_LISTED = 100
"""Work items that a plan lists, so that an event stays below 100 KB; the counts are of all."""

FAILED_STATUSES = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)

MAX_RETRY_DELAY = timedelta(minutes=10)
"""Dagster tries a run again within a minute or two, or never: one that a shell executed, or whose
backfill is over, keeps the word that it will be."""

Quarantined = Mapping[tuple[str, str], tuple[str, str]]
"""By asset and partition: category and reason of a quarantined one."""


def find_failed_partitions(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    *,
    domain: str | None = None,
    since: datetime | None = None,
    left_by: str | None = None,
    other_domains: Collection[str] = (),
) -> list[FailedPartition]:
    """Return them by asset and key.

    Args:
        instance: Whose record is read.
        repository: Has the assets.
        domain: Of this domain alone.
        since: Only where the run of the latest attempt ended after this time.
        left_by: Only what the run of this id did not materialize either; the latest attempt may
            be another run's.
        other_domains: Domains that are valid without partitions.

    Raises:
        ConfigurationError: The domain does not exist.
    """
    graph = repository.asset_graph
    keys = sorted(key for key in graph.materializable_asset_keys if graph.get(key).is_partitioned)
    if domain is not None:
        check_domain(domain, {*(key.path[0] for key in keys), *other_domains})
    groups = {
        tuple(sorted(graph.get(key).execution_set_asset_keys))
        for key in keys
        if domain in (None, key.path[0])
    }
    found = [
        failed_partition
        for group in groups
        for failed_partition in _find_failed(instance, repository, group, since)
    ]
    if left_by is not None:
        left = find_missing_units(instance, left_by)
        found = [
            failed_partition
            for failed_partition in found
            if any((asset, failed_partition.partition) in left for asset in failed_partition.assets)
        ]
    return sorted(found, key=lambda each: (each.assets, each.partition))


def _find_failed(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    group: Sequence[dg.AssetKey],
    since: datetime | None,
) -> Iterator[FailedPartition]:
    """Yield the failed partitions of assets that are made together, by run."""
    assets = repository.assets_defs_by_key[group[0]]
    is_admins = any(REQUIRES_ADMIN.keys() & repository.asset_graph.get(key).tags for key in group)
    by_run: dict[str, set[str]] = {}
    for partition, run_id in _find_attempts(instance, group).items():
        by_run.setdefault(run_id, set()).add(partition)
    for record in _find_failed_runs(instance, list(by_run), since):
        run = _FailedRun(instance, record)
        for partition in sorted(by_run[record.dagster_run.run_id] - run.without_data(group)):
            is_known = assets.partitions_def and assets.partitions_def.has_partition_key(partition)
            obstacle = "" if is_known else "the partition does not exist any more"
            obstacle = "only an admin may launch it" if is_admins else obstacle
            yield run.failed(group, partition, assets.op.name, obstacle)


def _find_attempts(instance: dg.DagsterInstance, group: Sequence[dg.AssetKey]) -> dict[str, str]:
    """Return the run of each partition's latest attempt, where that did not make all of it."""
    latest: dict[str, tuple[int, str]] = {}
    for key in group:
        names = instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(  # noqa: E501 - Dagster's name
            key
        )
        for partition, (run_id, event) in names.items():
            latest[partition] = max(latest.get(partition, (0, "")), (event, run_id))
    return {partition: run_id for partition, (_, run_id) in latest.items()}


def _find_failed_runs(
    instance: dg.DagsterInstance, run_ids: Sequence[str], since: datetime | None
) -> list[dg.RunRecord]:
    if not run_ids:
        return []
    filters = dg.RunsFilter(run_ids=run_ids, statuses=FAILED_STATUSES, updated_after=since)
    return list(instance.get_run_records(filters))


class _FailedRun:
    """A run that ended badly, and why each of its partitions did."""

    def __init__(self, instance: dg.DagsterInstance, record: dg.RunRecord) -> None:
        self._run = record.dagster_run
        self._facts = read_facts(instance, record)
        self._ended_at = self._facts.ended_at or self._facts.changed_at
        self._quarantined, self._without_data = _read_observed(instance, self._run.run_id)
        self._obstacle = _find_obstacle(instance, self._run, self._ended_at)

    def without_data(self, group: Sequence[dg.AssetKey]) -> set[str]:
        """Return the partitions of assets that have not failed: there was nothing to load."""
        assets = {key.to_user_string() for key in group}
        return {partition for asset, partition in self._without_data if asset in assets}

    def failed(
        self, group: Sequence[dg.AssetKey], partition: str, op: str, obstacle: str
    ) -> FailedPartition:
        assets = tuple(key.to_user_string() for key in group)
        units = [(asset, partition) for asset in assets]
        quarantined = [self._quarantined[unit] for unit in units if unit in self._quarantined]
        category, reason = quarantined[0] if quarantined else _explain_failure(self._facts, assets)
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


def _read_observed(
    instance: dg.DagsterInstance, run_id: str
) -> tuple[Quarantined, frozenset[tuple[str, str]]]:
    """Return a run's quarantined partitions, and those without data, by asset and partition."""
    names: dict[tuple[str, str], tuple[str, str]] = {}
    without_data: set[tuple[str, str]] = set()
    entries = read_entries(instance, run_id, {dg.DagsterEventType.ASSET_OBSERVATION})
    for event in iterate_unit_events(
        entry.dagster_event for entry in entries if entry.dagster_event
    ):
        if event.quarantine is not None:
            names[event.unit] = (event.quarantine.category, event.quarantine.reason)
        elif event.outcome in WITHOUT_DATA:
            without_data.add(event.unit)
    return names, frozenset(without_data)


def _explain_failure(run: RunFacts, assets: Sequence[str]) -> tuple[str, str]:
    """Return kind and reason of the failure that kept a run from a partition it does not report."""
    if run.status == dg.DagsterRunStatus.CANCELED.value:
        return "canceled", "the run was canceled"
    failed = [step for step in run.steps if step.status == "FAILURE"]
    steps = [step for step in failed if set(step.assets) & set(assets)]
    if steps:
        return classify_step(steps[0].error_classes, ()), steps[0].error or ""
    other_names = [classify_step(step.error_classes, step.refusals) for step in failed]
    return run_category(other_names, run.error_classes), run.error or ""


def _find_obstacle(instance: dg.DagsterInstance, run: dg.DagsterRun, ended_at: datetime) -> str:
    if is_replay(run.run_config):
        return "a replay is repeated by launching it again"
    may_be_retried = (
        run.status == dg.DagsterRunStatus.FAILURE
        and Clock().now() - ended_at < MAX_RETRY_DELAY  # both are the machine's time
    )
    if may_be_retried and retry_of(instance, run.run_id) == "announced":
        return "Dagster tries the run again by itself"
    return ""


class ItemRetries:
    """Finds failed and dead work items of the topics that domains declare, and retries them."""

    def __init__(self, warehouse: Warehouse, clock: Clock, registry: Registry) -> None:
        self._warehouse = warehouse
        self._clock = clock
        self._registry = registry

    def plan(self, wanted: ItemFilter) -> ItemRetryPlan:
        """Return the plan of a retry; this changes nothing.

        Raises:
            ConfigurationError: A topic or a reason code is not known.
        """
        with self._warehouse.reading() as connection:
            topics = self._topics(connection, wanted)
            failed = _is_failed(list(topics), wanted)
            topic, kind = work_items.c.topic, work_items.c.reason_code
            counted = select(topic, kind, func.count()).where(failed).group_by(topic, kind)
            counts = {(topic, code or ""): n for topic, code, n in connection.execute(counted)}
            first = _select_first(connection, failed, wanted, topics)
            keys = select(work_items.c.item_key).where(failed).distinct()
            entries = set(connection.execute(keys).scalars()) if wanted.item_keys else set()
        return ItemRetryPlan(
            count_topics(counts, wanted, {name: value.remedies for name, value in topics.items()}),
            first,
            sorted(set(wanted.item_keys) - entries),
        )

    def retry(self, wanted: ItemFilter) -> Mapping[str, int]:
        """Make items ready again, and return how many of each topic; none has 0.

        Each gets further attempts, as `WorkItems.retry` gives them. A batch is a transaction.

        Raises:
            ConfigurationError: A topic is not known.
        """
        with self._warehouse.reading() as connection:
            topics = self._topics(connection, wanted)
        counts: dict[str, int] = {}
        for topic, declared in topics.items():
            items = declared.open(self._warehouse, self._clock)
            excluded = list(wanted.excluded_reasons(declared.remedies))
            for keys in self._batches(topic, declared, wanted):
                retried = items.retry(topic, keys=keys, except_reasons=excluded)
                counts[topic] = counts.get(topic, 0) + len(retried)
        return {topic: count for topic, count in counts.items() if count}

    def _topics(self, connection: Connection, wanted: ItemFilter) -> Mapping[str, ItemTopics]:
        """Return the topics to retry, by name."""
        declared = [
            topics
            for domain in self._registry.domains
            if wanted.domain in (None, domain.name)
            for topics in domain.registered(ItemTopics)
        ]
        known_topics = {
            topic: item_topics
            for topic in iterate_topics(connection)
            for item_topics in declared
            if topic.startswith(item_topics.prefix)
        }
        check_topics(wanted.topics, known_topics)
        chosen = {topic: known_topics[topic] for topic in wanted.topics or known_topics}
        if wanted.reason_codes:
            code = work_items.c.reason_code
            of_failed = _is_failed(list(chosen), replace(wanted, reason_codes=(), item_keys=()))
            there = select(code).where(of_failed, code.is_not(None)).distinct()
            check_reason_codes(wanted.reason_codes, set(connection.scalars(there)))
        return chosen

    def _batches(
        self, topic: str, declared: ItemTopics, wanted: ItemFilter
    ) -> Iterator[Sequence[str]]:
        """Yield the keys of a topic's items to retry, a batch at a time."""
        key = work_items.c.item_key
        due = and_(_is_failed([topic], wanted), _is_due(wanted, {topic: declared}))
        query = select(key).where(due).order_by(key).limit(KEYS_PER_STATEMENT)
        following = query
        while True:
            with self._warehouse.reading() as connection:
                keys = connection.execute(following).scalars().all()
            if not keys:
                return
            yield keys
            following = query.where(key > keys[-1])


def iterate_topics(connection: Connection) -> Iterator[str]:
    """Yield the topics that have items, one index lookup each."""
    smallest = select(func.min(work_items.c.topic))
    topic = connection.execute(smallest).scalar()
    while topic is not None:
        yield topic
        topic = connection.execute(smallest.where(work_items.c.topic > topic)).scalar()


def _is_failed(topics: Sequence[str], wanted: ItemFilter) -> ColumnElement[bool]:
    """Return the condition of failed and dead items that a filter selects."""
    columns = work_items.c
    conditions: list[ColumnElement[bool]] = [
        columns.state.in_(FAILED_STATES),
        columns.topic.in_(topics),
    ]
    if wanted.item_keys:
        conditions.append(columns.item_key.in_(wanted.item_keys))
    if wanted.since is not None:
        conditions.append(columns.changed_at > wanted.since)
    if wanted.run_id is not None:
        conditions.append(columns.run_id == wanted.run_id)
    if wanted.reason_codes:
        conditions.append(columns.reason_code.in_(wanted.reason_codes))
    return and_(*conditions)


def _is_due(wanted: ItemFilter, topics: Mapping[str, ItemTopics]) -> ColumnElement[bool]:
    """Return the condition of items that are retried, among those of topics that failed."""
    by_reasons: dict[tuple[str, ...], list[str]] = {}
    for topic, declared in topics.items():
        excluded = tuple(wanted.excluded_reasons(declared.remedies))
        by_reasons.setdefault(excluded, []).append(topic)
    code = func.coalesce(work_items.c.reason_code, "")
    return or_(
        false(),
        *(
            and_(work_items.c.topic.in_(some), code.not_in(excluded))
            for excluded, some in by_reasons.items()
        ),
    )


def _select_first(
    connection: Connection,
    failed: ColumnElement[bool],
    wanted: ItemFilter,
    topics: Mapping[str, ItemTopics],
) -> Sequence[FailedItem]:
    """Return the first failed items by topic and key, those before the others that are retried."""
    ordered = select(*ITEM_COLUMNS).where(failed).order_by(*ITEM_COLUMNS[:2])
    first: list[FailedItem] = []
    is_due = _is_due(wanted, topics)
    for condition in (is_due, not_(is_due)):
        rows = connection.execute(ordered.where(condition).limit(ITEMS_LISTED - len(first)))
        for row in rows.mappings():
            why = wanted.why_left_out(row["reason_code"], topics[row["topic"]].remedies)
            first.append(FailedItem(**row, left_out_because=why))
    return first
