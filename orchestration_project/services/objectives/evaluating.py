"""Evaluation of objectives; closed days are counted once, so that it reads no history."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Row, delete, insert, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.inbox.senders import read_declared_sources
from orchestration_project.services.objectives import read_declared_objectives
from orchestration_project.services.objectives.counting import count_events, take_samples
from orchestration_project.services.objectives.rules.objectives import (
    WINDOW_DAYS,
    WINDOWS,
    Evaluation,
    Events,
    Objective,
    build_row,
)
from orchestration_project.settings import Settings
from orchestration_project.tables.operations_objectives import (
    operations_slo,
    operations_slo_days,
    operations_slo_samples,
)

if TYPE_CHECKING:
    from orchestration_project.registry import Registry

LOCK_NAME = "operations/objectives"
"""Row that evaluations at the same time wait for."""

A_DAY = timedelta(days=1)

SAMPLE_RETENTION = timedelta(days=3)
"""Older samples are only counted by day."""

DAY_RETENTION = timedelta(days=400)
"""For the picture of the control tower and for reports."""


def evaluate_declared(
    settings: Settings, registry: "Registry", warehouse: Warehouse, clock: Clock
) -> Sequence[Evaluation]:
    """Sample and evaluate the declared objectives now, and store the result.

    Raises:
        ConfigurationError: The file of objectives is invalid.
        OrchestrationError: The database cannot be used.
    """
    objectives, now = read_declared_objectives(settings), Clock().now()
    if objectives:
        take_samples(warehouse, objectives, registry, settings, clock, now)
    return evaluate(warehouse, objectives, now, _list_sources(settings))


def _list_sources(settings: Settings) -> Sequence[str]:
    try:
        return sorted(read_declared_sources(settings))
    except ConfigurationError:  # the gateway and its own probe report it
        return ()


def evaluate(
    warehouse: Warehouse, objectives: Sequence[Objective], now: datetime, sources: Sequence[str]
) -> Sequence[Evaluation]:
    """Evaluate objectives and replace the rows of ``operations_slo``.

    Args:
        warehouse: The database.
        objectives: The objectives; rows of others are removed.
        now: The machine's time.
        sources: The sources of webhooks.
    """
    with warehouse.writing() as connection:
        lock_row(connection, LOCK_NAME)
        evaluations = [
            _evaluate_one(connection, objective, now, sources) for objective in objectives
        ]
        connection.execute(delete(operations_slo))
        if evaluations:
            connection.execute(
                insert(operations_slo), [build_row(evaluation) for evaluation in evaluations]
            )
        oldest = now.date() - DAY_RETENTION
        connection.execute(delete(operations_slo_days).where(operations_slo_days.c.day < oldest))
        samples = operations_slo_samples
        connection.execute(delete(samples).where(samples.c.starts_at < now - SAMPLE_RETENTION))
    return evaluations


def _evaluate_one(
    connection: Connection, objective: Objective, now: datetime, sources: Sequence[str]
) -> Evaluation:
    count = partial(count_events, connection, objective, now=now, sources=sources)
    today, end = now.date(), now + timedelta(microseconds=1)
    closed = _read_closed_days(connection, objective.name, today)
    expected_days = [today - A_DAY * ago for ago in range(1, WINDOW_DAYS)]
    missing = [day for day in expected_days if day not in closed]
    new = {day: count(_start(day), _start(day) + A_DAY) for day in missing}
    insert_absent(
        connection,
        operations_slo_days,
        [
            {"name": objective.name, "day": day, "good": events.good, "total": events.total}
            for day, events in new.items()
        ],
    )
    total = count(_start(today), end)
    for events in [*closed.values(), *new.values()]:
        total = total.plus(events)
    recent = {name: count(now - length, end) for name, length in WINDOWS.items()}
    return Evaluation(objective, total, recent, now)


def _read_closed_days(connection: Connection, name: str, today: date) -> Mapping[date, Events]:
    """Return the counted days of the window; yesterday is counted again, as runs are recorded late.

    Days from today on are of a clock that was set back.
    """
    days = operations_slo_days
    condition = days.c.name == name
    connection.execute(delete(days).where(condition, days.c.day >= today - A_DAY))
    query = select(days.c.day, days.c.good, days.c.total).where(
        condition, days.c.day > today - A_DAY * WINDOW_DAYS
    )
    return {row.day: Events(row.good, row.total) for row in connection.execute(query)}


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def read_slo(warehouse: Warehouse) -> Sequence[Row]:
    """Return the rows of ``operations_slo``, by name."""
    with warehouse.reading() as connection:
        query = select(operations_slo).order_by(operations_slo.c.name)
        return connection.execute(query).all()


def read_days(warehouse: Warehouse, now: datetime) -> Mapping[str, Mapping[date, Events]]:
    """Return by objective the events of each day of the window, without today."""
    days, entries = operations_slo_days.c, dict[str, dict[date, Events]]()
    since = now.date() - A_DAY * WINDOW_DAYS
    query = select(operations_slo_days).where(days.day > since).order_by(days.name, days.day)
    with warehouse.reading() as connection:
        for row in connection.execute(query):
            entries.setdefault(row.name, {})[row.day] = Events(row.good, row.total)
    return entries
