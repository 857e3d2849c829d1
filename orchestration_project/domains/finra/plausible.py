"""Warnings: rows whose shares and trades cannot both be right, or are too many to be.

They hold nothing back: FINRA publishes such rows now and then, and corrects them later.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import date

import polars as pl

from orchestration_project.contracts.rules import OFFENDERS_KEPT, Audit, verdict

PLAUSIBILITY = {
    "has_shares_where_it_has_trades": "No row has trades and 0 shares.",
    "has_trades_where_it_has_shares": "No row has shares and 0 trades.",
    "has_no_more_trades_than_shares": "No row has fewer shares than trades; 0 shares count above.",
    "has_trading_in_every_row": "No row has 0 shares and 0 trades.",
    "has_no_implausible_share_quantity": "No row has more shares than the limit max_row_shares.",
    "has_no_implausible_update_date": "No lastUpdateDate is before its week or after its download: "
    "--published-by relies on it.",
}
"""Each audit that looks at single rows and only warns, and what it claims."""

OFFENDER_COLUMNS = (
    *("market", "symbol", "venue_id", "share_quantity", "trade_count", "last_update_date"),
)


def plausibility_audits(
    rows: Iterable[pl.DataFrame], *, max_row_shares: int, fetched_on: date
) -> list[Audit]:
    """Return the verdict of every audit in `PLAUSIBILITY` on a delivery's rows, in that order.

    Args:
        rows: The rows, which may come in several pieces.
        max_row_shares: More shares in one row are not plausible.
        fetched_on: The day in New York on which the delivery was downloaded.
    """
    rules = _implausible(max_row_shares, fetched_on)
    of, counts = 0, Counter[str]()
    offenders = defaultdict[str, list[dict[str, object]]](list)
    for piece in rows:
        of += len(piece)
        found = piece.select(breaks.sum().alias(name) for name, breaks in rules.items())
        for name, count in found.row(0, named=True).items():
            if count:
                counts[name] += count
                left = OFFENDERS_KEPT - len(offenders[name])
                offenders[name] += (
                    piece.filter(rules[name]).select(OFFENDER_COLUMNS).head(left).to_dicts()
                )
    return [
        Audit(
            name,
            verdict(not counts[name]),
            _expected(name, max_row_shares),
            f"{counts[name]} of {of}",
            offenders[name],
            severity="warning",
        )
        for name in PLAUSIBILITY
    ]


def _implausible(max_row_shares: int, fetched_on: date) -> Mapping[str, pl.Expr]:
    """Return what breaks each claim; one row breaks at most one of the first four."""
    shares, trades = pl.col("share_quantity"), pl.col("trade_count")
    updated = pl.col("last_update_date")
    breaks = (
        (shares == 0) & (trades > 0),
        (shares > 0) & (trades == 0),
        (shares > 0) & (shares < trades),
        (shares == 0) & (trades == 0),
        shares > max_row_shares,
        ((updated < pl.col("week_start")) | (updated > fetched_on)).fill_null(value=False),
    )
    return dict(zip(PLAUSIBILITY, breaks, strict=True))


def _expected(name: str, max_row_shares: int) -> str:
    if name == "has_no_implausible_share_quantity":
        return f"0 rows with more than {max_row_shares} shares"
    return f"0 rows that break it: {PLAUSIBILITY[name]}"
