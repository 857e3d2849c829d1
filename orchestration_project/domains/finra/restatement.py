"""Changes by a delivery in a loaded week: in figures, and in a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Literal

import polars as pl

from orchestration_project.domains.finra.contract import KEY
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.engine.contracts.frame_types import QUANTITY

RESTATEMENTS = ("source", "ours")
"""Causes of a change of values: FINRA's, and ours (newer rules, or an older delivery again)."""

MAX_MOVES = 10
MAX_NAMES = 5


@dataclass(frozen=True)
class Move:
    """A row whose shares differ; one that is new had none before, one that went has none after."""

    symbol: str
    market: str
    venue_id: str
    shares_before: Decimal
    shares_after: Decimal

    @property
    def change(self) -> Decimal:
        """Shares that came (positive) or went."""
        return self.shares_after - self.shares_before


@dataclass(frozen=True)
class WeekChange:
    """A week before and after a delivery: shares and trades are those of all its rows.

    Attributes:
        rows_changed: Rows with other values under the same key.
        rows_relabelled: Rows of which only dates that FINRA keeps about them differ.
        symbols_added: Symbols that had no row before, in the order of their bytes.
        moved_shares: The sum of what each row gained or lost, without sign: moves that cancel
            each other out count.
        moves: The largest, by shares without sign.
    """

    rows_before: int
    rows_after: int
    rows_added: int
    rows_changed: int
    rows_relabelled: int
    rows_removed: int
    symbols_before: int
    symbols_added_count: int
    symbols_removed_count: int
    symbols_added: tuple[str, ...]
    symbols_removed: tuple[str, ...]
    shares_before: Decimal
    shares_after: Decimal
    trades_before: int
    trades_after: int
    moved_shares: Decimal
    moves: tuple[Move, ...]

    @property
    def restated_rows(self) -> int:
        """Rows that came, went or have other values."""
        return self.rows_added + self.rows_changed + self.rows_removed

    @property
    def symbols_after(self) -> int:
        """Symbols that have a row now."""
        return self.symbols_before + self.symbols_added_count - self.symbols_removed_count

    @property
    def moved_share_ratio(self) -> float:
        """Moved shares over the week's shares, before or after, whichever are more: 0-2."""
        whole = max(self.shares_before, self.shares_after)
        return float(self.moved_shares / whole) if whole else 0.0


def week_change(*, replaced: pl.DataFrame, written: pl.DataFrame, kept: pl.DataFrame) -> WeekChange:
    """Compare a week before a delivery (``replaced`` and ``kept``) and after (``written``, kept).

    All three have columns of `finra_otc_weekly`; ``replaced`` has ``is_metadata`` besides: only
    metadata columns differ. A key that was changed is in replaced and in written.
    """
    side = _join_before_after(replaced, written)
    added, removed = pl.col("is_metadata").is_null(), pl.col("share_quantity_after").is_null()
    gained = pl.col("gained")
    largest = _select_largest(side.filter(gained != 0))
    old, new, stayed = (set(rows["symbol"].unique()) for rows in (replaced, written, kept))
    coming, going = sorted(new - old - stayed), sorted(old - new - stayed)
    return WeekChange(
        rows_before=len(replaced) + len(kept),
        rows_after=len(written) + len(kept),
        rows_added=len(side.filter(added)),
        rows_changed=len(side.filter(~added & ~removed & ~pl.col("is_metadata"))),
        rows_relabelled=len(side.filter(~added & ~removed & pl.col("is_metadata"))),
        rows_removed=len(side.filter(removed)),
        symbols_before=len(old | stayed),
        symbols_added_count=len(coming),
        symbols_removed_count=len(going),
        symbols_added=tuple(coming[:MAX_NAMES]),
        symbols_removed=tuple(going[:MAX_NAMES]),
        shares_before=_sum_shares(replaced, kept),
        shares_after=_sum_shares(written, kept),
        trades_before=_sum_trades(replaced, kept),
        trades_after=_sum_trades(written, kept),
        moved_shares=side.select(gained.abs().sum()).item(),
        moves=tuple(
            Move(row["symbol"], row["market"], row["venue_id"], row["before"], row["after"])
            for row in largest.iter_rows(named=True)
        ),
    )


def merged(changes: Sequence[WeekChange]) -> WeekChange:
    """Put the changes of a week's ranges together, no two of which have a symbol in common."""
    totals: dict[str, Any] = {
        field.name: sum(getattr(change, field.name) for change in changes)
        for field in fields(WeekChange)
        if field.type in (int, Decimal)
    }
    added, removed = (
        sorted(symbol for each in changes for symbol in getattr(each, field_name))[:MAX_NAMES]
        for field_name in ("symbols_added", "symbols_removed")
    )
    moves = sorted(
        (move for each in changes for move in each.moves),
        key=lambda move: (-abs(move.change), *(getattr(move, name) for name in KEY)),
    )
    return WeekChange(
        **totals,
        symbols_added=tuple(added),
        symbols_removed=tuple(removed),
        moves=tuple(moves[:MAX_MOVES]),
    )


