"""Due weeks of FINRA's calendar that are not loaded, for the control tower."""

from datetime import date, datetime, timedelta

from orchestration_project.domains.finra.freshness import State, due_at, due_weeks
from orchestration_project.domains.operations.control_tower import OldestMissing
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.settings import Settings
from orchestration_project.settings.domains.finra import FinraSettings
from orchestration_project.tables.finra import finra_otc_weekly

ASSET = "finra/otc_weekly"


def oldest_unlanded(
    warehouse: Warehouse, settings: Settings, now: datetime, *, first_week: date
) -> OldestMissing | None:
    """Return the oldest week from ``first_week`` on that is due and not landed, if there is one.

    Where no week was ever landed, nobody waits for any. FINRA itself is not asked.
    """
    settings = FinraSettings.of(settings)
    landed = warehouse.changes(finra_otc_weekly)
    if not landed:
        return None
    grace = timedelta(hours=settings.finra_freshness_grace_hours)
    due = due_weeks(
        now,
        weeks=settings.finra_lookback_weeks,
        grace=grace,
        landed=landed,
        audited=(),
        listed=(),
    )
    for each in due:
        if each.state is not State.LANDED and each.partition.week_start >= first_week:
            return OldestMissing(ASSET, each.partition.key, due_at(each.due, grace))
    return None
