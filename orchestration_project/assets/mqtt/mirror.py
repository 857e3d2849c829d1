"""Loads what waits in the inbox into the mirror, and folds the entities of new events."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import dagster as dg

from orchestration_project.assets.mqtt.catalogue import (
    DEAD_LETTERS,
    ENTITY_KEYS,
    GROUP,
    HOURS,
    MIRROR,
    MIRROR_JOB,
    mirror_spec,
    parse_hour,
)
from orchestration_project.assets.mqtt.checks import check_kinds, mirror_checks, mirror_results
from orchestration_project.assets.mqtt.projects import draw_graph
from orchestration_project.domains.mqtt.entities import ENTITIES
from orchestration_project.domains.mqtt.settings import MqttSettings
from orchestration_project.domains.mqtt.tables import mqtt_dead_letters, mqtt_mirror
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.leases import is_at_work
from orchestration_project.engine.run_items import ItemBatches, run_items
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.mqtt.health import (
    dead_letters_by_reason,
    forget_old,
    mirror_counts,
)
from orchestration_project.resources.mqtt.mirroring import MirrorCounts
from orchestration_project.resources.mqtt.opening import open_mirror
from orchestration_project.resources.mqtt.ranges import (
    LISTED_MIRROR,
    TOPIC,
    RangeLoader,
    RangeSummary,
    plan_ranges,
    range_items,
    waiting,
)
from orchestration_project.services.links import build_rows_path, link
from orchestration_project.services.metadata import log_metadata, redact_table

RANGE_TIME = timedelta(minutes=2)
MAX_RANGES_PER_RUN = 500
"""Limit of a run, after which its metadata is visible; the next run continues."""

MAX_ROWS_SHOWN = 50


@dg.multi_asset(
    name="mirror_mqtt",
    specs=[mirror_spec()],
    check_specs=mirror_checks(),
    partitions_def=HOURS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def mirror_mqtt(
    context: dg.AssetExecutionContext,
    artifacts: dg.ResourceParam[ArtifactStore],
    clock: dg.ResourceParam[Clock],
    settings: dg.ResourceParam[MqttSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Load all messages that wait, of any hour: mirror, dead letters, and rows of entities."""
    mirror = open_mirror(settings, warehouse, Captures(artifacts), clock, context.run.run_id)
    loader = RangeLoader(mirror)
    summary = RangeSummary(written=loader.written)
    range_items(warehouse, clock).end_leases(TOPIC, partial(is_at_work, context.instance))
    _load_waiting(context, loader, summary, clock, warehouse)
    removed = _forget_old(settings, warehouse, clock)
    _report_others(context, warehouse, summary.totals)
    _report_hours(context, summary.totals, context.partition_keys)
    keys = context.partition_keys
    yield dg.MaterializeResult(
        asset_key=MIRROR,
        metadata=log_metadata(
            {
                **_count_events(summary),
                **_measure_backlog(warehouse, clock),
                **removed,
                **_describe_hour(warehouse, keys[-1]),
                "table_rows": link(build_rows_path(mqtt_mirror.name)),
            }
        ),
    )
    yield from mirror_results(summary.totals)


def _load_waiting(
    context: dg.AssetExecutionContext,
    loader: RangeLoader,
    summary: RangeSummary,
    clock: Clock,
    warehouse: Warehouse,
) -> None:
    """Load ranges of waiting messages until none is left, or the limit of a run is reached."""
    left = MAX_RANGES_PER_RUN
    while left > 0:
        planned = plan_ranges(warehouse, clock)
        before = summary.counts.total()
        for _ in run_items(
            context,
            loader,
            items=range_items(warehouse, clock),
            database=warehouse,
            clock=clock,
            batches=ItemBatches(TOPIC, RANGE_TIME, batch_size=1, max_items=left, in_order=True),
            summary=summary,
        ):
            pass
        left -= summary.counts.total() - before
        if not planned:
            break


def _count_events(summary: RangeSummary) -> Mapping[str, Any]:
    totals = summary.totals
    new = totals.by_topic_and_kind
    entries = [
        {"topic": topic, "kind": kind, "event_count": count}
        for (topic, kind), count in new.most_common(MAX_ROWS_SHOWN)
    ]
    return {
        "outcome": "loaded" if new or totals.by_reason else "nothing was new",
        "event_count": new.total(),
        "duplicate_count": totals.duplicate_count,
        "cleared_count": totals.cleared_count,
        "dead_letter_count": totals.by_reason.total(),
        "skewed_count": totals.skewed_count,
        "unknown_kind_count": totals.unknown.total(),
        "range_count": summary.counts["done"],
        **({"events_by_topic": redact_table(entries)} if entries else {}),
    }


def _measure_backlog(warehouse: Warehouse, clock: Clock) -> Mapping[str, Any]:
    found = waiting(warehouse)
    age = 0.0 if found.oldest_at is None else (clock.now() - found.oldest_at).total_seconds()
    return {"waiting_count": found.message_count, "oldest_waiting_seconds": max(age, 0.0)}


def _describe_hour(warehouse: Warehouse, hour: str) -> Mapping[str, Any]:
    counts = mirror_counts(warehouse, parse_hour(hour))
    if not counts:
        return {}
    return {"events_of_hour": redact_table(list(counts)[:MAX_ROWS_SHOWN])}


def _forget_old(settings: MqttSettings, warehouse: Warehouse, clock: Clock) -> Mapping[str, Any]:
    mqtt_settings, now = MqttSettings.of(settings), clock.now()
    with warehouse.writing() as connection:
        removed = forget_old(
            connection,
            inbox_before=now - timedelta(days=mqtt_settings.mqtt_inbox_days),
            keys_before=now - timedelta(days=mqtt_settings.mqtt_keys_days),
        )
    return {"removed_message_count": removed.inbox_count, "removed_key_count": removed.key_count}


def _report_hours(
    context: dg.AssetExecutionContext, totals: MirrorCounts, keys: Sequence[str]
) -> None:
    """Report other hours of which the run loaded messages; Dagster reports those of the run."""
    for hour, count in sorted(totals.by_hour.items()):
        if hour not in keys:
            context.log_event(
                dg.AssetMaterialization(MIRROR, partition=hour, metadata={"message_count": count})
            )


def _report_others(
    context: dg.AssetExecutionContext, warehouse: Warehouse, totals: MirrorCounts
) -> None:
    """Report dead letters and entities that the run wrote."""
    for name, count in sorted(totals.folded.items()):
        table = ENTITIES[name].table
        metadata = {"folded_count": count, "table_rows": link(build_rows_path(table.name))}
        context.log_event(dg.AssetMaterialization(ENTITY_KEYS[name], metadata=metadata))
    if totals.by_reason:
        context.log_event(
            dg.AssetMaterialization(DEAD_LETTERS, metadata=describe_dead_letters(warehouse))
        )


def describe_dead_letters(warehouse: Warehouse) -> Mapping[str, Any]:
    """Return the metadata of the dead letters that are there, by reason."""
    dead_letters = dead_letters_by_reason(warehouse)
    rows = [{"reason_code": code, "letter_count": count} for code, count in dead_letters.items()]
    return {
        "open_letter_count": sum(dead_letters.values()),
        **({"letters_by_reason": redact_table(rows)} if rows else {}),
        "table_rows": link(build_rows_path(mqtt_dead_letters.name)),
    }


mirror_job = dg.define_asset_job(
    MIRROR_JOB,
    selection=dg.AssetSelection.assets(mirror_mqtt, draw_graph)
    | dg.AssetSelection.checks(check_kinds),
    description=LISTED_MIRROR.description,
    tags={"domain": GROUP},
)
