"""Conditions of burning objectives, hosts without reserves and rows of domains, for alerts."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, Row, func, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError, TransientError
from orchestration_project.migrations import NEWEST_VERSION
from orchestration_project.registry import AlertCondition, Answer, Probe
from orchestration_project.services.alerts.rows import open_subjects
from orchestration_project.services.objectives.rules.objectives import BURN_ALERTS
from orchestration_project.services.pauses import pause_of_domain, select_pauses
from orchestration_project.tables.operations_objectives import (
    operations_host_samples,
    operations_slo,
)

BURNING, OVERLOADED = "objective_burning", "host_overloaded"

OLD_EVALUATION = timedelta(minutes=30)
"""An evaluation before this says nothing; the daemon's own alert has the reason."""

SAMPLES_OF_A_LOOK = timedelta(minutes=16)
MIN_SAMPLES = 3
"""Samples of 5 minutes, all above a limit: a peak in one of them raises nothing."""

OpenWarehouse = Callable[[], AbstractContextManager[Warehouse]]


class Limit(NamedTuple):
    """Limit of a host's use."""

    column: str
    name: str
    most: float


LIMITS = (
    Limit("cpu_share", "CPU", 0.95),
    Limit("memory_share", "memory", 0.95),
    Limit("disk_share", "disk of STATE_DIR", 0.95),
    Limit("open_files_share", "open files of a program", 0.8),
)
"""Shares in use above which a host is overloaded, if each sample of a look has more."""


@dataclass(frozen=True)
class RowConditions:
    """Registers a reader of conditions of rows; alerts report them while they do not hold."""

    read: Callable[[Connection], Sequence[AlertCondition]]


def build_conditions(
    open_warehouse: OpenWarehouse, clock: Clock, registered: Sequence[RowConditions] = ()
) -> Sequence[AlertCondition]:
    """Return a condition per objective and host, also of ones with an open alert, and the others.

    An objective of a paused domain has no condition: its alert is neither raised nor recovered.
    Where the database cannot be read there is none: its own alert says so.
    """
    try:
        with open_warehouse() as warehouse:
            if warehouse.version() != NEWEST_VERSION:
                return []
            with warehouse.reading() as connection:
                return [
                    *_check_objectives(connection, clock),
                    *_check_hosts(connection, clock),
                    *(one for rows in registered for one in rows.read(connection)),
                ]
    except OrchestrationError:
        return []


def _check_objectives(connection: Connection, clock: Clock) -> Sequence[AlertCondition]:
    rows = {row.name: row for row in connection.execute(select(operations_slo))}
    pauses = select_pauses(connection, clock.now())
    paused = {name for name, row in rows.items() if pause_of_domain(pauses, row.domain)}
    names = sorted((rows.keys() | open_subjects(connection, BURNING)) - paused)
    return [
        _build_condition(
            BURNING, name, "read the burn rates", partial(_judge, rows.get(name), clock)
        )
        for name in names
    ]


def _build_condition(
    kind: str, name: str, summary: str, judge: Callable[[], Answer]
) -> AlertCondition:
    return AlertCondition(kind, Probe(kind, (), lambda: summary, judge), subject=name)


def _judge(row: Row | None, clock: Clock) -> Answer:
    if row is None:
        return Answer("the objective is not declared any more")
    if abs(clock.now() - row.evaluated_at) > OLD_EVALUATION:
        return Answer("the objective was not evaluated lately", is_applicable=False)
    if row.state != "burning":
        return Answer(f"the state of {row.name} is {row.state}")
    rates = {alert.long: getattr(row, f"burn_{alert.long}") for alert in BURN_ALERTS}
    text = ", ".join(f"{rate:.1f} in {name}" for name, rate in rates.items() if rate is not None)
    max_rates = ", ".join(f"{alert.rate:g} in {alert.long}" for alert in BURN_ALERTS)
    raise TransientError(
        f"the objective {row.name} spends its error budget too fast",
        expected=f"burn rates below {max_rates}",
        found=f"{text}; budget left: {row.budget_left:.0%}",
        remedy=f"see what fails in {row.domain}: the control tower and `orchestrate objectives "
        "list` have its figures",
    )


def _check_hosts(connection: Connection, clock: Clock) -> Sequence[AlertCondition]:
    samples, now = operations_host_samples.c, clock.now()
    least = [func.min(samples[limit.column]).label(limit.column) for limit in LIMITS]
    query = (
        select(samples.host, func.count().label("sample_count"), *least)
        .where(samples["at"] > now - SAMPLES_OF_A_LOOK, samples["at"] <= now)
        .group_by(samples.host, samples.role)
        .order_by(samples.host, samples.role)
    )
    exceeded: dict[str, dict[str, float]] = {}
    for row in connection.execute(query):
        shares = exceeded.setdefault(row.host, {})
        for limit in LIMITS:
            share = getattr(row, limit.column)
            if row.sample_count >= MIN_SAMPLES and share > limit.most:
                shares[limit.name] = max(share, shares.get(limit.name, 0.0))
    names = sorted(exceeded.keys() | open_subjects(connection, OVERLOADED))
    return [
        _build_condition(
            *(OVERLOADED, name, "read the samples"), partial(_judge_host, name, exceeded.get(name))
        )
        for name in names
    ]


def _judge_host(host: str, exceeded: Mapping[str, float] | None) -> Answer:
    """Judge the least share of each limit that every sample of one role exceeds."""
    if exceeded is None:
        return Answer(f"{host} sends no samples", is_applicable=False)
    if not exceeded:
        return Answer(f"{host} has reserves")
    raise TransientError(
        f"the host {host} is overloaded",
        expected=", ".join(f"{limit.name} at most {limit.most:.0%}" for limit in LIMITS),
        found=", ".join(f"{name} {share:.0%}" for name, share in exceeded.items())
        + " in each of the last samples",
        remedy="see which programs need it; move workers to another host, or lower "
        "MAX_CONCURRENT_RUNS",
    )
