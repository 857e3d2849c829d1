"""How FINRA's tables are replayed: which runs load the recorded deliveries of which partitions."""

from collections.abc import Sequence
from functools import partial

from orchestration_project.assets.finra.catalogue import week_keys
from orchestration_project.assets.finra.datasets import DATASET_ASSETS, DatasetAssets
from orchestration_project.assets.finra.loading import LOAD_OP, REPLAY_JOB
from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.domains.finra.selection import chosen, key_ranges, summary, tier_week
from orchestration_project.engine.environment import open_clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.registry import (
    Replay,
    ReplayFilter,
    ReplayPlan,
    ReplayRequest,
    RunSummary,
)
from orchestration_project.settings import Settings
from orchestration_project.tables.finra import finra_otc_weekly

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
"""Of runs that load or replay weeks."""


def _plan_weeks(
    request: ReplayRequest, settings: Settings, warehouse: Warehouse
) -> ReplayPlan | None:
    today = open_clock(settings).today_in_new_york()
    weeks = [tier_week(key, today=today) for key in request.partitions] or chosen(
        warehouse.replayable(finra_otc_weekly),
        tier=request.filters.get("tier"),
        first=request.filters.get("from"),
        last=request.filters.get("to"),
    )
    if not weeks:
        return None
    known = week_keys()
    _require_partitions([each.key for each in weeks if each.key not in known])
    return ReplayPlan(ranges=key_ranges(weeks), description=summary(weeks), count=len(weeks))


def _plan_dataset(
    assets: DatasetAssets, request: ReplayRequest, _: Settings, warehouse: Warehouse
) -> ReplayPlan | None:
    table = assets.dataset.table
    keys = request.partitions or warehouse.replayable(table)
    if not keys:
        return None
    _require_partitions([key for key in keys if not assets.has(key)])
    return ReplayPlan(
        ranges=_ranges(keys, assets.keys),
        description=f"{len(keys)} partitions of {table.name}",
        count=len(keys),
        config={"replay": True},
    )


def _ranges(keys: Sequence[str], ordered: Sequence[str]) -> list[tuple[str, str]]:
    """Return the ranges of ``keys`` that are consecutive in ``ordered``, as (first, last).

    Keys of one range differ in their last dimension only.
    """
    place = {key: number for number, key in enumerate(ordered)}
    found: list[tuple[str, str]] = []
    for key in sorted(set(keys), key=place.__getitem__):
        last = found[-1][1] if found else ""
        is_next = bool(found) and place[key] == place[last] + 1
        if is_next and key.rpartition("|")[0] == last.rpartition("|")[0]:
            found[-1] = (found[-1][0], key)
        else:
            found.append((key, key))
    return found


def _require_partitions(unknown: Sequence[str]) -> None:
    if unknown:
        raise ConfigurationError(
            "the partitions do not exist",
            expected="such from FINRA_FIRST_WEEK on that are over",
            found=", ".join(unknown),
            remedy="set FINRA_FIRST_WEEK to the first of them, or choose others",
        )


REPLAYS = [
    Replay(
        table=WEEKLY,
        job=REPLAY_JOB,
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
    *(
        Replay(
            table=assets.dataset.table.name,
            job=assets.job.name,
            op=assets.table.op.name,
            plan=partial(_plan_dataset, assets),
        )
        for assets in DATASET_ASSETS
    ),
]
