"""What is in the databases at the end: read by SQL of its own, and compared with what must be."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg

ROWS_OF_A_PARTITION, SYMBOLS_OF_A_PARTITION, VENUES_OF_A_PARTITION = 120, 60, 2
SHARES_OF_A_PARTITION = 2 * sum(1000 + number for number in range(60))
"""Known answers of the source: two venues of 60 symbols."""

ACTIVE = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
LOADED = "SELECT count(DISTINCT partition_key) FROM landings WHERE table_name = 'finra_otc_weekly'"

COVERAGE = """
SELECT runs.run_id, runs.status,
  coalesce(max(value) FILTER (WHERE key = 'dagster/asset_partition_range_start'),
    max(value) FILTER (WHERE key = 'dagster/partition')),
  coalesce(max(value) FILTER (WHERE key = 'dagster/asset_partition_range_end'),
    max(value) FILTER (WHERE key = 'dagster/partition')),
  coalesce(max(value) FILTER (WHERE key = 'dagster/parent_run_id'), ''),
  coalesce(max(value) FILTER (WHERE key = 'dagster/backfill'), '')
FROM runs JOIN run_tags ON run_tags.run_id = runs.run_id
WHERE runs.pipeline_name = 'finra_otc_weekly' GROUP BY runs.run_id, runs.status
"""


Database = psycopg.Connection[Any]


class Line(NamedTuple):
    """A count.

    Attributes:
        name: What is counted.
        expected: What it must be.
        found: What it is.
    """

    name: str
    expected: int
    found: int


class Run(NamedTuple):
    """A run of the job, and the partitions that it loads."""

    run_id: str
    status: str
    partitions: Sequence[str]
    parent: str
    backfill: str


def loaded_partitions(warehouse_url: str) -> int:
    """Return the number of partitions that were loaded at least once."""
    with psycopg.connect(warehouse_url) as warehouse:
        return _number(warehouse, LOADED)


def unfinished_partitions(dagster_url: str, partitions: Sequence[str]) -> list[str]:
    """Return the partitions without a run that succeeded."""
    with psycopg.connect(dagster_url) as dagster:
        runs = _runs(dagster, partitions)
    done = {key for run in runs if run.status == "SUCCESS" for key in run.partitions}
    return [key for key in partitions if key not in done]


def count_all(
    warehouse: Database,
    dagster: Database,
    partitions: Sequence[str],
    backfills: Sequence[str],
    objects: Mapping[str, int],
) -> list[Line]:
    """Count what the loads of ``partitions`` left in both databases and in the object store."""
    return [
        *_of_loads(warehouse, partitions, objects),
        *_of_runs(dagster, partitions, backfills),
        *_of_what_is_held(warehouse, dagster),
    ]


def wrong(lines: Sequence[Line]) -> list[str]:
    """Return the names of the counts that are not as they must be."""
    return [line.name for line in lines if line.expected != line.found]


LOADS = "SELECT partition_key FROM landings WHERE table_name = 'finra_otc_weekly'"
BLOBS = "SELECT storage_uri, stored_byte_count FROM blobs"
KEYS = """
SELECT count(*) FROM (
  SELECT DISTINCT week_start, tier, market, symbol, venue_id FROM finra_otc_weekly) keys
"""
SHARES = "SELECT coalesce(sum(share_quantity_micros), 0) / 1000000 FROM finra_otc_weekly"
HELD_BACK = "SELECT count(*) FROM deliveries WHERE outcome = 'held_back'"
"""Those that are refused are evidence of attempts that an outage ended; the next one loads."""


def _of_loads(
    warehouse: Database, partitions: Sequence[str], objects: Mapping[str, int]
) -> list[Line]:
    count = len(partitions)
    landings = Counter(key for (key,) in _rows(warehouse, LOADS))
    lost_blobs = [path for path, size in _rows(warehouse, BLOBS) if objects.get(path) != size]

    def line(name: str, expected: int, statement: str) -> Line:
        return Line(name, expected, _number(warehouse, statement))

    rows = count * ROWS_OF_A_PARTITION
    symbols, venues = count * SYMBOLS_OF_A_PARTITION, count * VENUES_OF_A_PARTITION
    return [
        Line("partitions loaded", count, len(landings.keys() & set(partitions))),
        Line("partitions loaded without a request", 0, len(landings.keys() - set(partitions))),
        Line("landings", count, landings.total()),
        Line("partitions loaded twice", 0, sum(number > 1 for number in landings.values())),
        line("rows", rows, "SELECT count(*) FROM finra_otc_weekly"),
        line("rows by their keys", rows, KEYS),
        line("shares", count * SHARES_OF_A_PARTITION, SHARES),
        line("rows that were replaced", 0, "SELECT count(*) FROM finra_otc_weekly_history"),
        line("derived rows of symbols", symbols, "SELECT count(*) FROM finra_symbol_week"),
        line("derived rows of venues", venues, "SELECT count(*) FROM finra_venue_week"),
        line("quarantined deliveries", 0, HELD_BACK),
        Line("blobs without an object of their size", 0, len(lost_blobs)),
        line("events not announced", 0, "SELECT count(*) FROM pending_announcements"),
    ]


MATERIALIZED = """
SELECT count(DISTINCT partition) FROM event_logs
WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND asset_key = '["finra", "otc_weekly"]'
"""

ENDED_TWICE = """
SELECT count(*) FROM (SELECT run_id FROM event_logs WHERE dagster_event_type IN
  ('PIPELINE_SUCCESS', 'PIPELINE_FAILURE', 'PIPELINE_CANCELED')
  GROUP BY run_id HAVING count(*) > 1) runs
