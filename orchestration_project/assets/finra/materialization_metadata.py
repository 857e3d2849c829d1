"""Metadata of the materializations of a loaded week: figures, tables and pictures."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from orchestration_project.assets.finra.catalogue import (
    CAPTURE,
    OTC_WEEKLY,
    STAGED,
    SYMBOL_WEEK,
    VENUE_WEEK,
)
from orchestration_project.domains.finra.audits import AUDITS
from orchestration_project.domains.finra.restatement import (
    RESTATEMENTS,
    Move,
    WeekChange,
    notice_kind,
)
from orchestration_project.domains.finra.selection import TierWeek, parsed
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.engine.announcements import (
    KNOWN_FROM,
    REPORTED_LATE,
    UNCHANGED,
    EarlierMetadata,
    is_known_from,
)
from orchestration_project.engine.dataset import Announcement
from orchestration_project.engine.warehouse.delivery import build_staged_name
from orchestration_project.plots.sparkline import sparkline
from orchestration_project.resources.finra.weekly import LoadedWeek
from orchestration_project.services.links import (
    build_capture_path,
    build_captures_path,
    build_diff_path,
    build_explanation_path,
    build_file_path,
    link,
)
from orchestration_project.services.metadata import (
    build_table,
    embed_image,
    label_data,
    link_partition,
)
from orchestration_project.tables.schema import as_number

NOTHING_RESTATED = {"restated_rows": 0, "restated_share_ratio": 0.0}
"""So that the plots over time have no holes."""

EXPLAINED = {
    finra_otc_weekly.name: (("market", "symbol", "venue_id"), "share_quantity"),
    finra_symbol_week.name: (("symbol",), "total_share_quantity"),
    finra_venue_week.name: (("market", "venue_id"), "share_quantity"),
}
"""The number whose explanation is linked, of a partition's largest row: the rest of its key, and
its column."""

ASSETS = (OTC_WEEKLY, CAPTURE, STAGED, SYMBOL_WEEK, VENUE_WEEK)


def build_metadata(
    loaded: LoadedWeek,
    *,
    rejects: Callable[[LoadedWeek], Mapping[str, Any]],
    earlier: EarlierMetadata,
    notice_limit: float,
) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    """Return the metadata of each asset after the load of a partition.

    Of an unchanged partition these are the figures of the delivery that was loaded, and the
    metadata of the ``earlier`` materialization.
    """
    if not loaded.has_data:
        return dict.fromkeys(ASSETS, loaded.without_data)
    common = {
        "source": loaded.source,
        "source_version": loaded.source_version,
        **label_data(is_synthetic=loaded.source == "demo"),
    }
    loaded_metadata = _describe_loaded(loaded)
    carried = _carry_metadata(loaded, earlier)
    entries = _preview(loaded)
    rejected = dict.fromkeys((STAGED, OTC_WEEKLY), rejects(loaded))
    changes = {OTC_WEEKLY: change_metadata(loaded.changes, notice_limit=notice_limit)}
    return {
        key: {
            **changes.get(key, {}),
            **carried.get(key, {}),
            **common,
            **_count_rows(loaded, key),
            **metadata,
            **entries.get(key, {}),
            **rejected.get(key, {}),
        }
        for key, metadata in loaded_metadata.items()
    }


def _count_rows(loaded: LoadedWeek, key: dg.AssetKey) -> Mapping[str, int]:
    """Return the rows of the table of an asset; nothing for an asset without rows."""
    table_name = "_".join(key.path)
    row_counts = loaded.row_counts
    return {"dagster/row_count": row_counts[table_name]} if table_name in row_counts else {}


def _preview(loaded: LoadedWeek) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    """Return samples of a loaded partition: its rows, captures, and the shares of recent weeks."""
    written_preview = loaded.preview
    if written_preview is None:
        return {}
    largest = {
        key: {
            "largest": build_table(rows),
            **_link_explanation(table, written_preview.partition_key, rows),
        }
        for key in ASSETS
        if (table := "_".join(key.path)) in written_preview.largest
        for rows in (written_preview.largest[table],)
    }
    line = sparkline(written_preview.recent_shares, is_synthetic=loaded.source == "demo")
    origin = {
        "recent_shares": embed_image("Shares of the tier by week", line),
        "first_captures": build_table(written_preview.captures),
        "downloads": dg.MetadataValue.md(_link_downloads(written_preview.captures)),
        "captured_as": dg.MetadataValue.md(link_partition(CAPTURE, written_preview.partition_key)),
        **_diff(loaded, parsed(written_preview.partition_key)),
    }
    return {**largest, OTC_WEEKLY: {**origin, **largest[OTC_WEEKLY]}}


def _link_explanation(table: str, partition_key: str, largest: pl.DataFrame) -> Mapping[str, Any]:
    """Return the link to how the shares of the largest row came about."""
    key_columns, column = EXPLAINED[table]
    if largest.is_empty():
        return {}
    key = "|".join([partition_key, *largest.select(key_columns).row(0)])
    return {"explanation": link(build_explanation_path(table, key, column))}


def _diff(loaded: LoadedWeek, week: TierWeek) -> Mapping[str, Any]:
    """Return the link to the rows that the load added, changed or removed."""
    if loaded.write_result is None:
        return {}
    wheres = (f"tier={week.tier}", f"week_start={week.week_start}")
    return {
        "diff": link(
            build_diff_path(finra_otc_weekly.name, loaded.write_result.known_from, *wheres)
        )
    }


def _link_downloads(captures: pl.DataFrame) -> str:
    """Return the Markdown of links to the captured bytes, one per part."""
    links = (
        f"[part {part}]({build_capture_path(sha256)})"
        for part, sha256 in captures["part", "sha256"].rows()
    )
    return ", ".join(links)


def _carry_metadata(
    loaded: LoadedWeek, earlier: EarlierMetadata
) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    """Return the metadata of the earlier materializations, if they are of the current rows."""
    load_record = loaded.earlier
    if load_record is None:
        return {}
    of_week = earlier(OTC_WEEKLY, load_record.partition_key)
    if not is_known_from(of_week, load_record.landed_at):
        return {key: {"seconds": 0.0} for key in ASSETS}
    other_entries = {
        key: earlier(key, load_record.partition_key) for key in ASSETS if key != OTC_WEEKLY
    }
    return {
        key: {"seconds": 0.0, **entry}
        for key, entry in (other_entries | {OTC_WEEKLY: of_week}).items()
    }


def _describe_unchanged(loaded: LoadedWeek) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    """Return the figures of the loaded delivery, marked if its load is reported only now."""
    outcome = {"outcome": REPORTED_LATE if loaded.changes else UNCHANGED}
    record = loaded.earlier
    if record is None:
        return dict.fromkeys(ASSETS, outcome)
    marks = {**outcome, "landed_by": dg.MetadataValue.dagster_run(record.run_id)}
    audits = Counter(record.audits.get(name) for name in AUDITS)
    known_from = {KNOWN_FROM: loaded.known_from} if loaded.known_from else {}
    artifact = build_staged_name(finra_otc_weekly.name, record.partition_key, record.content_sha256)
    return {
        CAPTURE: {
            **marks,
            "group_id": record.group_id,
            "captured": link(build_captures_path(record.group_id)),
            "dagster/row_count": record.lines,
            "captures": record.captures,
            "bytes": record.bytes,
            "stored_bytes": record.stored_bytes,
        },
        STAGED: {
            **marks,
            "dagster/row_count": record.rows,
            "rejects": record.rejects,
            "artifact": link(build_file_path(artifact)),
        },
        OTC_WEEKLY: {
            **marks,
            "rows_added": record.rows_added,
            "rows_changed": record.rows_changed,
            "rows_removed": record.rows_removed,
            "rows_unchanged": record.rows_unchanged,
            "captures": record.captures,
            "audits_passed": audits["passed"],
            "audits_not_applicable": audits["not_applicable"],
            "audits_warning": record.warning_count,
            **known_from,
        },
        **dict.fromkeys((SYMBOL_WEEK, VENUE_WEEK), marks),
    }


def _describe_loaded(loaded: LoadedWeek) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    figures, write_result = loaded.figures, loaded.write_result
    if figures is None or write_result is None:
        return _describe_unchanged(loaded)
    return {
        CAPTURE: {
            "group_id": write_result.group_id,
            "captured": link(build_captures_path(write_result.group_id)),
            "dagster/row_count": figures.lines,
            "captures": figures.captures,
            "bytes": figures.bytes,
            "stored_bytes": figures.stored_bytes,
            "seconds": figures.read_seconds,
        },
        STAGED: {
            "dagster/row_count": figures.rows,
            "rejects": figures.rejects,
            "artifact": link(build_file_path(loaded.staged_name)),
            "seconds": figures.check_seconds,
        },
        OTC_WEEKLY: {
            "outcome": write_result.change_cause,
            "rows_added": write_result.rows_added,
            "rows_changed": write_result.rows_changed,
            "rows_removed": write_result.rows_removed,
            "rows_unchanged": write_result.rows_unchanged,
            "captures": figures.captures,
            "audits_passed": figures.audit_outcomes.get("passed", 0),
            "audits_not_applicable": figures.audit_outcomes.get("not_applicable", 0),
            "audits_warning": len(write_result.warnings),
            "balance": write_result.balance,
            KNOWN_FROM: write_result.known_from,
            "seconds": write_result.seconds - sum(write_result.derived_seconds.values()),
        },
        SYMBOL_WEEK: {"seconds": write_result.derived_seconds.get(finra_symbol_week.name, 0.0)},
        VENUE_WEEK: {"seconds": write_result.derived_seconds.get(finra_venue_week.name, 0.0)},
    }


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
    metadata: dict[str, Any] = {**NOTHING_RESTATED, "change": _join_sentences(changes)}
    restated = [change.figures for change in changes if change.cause in RESTATEMENTS]
    if restated:
        metadata |= _describe_change(max(restated, key=lambda each: each.moved_share_ratio))
    kinds = [notice_kind(change.cause, change.figures, limit=notice_limit) for change in changes]
    noticed = [change for change, kind in zip(changes, kinds, strict=True) if kind]
    if noticed:
        kind = "restatement" if "restatement" in kinds else "landed"
        metadata |= {"notice": _join_sentences(noticed), "notice_kind": kind}
    return metadata


def _join_sentences(changes: Sequence[Announcement[WeekChange]]) -> str:
    return " ".join(change.sentence for change in changes)


def _describe_change(change: WeekChange) -> dict[str, Any]:
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