def _select_largest(moved: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that gained or lost most, the most first: all of a new week did."""
    size = pl.col("gained").abs()
    frame = moved.filter(size >= size.top_k(MAX_MOVES).min())
    return frame.sort(size, *KEY, descending=[True] + [False] * 3).head(MAX_MOVES)


def _join_before_after(replaced: pl.DataFrame, written: pl.DataFrame) -> pl.DataFrame:
    """Return a row per key that was replaced or written, with its shares before and after."""
    before, after = pl.col("share_quantity").fill_null(0), pl.col("share_quantity_after")
    old = replaced.select(*KEY, "share_quantity", "is_metadata")
    new = written.select(*KEY, pl.col("share_quantity").alias("share_quantity_after"))
    if old.is_empty():  # as of every new week: there is nothing to look for
        frame = pl.concat([old, new], how="diagonal")
    else:
        frame = old.join(new, on=KEY, how="full", coalesce=True)
    return frame.with_columns(before=before, after=after.fill_null(0)).with_columns(
        gained=pl.col("after").cast(QUANTITY) - pl.col("before").cast(QUANTITY)
    )


def _sum_shares(*frames: pl.DataFrame) -> Decimal:
    return sum((Decimal(frame["share_quantity"].sum()) for frame in frames), Decimal())


def _sum_trades(*frames: pl.DataFrame) -> int:
    return sum(int(frame["trade_count"].cast(pl.Int128).sum()) for frame in frames)


def notice_kind(
    cause: str, change: WeekChange, *, limit: float
) -> Literal["restatement", "landed"] | None:
    """Return the kind of notice that announces a load, if any.

    A restatement is one where the moved shares are more than ``limit`` of the week's: what an
    analyst added up before is then not what it was. Rows do not measure that: FINRA may correct
    many by a share each.
    """
    if cause in ("first", "more"):
        return "landed"
    if cause in RESTATEMENTS and change.moved_share_ratio > limit:
        return "restatement"
    return None


def sentence(
    cause: str,
    change: WeekChange,
    partition: TierWeek,
    *,
    part: str = "",
    turns_back: bool = False,
) -> str:
    """Return in words how a load for this ``cause`` (a ``change_cause``) changed a week.

    ``part`` names the part of the partition that it was complete for, such as "market ATS";
    ``turns_back`` says that what it replaced was fetched later.
    """
    week = f"{partition.tier}, week {partition.week_start}{part and f', {part}'}"
    if cause == "first":
        return (
            f"New week loaded: {week}: {change.rows_after:,} rows of {change.symbols_after:,} "
            f"symbols, {in_figures(change.shares_after)} shares in {change.trades_after:,} trades."
        )
    if cause == "more":
        return f"More of a week loaded: {week}: " + "; ".join(_describe_parts(change)) + "."
    if cause not in RESTATEMENTS:
        return (
            f"{week}: only dates that FINRA keeps about rows changed, in {change.rows_relabelled:,}"
            f" of {change.rows_before:,}; shares and trades stayed as they were."
        )
    ours = "set back to an earlier delivery" if turns_back else "corrected by newer rules of ours"
    what = "restated" if cause == "source" else ours
    return f"{week}, was {what}: " + "; ".join(_describe_parts(change)) + "."


def _describe_parts(change: WeekChange) -> list[str]:
    rows = [f"{change.rows_changed:,} of {change.rows_before:,} rows changed"]
    if change.rows_added:
        rows.append(f"{change.rows_added:,} new")
    if change.rows_removed:
        rows.append(f"{change.rows_removed:,} gone")
    symbols = [
        f"{count:,} symbol{'' if count == 1 else 's'} {what} ({_list_names(names, count)})"
        for count, names, what in (
            (change.symbols_removed_count, change.symbols_removed, "gone"),
            (change.symbols_added_count, change.symbols_added, "new"),
        )
        if count
    ]
    shares = _format_change("shares", change.shares_before, change.shares_after)
    trades = _format_change("trades", change.trades_before, change.trades_after)
    parts = [", ".join(rows), ", ".join(symbols), f"{shares}, {trades}"]
    return [part for part in parts if part]


def _list_names(names: Sequence[str], count: int) -> str:
    return ", ".join(names) + (f" and {count - len(names):,} more" if count > len(names) else "")


def _format_change(what: str, before: Decimal | int, after: Decimal | int) -> str:
    if before == after:
        return f"{what} {in_figures(after)} as before"
    ratio = f" ({(after - before) / before:+.2%})" if before else ""
    return f"{what} {in_figures(before)} → {in_figures(after)}{ratio}"


def in_figures(number: Decimal | int) -> str:
    """Return a number with thousands separators, and its decimals only if it has any."""
    return f"{number:,}" if number % 1 else f"{int(number):,}"
