"""A validated delivery and its audits, of which a failed one of severity error quarantines it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import ceil, exp, floor, log
from statistics import median
from typing import Literal, NamedTuple

from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.contracts.key_ranges import SpilledRows
from orchestration_project.tables.schema import as_number

Outcome = Literal["passed", "failed", "not_applicable"]
"""How an audit ended; what a delivery or a source gives no ground for is not applicable."""

MAX_OFFENDERS = 20


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
        """Whether the delivery may be loaded, with a warning for an operator."""
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


SIGMA_OF_MAD = 1.4826
"""A normal distribution's standard deviation, in median absolute deviations."""


class UsualRange(NamedTuple):
    """Usual size and the factor up and down that is tolerated."""

    usual: float
    factor: float


def compute_range(
    sizes: Sequence[float], *, sigma: float, min_factor: float, max_factor: float
) -> UsualRange:
    """Return the median of ``sizes`` by their logarithms, and a factor from their spread.

    Args:
        sizes: Positive sizes, one at least.
        sigma: Standard deviations, by the median absolute deviation.
        min_factor: The least factor.
        max_factor: The largest factor.
    """
    levels = [log(size) for size in sizes]
    centre = median(levels)
    deviation = SIGMA_OF_MAD * median(abs(level - centre) for level in levels)
    width = min(max(sigma * deviation, log(min_factor)), log(max_factor))
    return UsualRange(exp(centre), exp(width))


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
    """Results of one audit over many partitions, by the latest delivery of each.

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
        """Number of good rows."""
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


def _convert_value(value: object) -> object:
    return as_number(value) if isinstance(value, Decimal) else str(value)
