"""Derivations of one week and tier: by symbol and by venue.

The Herfindahl index is the sum of squared shares, 0-1: (sum of q^2) / (sum of q)^2.
"De Minimis Firms" (CRD 0) lumps an unknown number of firms, so it is not a venue: the index has a
lower bound (they are many and tiny: their squares vanish) and an upper one (they are one firm).
A firm (by CRD number) may have several venues, such as an ATS and its OTC desk: it has an index of
its own, in which they are one.
Its sums are exact integers of 128 bits, so that no order of rows or threads changes a digit. A sum
of traded value is NULL unless each row has one, and where 64 bits do not hold it.
"""

from collections.abc import Mapping
from decimal import Decimal

import polars as pl

from orchestration_project.domains.finra.contract import DE_MINIMIS
from orchestration_project.domains.finra.tables.weekly import finra_symbol_week, finra_venue_week
from orchestration_project.engine.contracts.formulas import Formula
from orchestration_project.engine.contracts.frame_types import QUANTITY
from orchestration_project.engine.contracts.values import MAX_WHOLE_QUANTITY, fit_to_table
from orchestration_project.errors import ContractError
from orchestration_project.tables.schema import USD_SCALE, as_number

MAX_TOTALS = {
    "share_quantity": MAX_WHOLE_QUANTITY // 2,
    "trade_count": (2**63 - 1) // 2,
}
"""Limits of a delivery's sums: the two markets of a week may come separately, and their sum is a
BIGINT, too."""

ONE = 10 ** (2 * USD_SCALE)
"""Square of a share, in squares of millionths."""

TOP = {f"top_{places}_venue_share": places for places in (3, 5)}
"""How many of a symbol's largest named venues are taken together."""

QUANTITIES = ("share_quantity", "trade_count")
"""Columns that are added up; a symbol has sums of them with prefixes: total_, ats_ and non_ats_."""


def quantities_of(rows: pl.DataFrame) -> Mapping[str, Decimal | int]:
    """Return the exact sums of shares and trades, which may not fit 64 bits."""
    return {
        "share_quantity": Decimal(rows["share_quantity"].sum()),
        "trade_count": int(rows["trade_count"].cast(pl.Int128).sum()),
    }


def refuse_overflow(sums: Mapping[str, Decimal | int]) -> None:
    """Refuse a delivery with whose total that of its partition might not fit a BIGINT, and wrap.

    Raises:
        ContractError: One of the `quantities_of` the delivery is more than `MAX_TOTALS` say.
    """
    for name, total in sums.items():
        largest = MAX_TOTALS[name]
        if total > largest:
            raise ContractError(
                f"the partition's {name} cannot be added up in 64 bits",
                expected=f"at most {largest}",
                found=str(as_number(total)),
                remedy="look for absurd quantities in the capture and report them to the source",
            )


