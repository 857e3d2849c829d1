"""The sensor and the scheduled backfill of a declared dataset.

The sensor requests partitions that are new, or whose rows changed lately, a few at a tick. The
backfill requests all that were never loaded, however old they are.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date

import dagster as dg

from orchestration_project.assets.factory import DatasetAssets
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.dataset import Dataset
from orchestration_project.engine.source import Source
from orchestration_project.errors import SourceError
from orchestration_project.sensors.definitions import (
    ONCE_A_DAY,
    REQUESTED,
    AskedRequests,
    balance_tick,
    keys_of,
    keys_under_way,
    record_tick,
    schedule,
    sensor,
    split_requests,
)
from orchestration_project.services.backfills import (
    REQUESTED_BY,
    active_backfill,
    request_backfill,
)
from orchestration_project.settings import settings_class

POLL_SECONDS = 3600
"""Corrections come days or weeks later: an hour does not matter, a poll is some requests."""

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
        resources, partitioning = context.resources, dataset.partitioning
        today: date = resources.clock.today(partitioning.calendar.zone)
        limits = dataset.limits(resources.settings, today)
        source = dataset.source_of(getattr(resources, dataset.resource))
        listed, unknown = source.partitions(since=today - limits.horizon)
        by_key = {partitioning.key_of(each): each for each in listed}
        loaded = resources.warehouse.known_versions(dataset.table)
        missing, recent = partitioning.missing_and_recent(
            [by_key[text] for text in made.existing(by_key)],
            loaded=loaded,
            since=today - limits.horizon,
            most_recent=dataset.reread_count,
        )
        versions, silent = _read_versions(source, dataset, recent)
        changed = {key: version for key, version in versions.items() if version not in loaded[key]}
        newest_first = reversed(missing)  # what people wait for; old ones follow tick by tick
        due = changed | {partitioning.key_of(each): "first" for each in newest_first}
        asked_requests, under_way = _build_requests(context.instance, made, due, today)
        requests, limit = asked_requests.new, limits.max_runs_per_tick
        horizon = today - limits.horizon
        recent_keys = [partitioning.key_of(partition) for partition in recent]
        places = {
            REQUESTED: keys_of(requests[:limit]),
            "waiting": keys_of(requests[limit:]),
            "under_way": under_way,
            "asked_today": keys_of(asked_requests.known),
            "unreadable": silent,
            "unchanged": [key for key in versions if key not in changed],
            **_find_not_due(made, by_key, loaded.keys(), horizon, recent_keys),
        }
        balance = balance_tick(by_key, places)
        record_tick(
            resources.warehouse,
            dataset.table.name,
            name,
            balance,
            resources.clock.now(),
        )
        aside = _describe_left_out(unknown, silent)
        if not requests:
            again = (
                f" Being loaded or asked for today: {', '.join(due)}; {ONCE_A_DAY}" if due else ""
            )
            return dg.SkipReason(
                f"Nothing to ask for: {len(listed)} partitions are listed, and of those in the "
                f"horizon {len(missing)} were never taken; of the latest {len(recent)} that were, "
                f"{len(changed)} changed.{again}{aside}"
            )
        chosen = requests[:limit]
        number = len(requests) - len(chosen)
        waiting = f" {number} more wait for the next tick." if number else ""
        keys = ", ".join(str(run_request.partition_key) for run_request in chosen)
        context.log.info(
            f"Requested {keys}.{waiting}{aside}", extra={"event": "partition_runs_requested"}
        )
        return dg.SensorResult(run_requests=list(chosen))

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
        running = active_backfill(context.instance, {REQUESTED_BY: name})
        if running is not None:
            return dg.SkipReason(f"The backfill {running} of an earlier tick is still running.")
        resources, partitioning = context.resources, dataset.partitioning
        today: date = resources.clock.today(partitioning.calendar.zone)
        limits = dataset.limits(resources.settings, today)
        source = dataset.source_of(getattr(resources, dataset.resource))
        listed, _ = source.partitions(since=limits.first_day)
        loaded = resources.warehouse.known_versions(dataset.table)
        keys = [*dict.fromkeys(partitioning.key_of(partition) for partition in listed)]
        missing = made.existing(key for key in keys if key not in loaded)
        places = {
            REQUESTED: missing,
            "loaded": [key for key in keys if key in loaded],
            "no_partition": [
                key for key in set(keys) - set(made.existing(keys)) if key not in loaded
            ],
        }
        balance = balance_tick(keys, places)
        record_tick(resources.warehouse, dataset.table.name, name, balance, resources.clock.now())
        if not missing:
            return dg.SkipReason(f"Nothing to do: all {len(keys)} listed partitions are loaded.")
        backfill = request_backfill(
            context.instance,
            context.repository_def,
            dataset.asset_keys,
            missing,
            tags={REQUESTED_BY: name},
            title=f"{dataset.table.name}: {len(missing)} partitions missing",
        )
        return dg.SkipReason(
            f"Launched the backfill {backfill} of {len(missing)} partitions, from {missing[0]} to "
            f"{missing[-1]}."
        )

    return weekly_backfill


def _read_versions(
    source: Source, dataset: Dataset, partitions: Iterable[Partition]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the present state of each partition by its key, and why others have none."""
    versions: dict[str, str] = {}
    silent: dict[str, str] = {}
    for partition in partitions:
        key = dataset.partitioning.key_of(partition)
        try:
            versions[key] = source.extract(partition, []).version
        except SourceError as error:
            silent[key] = error.line
    return versions, silent


def _build_requests(
    instance: dg.DagsterInstance, made: DatasetAssets, due: Mapping[str, str], today: date
) -> tuple[AskedRequests, list[str]]:
    """Return requests for what is due, and the partitions of it that a run loads now."""
    dataset = made.dataset
    running = keys_under_way(instance, dataset.job_name, made.key, made.table.partitions_def)
    requests = [
        dg.RunRequest(run_key=f"{dataset.table.name} {key} {due[key]} ({today})", partition_key=key)
        for key in due
        if key not in running
    ]
    return split_requests(instance, requests), [key for key in due if key in running]


def _find_not_due(
    made: DatasetAssets,
    listed: Mapping[str, Partition],
    loaded: Collection[str],
    horizon: date,
    recent: Collection[str],
) -> Mapping[str, Collection[str]]:
    """Return listed partitions that a poll neither requests nor reads, by the reason."""
    existing = set(made.existing(listed))
    in_horizon = {key for key in existing if listed[key].day >= horizon}
    return {
        "no_partition": listed.keys() - existing,
        "before_horizon": existing - in_horizon,
        "loaded": [key for key in in_horizon if key in loaded and key not in recent],
    }


def _describe_left_out(unknown: Sequence[str], silent: Mapping[str, str]) -> str:
    left_out = f" Left out, as values that are not known: {', '.join(unknown)}." if unknown else ""
    if not silent:
        return left_out
    first = next(iter(silent.values()))
    return f"{left_out} No state is read of {', '.join(silent)}. The first: {first}"
