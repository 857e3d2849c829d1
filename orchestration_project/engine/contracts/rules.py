"""Rules that sort rows into good and rejected ones, and how rejected bytes are quoted.

Nothing here knows a table, a source or a domain; those bring the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestration_project.engine.contracts import lazy_polars as pl


@dataclass(frozen=True)
class RowRule:
    """One reason to reject a row.

    ``breaks`` is true where the row is bad and never null; ``reason`` is a sentence about the row.
    ``only_if`` is a cheaper condition that every row which breaks the rule meets.
    """

    code: str
    breaks: pl.Expr
    reason: pl.Expr
    only_if: pl.Expr | None = None


def apply_rules(rows: pl.DataFrame, rules: Sequence[RowRule]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows that keep all ``rules``, and the others with ``reason_code`` and ``reason``.

    A row that breaks several rules is rejected for the first of them. Nearly all rows keep all
    rules, so these are applied in full to the suspects alone.
    """
    suspicions = [rule.breaks if rule.only_if is None else rule.only_if for rule in rules]
    series = rows.lazy().select(pl.any_horizontal(suspicions)).collect().to_series()
    places = series.arg_true()
    if places.is_empty():
        nothing = pl.lit(None, pl.String)
        return rows, rows.clear().with_columns(reason_code=nothing, reason=nothing)
    judged = rows[places].with_columns(
        rule=pl.coalesce(
            pl.when(rule.breaks).then(pl.lit(index)) for index, rule in enumerate(rules)
        )
    )
    is_broken = judged["rule"].is_not_null()
    code, reason = (
        pl.coalesce(pl.when(pl.col("rule") == index).then(text) for index, text in enumerate(texts))
        for texts in ([pl.lit(rule.code) for rule in rules], [rule.reason for rule in rules])
    )
    broken = judged.filter(is_broken).with_columns(reason_code=code, reason=reason).drop("rule")
    if broken.is_empty():
        return rows, broken
    is_good = pl.repeat(value=True, n=len(rows), eager=True).scatter(
        places.filter(is_broken), values=False
    )
    return rows.filter(is_good), broken


def escape_bytes(line: bytes, limit: int = 4096) -> str:
    """Return ``line`` as printable ASCII, other bytes as escapes, cut after ``limit`` bytes."""
    text = line[:limit].decode("latin-1").encode("unicode_escape").decode("ascii")
    return text if len(line) <= limit else f"{text}... ({len(line)} bytes)"