def symbol_week(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `finra_symbol_week` of ``rows``, all rows of one week and tier of the weekly table."""
    return symbols_of_tier(symbol_sums(rows))


def symbol_sums(rows: pl.DataFrame) -> pl.DataFrame:
    """Return sums for `symbols_of_tier`, from all rows of some symbols of a week and tier."""
    shares, named_shares = pl.col("share_quantity"), pl.col("named_shares")
    is_largest = named_shares == named_shares.max()
    by_venue = _sum_by_venue(rows).with_columns(
        named_shares=pl.when(pl.col("venue_id") != DE_MINIMIS).then(shares),
        square=_compute_square(shares),
    )
    per_symbol = by_venue.group_by("symbol").agg(
        pl.col("week_start", "tier").first(),
        pl.col("^ats_.*$").sum(),
        pl.col(*QUANTITIES).sum().name.prefix("total_"),
        notional_usd=sum_if_complete("notional_usd"),
        published_at=as_moment(pl.col("last_update_date").max()),
        venue_count=named_shares.count().cast(pl.Int64),
        top_venue_id=pl.col("venue_id").filter(is_largest).min(),
        largest=named_shares.sort(descending=True, nulls_last=True).head(max(TOP.values())),
        all_named_shares=named_shares.sum(),
        all_squares=pl.col("square").sum(),
    )
    total, trades = pl.col("total_share_quantity"), pl.col("total_trade_count")
    whole, squares = _compute_square(total), pl.col("all_squares")
    named_squares = squares - _compute_square(
        total - pl.col("all_named_shares")
    )  # the lump is one row
    remaining_expression = pl.col("more_squares").fill_null(0)
    return per_symbol.join(_merge_firm_venues(by_venue), on="symbol", how="left").select(
        pl.exclude("^.*squares$", "all_named_shares", "largest", "fewer"),
        **{
            f"non_ats_{name}": pl.col(f"total_{name}") - pl.col(f"ats_{name}")
            for name in QUANTITIES
        },
        average_trade_size=ratio_of(total, trades),
        top_venue_share=ratio_of(pl.col("largest").list.first(), total),
        **{name: ratio_of(_sum_of_largest(places), total) for name, places in TOP.items()},
        hhi_lower=ratio_of_squares(named_squares, whole),
        hhi_upper=ratio_of_squares(squares, whole),
        firm_count=pl.col("venue_count") - pl.col("fewer").fill_null(0),
        firm_hhi_lower=ratio_of_squares(named_squares + remaining_expression, whole),
        firm_hhi_upper=ratio_of_squares(squares + remaining_expression, whole),
        ats_share_of_shares=ratio_of(pl.col("ats_share_quantity"), total),
        ats_share_of_trades=ratio_of(pl.col("ats_trade_count"), trades),
    )


IS_NAMED: Formula = ["not", ["equal", "venue_id", ["text", DE_MINIMIS]]]
OF_ATS: Formula = ["equal", "market", ["text", "ATS"]]
_TIER: Formula = ["week_start", "tier"]
SHARES: Formula = ["sum", "share_quantity"]
NAMED_SHARES: Formula = ["if", IS_NAMED, SHARES]
TRADES: Formula = ["sum", "trade_count"]
NOTIONAL: Formula = ["sum_complete", "notional_usd"]
NOTIONAL_OF_64_BITS: Formula = ["if", ["greater", NOTIONAL, 2**63 - 1], None, NOTIONAL]
_VENUE_CRD: Formula = ["over", [*_TIER, "symbol", "venue_id"], ["max", "firm_crd_number"]]


def firm_formula(crd_number: Formula) -> Formula:
    """Return the formula of the firm of a venue; `firm_id` computes the same."""
    return ["if", ["greater", crd_number, 0], ["format", "CRD:{}", crd_number], "venue_id"]


_TOP_SHARES: Formula = ["over", [*_TIER, "symbol"], ["max", NAMED_SHARES, "venue_id"]]
_FIRM: Formula = firm_formula(_VENUE_CRD)


def _limit_to_ats(formula: Formula) -> Formula:
    return ["where", OF_ATS, formula]


def _limit_to_named(formula: Formula) -> Formula:
    return ["where", IS_NAMED, formula]


def hhi_formula(key: Formula, condition: Formula = None) -> Formula:
    """Return the formula of the Herfindahl index of shares by a key, of rows of a condition."""
    squares = ["sum", ["multiply", SHARES, SHARES], key]
    chosen = squares if condition is None else ["where", condition, squares]
    return ["ratio", chosen, ["multiply", SHARES, SHARES]]


def _share_of_largest(places: int) -> Formula:
    return ["ratio", _limit_to_named(["sum_largest", places, SHARES, "venue_id"]), SHARES]


def notional_formulas(whole: Formula) -> dict[str, Formula]:
    """Return the formulas of `notional_of`; the rows of ``whole`` share these columns."""
    return {
        "notional_usd": NOTIONAL_OF_64_BITS,
        "vwap": ["ratio", NOTIONAL_OF_64_BITS, ["multiply", SHARES, 10**USD_SCALE]],
        "notional_share": ["ratio", NOTIONAL_OF_64_BITS, ["over", whole, NOTIONAL]],
    }


TIMES: Mapping[str, Formula] = {
    "published_at": ["format", "{}T00:00:00.000000Z", ["max", "last_update_date"]],
    "known_from": ["given", "loaded_at"],
}

SYMBOL_WEEK_FORMULAS: Mapping[str, Formula] = {
    "week_start": "week_start",
    "tier": "tier",
    "symbol": "symbol",
    "ats_share_quantity": _limit_to_ats(SHARES),
    "non_ats_share_quantity": ["subtract", SHARES, _limit_to_ats(SHARES)],
    "total_share_quantity": SHARES,
    "ats_trade_count": _limit_to_ats(TRADES),
    "non_ats_trade_count": ["subtract", TRADES, _limit_to_ats(TRADES)],
    "total_trade_count": TRADES,
    "venue_count": _limit_to_named(["count", SHARES, "venue_id"]),
    "average_trade_size": ["ratio", SHARES, TRADES],
    "top_venue_id": _limit_to_named(
        ["min", ["if", ["equal", SHARES, _TOP_SHARES], "venue_id"], "venue_id"]
    ),
    "top_venue_share": _share_of_largest(1),
    "hhi_lower": hhi_formula("venue_id", IS_NAMED),
    "hhi_upper": hhi_formula("venue_id"),
    **{name: _share_of_largest(places) for name, places in TOP.items()},
    **notional_formulas(_TIER),
    "ats_share_of_shares": ["ratio", _limit_to_ats(SHARES), SHARES],
    "ats_share_of_trades": ["ratio", _limit_to_ats(TRADES), TRADES],
    "firm_count": _limit_to_named(["count", SHARES, _FIRM]),
    "firm_hhi_lower": hhi_formula(_FIRM, IS_NAMED),
    "firm_hhi_upper": hhi_formula(_FIRM),
    **TIMES,
}
"""Formulas of `finra_symbol_week`, of the rows of a symbol; `symbol_sums` computes the same."""


def symbols_of_tier(sums: pl.DataFrame) -> pl.DataFrame:
    """Return `finra_symbol_week` of the `symbol_sums` of all symbols of a week and tier."""
    return fit_to_table(
        sums.with_columns(_UNSTAMPED, **notional_of(pl.col("total_share_quantity"))),
        finra_symbol_week,
    )


_UNSTAMPED = pl.lit(None, pl.Datetime("us", "UTC")).alias("known_from")
"""The time of a load is set when it is written."""


def as_moment(days: pl.Expr) -> pl.Expr:
    """Return days as the UTC times at which they begin."""
    return days.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def sum_if_complete(name: str) -> pl.Expr:
    """Return the exact sum of a column in 128 bits, NULL where a row has no value."""
    values = pl.col(name)
    return pl.when(values.null_count() == 0).then(values.cast(pl.Int128).sum())


def notional_of(shares: pl.Expr) -> Mapping[str, pl.Expr]:
    """Return vwap (US dollars a share), notional_share (0-1), and notional_usd in 64 bits.

    The rows have notional_usd in 128 bits, US dollars x 10^6, NULL where it is not known. All of
    them are the whole of notional_share.
    """
    notional = pl.col("notional_usd").cast(pl.Int64, strict=False)
    return {
        "notional_usd": notional,
        "vwap": ratio_of(notional, millionths(shares)),
        "notional_share": ratio_of(notional, sum_if_complete("notional_usd")),
    }


def firm_id() -> pl.Expr:
    """Return the firm of a venue: its CRD number, else its venue ID; 0 stands for none."""
    crd = pl.col("firm_crd_number")
    return pl.when(crd > 0).then(pl.format("CRD:{}", crd)).otherwise(pl.col("venue_id"))


def millionths(quantity: pl.Expr) -> pl.Expr:
    """Return a quantity as whole millionths, in 128 bits."""
    return quantity.cast(QUANTITY).to_physical()


def _compute_square(quantity: pl.Expr) -> pl.Expr:
    return millionths(quantity) * millionths(quantity)


def _merge_firm_venues(by_venue: pl.DataFrame) -> pl.DataFrame:
    """Return by symbol what taking venues of one firm together changes.

    Columns: symbol, fewer (venues that are not firms of their own), more_squares (sum of the
    squares of firms minus that of their venues). Symbols without such firms may be missing.
    """
    shares, crd = pl.col("share_quantity"), pl.col("firm_crd_number")
    venue = pl.col("venue_id")
    # A venue without a number is a firm of its own. The first and last ID count faster than all.
    several = (
        by_venue.group_by(crd)
        .agg(first=venue.min(), last=venue.max())
        .filter(crd > 0, pl.col("first") != pl.col("last"))["firm_crd_number"]
    )
    return (
        by_venue.select("symbol", crd, "share_quantity", "square")
        .filter(crd.is_in(several.to_list()))
        .group_by("symbol", "firm_crd_number")
        .agg(
            fewer=pl.len().cast(pl.Int64) - 1,
            more_squares=_compute_square(shares.sum()) - pl.col("square").sum(),
        )
        .group_by("symbol")
        .agg(pl.col("fewer", "more_squares").sum())
    )


def _sum_of_largest(places: int) -> pl.Expr:
    """Return the sum of the first ``largest``; NULL where there is none."""
    return pl.when(pl.col("venue_count") > 0).then(pl.col("largest").list.head(places).list.sum())


def _sum_by_venue(rows: pl.DataFrame) -> pl.DataFrame:
    """Sum a symbol's rows by venue: one that trades in both markets is one venue, and is rare."""
    is_ats = pl.col("market") == "ATS"
    by_market = rows.select(
        *("week_start", "tier", "symbol", "venue_id", "firm_crd_number"),
        *("notional_usd", "last_update_date"),
        *QUANTITIES,
        **{f"ats_{name}": pl.when(is_ats).then(name).otherwise(0) for name in QUANTITIES},
    )
    venues, of_ats = rows["venue_id"], rows["market"] == "ATS"
    if set(venues.filter(of_ats).unique()).isdisjoint(venues.filter(~of_ats).unique()):
        return by_market
    return by_market.group_by("symbol", "venue_id").agg(
        pl.col("week_start", "tier").first(),
        pl.col("firm_crd_number", "last_update_date").max(),
        pl.col(*QUANTITIES, "^ats_.*$").sum(),
        notional_usd=sum_if_complete("notional_usd"),
    )


VENUE = ("market", "venue_id")
"""Key of a venue in one week and tier."""

GREATEST = ("firm_crd_number", "participant_name")
"""Of a venue's rows the greatest value counts."""


def venue_sums(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the sums that `venue_week` is made of; ``rows`` may be a part of a week and tier."""
    return rows.group_by(VENUE).agg(
        pl.col("week_start", "tier").first(),
        pl.col("share_quantity", "trade_count").sum(),
        pl.col(GREATEST).max(),
        published_at=as_moment(pl.col("last_update_date").max()),
        symbol_count=pl.len().cast(pl.Int64),
        notional_usd=sum_if_complete("notional_usd"),
    )


def venue_week(sums: pl.DataFrame) -> pl.DataFrame:
    """Return `finra_venue_week` of the `venue_sums` of all rows of one week and tier.

    ``sums`` may have a venue several times, once of each part.
    """
    shares = pl.col("share_quantity")
    venues = sums.group_by(VENUE).agg(
        pl.col("week_start", "tier").first(),
        pl.col("share_quantity", "trade_count", "symbol_count").sum(),
        pl.col(*GREATEST, "published_at").max(),
        notional_usd=sum_if_complete("notional_usd"),
    )
    return fit_to_table(
        venues.with_columns(
            _UNSTAMPED,
            **notional_of(shares),
            tier_share=ratio_of(shares, shares.sum()),
            rank=rank_of_named(),
            share_in_market=ratio_of(shares, shares.sum().over("market")),
            rank_in_market=rank_of_named().over("market"),
        ),
        finra_venue_week,
    )


VENUE_WEEK_FORMULAS: Mapping[str, Formula] = {
    "week_start": "week_start",
    "tier": "tier",
    "market": "market",
    "venue_id": "venue_id",
    "share_quantity": SHARES,
    "trade_count": TRADES,
    "symbol_count": ["count", "symbol"],
    "tier_share": ["ratio", SHARES, ["over", _TIER, SHARES]],
    "rank": ["rank", NAMED_SHARES, _TIER, *VENUE],
    "share_in_market": ["ratio", SHARES, ["over", [*_TIER, "market"], SHARES]],
    "rank_in_market": ["rank", NAMED_SHARES, [*_TIER, "market"], "venue_id"],
    **notional_formulas(_TIER),
    **{name: ["max", name] for name in GREATEST},
    **TIMES,
}
"""Formulas of `finra_venue_week`, of the rows of a market and venue; `venue_week` computes the
same."""


def rank_of_named() -> pl.Expr:
    """Return the rank of a venue by shares, from 1; NULL of De Minimis Firms."""
    named_shares = pl.when(pl.col("venue_id") != DE_MINIMIS).then(pl.col("share_quantity"))
    return named_shares.rank("min", descending=True).cast(pl.Int64)


def ratio_of_squares(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """Return the same of squares of `millionths`.

    Their whole parts become floats first: of whole shares they are as exact as without fractions.
    """
    return ratio_of(
        *(
            (expression // ONE).cast(pl.Float64) + expression % ONE / ONE
            for expression in (part, whole)
        )
    )


def ratio_of(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """Return a part of a whole as a float, NULL where the whole is 0 or NULL."""
    return pl.when(whole > 0).then(part.cast(pl.Float64) / whole.cast(pl.Float64))
