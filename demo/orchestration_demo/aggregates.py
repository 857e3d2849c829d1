"""The totals that FINRA publishes beside the rows per symbol and firm, which they add up to."""

import polars as pl

_SYMBOL = ("issueSymbolIdentifier", "issueName", "productTypeCode")
_FIRM = ("MPID", "marketParticipantName", "firmCRDNumber")
_KEYS = {"W_SMBL": _SYMBOL, "W_FIRM": _FIRM, "W_VOL_STATS": ()}


def with_aggregates(rows: pl.DataFrame) -> pl.DataFrame:
    """Return firm ``rows`` and their totals; the new column summaryTypeCode marks each kind.

    Totals are per market and symbol (`*_W_SMBL`), firm (`*_W_FIRM`) and per market alone
    (`*_W_VOL_STATS`); what a total does not speak of is null in it.
    """
    firm_rows = rows.with_columns(summaryTypeCode=pl.col("market") + "_W_SMBL_FIRM")
    totals = [_totals(rows, suffix, key) for suffix, key in _KEYS.items()]
    return pl.concat([firm_rows, *totals], how="diagonal")


def _totals(rows: pl.DataFrame, suffix: str, key: tuple[str, ...]) -> pl.DataFrame:
    """Return the totals of ``rows`` by market and ``key``."""
    is_known = pl.col("cents").count() > 0  # the sum of nothing but nulls would be 0
    return (
        rows.group_by("market", *key)
        .agg(
            pl.col("trades", "shares").sum(),
            cents=pl.when(is_known).then(pl.col("cents").sum()),
        )
        .with_columns(
            summaryTypeCode=pl.col("market") + "_" + suffix,
            lastReportedDate=pl.lit(rows["lastReportedDate"].mode()[0]),
        )
    )
