"""How data is judged: rules that sort rows into good and rejected, audits that hold a batch back.

Nothing here knows a table, a source or a domain; those bring the rules.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import ceil, floor
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.contracts.key_ranges import SpilledRows
from orchestration_project.engine.contracts.usual_ranges import compute_range
from orchestration_project.tables.schema import USD_SCALE, as_number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Outcome = Literal["passed", "failed", "not_applicable"]
"""How an audit ended; what a delivery or a source gives no ground for is not applicable."""

MAX_OFFENDERS = 20


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


@dataclass(frozen=True)
class Audit:
    """A verdict on one delivery of one partition; a failed one of severity error holds it back."""

    name: str
    outcome: Outcome
    expected: str
    found: str
    offenders: Sequence[dict[str, object]] = ()
    severity: Literal["error", "warning"] = "error"

    @property
    def blocks(self) -> bool:
        """Whether the delivery must not be loaded."""
        return self.outcome == "failed" and self.severity == "error"

    @property
    def warns(self) -> bool:
        """Whether the delivery may be loaded, and somebody should look at it."""
        return self.outcome == "failed" and self.severity == "warning"

    @property
    def offenders_json(self) -> str:
        """The first offenders as a JSON list."""
        return json.dumps(
            list(self.offenders[:MAX_OFFENDERS]), default=_convert_value, ensure_ascii=True
        )


class AuditHelp(NamedTuple):
    """Remedy of an audit that fails, and the settings that the audit depends on."""

    remedy: str
    settings: tuple[str, ...] = ()


COMPARE = AuditHelp("compare the rows with the source's page and report them")
"""Remedy of audits that name rows."""


def format_outcome(holds: bool) -> Literal["passed", "failed"]:
    """Return how an audit ended whose claim holds, or does not."""
    return "passed" if holds else "failed"


COMPLETE = "is_complete"

COMPLETE_AUDIT = {
    COMPLETE: "A delivery has most of the loaded keys; a first one has about as many rows as the "
    "partitions around it."
}
"""The blocking audit of every dataset that compares a delivery with what is loaded."""

COMPLETE_HELP = {
    COMPLETE: AuditHelp(
        "compare with the source, and load it again later; load it as it is with accept_sha256 and "
        "accept_reason in the run's config, or --accept and --reason of `orchestrate load` or "
        "`orchestrate replay`",
        ("completeness.min_key_ratio", "completeness.max_factor"),
    )
}


BALANCE_AUDIT = "balances"
"""Audit that quarantines a delivery of which an equation has a difference."""

BALANCE_HELP = {
    BALANCE_AUDIT: AuditHelp(
        "the program lost records, or took some twice: report it with the capture; replay the "
        "delivery with a version that has this corrected"
    )
}


def check_balances(balances: Sequence[Balance]) -> Audit:
    """Return the audit of a delivery's equations; an unbalanced one is an offender."""
    unbalanced = [balance for balance in balances if balance.difference]
    return Audit(
        BALANCE_AUDIT,
        format_outcome(not unbalanced),
        "what came in is what went out",
        "; ".join(map(str, unbalanced or balances)),
        [
            {"equation": balance.equation, "difference": balance.difference}
            for balance in unbalanced
        ],
    )


@dataclass(frozen=True)
class CompletenessLimits:
    """When a delivery is too small to replace what is loaded, or to be a whole partition.

    Attributes:
        min_key_ratio: Share of the loaded keys, 0-1, that a delivery has at least; one may lack.
        min_key_count: With fewer keys loaded, a delivery is not judged.
        neighbour_count: How many of the nearest partitions a first delivery is compared with.
        min_neighbour_count: With fewer of them loaded, it is not judged.
        sigma: Tolerated standard deviations of the neighbours' sizes.
        min_factor: Factor by which a first delivery may be smaller than usual at least.
        max_factor: The same at most.
    """

    min_key_ratio: float = 0.8
    min_key_count: int = 5
    neighbour_count: int = 20
    min_neighbour_count: int = 5
    sigma: float = 4.0
    min_factor: float = 1.5
    max_factor: float = 4.0


