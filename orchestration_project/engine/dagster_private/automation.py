"""Sensors and schedules: cron expressions, whether one is on, and its ticks.

`InstigatorTick` is one evaluation of a sensor or schedule, and `TickStatus` how it ended. Dagster
exports neither, though methods of its public classes return them.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorTick,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickStatus,
)
from dagster._utils.schedules import reverse_cron_string_iterator

__all__ = [
    "FINISHED_TICKS",
    "AnyAutomation",
    "InstigatorTick",
    "RepositoryOrigin",
    "TickStatus",
    "find_previous_cron_time",
    "find_ticks",
    "is_switched_on",
    "is_valid_cron_string",
    "iterate_running_states",
    "rename_instigators",
    "switch_automation",
]


FINISHED_TICKS = (TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE)
"""How a tick is over that was evaluated."""


def is_valid_cron_string(text: str) -> bool:
    """Return whether a schedule takes a text as cron expression."""
    try:
        dg.ScheduleDefinition(name="any", job_name="any", cron_schedule=text)
    except dg.DagsterInvalidDefinitionError:
        return False
    return True


def find_previous_cron_time(cron: str, timezone: str, now: datetime) -> datetime:
    """Return the latest time, ``now`` or before, at which a schedule is due.

    Dagster 1.13: `reverse_cron_string_iterator`. No public way: only ticks of schedules that are
    definitions follow a cron expression. At an upgrade: a local time that a change of the clock
    skips is due all the same.
    """
    until = now + timedelta(seconds=1)  # the end does not belong to what it yields
    times = reverse_cron_string_iterator(until.timestamp(), cron, timezone)
    return next(moment for moment in times if moment <= now)


def iterate_running_states(instance: dg.DagsterInstance) -> Iterator[InstigatorState]:
    """Yield the state of each running sensor and schedule, started manually or by default.

    Dagster 1.13: `all_instigator_state`. No public way: the code alone knows what is on from the
    start, the storage what was switched. At an upgrade: both are among it.
    """
    return (state for state in instance.all_instigator_state() if state.is_running)


AnyAutomation = dg.ScheduleDefinition | dg.SensorDefinition


RepositoryOrigin = RemoteRepositoryOrigin
"""Origin of a code location's definitions."""


def is_switched_on(
    instance: dg.DagsterInstance,
    definition: AnyAutomation,
    origin: RepositoryOrigin | None = None,
) -> bool:
    """Return whether a schedule or sensor is on: as it was switched, or else as declared.

    With ``origin``, as it was switched in that code location.

    Dagster 1.13: `InstigatorState`. No public way: none to read the state without a code server.
    At an upgrade: what is declared on, and switched off, is off.
    """
    state = _find_state(instance, definition, origin)
    if state is None or state.status == InstigatorStatus.DECLARED_IN_CODE:
        return definition.default_status.value == "RUNNING"
    return state.status == InstigatorStatus.RUNNING


def switch_automation(
    instance: dg.DagsterInstance,
    definition: AnyAutomation,
    origin: RemoteRepositoryOrigin,
    *,
    on: bool,
) -> None:
    """Switch a schedule or sensor on or off; the daemon follows at its next round.

    Dagster 1.13: `InstigatorState`. No public way: `start_schedule` and `start_sensor` take what
    only a code server gives. At an upgrade: one that is switched here is found so by the UI.
    """
    status = InstigatorStatus.RUNNING if on else InstigatorStatus.STOPPED
    known_instigator_state, now = _find_state(instance, definition, origin), time.time()
    if isinstance(definition, dg.ScheduleDefinition):
        kind = InstigatorType.SCHEDULE
        data: Any = ScheduleInstigatorData(definition.cron_schedule, now if on else None)
    else:
        kind = InstigatorType.SENSOR
        before = (
            known_instigator_state.instigator_data if known_instigator_state is not None else None
        )
        if isinstance(before, SensorInstigatorData):
            data = before.with_sensor_start_timestamp(now)
        else:
            data = SensorInstigatorData(
                min_interval=definition.minimum_interval_seconds,
                last_sensor_start_timestamp=now,
                sensor_type=definition.sensor_type,
            )
    if known_instigator_state is None:
        at = origin.get_instigator_origin(definition.name)
        instance.add_instigator_state(InstigatorState(at, kind, status, data))
    else:
        instance.update_instigator_state(known_instigator_state.with_status(status).with_data(data))


def rename_instigators(instance: dg.DagsterInstance, names: Mapping[str, str]) -> list[str]:
    """Give the states of sensors and schedules the present names; return the names that are on.

    One name of several former ones is on if one was on, and off if all were switched off.

    Dagster 1.13: `InstigatorState`. No public way: a state has the name in its origin. At an
    upgrade: one that is renamed here is found by its new name, on or off as before.

    Args:
        instance: Dagster's instance.
        names: Present names by former ones.
    """
    states = instance.all_instigator_state()
    known_pairs = {(state.instigator_type, state.name) for state in states}
    former: dict[tuple[InstigatorType, str], list[InstigatorState]] = {}
    for state in states:
        if state.name in names:
            former.setdefault((state.instigator_type, names[state.name]), []).append(state)
    renamed: list[str] = []
    for (kind, name), instigator_states in former.items():
        running = [state for state in instigator_states if state.status == InstigatorStatus.RUNNING]
        is_off = len(instigator_states) == list(names.values()).count(name) and not running
        if (kind, name) not in known_pairs and (running or is_off):
            state = (running or instigator_states)[0]
            origin = state.origin.repository_origin.get_instigator_origin(name)
            data = state.instigator_data
            instance.add_instigator_state(InstigatorState(origin, kind, state.status, data))
            if running:
                renamed.append(name)
        for state in instigator_states:
            instance.delete_instigator_state(state.instigator_origin_id, state.selector_id)
    return renamed


def _find_state(
    instance: dg.DagsterInstance,
    definition: AnyAutomation,
    origin: RepositoryOrigin | None = None,
) -> InstigatorState | None:
    is_schedule = isinstance(definition, dg.ScheduleDefinition)
    kind = InstigatorType.SCHEDULE if is_schedule else InstigatorType.SENSOR
    instigator_state = instance.all_instigator_state(instigator_type=kind)
    location = origin and origin.code_location_origin.location_name
    named = (state for state in instigator_state if state.instigator_name == definition.name)
    return next((state for state in named if location in (None, state.origin.location_name)), None)


def find_ticks(
    instance: dg.DagsterInstance,
    state: InstigatorState,
    *,
    limit: int,
    after: float | None = None,
    statuses: Sequence[TickStatus] | None = None,
) -> Sequence[InstigatorTick]:
    """Return the latest ticks of a sensor or schedule, the newest first.

    Dagster 1.13: `DagsterInstance.get_ticks`, which takes two ids of an `InstigatorState`. No
    public way: none to read ticks. At an upgrade: order, time and statuses select as they did.
    """
    ids = (state.instigator_origin_id, state.selector_id)
    expected_tick_statuses = list(statuses) if statuses else None  # it takes no tuple
    return instance.get_ticks(*ids, limit=limit, after=after, statuses=expected_tick_statuses)
