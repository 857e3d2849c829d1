"""Metadata of how a week changed: a sentence, figures, a notice."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from orchestration_project.domains.finra.restatement import (
    RESTATEMENTS,
    Move,
    WeekChange,
    notice_kind,
)
from orchestration_project.engine.dataset import Announcement
from orchestration_project.tables.schema import as_number

NOTHING_RESTATED = {"restated_rows": 0, "restated_share_ratio": 0.0}
"""So that the plots over time have no holes."""


def change_metadata(
    changes: Sequence[Announcement[WeekChange]], *, notice_limit: float
) -> Mapping[str, Any]:
    """Return the metadata of what loads changed; without changes, that nothing was restated.

    `change` are their sentences. A restatement, of several the largest, has its figures besides;
    where the moved shares are above ``notice_limit``, and for a new week, `notice` and
    `notice_kind` ask for attention.
    """
    if not changes:
        return NOTHING_RESTATED
    metadata: dict[str, Any] = {**NOTHING_RESTATED, "change": _sentences(changes)}
    restated = [each.figures for each in changes if each.cause in RESTATEMENTS]
    if restated:
        metadata |= _figures(max(restated, key=lambda each: each.moved_share_ratio))
    kinds = [notice_kind(each.cause, each.figures, limit=notice_limit) for each in changes]
    noticed = [each for each, kind in zip(changes, kinds, strict=True) if kind]
    if noticed:
        kind = "restatement" if "restatement" in kinds else "landed"
        metadata |= {"notice": _sentences(noticed), "notice_kind": kind}
    return metadata


def _sentences(changes: Sequence[Announcement[WeekChange]]) -> str:
    return " ".join(each.sentence for each in changes)


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
            "shares_before": as_number(move.shares_before),
            "shares_after": as_number(move.shares_after),
            "change": as_number(move.change),
        }
    )