class Acceptance(NamedTuple):
    """One delivery, by the SHA-256 (hex) of its values, that is loaded though it is small."""

    sha256: str
    reason: str


LoadedKeys = tuple[int, int]
"""Rows that are loaded in a delivery's scope, and how many of their keys it lacks."""


def check_completeness(
    row_count: int,
    keys: LoadedKeys,
    neighbours: Sequence[int],
    limits: CompletenessLimits,
) -> Audit:
    """Return whether a delivery is whole, by what is loaded of its partition or around it.

    Args:
        row_count: Its rows.
        keys: How it compares with the loaded rows that it replaces.
        neighbours: Rows of the nearest loaded partitions, the nearest first.
        limits: When it is not.
    """
    loaded_count, missing_count = keys
    if 0 < loaded_count < limits.min_key_count:
        expected = f"at least {limits.min_key_count} loaded keys"
        return Audit(COMPLETE, "not_applicable", expected, f"{loaded_count}")
    if loaded_count:
        lack = max(1, floor(round(loaded_count * (1 - limits.min_key_ratio), 6)))
        return Audit(
            COMPLETE,
            format_outcome(missing_count <= lack),
            f"at least {loaded_count - lack} of the {loaded_count} loaded keys",
            f"{loaded_count - missing_count} of them in {row_count} rows",
        )
    sizes = [max(count, 1) for count in neighbours[: limits.neighbour_count]]
    if len(sizes) < limits.min_neighbour_count:
        expected = f"loaded rows, or at least {limits.min_neighbour_count} partitions around it"
        return Audit(COMPLETE, "not_applicable", expected, f"{len(sizes)} partitions")
    size_range = compute_range(
        sizes,
        sigma=limits.sigma,
        min_factor=limits.min_factor,
        max_factor=limits.max_factor,
    )
    usual = min(size_range.usual, sizes[0])  # a list that was shortened is accepted once
    least = max(min(ceil(round(usual / size_range.factor, 6)), round(usual) - 1), 0)
    return Audit(
        COMPLETE,
        format_outcome(row_count >= least),
        f"at least {least} rows; the {len(sizes)} nearest partitions have about {usual:.0f}",
        f"{row_count} rows",
    )


SHA256_FOUND = re.compile(r"; SHA-256 ([0-9a-f]{64})$")
"""End of what an audit of completeness found of a delivery that may be accepted."""


def find_acceptable_sha256(audit_name: str, found: str) -> str:
    """Return the SHA-256 of the delivery that an audit quarantines; empty: none can be accepted."""
    matched = SHA256_FOUND.search(found) if audit_name == COMPLETE else None
    return matched[1] if matched else ""


def apply_acceptance(audit: Audit, sha256: str, acceptance: Acceptance | None) -> Audit:
    """Return an audit of completeness that names a failing delivery, or passes an accepted one."""
    if not audit.blocks:
        return audit
    if acceptance is not None and acceptance.sha256 == sha256:
        text = f"{audit.found}; accepted: {acceptance.reason}"
        return replace(audit, outcome="passed", found=text)
    return replace(audit, found=f"{audit.found}; SHA-256 {sha256}")


@dataclass(frozen=True)
class AuditSummary:
    """How one audit stands over many partitions, by the latest delivery of each.

    Attributes:
        audit: Its name.
        limits: What it asked for, each text once.
        passed_count: Partitions that passed it.
        not_applicable_count: Partitions that gave no ground for it.
        failed: The rows of the table `audits` of those that failed it.
        grounds: What the others lacked: what it expected of them and found, each text once.
    """

    audit: str
    limits: Sequence[str]
    passed_count: int
    not_applicable_count: int
    failed: Sequence[Mapping[str, object]]
    grounds: Sequence[str] = ()


