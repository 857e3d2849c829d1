"""Movers from week to week, and symbols whose shares are far from those of the weeks before."""

from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl
from sqlalchemy import Table

from orchestration_project.domains.finra.across import OF_TIER, OWN_WEEK, WEEK_BEFORE, known_since
from orchestration_project.domains.finra.calendar import WEEK
from orchestration_project.domains.finra.gold import ONE, millionths, ratio_of, ratio_of_squares
from orchestration_project.domains.finra.tables.market import (
    finra_symbol_anomalies_week,
    finra_symbol_movers_week,
    finra_venue_movers_week,
)
from orchestration_project.engine.contracts.balance import DerivedKeys
from orchestration_project.engine.contracts.formulas import Formula
from orchestration_project.engine.contracts.values import fit_to_table

MAX_KEPT_RANKS = 100
"""Ranks of symbols' changes that are kept, besides those that entered or left."""

WINDOW_WEEKS, MIN_WEEKS, Z_LIMIT = 5, 4, 4.0
"""Trailing weeks, the fewest of them with trading, and the z-score from which a week is far off."""


def symbol_movers(symbol_weeks: pl.DataFrame, *, week_start: date) -> DerivedKeys:
    """Return `finra_symbol_movers_week` of a week and tier, and why other symbols have no row.

    ``symbol_weeks`` are rows of `finra_symbol_week` of the week and of the one before; without
    that one, no row is a mover.
    """
    rows = symbol_weeks.rename({"total_share_quantity": "share_quantity"})
    changes = _compare_weeks(rows, ["tier", "symbol"], week_start)
    is_kept = (
        (pl.col("movement") != "moved")
        | (pl.col("change_rank") <= MAX_KEPT_RANKS)
        | (pl.col("ratio_rank") <= MAX_KEPT_RANKS)
    )
    kept_frame = _add_dates(
        changes.filter(is_kept), symbol_weeks, week_start, finra_symbol_movers_week
    )
    excluded = {"lower_rank": changes.filter(~is_kept).height}
    return DerivedKeys(kept_frame, {**_count_no_week_before(rows, week_start), **excluded})


def venue_movers(venue_weeks: pl.DataFrame, *, week_start: date) -> DerivedKeys:
    """Return `finra_venue_movers_week` of a week and tier, and why other venues have no row.

    ``venue_weeks`` are rows of `finra_venue_week` of the week and of the one before; without that
    one, no row is a mover.
    """
    changes = _compare_weeks(venue_weeks, ["tier", "market", "venue_id"], week_start)
    kept_frame = _add_dates(changes, venue_weeks, week_start, finra_venue_movers_week)
    return DerivedKeys(kept_frame, _count_no_week_before(venue_weeks, week_start))


def _count_no_week_before(rows: pl.DataFrame, week_start: date) -> dict[str, int]:
    of_week = rows.filter(pl.col("week_start") == week_start).height
    has_before = (rows["week_start"] == week_start - WEEK).any()
    return {"no_week_before": 0 if has_before else of_week}


def _compare_weeks(rows: pl.DataFrame, key: Sequence[str], week_start: date) -> pl.DataFrame:
    shares, before = pl.col("share_quantity"), pl.col("previous_share_quantity")
    of_weeks = [
        rows.filter(pl.col("week_start") == week).select(*key, "share_quantity", "published_at")
        for week in (week_start, week_start - WEEK)
    ]
    if any(each.is_empty() for each in of_weeks):
        of_weeks = [each.clear() for each in of_weeks]
    now, week_before = of_weeks
    frame = now.join(
        week_before.rename({"share_quantity": before.meta.output_name()}),
        on=key,
        how="full",
        coalesce=True,
        suffix="_before",
    )
    change = pl.col("share_change")
    return (
        frame.with_columns(
            movement=pl.when(before.is_null())
            .then(pl.lit("entered"))
            .when(shares.is_null())
            .then(pl.lit("left"))
            .otherwise(pl.lit("moved")),
            published_at=pl.max_horizontal("published_at", "published_at_before"),
        )
        .with_columns(shares.fill_null(0), before.fill_null(0))
        .with_columns(share_change=shares - before)
        .with_columns(change_ratio=ratio_of(change, before))
        .with_columns(
            change_rank=change.abs().rank("min", descending=True).cast(pl.Int64),
            ratio_rank=pl.col("change_ratio").abs().rank("min", descending=True).cast(pl.Int64),
        )
    )


def _drop_sign(formula: Formula) -> Formula:
    """Return a value without its sign."""
    return ["if", ["greater", formula, 0], formula, ["subtract", 0, formula]]


def mover_formulas(shares: str, *key: str) -> dict[str, Formula]:
    """Return the formulas of a table of movers, of a key's rows of the week and the one before.

    Args:
        shares: The column of shares.
        key: The key within a tier.
    """
    rows: Formula = ["count", shares]
    now: Formula = ["where", OWN_WEEK, ["sum", shares]]
    before: Formula = ["where", WEEK_BEFORE, ["sum", shares]]
    change: Formula = ["subtract", now, before]
    change_ratio: Formula = ["ratio", change, before]
    had_none: Formula = ["equal", ["where", WEEK_BEFORE, rows], 0]
    has_none: Formula = ["equal", ["where", OWN_WEEK, rows], 0]
    is_left: Formula = ["if", has_none, ["text", "left"], ["text", "moved"]]
    return {
        "week_start": ["given", "week_start"],
        **{name: name for name in ("tier", *key)},
        "movement": ["if", had_none, ["text", "entered"], is_left],
        "share_quantity": now,
        "previous_share_quantity": before,
        "share_change": change,
        "change_ratio": change_ratio,
        "change_rank": ["rank", _drop_sign(change), ["tier"], *key],
        "ratio_rank": ["rank", _drop_sign(change_ratio), ["tier"], *key],
        **OF_TIER,
    }


