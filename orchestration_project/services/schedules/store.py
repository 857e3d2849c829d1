"""The stored schedules: read, and edited with a version for each edit."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from orchestration_project.domains.operations.scheduled import next_times
from orchestration_project.domains.operations.schedules import (
    Action,
    Schedule,
    StoredSchedule,
    edited,
)
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import KEYS_AT_ONCE, storable
from orchestration_project.tables.operations_schedules import (
    operations_schedule_versions as versions,
)
from orchestration_project.tables.operations_schedules import operations_schedules as schedules

JSON_FIELDS = ("partition_values", "run_config")

DISABLE = "disable"
"""Action of a version that no user made."""


@dataclass(frozen=True)
class ScheduleEdit:
    """An edit of one schedule.

    Attributes:
        fields: Fields of a new schedule, or those that change.
        expected_version: Version that the editor has seen; a new schedule has none.
        by: User.
        at: Time of the edit.
        run_id: Dagster run of the edit, if a run makes it.
    """

    action: Action
    name: str
    by: str
    at: datetime
    fields: Mapping[str, Any] = field(default_factory=dict)
    expected_version: int | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class EditResult:
    """A schedule before and after an edit; None: there is none."""

    before: StoredSchedule | None
    after: StoredSchedule | None
    version_number: int


def read_schedules(connection: Connection, *names: str) -> Sequence[StoredSchedule]:
    """Return the schedules of these names, or all of them, by name."""
    wanted = select(schedules).order_by(schedules.c.name)
    if names:
        wanted = wanted.where(schedules.c.name.in_(names))
    return [stored_schedule(row) for row in connection.execute(wanted).mappings()]


def plan_edit(warehouse: Warehouse, edit: ScheduleEdit) -> EditResult:
    """Return what an edit would make; nothing is written.

    Raises:
        ConfigurationError: As `domains.operations.schedules.edited`.
    """
    with warehouse.reading() as connection:
        return _planned(connection, edit)


def apply_edit(warehouse: Warehouse, edit: ScheduleEdit) -> EditResult:
    """Make an edit, and add its version; of two edits of one version, the second is refused.

    Raises:
        ConfigurationError: As `domains.operations.schedules.edited`.
    """
    with warehouse.writing() as connection:
        lock_schedules(connection)
        result = _planned(connection, edit)
        connection.execute(delete(schedules).where(schedules.c.name == edit.name))
        if result.after is not None:
            connection.execute(insert(schedules).values(_row(result.after)))
        changed = result.after or result.before
        if changed is None:
            raise AssertionError("an edit has a schedule before or after it")
        _add_version(connection, edit, changed.schedule, result.version_number)
    return result


def disable(
    connection: Connection, reasons: Mapping[str, str], *, by: str, at: datetime
) -> Mapping[str, int]:
    """Disable schedules, each for its reason; return their new versions by name."""
    disabled: dict[str, int] = {}
    names = sorted(reasons)
    for start in range(0, len(names), KEYS_AT_ONCE):
        for stored in read_schedules(connection, *names[start : start + KEYS_AT_ONCE]):
            schedule = stored.schedule.model_copy(update={"is_enabled": False})
            reason, number = storable(reasons[schedule.name]), stored.version_number + 1
            edit = ScheduleEdit(Action.PAUSE, schedule.name, by, at)
            connection.execute(
                update(schedules)
                .where(schedules.c.name == schedule.name)
                .values(
                    is_enabled=False,
                    disabled_reason=reason,
                    next_due_at=None,
                    version_number=number,
                    edited_by=by,
                    edited_at=at,
                )
            )
            _add_version(connection, edit, schedule, number, action=DISABLE, reason=reason)
            disabled[schedule.name] = number
    return disabled


def lock_schedules(connection: Connection) -> None:
    """Have other edits and ticks wait until this transaction ends."""
    lock_row(connection, schedules.name)


def _planned(connection: Connection, edit: ScheduleEdit) -> EditResult:
    before = next(iter(read_schedules(connection, edit.name)), None)
    after = edited(edit.action, edit.name, before, edit.fields, edit.expected_version)
    of_name = versions.c.name == edit.name
    latest = connection.execute(select(func.max(versions.c.version_number)).where(of_name)).scalar()
    number = (latest or 0) + 1
    if after is None:
        return EditResult(before, None, number)
    due = _next_due(before, after, edit.at)
    stored = StoredSchedule(after, number, storable(edit.by), edit.at, next_due_at=due)
    return EditResult(before, stored, number)


def _next_due(before: StoredSchedule | None, after: Schedule, at: datetime) -> datetime | None:
    """Return when a schedule is due next; an edit of other fields leaves a due time in place."""
    if not after.is_enabled:
        return None
    if before is not None and before.next_due_at is not None:
        old = before.schedule
        if (old.cron, old.timezone) == (after.cron, after.timezone):
            return before.next_due_at
    return next(iter(next_times(after.timetable, at, 1)), None)


def stored_schedule(row: RowMapping) -> StoredSchedule:
    """Return the schedule of a row; it was valid when it was stored."""
    fields = {name: row[name] for name in Schedule.model_fields}
    for name in JSON_FIELDS:
        fields[name] = None if fields[name] is None else json.loads(fields[name])
    return StoredSchedule(
        Schedule.model_construct(**fields),
        row["version_number"],
        row["edited_by"],
        row["edited_at"],
        row["disabled_reason"],
        row["next_due_at"],
    )


def _row(stored: StoredSchedule) -> dict[str, Any]:
    fields = stored.schedule.model_dump()
    for name in JSON_FIELDS:
        fields[name] = None if fields[name] is None else json.dumps(fields[name], sort_keys=True)
    return fields | {
        "version_number": stored.version_number,
        "edited_by": stored.edited_by,
        "edited_at": stored.edited_at,
        "disabled_reason": stored.disabled_reason,
        "next_due_at": stored.next_due_at,
    }


def _add_version(
    connection: Connection,
    edit: ScheduleEdit,
    schedule: Schedule,
    number: int,
    *,
    action: str | None = None,
    reason: str | None = None,
) -> None:
    connection.execute(
        insert(versions).values(
            name=edit.name,
            version_number=number,
            action=action or edit.action.value,
            definition=json.dumps(schedule.model_dump(), sort_keys=True),
            reason=reason,
            edited_by=storable(edit.by),
            edited_at=edit.at,
            run_id=edit.run_id,
        )
    )
