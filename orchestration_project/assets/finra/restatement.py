"""What the materialization of a week tells of its change: a sentence, figures, a notice."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestration_project.domains.finra.restatement import (
    RESTATEMENTS,
    Move,
    WeekChange,
    notice_kind,
)
from orchestration_project.resources.finra.landing import LoadedWeek

NOTHING_RESTATED = {"restated_rows": 0, "restated_share_ratio": 0.0}
"""So that the plots over time have no holes."""


def change_metadata(loaded: LoadedWeek, *, notice_limit: float) -> Mapping[str, Any]:
    """Return what to say of a landing that wrote rows; of another, that nothing was restated.

    `change` is the sentence. A restatement has its figures besides; where the moved shares are
    above ``notice_limit``, and for a new week, `notice` and `notice_kind` ask for attention.
    """
    landed = loaded.landed
    if landed is None or landed.change is None:
        return NOTHING_RESTATED
    told: dict[str, Any] = {**NOTHING_RESTATED, "change": loaded.change}
    if landed.change_cause in RESTATEMENTS:
        told |= _figures(landed.change)
    kind = notice_kind(landed.change_cause, landed.change, limit=notice_limit)
    return told | ({"notice": loaded.change, "notice_kind": kind} if kind else {})


def _figures(change: WeekChange) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "restated_rows": change.restated_rows,
        "restated_share_ratio": change.moved_share_ratio,
        "shares_before": change.shares_before,
        "shares_after": change.shares_after,
        "trades_before": change.trades_before,
        "trades_after": change.trades_after,
        "symbols_added": change.symbols_added_count,
        "symbols_removed": change.symbols_removed_count,
    }
    if change.moves:
        figures["largest_moves"] = dg.MetadataValue.table([_record(move) for move in change.moves])
    return figures


def _record(move: Move) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "symbol": move.symbol,
            "market": move.market,
            "venue_id": move.venue_id,
            "shares_before": move.shares_before,
            "shares_after": move.shares_after,
            "change": move.change,
        }
    )
