"""The audit of files that hold what another week, tier or market has.

A file names no week and no market, so nothing else notices one that is delivered under two names.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import polars as pl

from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.engine.contracts.audits import Audit, format_outcome
from orchestration_project.engine.contracts.frame_types import QUANTITY

COPIES = {
    "is_not_a_copy": "No file has the bytes or the rows of another week, tier or market.",
}
"""The audit, and what it claims; it blocks unless the run says allow_conflicts."""

(NAME,) = COPIES

FIGURES = ("share_quantity", "trade_count")
FIGURES_SCHEMA = {"symbol": pl.String(), "share_quantity": QUANTITY, "trade_count": pl.Int64()}
FILE_COLUMNS = ("symbol", "issue_name", "mpid", "participant_name", *FIGURES, "last_update_date")
"""The columns that a file fills in: neither week nor market is among them."""


@dataclass(frozen=True, order=True)
class MarketWeek:
    """The rows that one file is complete for: a market of a partition."""

    partition: TierWeek
    market: str

    def __str__(self) -> str:
        return f"{self.partition.key} {self.market}"


@dataclass(frozen=True)
class Copy:
    """A delivered file and the one whose ``what`` it has; files are URLs such as file:x.csv."""

    of: MarketWeek
    file: str
    what: Literal["bytes", "rows"]
    original: MarketWeek
    original_file: str

    def __str__(self) -> str:
        return (
            f"{self.file} ({self.of}) has the {self.what} of {self.original_file} ({self.original})"
        )


@dataclass(frozen=True)
class Largest:
    """The symbol of a file that traded most shares: two files seldom agree in these figures."""

    symbol: str
    share_quantity: Decimal
    trade_count: int


def largest_of(pieces: Iterable[pl.DataFrame]) -> Largest | None:
    """Return the symbol with most shares, ties by its name; None of no rows.

    No two ``pieces`` have a symbol in common.
    """
    data_frame = pl.DataFrame(schema=FIGURES_SCHEMA)
    for rows in pieces:
        sums = rows.group_by("symbol").agg(pl.col(*FIGURES).sum())
        frame = pl.concat([data_frame, sums])
        data_frame = frame.sort("share_quantity", "symbol", descending=[True, False]).head(1)
    return Largest(**data_frame.row(0, named=True)) if len(data_frame) else None


def have_same_rows(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Whether two files have the same rows, in whatever order."""
    if len(one) != len(other):
        return False
    mine, other_rows = (frame.select(FILE_COLUMNS).sort(FILE_COLUMNS) for frame in (one, other))
    return mine.equals(other_rows)


def copies_audit(copies: Sequence[Copy], *, is_forced: bool) -> Audit:
    """Return the verdict on the files of a delivery; what is forced names its copies, and loads."""
    text = "; ".join(map(str, copies)) or "0"
    return Audit(
        NAME,
        "not_applicable" if copies and is_forced else format_outcome(not copies),
        "0 files with the bytes or rows of another week, tier or market, unless the run's config "
        "says allow_conflicts: true",
        f"{text}; loaded by allow_conflicts" if copies and is_forced else text,
        [
            {
                "file": copy.file,
                "scope": str(copy.of),
                "same": copy.what,
                "original_file": copy.original_file,
                "original_scope": str(copy.original),
            }
            for copy in copies
        ],
    )


def not_a_file() -> Audit:
    """Return the verdict on a delivery whose rows name their week and market themselves."""
    return Audit(NAME, "not_applicable", "0 files that are copies; rows name their week", "no file")
