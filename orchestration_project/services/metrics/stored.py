"""Metrics from our own database: runs, rows, the inbox, alerts, overdue assets."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import polars as pl
from prometheus_client.core import Metric
from sqlalchemy import Connection, Row, func, select

from orchestration_project.engine.contracts.work_items import OPEN_STATES
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.ledger.rules.standings import DAY
from orchestration_project.services.metrics.families import Values, counter, gauge
from orchestration_project.tables.operations_alerts import operations_alert_deliveries
from orchestration_project.tables.operations_runs import operations_control_tower, operations_runs
from orchestration_project.tables.spine import DELIVERY_TOPICS, STATE_NAMES, work_items

QUANTILES = (0.5, 0.95, 1.0)
WINDOW = timedelta(hours=DAY)
"""Window of durations: a year would hide a slow day."""


def measure_stored_rows(warehouse: Warehouse, now: datetime) -> list[Metric]:
    """Return the metrics of stored rows; ``now`` is the machine's time.

    Raises:
        OrchestrationError: The database cannot be read.
    """
    with warehouse.reading() as connection:
        return [
            *_measure_runs(connection),
            _measure_durations(connection, now),
            *_measure_inbox(connection, now),
            _count_alerts(connection),
            *_measure_assets(connection, now),
        ]


def _measure_runs(connection: Connection) -> Iterable[Metric]:
    runs = operations_runs.c
    kinds = {"in": runs.rows_in, "landed": runs.rows_landed, "rejected": runs.rows_rejected}
    records = connection.execute(
        select(
            runs.job,
            runs.status,
            func.count().label("runs"),
            *(func.sum(column).label(kind) for kind, column in kinds.items()),
        ).group_by(runs.job, runs.status)
    ).all()
    yield gauge(
        "runs",
        "Runs in the ledger by status; the counts of ended runs only grow.",
        ("job", "status"),
        {
            **_build_zeros(row.job for row in records),
            **{(row.job, row.status): row.runs for row in records},
        },
        together=lambda one, other: one + other,
    )
    rows: dict[tuple[str, ...], float] = {}
    for row in records:
        for kind in kinds:
            rows[row.job, kind] = rows.get((row.job, kind), 0) + int(getattr(row, kind))
    yield counter(
        "rows",
        "Lines that came in, rows that were loaded, lines that were rejected.",
        ("job", "kind"),
        rows,
    )


def _build_zeros(jobs: Iterable[str]) -> Values:
    """Return zeros, so that a job's first failure is an increase."""
    return {(job, status): 0.0 for job in jobs for status in ("SUCCESS", "FAILURE")}


def _measure_durations(connection: Connection, now: datetime) -> Metric:
    runs = operations_runs.c
    rows = connection.execute(
        select(runs.job, runs.duration_seconds).where(
            runs.ended_at > now - WINDOW, runs.duration_seconds.is_not(None)
        )
    ).all()
    schema = {"job": pl.String, "seconds": pl.Float64}
    by_job = pl.DataFrame(rows, schema, orient="row").group_by("job")
    expected_expressions = [
        pl.col("seconds").quantile(quantile, "nearest").alias(f"{quantile:g}")
        for quantile in QUANTILES
    ]
    return gauge(
        "run_seconds",
        "Durations of the runs that ended in the last 24 hours.",
        ("job", "share"),
        {
            (row["job"], f"{quantile:g}"): row[f"{quantile:g}"]
            for row in by_job.agg(expected_expressions).to_dicts()
            for quantile in QUANTILES
        },
    )


def _measure_inbox(connection: Connection, now: datetime) -> Iterable[Metric]:
    item = work_items.c
    rows = connection.execute(
        select(
            item.topic,
            item.state,
            func.count().label("rows"),
            func.min(item.enqueued_at).label("oldest"),
        )
        .where(item.state.in_(OPEN_STATES), item.topic.startswith(DELIVERY_TOPICS))
        .group_by(item.topic, item.state)
    ).all()
    sources = {row.topic: row.topic.removeprefix(DELIVERY_TOPICS) for row in rows}
    none_dead = {(source, "dead"): 0 for source in sources.values()}
    counts = {(sources[row.topic], STATE_NAMES.get(row.state, row.state)): row.rows for row in rows}
    yield gauge(
        "inbox_deliveries",
        "Webhook deliveries by state: received, running, failed or dead.",
        ("source", "state"),
        none_dead | counts,
        together=lambda one, other: one + other,
    )
    oldest: dict[tuple[str, ...], float] = {}
    for row in rows:
        if row.state != "dead":
            age = (now - row.oldest).total_seconds()
            source = (sources[row.topic],)
            oldest[source] = max(age, oldest.get(source, 0))
    yield gauge(
        "inbox_oldest_seconds",
        "Age of the oldest webhook delivery that is neither done nor dead.",
        ("source",),
        oldest,
    )


def _count_alerts(connection: Connection) -> Metric:
    sent = operations_alert_deliveries.c
    rows = connection.execute(
        select(sent.channel, sent.state, func.count().label("alerts")).group_by(
            sent.channel, sent.state
        )
    )
    return gauge(
        "alert_deliveries",
        "Alert deliveries by channel and state: delivered, pending or failed.",
        ("channel", "state"),
        {(row.channel, row.state): row.alerts for row in rows},
        together=lambda one, other: one + other,
    )


def _measure_assets(connection: Connection, now: datetime) -> Iterable[Metric]:
    tower = operations_control_tower.c
    rows = connection.execute(
        select(tower.asset, tower.last_landed_at, tower.hours_late, tower.looked_at).where(
            tower.window_hours == DAY, tower.asset != ""
        )
    ).all()
    yield gauge(
        "asset_landed_age_seconds",
        "Time since the last load of the asset.",
        ("asset",),
        {
            (row.asset,): (now - row.last_landed_at).total_seconds()
            for row in rows
            if row.last_landed_at is not None
        },
    )
    yield gauge(
        "asset_late_seconds",
        "Time by which the oldest due partition is overdue; 0: none is.",
        ("asset",),
        {(row.asset,): _measure_lateness(row, now) for row in rows},
    )


def _measure_lateness(row: Row, now: datetime) -> float:
    """Return how late an asset is by now: it was looked at some time ago."""
    if row.hours_late is None:
        return 0.0
    return row.hours_late * 3600 + max(0.0, (now - row.looked_at).total_seconds())
