"""Runs that extract captured documents again, for the command `replay`."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import select

from orchestration_project.domains.documents.tables import documents
from orchestration_project.engine.replay_plans import ReplayRequest, ReplayRuns
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import Settings


def plan_replay(request: ReplayRequest, _: Settings, warehouse: Warehouse) -> ReplayRuns | None:
    """Return the runs for days of first sight; None: no document of one is recorded.

    Which of their documents other rules made, and so are extracted again, each run finds.

    Raises:
        ConfigurationError: A partition is not a day, or no document was first seen on it.
    """
    requested_days = [_parse_day(key) for key in request.partitions]
    known_days = _read_days(warehouse)
    if unknown := sorted(set(requested_days) - set(known_days)):
        raise ConfigurationError(
            f"no document of {unknown[0]} is recorded",
            expected="days on which documents were first seen",
            found=", ".join(map(str, unknown)),
            remedy="choose other days, or load them first",
        )
    first, last = (request.filters.get(name) for name in ("from", "to"))
    days = sorted(set(requested_days)) or [
        day for day in known_days if (first or day) <= day <= (last or day)
    ]
    if not days:
        return None
    return ReplayRuns(
        ranges=_group_days(days),
        description=f"captured documents that other rules made; days: {len(days)}. Those that the "
        "present rules made are not read; the job operations_clean_up verifies their bytes",
        count=len(days),
        keys=[str(day) for day in days],
    )


def _parse_day(key: str) -> date:
    try:
        return date.fromisoformat(key)
    except ValueError:
        raise ConfigurationError(f"invalid day {key!r}: expected a date, e.g. 2026-11-02") from None


def _read_days(warehouse: Warehouse) -> list[date]:
    """Return the days on which delivered documents were first seen, in order."""
    seen_query = select(documents.c.first_seen_at).where(documents.c.parent_id.is_(None)).distinct()
    with warehouse.reading() as connection:
        moments: set[datetime] = set(connection.execute(seen_query).scalars())
    return sorted({moment.astimezone(UTC).date() for moment in moments})


def _group_days(days: Sequence[date]) -> list[tuple[str, str]]:
    """Return days in order as ranges of consecutive ones."""
    found: list[tuple[date, date]] = []
    for day in days:
        if found and day - found[-1][1] == timedelta(days=1):
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return [(str(first), str(last)) for first, last in found]