def summarize_audits(latest: pl.DataFrame, names: Iterable[str]) -> list[AuditSummary]:
    """Sum up the audits ``names``, in that order.

    ``latest`` are rows of the table `audits`: those of the latest delivery of each partition.
    """
    outcome = pl.col("outcome")
    ground = pl.concat_str(
        pl.lit("expected "), pl.col("expected"), pl.lit(", found "), pl.col("found")
    )
    return [
        AuditSummary(
            name,
            sorted(set(rows["expected"])),
            len(rows.filter(outcome == "passed")),
            len(without),
            rows.filter(outcome == "failed").to_dicts(),
            sorted(set(without.select(ground).to_series())),
        )
        for name in names
        for rows in [latest.filter(pl.col("name") == name)]
        for without in [rows.filter(outcome == "not_applicable")]
    ]


@dataclass(frozen=True)
class Validated:
    """A delivery after its contract: good rows of a table, rejects and audits.

    ``rows`` and ``rejects`` carry ``part_number``; rejects also ``line_number`` (from 1),
    ``byte_offset``, ``record``, ``reason_code`` and ``reason``. With ``ranges``, these have the
    rows, and ``rows`` has none. ``filtered`` counts the records that are neither, by the name of
    the filter; ``balances`` are the delivery's equations.
    """

    rows: pl.DataFrame
    rejects: pl.DataFrame
    audits: Sequence[Audit] = field(default_factory=tuple)
    ranges: SpilledRows | None = None
    filtered: Mapping[str, int] = field(default_factory=dict[str, int])
    balances: Sequence[Balance] = ()

    @property
    def is_quarantined(self) -> bool:
        """Whether an audit forbids to load it."""
        return any(audit.blocks for audit in self.audits)

    @property
    def row_count(self) -> int:
        """How many good rows there are."""
        return len(self.rows) if self.ranges is None else self.ranges.row_count

    @property
    def went_to(self) -> Mapping[str, int]:
        """Numbers of records by the place where they went."""
        return {"rows": self.row_count, "rejects": len(self.rejects), **self.filtered}

    def balanced(self, balances: Sequence[Balance]) -> Validated:
        """Return it with its equations, quarantined if one has a difference.

        Balanced ones are recorded in `balances` alone; the audit is added where it fails.
        """
        audit = check_balances(balances)
        audits = [*self.audits, audit] if audit.blocks else self.audits
        return replace(self, audits=audits, balances=balances)

    def pieces(self) -> Iterator[pl.DataFrame]:
        """Yield all rows, so many at a time as are held at once."""
        if self.ranges is None:
            yield self.rows
        else:
            yield from (rows for _, rows in self.ranges)


def hash_content(rows: pl.DataFrame) -> str:
    """Return the SHA-256 (hex) of the values of ``rows``, in their order."""
    return hash_pieces(rows, [len(rows)])[0]


def hash_pieces(rows: pl.DataFrame, lengths: Sequence[int]) -> list[str]:
    """Return the SHA-256 (hex) of ``rows`` piece by piece, each of so many of them.

    Column by column, each as where a value differs from the one above it, and of these values what
    is null, the lengths of texts, and the values: so no other rows have the same bytes, and a null
    is another value than a blank. What repeats itself is most of what there is.
    """
    import numpy as np

    names = "|".join(rows.columns)
    digests = [hashlib.sha256(f"{length} {names}".encode()) for length in lengths]
    ends = np.cumsum(lengths, dtype=np.int64)
    for column in rows.iter_columns():
        if len(lengths) == 1 and _is_constant(column):  # the same as below, faster
            is_start = np.zeros(lengths[0], np.bool_)
            is_start[0] = True
            run_ends, runs = np.ones(1, np.int64), column.head(1)
        else:
            is_start = _mark_run_starts(column, ends)
            run_ends = np.append(0, np.cumsum(is_start))[ends]
            runs = column.filter(pl.Series(is_start))
        pieces = [_cut(values, cuts) for values, cuts in _encode_column(runs, run_ends)]
        of_rows = [np.packbits(flags).data for flags in np.split(is_start, ends[:-1])]
        for digest, *row_pieces in zip(digests, of_rows, *pieces, strict=True):
            for piece in row_pieces:
                digest.update(piece)
    return [digest.hexdigest() for digest in digests]


