"""Which alerts the end of a run raises, repeats and recovers, from plain facts.

A *problem* is one thing that is not well: a partition of an asset, a check, a job. An *alert* tells
of all problems of one run, and is open until each of them is well again or a later alert tells of
it. `messages.py` has the words.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
"""From the least to the most severe."""

FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=1)
"""Between the attempts to deliver an alert; the wait doubles with each."""


class Problem(NamedTuple):
    """One thing that is not well; equal problems are the same failure.

    ``kind`` is held_back, failed (both of an asset's partition), job_failed (what has no asset),
    check_error, check_warning or tick_failed.
    """

    kind: str
    subject: str
    detail: str = ""


class Unit(NamedTuple):
    """One partition of one asset; the empty partition of an asset that has none."""

    asset: str
    partition: str


@dataclass(frozen=True)
class CheckResult:
    """What an asset check said in a run."""

    asset: str
    name: str
    passed: bool
    severity: Severity
    said: str

    @property
    def problem(self) -> Problem:
        """What is not well if it fails."""
        return Problem(f"check_{self.severity}", self.asset, self.name)


@dataclass(frozen=True)
class Notice:
    """What a materialization wants people to know though nothing failed."""

    kind: str
    text: str
    unit: Unit


@dataclass(frozen=True)
class EndedRun:
    """The facts of a run that is over.

    Where a step makes several assets, the first of them by name stands for all: they land together.

    Attributes:
        wanted: What it was started to make.
        landed: What it made, more than ``wanted`` where dependents were made too.
        refused: Why a partition was held back, by what was not made.
        error: What ended it, for a failure.
    """

    run_id: str
    job: str
    outcome: Literal["success", "failure", "canceled"]
    has_started: bool = True
    partitions: Sequence[str] = ()
    wanted: frozenset[Unit] = frozenset()
    landed: frozenset[Unit] = frozenset()
    refused: Mapping[Unit, str] | None = None
    checks: Sequence[CheckResult] = ()
    notices: Sequence[Notice] = ()
    error: str = ""


@dataclass(frozen=True)
class OpenAlert:
    """An alert that was told and whose ``problems`` are not well yet."""

    alert_id: str
    severity: Severity
    title: str
    problems: frozenset[Problem]
    told_at: datetime


@dataclass(frozen=True)
class Decision:
    """What becomes of the alerts.

    Attributes:
        raised: The problems of a new alert; empty if there is none.
        repeated: Open alerts that had told of it within the window.
        remaining: Open alerts that lose problems, and those that they keep.
        recovered: Open alerts whose last problem is well.
    """

    raised: frozenset[Problem]
    repeated: Sequence[OpenAlert]
    remaining: Mapping[str, frozenset[Problem]]
    recovered: Sequence[OpenAlert]


def problems(run: EndedRun) -> frozenset[Problem]:
    """Return what is not well after ``run``."""
    failed_checks = {check.problem for check in run.checks if not check.passed}
    return frozenset(failed_checks | (_failures(run) if run.outcome == "failure" else set()))


def _failures(run: EndedRun) -> set[Problem]:
    refused = set(run.refused or ())
    failed = {
        Problem("held_back" if unit in refused else "failed", *unit)
        for unit in refused | (run.wanted - run.landed)
    }
    return failed or {Problem("job_failed", run.job, key) for key in run.partitions or ("",)}


def wellness(run: EndedRun) -> Callable[[Problem], bool]:
    """Return what tells of a problem whether it is well after ``run``.

    A partition is well once it landed, in whichever job; a check once it passes.
    """
    made = set(run.landed)
    passed = {(check.asset, check.name) for check in run.checks if check.passed}
    done: set[tuple[str, str]] = set()
    if run.outcome == "success":
        made |= run.wanted
        done = {(run.job, key) for key in (*run.partitions, "")}

    def is_well(problem: Problem) -> bool:
        about = (problem.subject, problem.detail)
        if problem.kind.startswith("check_"):
            return about in passed
        return about in done if problem.kind == "job_failed" else about in made

    return is_well


def decide(
    bad: frozenset[Problem],
    is_well: Callable[[Problem], bool],
    open_alerts: Sequence[OpenAlert],
    *,
    now: datetime,
    window: timedelta,
) -> Decision:
    """Return what becomes of the alerts when ``bad`` is found not to be well.

    A new alert tells of all that is bad, as soon as something of it was not told within ``window``;
    older alerts leave these problems to it.
    """
    recent = [alert for alert in open_alerts if alert.told_at > now - window]
    told = frozenset[Problem]().union(*(alert.problems for alert in recent))
    raised = bad if bad - told else frozenset[Problem]()
    remaining = {
        alert.alert_id: frozenset(
            problem
            for problem in alert.problems
            if problem not in raised and (problem in bad or not is_well(problem))
        )
        for alert in open_alerts
    }
    return Decision(
        raised=raised,
        repeated=[alert for alert in recent if alert.problems & bad] if not raised else [],
        remaining={
            alert.alert_id: remaining[alert.alert_id]
            for alert in open_alerts
            if remaining[alert.alert_id] != alert.problems
        },
        recovered=[
            alert
            for alert in open_alerts
            if not remaining[alert.alert_id] and not alert.problems & raised
        ],
    )


def severity_of(found: Iterable[Problem]) -> Severity:
    """Return that of the worst of these problems."""
    kinds = {problem.kind for problem in found}
    return "warning" if kinds <= {"check_warning"} else "error"


def worst(severities: Iterable[Severity]) -> Severity:
    """Return the most severe of these, of which there is one."""
    return max(severities, key=SEVERITIES.index)


def admits(least: Severity, severity: Severity) -> bool:
    """Whether a channel that wants ``least`` or worse gets an alert of ``severity``."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)


def wait_after(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts in vain to deliver an alert."""
    return min(FIRST_WAIT * 2 ** min(attempts - 1, 10), LONGEST_WAIT)
