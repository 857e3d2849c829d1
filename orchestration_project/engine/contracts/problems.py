"""Facts about what is not well: ended runs, failed checks and backfills, missing partitions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
"""From the least to the most severe."""


EVALUATED_BY_LOAD = "evaluated_by_load"
"""Metadata of a check that a load evaluated: a failed one raises no alert, as the load did not
cause it. The check's own job does that; while a load catches up, its check fails until the end."""


ITEMS_FAILED = "items_failed"
"""Kind of the notice of a run whose items failed for good, where no check fails for it."""


QUARANTINE_REMEDY = "open Attention in the bar, which has reasons and what can be done"


class Problem(NamedTuple):
    """One thing that is not well; equal problems are the same failure.

    ``kind`` is one of `KINDS`; of a check it is check_error or check_warning.
    """

    kind: str
    subject: str
    detail: str = ""

    @property
    def is_check(self) -> bool:
        """Whether it is a check that fails: of the asset ``subject`` the one called ``detail``."""
        return self.kind.startswith("check_")


class Unit(NamedTuple):
    """One partition of one asset; the empty partition of an asset that has none."""

    asset: str
    partition: str


@dataclass(frozen=True)
class CheckResult:
    """Result of an asset check in a run."""

    asset: str
    name: str
    passed: bool
    severity: Severity
    said: str

    @property
    def problem(self) -> Problem:
        """Problem that its failure raises."""
        return Problem(f"check_{self.severity}", self.asset, self.name)


@dataclass(frozen=True)
class Notice:
    """Notice of a materialization or observation without a failure."""

    kind: str
    text: str
    unit: Unit


@dataclass(frozen=True)
class EndedRun:
    """The facts of a run that is over.

    Where a step makes several assets, the first of them by name stands for all: they load together.

    Attributes:
        wanted: What it was started to make.
        loaded: What it made, more than ``wanted`` where dependents were made too.
        refused: Why a partition was quarantined, by what was not made.
        together: By the asset that stands for a step, all assets of that step.
        error: What ended it, for a failure.
        trace_id: Its trace; None: a run from before traces.
    """

    run_id: str
    job: str
    outcome: Literal["success", "failure", "canceled"]
    has_started: bool = True
    partitions: Sequence[str] = ()
    wanted: frozenset[Unit] = frozenset()
    loaded: frozenset[Unit] = frozenset()
    refused: Mapping[Unit, str] | None = None
    checks: Sequence[CheckResult] = ()
    notices: Sequence[Notice] = ()
    together: Mapping[str, frozenset[str]] = field(default_factory=dict)
    error: str = ""
    trace_id: str | None = None


@dataclass(frozen=True)
class FailedBackfill:
    """The facts of a backfill that Dagster's daemon ended for an error that is in no run.

    Attributes:
        job: Whose partitions it was to make; empty for one of assets.
        missing: What of it was not made; of a job, its partitions.
        together: By the asset that stands for a step, all assets of that step.
        error: What ended it.
    """

    backfill_id: str
    title: str
    job: str
    missing: frozenset[Unit]
    together: Mapping[str, frozenset[str]]
    error: str

    @property
    def problems(self) -> frozenset[Problem]:
        """Problems after it."""
        return frozenset(Problem("job_failed" if self.job else "failed", *u) for u in self.missing)


@dataclass(frozen=True)
class OldestMissing:
    """The oldest partition that is due by its calendar and not loaded.

    Attributes:
        asset: The asset that lacks it.
        partition: Its key; empty: no partition is missing, and no run loads what is late.
        due_at: When it was due.
        missing_count: How many partitions of the asset are due and not loaded, this one included.
        unit: What one of them is called, e.g. "week".
        remedy: What an operator does about it.
        reason: What is late, in words; empty: partitions are missing.
        job: The job that loads it; empty with a partition: it has the asset's name.
        quarantined_count: How many of those that ``missing_count`` counts are quarantined.
    """

    asset: str
    partition: str
    due_at: datetime
    missing_count: int = 1
    unit: str = "partition"
    remedy: str = "load it, or see why its runs failed"
    reason: str = ""
    job: str = ""
    quarantined_count: int = 0

    @property
    def loading_job(self) -> str:
        """Name of the job that loads the partition; empty: none does."""
        return (self.job or self.asset.replace("/", "_")) if self.partition else ""

    @property
    def absent_count(self) -> int:
        """Number of partitions that are missing and not quarantined."""
        return self.missing_count - self.quarantined_count

    @property
    def next_step(self) -> str:
        """The remedy; of quarantined partitions alone, theirs."""
        return self.remedy if self.absent_count else QUARANTINE_REMEDY
