"""What the materializations of a loaded week tell: numbers, and what a person wants to see."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestration_project.assets.finra.catalogue import (
    CAPTURE,
    OTC_WEEKLY,
    STAGED,
    SYMBOL_WEEK,
    VENUE_WEEK,
)
from orchestration_project.assets.finra.restatement import change_metadata
from orchestration_project.partitions import KNOWN_FROM
from orchestration_project.plots.sparkline import sparkline
from orchestration_project.resources.finra.landing import LoadedWeek
from orchestration_project.resources.shown import data_label, image, partition_link, table_of
from orchestration_project.tables.finra import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_venue_week,
)

_SECONDS = {"seconds": 0.0}
NOTHING_DONE: Mapping[dg.AssetKey, Mapping[str, float]] = {
    CAPTURE: {"captures": 0, "bytes": 0, "stored_bytes": 0, **_SECONDS},
    STAGED: {"rejects": 0, **_SECONDS},
    OTC_WEEKLY: {
        **{f"rows_{what}": 0 for what in ("added", "changed", "removed", "unchanged")},
        "audits_passed": 0,
        "audits_not_applicable": 0,
        "audits_warning": 0,
        "captures": 0,
        **_SECONDS,
    },
    SYMBOL_WEEK: _SECONDS,
    VENUE_WEEK: _SECONDS,
}
"""What a load that found nothing new tells: numbers, so that their plots have no holes."""


def news_of(loaded: LoadedWeek, *, notice_limit: float) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    """Return what the load of a partition says about each asset."""
    common = {
        "source": loaded.source,
        "source_version": loaded.source_version,
        **data_label(is_synthetic=loaded.source == "demo"),
    }
    own = _news(loaded)
    counts = {
        key: {"dagster/row_count": loaded.row_counts[table]}
        for key in own
        if (table := "_".join(key.path)) in loaded.row_counts
    }
    seen = _glimpse(loaded)
    changes = {OTC_WEEKLY: change_metadata(loaded.changes, notice_limit=notice_limit)}
    return {
        key: {
            **common,
            **counts.get(key, {}),
            **told,
            **changes.get(key, {}),
            **seen.get(key, {}),
        }
        for key, told in own.items()
    }


def _glimpse(loaded: LoadedWeek) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    """Return what a person sees of a partition that landed: rows, captures, the last weeks."""
    seen = loaded.glimpse
    if seen is None:
        return {}
    largest = {
        key: {"largest": table_of(seen.largest[table])}
        for key in NOTHING_DONE
        if (table := "_".join(key.path)) in seen.largest
    }
    line = sparkline(seen.recent_shares, is_synthetic=loaded.source == "demo")
    origin = {
        "recent_shares": image("Shares of the tier by week", line),
        "first_captures": table_of(seen.captures),
        "captured_as": dg.MetadataValue.md(partition_link(CAPTURE, seen.partition_key)),
    }
    return {**largest, OTC_WEEKLY: {**origin, **largest[OTC_WEEKLY]}}


def _unchanged(loaded: LoadedWeek) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    """Return what there is to tell of nothing; what is shown of rows is with who landed them."""
    who = {"landed_by": dg.MetadataValue.dagster_run(loaded.landed_by)} if loaded.landed_by else {}
    told = {
        key: {"outcome": "unchanged", **numbers, **who} for key, numbers in NOTHING_DONE.items()
    }
    told[OTC_WEEKLY]["rows_unchanged"] = loaded.row_counts[finra_otc_weekly.name]
    if loaded.known_from is not None:
        told[OTC_WEEKLY][KNOWN_FROM] = loaded.known_from.isoformat()
    return told


def _news(loaded: LoadedWeek) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    figures, landed = loaded.figures, loaded.landed
    if figures is None or landed is None:
        return _unchanged(loaded)
    return {
        CAPTURE: {
            "group_id": landed.group_id,
            "dagster/row_count": figures.lines,
            "captures": figures.captures,
            "bytes": figures.bytes,
            "stored_bytes": figures.stored_bytes,
            "seconds": figures.read_seconds,
        },
        STAGED: {
            "dagster/row_count": figures.rows,
            "rejects": figures.rejects,
            "artifact": loaded.staged_name,
            "seconds": figures.check_seconds,
        },
        OTC_WEEKLY: {
            "outcome": landed.change_cause,
            "rows_added": landed.rows_added,
            "rows_changed": landed.rows_changed,
            "rows_removed": landed.rows_removed,
            "rows_unchanged": landed.rows_unchanged,
            "captures": figures.captures,
            "audits_passed": figures.audit_outcomes.get("passed", 0),
            "audits_not_applicable": figures.audit_outcomes.get("not_applicable", 0),
            "audits_warning": len(landed.warnings),
            KNOWN_FROM: landed.known_from.isoformat(),
            "seconds": landed.seconds - sum(landed.derived_seconds.values()),
        },
        SYMBOL_WEEK: {"seconds": landed.derived_seconds.get(finra_symbol_week.name, 0.0)},
        VENUE_WEEK: {"seconds": landed.derived_seconds.get(finra_venue_week.name, 0.0)},
    }
