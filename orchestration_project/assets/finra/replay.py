"""How FINRA's tables are replayed: which runs load the recorded deliveries of which partitions."""

from collections.abc import Sequence

from orchestration_project.assets.finra.catalogue import DATASET_ASSETS, list_week_keys
from orchestration_project.assets.finra.weekly import LOAD_OP, otc_weekly_job
from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.domains.finra.selection import chosen, key_ranges, summary, tier_week
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.environment import open_clock
from orchestration_project.engine.replay_plans import (
    Replay,
    ReplayFilter,
    ReplayRequest,
    ReplayRuns,
    RunSummary,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import Settings

WEEKLY = finra_otc_weekly.name

WEEKLY_RUN_SUMMARY = RunSummary(
    assets=(
        "finra_otc_weekly_capture",
        "finra_otc_weekly_staged",
        "finra_otc_weekly",
        "finra_symbol_week",
        "finra_venue_week",
    ),
    audited="finra_otc_weekly",
    rejecting="finra_otc_weekly_staged",
)
"""Options of runs that load or replay weeks."""


def _plan_weeks(
    request: ReplayRequest, settings: Settings, warehouse: Warehouse
) -> ReplayRuns | None:
    today = open_clock(settings).today_in_new_york()
    weeks = [tier_week(key, today=today) for key in request.partitions] or chosen(
        warehouse.replayable(finra_otc_weekly),
        tier=request.filters.get("tier"),
        first=request.filters.get("from"),
        last=request.filters.get("to"),
    )
    if not weeks:
        return None
    known_names = list_week_keys()
    _require_partitions([week.key for week in weeks if week.key not in known_names])
    return ReplayRuns(ranges=key_ranges(weeks), description=summary(weeks), count=len(weeks))


def _require_partitions(unknown: Sequence[str]) -> None:
    if unknown:
        raise ConfigurationError(
            "the partitions do not exist",
            expected="weeks from FINRA_FIRST_WEEK on that have ended",
            found=", ".join(unknown),
            remedy="set FINRA_FIRST_WEEK to the earliest of them, or choose others",
        )


REPLAYS = [
    Replay(
        table=WEEKLY,
        job=otc_weekly_job.name,
        op=LOAD_OP,
        plan=_plan_weeks,
        filters=(
            ReplayFilter(
                name="tier", description=f"the partitions of a tier of {WEEKLY}", choices=TIERS
            ),
            ReplayFilter(name="from", description=f"weeks of {WEEKLY} from this on", is_date=True),
            ReplayFilter(name="to", description="weeks up to this one", is_date=True),
        ),
        summary=WEEKLY_RUN_SUMMARY,
        is_default=True,
    ),
    *(assets.replay for assets in DATASET_ASSETS),
]
