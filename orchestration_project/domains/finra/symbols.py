"""The symbol master: what a symbol was over time, of its weeks in all tiers.

Nothing is merged: a symbol that may have another name now, or another company, is a candidate
with its evidence, and a person decides.
"""

from collections.abc import Mapping

import polars as pl
from sqlalchemy import Table

from orchestration_project.domains.finra.gold import ratio_of
from orchestration_project.domains.finra.tables.symbols import (
    finra_symbol_changes,
    finra_symbol_renames,
    finra_symbols,
)
from orchestration_project.engine.contracts.values import fit_to_table

SYMBOLS_VERSION = "2"
"""Version of these definitions; another one makes the tables out of date."""

REUSE_GAP_WEEKS = 4
"""Loaded weeks without a symbol, from which on another name may mean another company."""

RENAME_GAP_WEEKS = 4
"""Loaded weeks that may lie between the end of a symbol and the begin of its new one."""

SIMILAR_SHARES = (0.5, 2.0)
"""Range of the ratio of shares that counts as similar trading."""

MIN_SHARES = 1_000_000
"""Shares of a week from which on similar trading is evidence: small figures are alike by chance."""

COMMON_WORDS = (
    *("a", "ads", "adr", "and", "b", "c", "cl", "class", "co", "common", "company", "corp"),
    *("corporation", "de", "etf", "fund", "group", "holding", "holdings", "inc", "incorporated"),
    *("international", "limited", "llc", "lp", "ltd", "new", "nv", "of", "ord", "ordinary", "plc"),
    *("sa", "share", "shares", "stock", "the", "trust", "unit", "units", "warrant", "warrants"),
)
"""Words of issue names that many companies have."""


def symbol_master(weeks: pl.DataFrame) -> Mapping[Table, pl.DataFrame]:
    """Return the rows of the three tables of symbols.

    Args:
        weeks: One row per week, tier and symbol of all that is loaded: week_start, tier, symbol,
            issue_name (may be null), total_share_quantity, top_venue_id, published_at and
            known_from.
    """
    numbered = weeks.with_columns(
        number=pl.col("week_start").rank("dense").cast(pl.Int64),
        plain_name=_normalise_name(pl.col("issue_name")),
    ).sort("symbol", "week_start", "total_share_quantity", "tier")
    main = numbered.unique(["symbol", "week_start"], keep="last", maintain_order=True)
    changes = pl.concat([_find_tier_moves(main), *_name_changes(main), _find_two_tiers(numbered)])
    known_frame = numbered.group_by("symbol").agg(
        pl.col("known_from", "published_at").max(), is_stale=pl.lit(value=False)
    )
    return {
        finra_symbols: _build_symbols(main, changes).pipe(_add_dates, known_frame, finra_symbols),
        finra_symbol_changes: changes.pipe(_add_dates, known_frame, finra_symbol_changes),
        finra_symbol_renames: _find_renames(main, numbered),
    }


def _normalise_name(name: pl.Expr) -> pl.Expr:
    """Return a name's letters and digits in lower case, with single spaces; null: it has none."""
    words = name.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()
    return pl.when(words != "").then(words)


def _add_dates(rows: pl.DataFrame, known: pl.DataFrame, table: Table) -> pl.DataFrame:
    return fit_to_table(rows.join(known, on="symbol", how="left"), table)


