"""The sensor and the scheduled backfill of a declared dataset, and the sensor of a derived table.

The sensor requests partitions that are new, or whose rows changed lately, a few at a tick. The
backfill requests all that were never loaded, however old they are.
A table that a project derives is derived after each change of an input.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date

import dagster as dg

from orchestration_project.assets.factory import DatasetAssets
from orchestration_project.assets.own_derived import DerivedAssets
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.contracts.ticks import (
    REQUESTED,
    ListedPartitions,
    ReadVersions,
    plan_backfill,
    plan_tick,
)
from orchestration_project.engine.dataset import Dataset
from orchestration_project.engine.source import Source
from orchestration_project.errors import SourceError
from orchestration_project.resources.own_derived import loads_state, outdated_versions
from orchestration_project.sensors.definitions import (
    build_answer,
    find_earlier_backfill,
    find_run_under_way,
    keys_under_way,
    launch_backfill,
    read_known_keys,
    record_plan,
    schedule,
    sensor,
)
from orchestration_project.sensors.plans import OutdatedTable, plan_own_derivation
from orchestration_project.settings import settings_class
from orchestration_project.settings.project import own_domain

POLL_SECONDS = 3600
"""Corrections come days or weeks later: an hour does not matter, a poll is some requests."""

SECONDS_BETWEEN_COMPARISONS = 60

BACKFILL_CRON = "0 6 * * 6"
"""On Saturdays, when no source publishes."""


def dataset_sensor(made: DatasetAssets, *, profile: str = "") -> dg.SensorDefinition:
    """Return the sensor that requests partitions of a dataset that are new, or changed lately.

    The default of ``profile`` is the domain.
    """
    dataset = made.dataset
    name = f"{dataset.domain}_on_{dataset.noun}"

    @sensor(
        profile=profile or dataset.domain,
        needs=given_setting(f"{dataset.domain}_source"),
        name=name,
        job=made.job,
        minimum_interval_seconds=POLL_SECONDS,
        what=f"Ask for the partitions of {dataset.table.name} that are published and were "
        "never taken, and for the latest whose rows changed.",
        required_resource_keys={"clock", "settings", "warehouse", dataset.resource},
    )
    def on_publication(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        resources, zone = context.resources, dataset.partitioning.calendar.zone
        today: date = resources.clock.today(zone)
        limits = dataset.limits(resources.settings, today)
        source = dataset.source_of(getattr(resources, dataset.resource))
        loaded = resources.warehouse.known_versions(dataset.table)
        listed = _list_partitions(made, source, loaded, today - limits.horizon)
        read = _read_versions(source, dataset, listed.missing_and_recent[1])
        running = _read_running(context.instance, made, listed.find_due(read.versions))
        runs = listed.build_runs(read.versions, running, today)
        known_keys = read_known_keys(context.instance, runs)
        plan = plan_tick(
            listed, read, running, runs, known_keys=known_keys, limit=limits.max_runs_per_tick
        )
        record_plan(
            resources.warehouse,
            dataset.table.name,
            name,
            listed=listed.listed.keys(),
            plan=plan,
            now=resources.clock.now(),
        )
        if plan.message:  # Dagster shows no reason of a tick that requests runs
            context.log.info(plan.message, extra={"event": "partition_runs_requested"})
        return build_answer(plan)

    return on_publication


def given_setting(name: str) -> str:
    """Return the variable of a setting; empty: no setting has the name."""
    return name.upper() if name in settings_class().model_fields else ""


def backfill_schedule(made: DatasetAssets) -> dg.ScheduleDefinition:
    """Return the weekly schedule that backfills partitions which were never loaded."""
    dataset = made.dataset
    name = f"{dataset.domain}_{dataset.noun}_weekly_backfill"

    @schedule(
        profile=dataset.domain,
        needs=given_setting(f"{dataset.domain}_source"),
        name=name,
        job=made.job,
        cron_schedule=BACKFILL_CRON,
        execution_timezone=dataset.partitioning.calendar.zone,
        what=f"Backfill the partitions of {dataset.table.name} that were never loaded.",
        required_resource_keys={"clock", "settings", "warehouse", dataset.resource},
    )
    def weekly_backfill(context: dg.ScheduleEvaluationContext) -> dg.SkipReason:
        if running := find_earlier_backfill(context.instance, name):
            return dg.SkipReason(running)
        resources, partitioning = context.resources, dataset.partitioning
        today: date = resources.clock.today(partitioning.calendar.zone)
        limits = dataset.limits(resources.settings, today)
        source = dataset.source_of(getattr(resources, dataset.resource))
        listed, _ = source.partitions(since=limits.first_day)
        keys = [partitioning.key_of(partition) for partition in listed]
        loaded = resources.warehouse.known_versions(dataset.table)
        plan = plan_backfill(keys, made.existing(dict.fromkeys(keys)), loaded)
        record_plan(
            resources.warehouse,
            dataset.table.name,
            name,
            listed=keys,
            plan=plan,
            now=resources.clock.now(),
        )
        title = f"{dataset.table.name}: {len(plan.places[REQUESTED])} partitions missing"
        return launch_backfill(context, plan, name, dataset.asset_keys, title)

    return weekly_backfill


def derived_sensor(made: DerivedAssets) -> dg.SensorDefinition:
    """Return the sensor that requests a run once a partition of the table is out of date."""
    table = made.declaration.derived.name
    inputs = ", ".join(input_table.name for input_table in made.declaration.inputs)
    name = f"{own_domain()}_on_{table}"

    @sensor(
        profile=own_domain(),
        needs=f"rows of {inputs}",
        name=name,
        job=made.job,
        minimum_interval_seconds=SECONDS_BETWEEN_COMPARISONS,
        what=f"Derive {table} where {inputs} changed since.",
        required_resource_keys={"clock", "warehouse"},
    )
    def on_change(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        warehouse, now = context.resources.warehouse, context.resources.clock.now()
        text = f"{made.declaration.rule_version} {loads_state(warehouse)} {now:%Y-%m-%d}"
        is_compared = context.cursor == text
        due = {} if is_compared else outdated_versions(warehouse, made.declaration)
        outdated = OutdatedTable(name=table, state=text, today=now.date(), due=due)
        running = find_run_under_way(context.instance, made.job.name) if due else ""
        known_keys = read_known_keys(context.instance, [outdated.build_run()] if due else [])
        plan = plan_own_derivation(outdated, context.cursor, running, known_keys)
        record_plan(warehouse, table, name, listed=due.keys(), plan=plan, now=now)
        if plan.message:  # Dagster shows no reason of a tick that requests runs
            context.log.info(plan.message, extra={"event": "own_derivation_run_requested"})
        return build_answer(plan)

    return on_change


def _list_partitions(
    made: DatasetAssets, source: Source, loaded: Mapping[str, Collection[str]], horizon: date
) -> ListedPartitions:
    """Return the partitions that a source lists since the horizon, beside the loaded ones."""
    dataset = made.dataset
    partitions, unknown = source.partitions(since=horizon)
    listed = {dataset.partitioning.key_of(partition): partition for partition in partitions}
    return ListedPartitions(
        table_name=dataset.table.name,
        partitioning=dataset.partitioning,
        listed=listed,
        existing=made.existing(listed),
        loaded=loaded,
        horizon=horizon,
        reread_count=dataset.reread_count,
        unknown=unknown,
    )


def _read_versions(
    source: Source, dataset: Dataset, partitions: Iterable[Partition]
) -> ReadVersions:
    """Return the present state of each partition by its key, and why others have none."""
    versions: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    for partition in partitions:
        key = dataset.partitioning.key_of(partition)
        try:
            versions[key] = source.extract(partition, []).version
        except SourceError as error:
            unreadable[key] = error.line
    return ReadVersions(versions, unreadable)


def _read_running(
    instance: dg.DagsterInstance, made: DatasetAssets, due: Collection[str]
) -> frozenset[str]:
    """Return those of the due partitions that a run loads now."""
    job_name, partitions = made.dataset.job_name, made.table.partitions_def
    return keys_under_way(instance, job_name, made.key, partitions) & frozenset(due)
