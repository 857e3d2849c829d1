"""Events of runs in Dagster's log, as lines of JSON, page by page."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from orchestration_project.engine.dagster_private.storage import serialize_event

EVENTS_PER_PAGE = 1000


def run_events(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> Iterator[str]:
    """Yield each event of the runs in Dagster's own form; none of what was pruned."""
    for entry in _read_entries(instance, run_ids):
        record = {
            "run_id": entry.run_id,
            "happened_at": _format_moment(entry.timestamp),
            "message": entry.message,
            "entry": json.loads(serialize_event(entry)),
        }
        yield json.dumps(record, sort_keys=True)


def check_results(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> Iterator[str]:
    """Yield the results of the checks that the runs evaluated."""
    kind = {dg.DagsterEventType.ASSET_CHECK_EVALUATION}
    for entry in _read_entries(instance, run_ids, kind):
        if entry.dagster_event is None:
            continue
        asset_check_evaluation_data = entry.dagster_event.asset_check_evaluation_data
        record = {
            "run_id": entry.run_id,
            "happened_at": _format_moment(entry.timestamp),
            "asset": asset_check_evaluation_data.asset_key.to_user_string(),
            "check": asset_check_evaluation_data.check_name,
            "partition_key": asset_check_evaluation_data.partition,
            "passed": asset_check_evaluation_data.passed,
            "severity": asset_check_evaluation_data.severity.value,
            "description": asset_check_evaluation_data.description,
            "metadata": {
                name: _convert_value(value)
                for name, value in asset_check_evaluation_data.metadata.items()
            },
        }
        yield json.dumps(record)


def _read_entries(
    instance: dg.DagsterInstance,
    run_ids: Sequence[str],
    kinds: set[dg.DagsterEventType] | None = None,
) -> Iterator[dg.EventLogEntry]:
    for run_id in run_ids:
        cursor, has_more = None, True
        while has_more:
            page = instance.get_records_for_run(run_id, cursor, kinds, EVENTS_PER_PAGE)
            yield from (record.event_log_entry for record in page.records)
            cursor, has_more = page.cursor, page.has_more


def _format_moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def _convert_value(value: dg.MetadataValue[Any]) -> Any:
    if isinstance(value, dg.TableMetadataValue):
        return [dict(record.data) for record in value.records]
    plain = value.value
    return plain if isinstance(plain, str | int | float | bool | None) else str(plain)
