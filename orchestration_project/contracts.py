"""How data is judged: rules that sort rows into good and rejected, audits that hold a batch back.

Nothing here knows a table, a source or a domain; those bring the rules.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

SourceName = Literal["demo", "api", "files"]
"""Where data comes from: made up, FINRA itself, or downloaded files."""

OFFENDERS_KEPT = 20
HASHED_AT_ONCE = 50_000


@dataclass(frozen=True)
class Rule:
    """One reason to reject a row.

    ``breaks`` is true where the row is bad and never null; ``reason`` is a sentence about the row.
    """

    code: str
    breaks: pl.Expr
    reason: pl.Expr


def sort_out(rows: pl.DataFrame, rules: Sequence[Rule]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows that keep all ``rules``, and the others with ``reason_code`` and ``reason``.

    A row that breaks several rules is rejected for the first of them.
    """
    first_broken = pl.coalesce(
        pl.when(rule.breaks).then(pl.lit(place)) for place, rule in enumerate(rules)
    )
    judged = rows.with_columns(rule=first_broken)
    good, broken = (
        judged.filter(pl.col("rule").is_null()),
        judged.filter(pl.col("rule").is_not_null()),
    )
    code, reason = (
        pl.coalesce(pl.when(pl.col("rule") == place).then(text) for place, text in enumerate(texts))
        for texts in ([pl.lit(rule.code) for rule in rules], [rule.reason for rule in rules])
    )
    return good.drop("rule"), broken.with_columns(reason_code=code, reason=reason).drop("rule")


@dataclass(frozen=True)
class Audit:
    """A verdict on one delivery of one partition; a failed one of severity error holds it back."""

    name: str
    outcome: Literal["passed", "failed", "not_applicable"]
    expected: str
    found: str
    offenders: Sequence[dict[str, object]] = ()
    severity: Literal["error", "warning"] = "error"

    @property
    def blocks(self) -> bool:
        """Whether the delivery must not be landed."""
        return self.outcome == "failed" and self.severity == "error"

    @property
    def offenders_json(self) -> str:
        """The first offenders as a JSON list."""
        return json.dumps(list(self.offenders[:OFFENDERS_KEPT]), default=str, ensure_ascii=True)


@dataclass(frozen=True)
class Part:
    """One piece of a delivery: the bytes of a page or file, and its number from 1.

    ``market`` is set where a source delivers a market at a time.
    """

    part_number: int
    body: bytes
    market: str | None = None


REJECT_SCHEMA = {
    "part_number": pl.Int64(),
    "line_number": pl.Int64(),
    "reason_code": pl.String(),
    "reason": pl.String(),
    "byte_offset": pl.Int64(),
    "record": pl.String(),
}


@dataclass(frozen=True)
class Checked:
    """A delivery after its contract: good rows of a table, rejects and audits.

    ``rows`` and ``rejects`` carry ``part_number``; rejects also ``line_number`` (from 1),
    ``byte_offset``, ``record``, ``reason_code`` and ``reason``.
    """

    rows: pl.DataFrame
    rejects: pl.DataFrame
    audits: Sequence[Audit] = field(default_factory=tuple)


def content_sha256(rows: pl.DataFrame) -> str:
    """Return the SHA-256 (hex) of the values of ``rows``, in their order.

    Texts are quoted, so that the text ``\\N`` is another value than null.
    """
    digest = hashlib.sha256("|".join(rows.columns).encode())
    for batch in rows.iter_slices(HASHED_AT_ONCE):
        text = batch.write_csv(include_header=False, null_value="\\N", quote_style="non_numeric")
        digest.update(text.encode())
    return digest.hexdigest()


def in_ascii(line: bytes, limit: int = 4096) -> str:
    """Return ``line`` as printable ASCII, other bytes as escapes, cut after ``limit`` bytes."""
    shown = line[:limit].decode("latin-1").encode("unicode_escape").decode("ascii")
    return shown if len(line) <= limit else f"{shown}... ({len(line)} bytes)"
