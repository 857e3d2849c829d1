"""Events of objectives: counted in the tables that have them, else sampled."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection, case, func, select, update

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.services.host_samples import find_slot_start
from orchestration_project.services.objectives import MirrorLagReader
from orchestration_project.services.objectives.rules.objectives import (
    Events,
    Freshness,
    Loads,
    MirrorLag,
    Objective,
    WebhookToLoaded,
)
from orchestration_project.services.pauses import Pauses, pause_of_asset, pause_of_domain
from orchestration_project.services.status import read_deadlines
from orchestration_project.settings import Settings
from orchestration_project.tables.operations_objectives import operations_slo_samples
from orchestration_project.tables.operations_runs import operations_runs
from orchestration_project.tables.spine import inbox_states

if TYPE_CHECKING:
    from orchestration_project.registry import Registry

ENDED = ("SUCCESS", "FAILURE")


def take_samples(
    warehouse: Warehouse,
    objectives: Sequence[Objective],
    registry: "Registry",
    settings: Settings,
    clock: Clock,
    machine_now: datetime,
) -> None:
    """Record one sample of each objective that needs samples, if its 5 minutes have none.

    Args:
        warehouse: The database.
        objectives: Those of all kinds.
        registry: What knows deadlines and mirrors.
        settings: A domain that is off has no samples; neither has a paused one.
        clock: The project's time, in which deadlines are due.
        machine_now: The time of the samples.
    """
    pauses = Pauses(warehouse, Clock(machine_now)).list_in_effect()
    late = [
        missing
        for missing in read_deadlines(registry, settings, warehouse, clock)
        if pause_of_asset(pauses, missing.asset) is None
    ]
    domains = {
        domain.name: domain
        for domain in registry.domains
        if domain.has_source(settings) and pause_of_domain(pauses, domain.name) is None
    }
    now, flags_by_name = clock.now(), dict[str, bool]()
    for objective in objectives:
        if isinstance(objective, Freshness) and objective.domain in domains:
            allowed = timedelta(hours=objective.max_late_hours)
            ones = [one for one in late if one.asset.split("/")[0] == objective.domain]
            flags_by_name[objective.name] = all(now - one.due_at <= allowed for one in ones)
        elif isinstance(objective, MirrorLag) and objective.domain in domains:
            for lag in domains[objective.domain].registered(MirrorLagReader):
                flags_by_name[objective.name] = (
                    lag.read(warehouse, machine_now) <= objective.max_seconds
                )
    starts_at = find_slot_start(machine_now)
    rows = [
        {"name": name, "starts_at": starts_at, "good": int(is_good), "total": 1}
        for name, is_good in flags_by_name.items()
    ]
    with warehouse.writing() as connection:
        insert_absent(connection, operations_slo_samples, rows)


def add_events(connection: Connection, name: str, at: datetime, events: Events) -> None:
    """Add events to the sample of an objective at a time; several processes may."""
    samples, starts_at = operations_slo_samples, find_slot_start(at)
    row = {"name": name, "starts_at": starts_at, "good": events.good, "total": events.total}
    if insert_absent(connection, samples, [row]):
        return
    connection.execute(
        update(samples)
        .where(samples.c.name == name, samples.c.starts_at == starts_at)
        .values(good=samples.c.good + events.good, total=samples.c.total + events.total)
    )


def count_events(
    connection: Connection,
    objective: Objective,
    since: datetime,
    until: datetime,
    *,
    now: datetime,
    sources: Sequence[str],
) -> Events:
    """Return the events of an objective from ``since`` to before ``until``, by an index alone.

    Args:
        connection: The database.
        objective: The objective.
        since: The first time.
        until: The first time after.
        now: The present time: what is only known later does not count yet.
        sources: The sources of webhooks, where the objective names none.
    """
    match objective:
        case Loads():
            return _count_loads(connection, objective, since, until)
        case WebhookToLoaded():
            return _count_deliveries(connection, objective, since, until, now, sources)
        case _:
            return _sum_samples(connection, objective, since, until)


def _count_loads(
    connection: Connection, objective: Loads, since: datetime, until: datetime
) -> Events:
    runs = operations_runs.c
    good = func.count(case((runs.status == "SUCCESS", 1)))
    query = select(good, func.count()).where(
        runs.ended_at >= since,
        runs.ended_at < until,
        runs.domain == objective.domain,
        runs.status.in_(ENDED),
    )
    return Events(*connection.execute(query).one())


def _sum_samples(
    connection: Connection, objective: Objective, since: datetime, until: datetime
) -> Events:
    samples = operations_slo_samples.c
    query = select(func.sum(samples.good), func.sum(samples.total)).where(
        samples.name == objective.name,
        samples.starts_at >= since,
        samples.starts_at < until,
    )
    good, total = connection.execute(query).one()
    return Events(int(good or 0), int(total or 0))


def _count_deliveries(
    connection: Connection,
    objective: WebhookToLoaded,
    since: datetime,
    until: datetime,
    now: datetime,
    sources: Sequence[str],
) -> Events:
    """Count deliveries by the time at which it was known whether they were done in time."""
    allowed = timedelta(seconds=objective.max_seconds)
    row = inbox_states.c
    query = select(row.state, row.received_at, row.changed_at).where(
        row.source.in_(objective.sources or sources),
        row.received_at >= since - allowed,
        row.received_at < until,
    )
    good = total = 0
    for state, received_at, changed_at in connection.execute(query):
        is_ended = state in ("done", "dead") and changed_at - received_at <= allowed
        known_at = changed_at if is_ended else received_at + allowed
        if since <= known_at < until and known_at <= now:
            total += 1
            good += is_ended and state == "done"
    return Events(good, total)