"""

STARTED_TWICE = """
SELECT count(*) FROM (SELECT run_id FROM event_logs WHERE dagster_event_type = 'PIPELINE_START'
  GROUP BY run_id HAVING count(*) > 1) runs
"""


FORGOTTEN = """
SELECT count(*) FROM runs JOIN run_tags announced USING (run_id)
WHERE status = 'FAILURE' AND announced.key = 'dagster/will_retry' AND announced.value = 'true'
  AND NOT EXISTS (SELECT 1 FROM run_tags parent
    WHERE parent.key = 'dagster/parent_run_id' AND parent.value = runs.run_id)
"""

ENDED_BACKFILLS = """
SELECT count(*) FROM bulk_actions WHERE status IN ('COMPLETED_SUCCESS', 'COMPLETED_FAILED')
"""


def _of_runs(dagster: Database, partitions: Sequence[str], backfills: Sequence[str]) -> list[Line]:
    runs = _runs(dagster, partitions)
    first = Counter(
        key
        for run in runs
        if run.backfill == backfills[0] and not run.parent
        for key in run.partitions
    )
    succeeded = Counter(key for run in runs if run.status == "SUCCESS" for key in run.partitions)
    parents = Counter(run.parent for run in runs if run.parent)
    announced = _number(dagster, MATERIALIZED)
    forgotten = _number(dagster, FORGOTTEN)
    states = dict(_rows(dagster, "SELECT status, count(*) FROM runs GROUP BY status"))
    return [
        Line("backfills that ended", len(backfills), _number(dagster, ENDED_BACKFILLS)),
        Line("partitions launched by the backfill", len(partitions), len(first)),
        Line("partitions launched twice by it", 0, sum(number > 1 for number in first.values())),
        Line("runs retried twice at once", 0, sum(number > 1 for number in parents.values())),
        Line("retries announced and never launched", 0, forgotten),
        Line("partitions with a run that succeeded", len(partitions), len(succeeded)),
        Line("partitions with two of them", 0, sum(number > 1 for number in succeeded.values())),
        Line("partitions with an event of their load", len(partitions), announced),
        Line("runs that started twice", 0, _number(dagster, STARTED_TWICE)),
        Line("runs that ended twice", 0, _number(dagster, ENDED_TWICE)),
        *(Line(f"runs {status}", 0, states.get(status, 0)) for status in ACTIVE),
    ]


IN_TRANSACTION = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND state LIKE 'idle in transaction%'
"""

SLOTS = "SELECT count(*) FROM concurrency_slots WHERE run_id IS NOT NULL"
CLAIMS = "SELECT count(*) FROM kvs WHERE key LIKE 'orchestration_project/claimed/%'"
LEASES = "SELECT count(*) FROM work_items WHERE state = 'leased'"


def _of_what_is_held(warehouse: Database, dagster: Database) -> list[Line]:
    waiting = "SELECT count(*) FROM pending_steps"
    return [
        Line("slots of pools", 0, _number(dagster, SLOTS)),
        Line("steps that wait for a slot", 0, _number(dagster, waiting)),
        Line("claims of runs", 0, _number(dagster, CLAIMS)),
        Line("leases of work items", 0, _number(warehouse, LEASES)),
        Line("open transactions", 0, _number(warehouse, IN_TRANSACTION)),
    ]


def _runs(dagster: Database, partitions: Sequence[str]) -> list[Run]:
    keys = sorted(partitions)
    return [
        Run(run_id, status, [key for key in keys if first <= key <= last], parent, backfill)
        for run_id, status, first, last, parent, backfill in _rows(dagster, COVERAGE)
    ]


def _rows(database: Database, statement: str) -> list[tuple[Any, ...]]:
    return database.execute(statement.encode()).fetchall()


def _number(database: Database, statement: str) -> int:
    return int(_rows(database, statement)[0][0])