def _is_constant(column: pl.Series) -> bool:
    """Whether all values are equal, at least one."""
    null_count = column.null_count()
    if null_count or column.is_empty():
        return 0 < null_count == len(column)
    return column.min() == column.max()


def _mark_run_starts(column: pl.Series, ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each value whether it begins a run; the first one of each piece does."""
    import numpy as np

    differs = column.ne_missing(column.shift()).to_numpy(writable=True)
    firsts = np.append(0, ends[:-1])
    differs[firsts[firsts < len(differs)]] = True
    return differs


def _encode_column(
    column: pl.Series, ends: NDArray[np.int64]
) -> Iterator[tuple[memoryview, Sequence[int]]]:
    """Yield the bytes that stand for a column, and where those of each piece end."""
    import numpy as np

    if column.null_count():
        is_null = column.is_null().cast(pl.UInt8).to_numpy()
    else:
        is_null = np.zeros(len(column), np.uint8)
    yield is_null.data, ends.tolist()
    if column.dtype == pl.String:
        values = column.fill_null("") if column.null_count() else column
        sizes = values.str.len_bytes().to_numpy()
        yield sizes.view(np.uint8).data, (ends * sizes.itemsize).tolist()
        yield _join_texts(values), np.append(0, np.cumsum(sizes, dtype=np.int64))[ends].tolist()
    elif column.dtype == pl.Decimal(38, USD_SCALE):
        yield from _encode_quantities(column, ends)
    else:
        numbers = column.to_physical()
        known_series = numbers.fill_null(strategy="zero") if column.null_count() else numbers
        array = known_series.to_numpy()
        yield array.view(np.uint8).data, (ends * array.itemsize).tolist()


def _encode_quantities(
    column: pl.Series, ends: NDArray[np.int64]
) -> Iterator[tuple[memoryview, Sequence[int]]]:
    """Yield whole quantities as whole numbers; then, of pieces with any fraction, all fractions."""
    import numpy as np

    millionths = column.to_physical().cast(pl.Int64).fill_null(0).to_numpy()
    whole, fractions = np.divmod(millionths, 10**USD_SCALE)
    yield whole.view(np.uint8).data, (ends * whole.itemsize).tolist()
    is_fraction = np.append(0, np.cumsum(fractions != 0))
    starts = np.append(0, ends[:-1])
    sizes = np.where(is_fraction[ends] > is_fraction[starts], ends - starts, 0)
    pieces = zip(starts, starts + sizes, strict=True)
    chosen = np.concatenate([fractions[start:end] for start, end in pieces])
    yield chosen.view(np.uint8).data, (np.cumsum(sizes) * chosen.itemsize).tolist()


def _cut(values: memoryview, ends: Sequence[int]) -> list[memoryview]:
    return [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _join_texts(texts: pl.Series) -> memoryview:
    """Return the bytes of all ``texts`` one after the other, as Arrow keeps them."""
    array: Any = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, ends, values = array.buffers()
    offsets = memoryview(ends).cast("q")
    first, last = offsets[array.offset], offsets[array.offset + len(array)]
    return memoryview(values)[first:last] if values is not None else memoryview(b"")


def _convert_value(value: object) -> object:
    return as_number(value) if isinstance(value, Decimal) else str(value)


def escape_bytes(line: bytes, limit: int = 4096) -> str:
    """Return ``line`` as printable ASCII, other bytes as escapes, cut after ``limit`` bytes."""
    text = line[:limit].decode("latin-1").encode("unicode_escape").decode("ascii")
    return text if len(line) <= limit else f"{text}... ({len(line)} bytes)"