def _build_symbols(main: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    kind = pl.col("kind")
    counted = changes.group_by("symbol").agg(
        tier_move_count=(kind == "tier_move").sum().cast(pl.Int64),
        is_reuse_candidate=(kind == "reuse_candidate").any(),
    )
    return (
        main.group_by("symbol", maintain_order=True)
        .agg(
            pl.col("tier").last(),
            issue_name=pl.col("issue_name").filter(pl.col("plain_name").is_not_null()).last(),
            first_week=pl.col("week_start").first(),
            last_week=pl.col("week_start").last(),
            week_count=pl.len().cast(pl.Int64),
            issue_name_count=pl.col("plain_name").drop_nulls().n_unique().cast(pl.Int64),
        )
        .join(counted, on="symbol", how="left")
        .with_columns(
            pl.col("tier_move_count").fill_null(0),
            pl.col("is_reuse_candidate").fill_null(value=False),
        )
    )


CHANGE = ("symbol", "week_start", "kind", "previous_week", "previous_value", "value", "gap_weeks")


def _add_previous(weeks: pl.DataFrame) -> pl.DataFrame:
    """Return the weeks of symbols that have one before, with columns of that one."""
    before = [
        pl.col(name).shift().over("symbol").alias(f"previous_{name}")
        for name in ("week_start", "tier", "issue_name", "plain_name", "number")
    ]
    return (
        weeks.with_columns(before)
        .filter(pl.col("previous_number").is_not_null())
        .with_columns(
            previous_week="previous_week_start",
            gap_weeks=pl.col("number") - pl.col("previous_number") - 1,
        )
    )


def _find_tier_moves(main: pl.DataFrame) -> pl.DataFrame:
    frame = _add_previous(main).filter(pl.col("tier") != pl.col("previous_tier"))
    return frame.with_columns(
        kind=pl.lit("tier_move"), previous_value="previous_tier", value="tier"
    ).select(CHANGE)


def _name_changes(main: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the changes of names, and those of them that may be another company's."""
    named = main.filter(pl.col("plain_name").is_not_null())
    renamed = (
        _add_previous(named)
        .filter(pl.col("plain_name") != pl.col("previous_plain_name"))
        .with_columns(previous_value="previous_issue_name", value="issue_name")
    )
    now, words_before = (
        pl.col(name).str.split(" ").list.set_difference(list(COMMON_WORDS))
        for name in ("plain_name", "previous_plain_name")
    )
    has_common_word = now.list.set_intersection(words_before).list.len() > 0
    is_other = (pl.col("gap_weeks") >= REUSE_GAP_WEEKS) & ~has_common_word
    return [
        rows.with_columns(kind=pl.lit(kind)).select(CHANGE)
        for kind, rows in (
            ("issue_name_change", renamed),
            ("reuse_candidate", renamed.filter(is_other)),
        )
    ]


def _find_two_tiers(weeks: pl.DataFrame) -> pl.DataFrame:
    """Return the weeks of symbols with rows in several tiers: the two with most shares."""
    return (
        weeks.group_by("symbol", "week_start")
        .agg(tiers=pl.col("tier"))
        .filter(pl.col("tiers").list.len() > 1)
        .with_columns(
            kind=pl.lit("two_tiers"),
            previous_week="week_start",
            previous_value=pl.col("tiers").list.get(-2),
            value=pl.col("tiers").list.get(-1),
            gap_weeks=pl.lit(0, pl.Int64),
        )
        .select(CHANGE)
    )


def _find_renames(main: pl.DataFrame, weeks: pl.DataFrame) -> pl.DataFrame:
    """Return symbols that ended with those that began soon after, where evidence speaks for it.

    One that traded in the last loaded week of its tier did not end, as one of the first week did
    not begin.
    """
    bounds = weeks.group_by("tier").agg(
        oldest=pl.col("number").min(), newest=pl.col("number").max()
    )
    edges = main.join(bounds, on="tier", maintain_order="left")
    ended = edges.unique("symbol", keep="last", maintain_order=True)
    began = edges.unique("symbol", keep="first", maintain_order=True)
    ended = ended.filter(pl.col("number") < pl.col("newest"))
    began = began.filter(pl.col("number") > pl.col("oldest")).with_columns(
        new_symbol="symbol", first_week="week_start", new_tier="tier", new_issue_name="issue_name"
    )
    by_name = ended.join(began, on="plain_name", suffix="_new")
    by_trading = ended.join(
        began.with_columns(previous=pl.col("number") - 1),
        left_on=["number", "tier"],
        right_on=["previous", "tier"],
        suffix="_new",
    ).filter(_is_similar())
    same = by_name.with_columns(plain_name_new="plain_name")
    pairs = pl.concat([same, by_trading], how="diagonal").unique(["symbol", "new_symbol"])
    gap = pl.col("number_new") - pl.col("number") - 1
    share_ratio = ratio_of(pl.col("total_share_quantity_new"), pl.col("total_share_quantity"))
    return fit_to_table(
        pairs.with_columns(gap_weeks=gap, share_ratio=share_ratio, last_week="week_start")
        .filter(pl.col("gap_weeks").is_between(0, RENAME_GAP_WEEKS))
        .with_columns(
            has_same_issue_name=(pl.col("plain_name") == pl.col("plain_name_new")).fill_null(
                value=False
            ),
            has_similar_trading=(
                (pl.col("gap_weeks") == 0) & (pl.col("tier") == pl.col("new_tier")) & _is_similar()
            ).fill_null(value=False),
            known_from=pl.max_horizontal("known_from", "known_from_new"),
            published_at=pl.max_horizontal("published_at", "published_at_new"),
            is_stale=pl.lit(value=False),
        ),
        finra_symbol_renames,
    )


def _is_similar() -> pl.Expr:
    """Whether the last week of a symbol and the first of another have similar trading."""
    col, now = pl.col("total_share_quantity"), pl.col("total_share_quantity_new")
    return (
        (pl.col("top_venue_id") == pl.col("top_venue_id_new"))
        & (pl.min_horizontal(col, now) >= MIN_SHARES)
        & ratio_of(now, col).is_between(*SIMILAR_SHARES)
    )
