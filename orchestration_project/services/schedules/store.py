"""The stored schedules: read, edited with a version for each edit, and disabled."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, select, update

from orchestration_project.engine.contracts.edits import REMEDY, Action
from orchestration_project.engine.warehouse.frames import MAX_BATCH_KEYS, clean_text
from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.services.edits import Edit, EditStore
from orchestration_project.services.schedules.rules.schedules import (
    SCHEDULE_KIND,
    Schedule,
    StoredSchedule,
)
from orchestration_project.tables.operations_edits import operations_flags
from orchestration_project.tables.operations_edits import (
    operations_schedule_versions as versions,
)
from orchestration_project.tables.operations_edits import operations_schedules as schedules

DISABLE = "disable"
"""Action of a version that no user made."""


class ScheduleStore(EditStore[Schedule, StoredSchedule]):
    """The stored schedules, each with its next due time."""

    def judged(
        self, connection: Connection, before: StoredSchedule | None, after: StoredSchedule
    ) -> StoredSchedule:
        """Return the schedule that an edit makes, and when it is due next.

        Raises:
            ConfigurationError: It is enabled, and its flag does not exist.
        """
        schedule = after.schedule
        if schedule.flag is not None and schedule.is_enabled:
            _require_flag(connection, schedule.name, schedule.flag)
        return replace(after, next_due_at=_find_next_due(before, schedule, after.edited_at))

    def disable(
        self, connection: Connection, reasons: Mapping[str, str], *, by: str, at: datetime
    ) -> Mapping[str, int]:
        """Disable schedules, each for its reason; return their new versions by name."""
        disabled: dict[str, int] = {}
        names = sorted(reasons)
        for start in range(0, len(names), MAX_BATCH_KEYS):
            for stored in self.read(connection, *names[start : start + MAX_BATCH_KEYS]):
                schedule = stored.schedule.model_copy(update={"is_enabled": False})
                reason, number = clean_text(reasons[schedule.name]), stored.version_number + 1
                edit = Edit(Action.PAUSE, schedule.name, by, at)
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
                self.add_version(connection, edit, schedule, number, action=DISABLE, reason=reason)
                disabled[schedule.name] = number
        return disabled


SCHEDULE_STORE = ScheduleStore(
    *(SCHEDULE_KIND, StoredSchedule, schedules, versions),
    json_fields=["partition_values", "run_config"],
)


def _require_flag(connection: Connection, schedule: str, flag: str) -> None:
    names = list(connection.execute(select(operations_flags.c.name)).scalars())
    if flag not in names:
        raise ConfigurationError(
            f"invalid schedule {schedule}: its flag does not exist, so it would start no run",
            expected="flag: the name of a flag",
            found=flag,
            remedy=did_you_mean(flag, names)
            or f"create the flag with the job operations_definitions_edit; {REMEDY}",
        )


def _find_next_due(before: StoredSchedule | None, after: Schedule, at: datetime) -> datetime | None:
    """Return when a schedule is due next; an edit of other fields leaves a due time in place."""
    if not after.is_enabled:
        return None
    if before is not None and before.next_due_at is not None:
        old = before.schedule
        if (old.cron, old.timezone) == (after.cron, after.timezone):
            return before.next_due_at
    return next(after.timetable.after(at), None)
