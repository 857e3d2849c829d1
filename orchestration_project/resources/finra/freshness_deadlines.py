"""Due weeks of FINRA's calendar that are not loaded, for the control tower."""

from datetime import date, datetime, timedelta

from orchestration_project.contracts.problems import OldestMissing
from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.domains.finra.freshness import State, due_at, due_weeks
from orchestration_project.domains.finra.selection import tier_week
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.settings import Settings
from orchestration_project.settings.domains.finra import FinraSettings
from orchestration_project.tables.finra import finra_otc_weekly

ASSET = "finra/otc_weekly"

REMEDY = "start finra_otc_weekly for the missing weeks, or see why its runs failed"


def oldest_unlanded(
    warehouse: Warehouse, settings: Settings, now: datetime, *, first_week: date
) -> OldestMissing | None:
    """Return the oldest week from ``first_week`` on that is due and not loaded, if there is one.

    An empty table waits for none. A demo loads a few weeks by design: of each tier, only weeks
    after the first loaded one are expected. FINRA itself is not asked.
    """
    is_demo, settings = settings.is_demo, FinraSettings.of(settings)
    landed = warehouse.changes(finra_otc_weekly)
    if not landed:
        return None
    first = dict.fromkeys(map(str, TIERS), date.max if is_demo else first_week)
    if is_demo:
        for week in (tier_week(key, today=date.max) for key in landed):
            first[week.tier] = max(first_week, min(first[week.tier], week.week_start))
    grace = timedelta(hours=settings.finra_freshness_grace_hours)
    due = due_weeks(
        now,
        weeks=settings.finra_lookback_weeks,
        grace=grace,
        landed=landed,
        audited=(),
        listed=(),
    )
    missing = [
        each
        for each in due
        if each.state is not State.LANDED
        and each.partition.week_start >= first[each.partition.tier]
    ]
    if not missing:
        return None
    oldest = missing[0]
    return OldestMissing(
        ASSET,
        oldest.partition.key,
        due_at(oldest.due, grace),
        missing_count=len(missing),
        unit="week",
        remedy=REMEDY,
        partitions=[week.partition.key for week in missing],
    )
