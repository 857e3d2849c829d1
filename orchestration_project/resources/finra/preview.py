"""Preview of a partition: its largest rows, its captures, its last weeks.

Everything is bounded, and comes of frames at hand or of one query over a range of a key.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from sqlalchemy import Connection, Table, cast, func, select

from orchestration_project.domains.finra.activity import over, weeks_between
from orchestration_project.domains.finra.calendar import WEEK
from orchestration_project.domains.finra.selection import TierWeek, parsed
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.engine.captures import Capture
from orchestration_project.engine.warehouse import ValidatedBatch
from orchestration_project.engine.warehouse.frames import Scope, match_scope, read_frame
from orchestration_project.tables.schema import Quantity, key_names

ROWS_SHOWN = 10
CAPTURES_SHOWN = 20
WEEKS_SHOWN = 26

SHOWN_OF_A_ROW = (
    *("market", "symbol", "venue_id", "share_quantity", "trade_count"),
    "participant_name",  # long, so last
)


@dataclass(frozen=True)
class WrittenPreview:
    """Preview of a loaded partition.

    Attributes:
        partition_key: Dagster's key of it.
        largest: By table, its rows with most shares, without the columns that name the partition.
        captures: The first fetches of the delivery: part, rows, bytes, sha256, url.
        recent_shares: Shares of the tier by week, up to this one; None for a week not loaded.
    """

    partition_key: str
    largest: Mapping[str, pl.DataFrame]
    captures: pl.DataFrame
    recent_shares: Sequence[float | None]


def read_preview(connection: Connection, batch: ValidatedBatch) -> WrittenPreview:
    """Return the preview of a partition in which ``batch`` has just been loaded."""
    partition = parsed(batch.target.partition_key)
    scope = {"week_start": partition.week_start, "tier": partition.tier}
    shares = {finra_symbol_week: "total_share_quantity", finra_venue_week: "share_quantity"}
    derived = batch.derived or {
        table: _read_largest_derived(connection, table, column, scope)
        for table, column in shares.items()  # a part alone of what was derived of is at hand
    }
    return WrittenPreview(
        partition.key,
        {
            finra_otc_weekly.name: _select_largest_loaded(batch.validated.pieces()),
            **{
                table.name: largest_rows(rows, table, shares[table]).drop(*scope)
                for table, rows in derived.items()
            },
        },
        _list_captures(batch.delivery.all_captures),
        _sum_recent_shares(connection, partition),
    )


def _select_largest_loaded(pieces: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the largest rows."""
    frame = pl.concat(
        _copy_frame(rows.select(SHOWN_OF_A_ROW).top_k(ROWS_SHOWN, by="share_quantity"))
        for rows in pieces
    )
    return frame.sort("share_quantity", descending=True).head(ROWS_SHOWN)


def _read_largest_derived(
    connection: Connection, table: Table, shares: str, scope: Scope
) -> pl.DataFrame:
    """Return the rows of a partition in a derived table that have most ``shares``."""
    query = select(table).where(match_scope(table, scope))
    query = query.order_by(table.c[shares].desc(), *table.primary_key.columns)
    return read_frame(connection, query.limit(ROWS_SHOWN), table)


def largest_rows(rows: pl.DataFrame, table: Table, shares: str) -> pl.DataFrame:
    """Return the rows of a derived ``table`` with most ``shares`` (a column), the largest first."""
    key = key_names(table)
    head = rows.sort(shares, *key, descending=[True] + [False] * len(key)).head(ROWS_SHOWN)
    return _copy_frame(head)


def _copy_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a copy: a slice would keep all rows and their texts in memory."""
    return pl.DataFrame(frame.rows(), frame.schema, orient="row")


def _sum_recent_shares(connection: Connection, partition: TierWeek) -> list[float | None]:
    first = partition.week_start - (WEEKS_SHOWN - 1) * WEEK
    weeks = weeks_between([first, partition.week_start])
    venue = finra_venue_week.c
    shares = cast(func.sum(venue.share_quantity), Quantity()).label(venue.share_quantity.key)
    scope = {"week_start": tuple(weeks), "tier": partition.tier}
    keys, sums = (venue.week_start,), [shares]
    found = select(*keys, *sums).where(match_scope(finra_venue_week, scope)).group_by(*keys)
    return over(weeks, read_frame(connection, found, finra_venue_week), "share_quantity")


def _list_captures(captures: Sequence[Capture]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (
                part,
                capture.row_count,
                capture.byte_count,
                capture.sha256,
                capture.url,
            )
            for part, capture in enumerate(captures[:CAPTURES_SHOWN], start=1)
        ],
        {
            "part": pl.Int64,
            "rows": pl.Int64,
            "bytes": pl.Int64,
            "sha256": pl.String,
            "url": pl.String,
        },
        orient="row",
    )