SYMBOL_MOVER_FORMULAS: Mapping[str, Formula] = mover_formulas("total_share_quantity", "symbol")
VENUE_MOVER_FORMULAS: Mapping[str, Formula] = mover_formulas("share_quantity", "market", "venue_id")
"""Formulas of the tables of movers; `_compare_weeks` computes the same."""


def symbol_anomalies(symbol_weeks: pl.DataFrame, *, week_start: date) -> DerivedKeys:
    """Return `finra_symbol_anomalies_week` of a week and tier, and why others have no row.

    ``symbol_weeks`` are rows of `finra_symbol_week` of the week and of those before it. A symbol
    whose shares never changed has no z-score.
    """
    shares = pl.col("total_share_quantity")
    first = week_start - WINDOW_WEEKS * WEEK
    trailing = (
        symbol_weeks.filter(pl.col("week_start").is_between(first, week_start, closed="left"))
        .group_by("tier", "symbol")
        .agg(
            trailing_mean=ratio_of(shares.sum(), pl.len()),
            trailing_deviation=_compute_deviation(shares),
            trailing_week_count=pl.len().cast(pl.Int64),
            published_before=pl.col("published_at").max(),
        )
    )
    has_weeks = pl.col("trailing_week_count").fill_null(0) >= MIN_WEEKS
    is_changing = pl.col("trailing_deviation").fill_null(0) > 0
    compared = symbol_weeks.filter(pl.col("week_start") == week_start).join(
        trailing, on=["tier", "symbol"], how="left"
    )
    scored = compared.filter(has_weeks, is_changing).with_columns(
        z_score=(shares.cast(pl.Float64) - pl.col("trailing_mean")) / pl.col("trailing_deviation"),
        share_quantity=shares,
        window_weeks=WINDOW_WEEKS,
        min_week_count=MIN_WEEKS,
        z_limit=Z_LIMIT,
        published_at=pl.max_horizontal("published_at", "published_before"),
    )
    is_far = pl.col("z_score").abs() >= Z_LIMIT
    excluded = {
        "few_weeks": compared.filter(~has_weeks).height,
        "never_changed": compared.filter(has_weeks, ~is_changing).height,
        "usual": scored.filter(~is_far).height,
    }
    frame = scored.filter(is_far)
    return DerivedKeys(
        _add_dates(frame, symbol_weeks, week_start, finra_symbol_anomalies_week), excluded
    )


def _compute_deviation(shares: pl.Expr) -> pl.Expr:
    """Return the sample standard deviation of quantities, exact until one division; NULL of one.

    Of five weeks that `refuse_overflow` accepts, the difference of squares fits in 128 bits.
    """
    units, count = millionths(shares), pl.len().cast(pl.Int128)
    spread = count * (units * units).sum() - units.sum() * units.sum()
    return ratio_of_squares(spread, count * (count - 1) * ONE).sqrt()


_SHARES: Formula = ["sum", "total_share_quantity"]
_WEEKS: Formula = ["count", "total_share_quantity"]
_SQUARES: Formula = ["sum", ["multiply", "total_share_quantity", "total_share_quantity"]]
_SPREAD: Formula = ["subtract", ["multiply", _WEEKS, _SQUARES], ["multiply", _SHARES, _SHARES]]
_VARIANCE: Formula = ["ratio", _SPREAD, ["multiply", _WEEKS, ["subtract", _WEEKS, 1]]]


def _limit_to_trailing(formula: Formula) -> Formula:
    return ["where", ["not", OWN_WEEK], formula]


_DISTANCE: Formula = [
    *("subtract", ["ratio", ["where", OWN_WEEK, _SHARES], 1]),
    _limit_to_trailing(["ratio", _SHARES, _WEEKS]),
]

ANOMALY_FORMULAS: Mapping[str, Formula] = {
    "week_start": ["given", "week_start"],
    "tier": "tier",
    "symbol": "symbol",
    "share_quantity": ["where", OWN_WEEK, _SHARES],
    "trailing_mean": _limit_to_trailing(["ratio", _SHARES, _WEEKS]),
    "trailing_deviation": _limit_to_trailing(["root", _VARIANCE]),
    "trailing_week_count": _limit_to_trailing(_WEEKS),
    "z_score": ["ratio", _DISTANCE, _limit_to_trailing(["root", _VARIANCE])],
    "window_weeks": WINDOW_WEEKS,
    "min_week_count": MIN_WEEKS,
    "z_limit": Z_LIMIT,
    **OF_TIER,
}
"""Formulas of `finra_symbol_anomalies_week`; `symbol_anomalies` computes the same."""


def _add_dates(
    rows: pl.DataFrame, inputs: pl.DataFrame, week_start: date, table: Table
) -> pl.DataFrame:
    dated = rows.with_columns(
        known_since(inputs), week_start=pl.lit(week_start), is_stale=pl.lit(value=False)
    )
    return fit_to_table(dated, table)
