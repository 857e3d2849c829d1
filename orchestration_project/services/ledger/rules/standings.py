"""How each domain and asset stands: figures by window of time, and a state by fixed thresholds.

What ran comes as counts by day, failures and rows; `docs/how-to/monitor.md` has the thresholds in
words.
"""

import json
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

import polars as pl

from orchestration_project.engine.contracts.failures import PERMANENT_REASONS, TRANSIENT_CATEGORIES
from orchestration_project.engine.contracts.pauses import Pause
from orchestration_project.engine.contracts.problems import QUARANTINE_REMEDY, OldestMissing

State = Literal["healthy", "attention", "stale", "failing"]
"""From the best to the worst."""

STATES: tuple[State, ...] = get_args(State)

DAY, WEEK, MONTH = 24, 7 * 24, 28 * 24
WINDOWS = (DAY, WEEK, MONTH)
"""Hours before a look."""

DAYS = MONTH // DAY

FAILING_SUCCESS_SHARE = 0.5
"""Below this share of successes, in the shortest window in which anything ended, it is failing."""

MANY_REJECTS_SHARE = 0.005
"""Above this share of rejected lines within a day it asks for attention."""

MANY_RETRIES = 3
"""From so many retries within a day on it asks for attention."""

LONG_WAIT_HOURS = 1.0
"""A run that waits for longer asks for attention."""

SHOWN_IN_HOURS = 48
"""A shorter time is shown in hours, a longer one in days."""

LINE_CHARACTERS, HARD_BREAK = 42, "  \n  "
"""Dagster's table of metadata does not wrap a cell, and cuts it after about 45 characters."""

RETRY_REMEDY = "start retry_failures of operations_runs"
"""Remedy of failures that another try may mend."""

COUNTS: dict[str, Any] = {
    "domain": pl.String,
    "asset": pl.String,
    "days_ago": pl.Int64,
    "status": pl.String,
    "error_category": pl.String,
    "run_count": pl.Int64,
    "retry_count": pl.Int64,
    "rows_in": pl.Int64,
    "rows_landed": pl.Int64,
    "rows_rejected": pl.Int64,
    "byte_count": pl.Int64,
}
"""Columns of what ended: sums by subject, day (0: the last 24 hours), status and category."""

SUMS = ("run_count", "retry_count", "rows_in", "rows_landed", "rows_rejected", "byte_count")


class Subject(NamedTuple):
    """A domain, or with ``asset`` one of its assets."""

    domain: str
    asset: str = ""


@dataclass(frozen=True)
class ActiveRuns:
    """Unfinished runs: waiting ones, running ones, and the first wait's start."""

    queue_depth: int = 0
    running_count: int = 0
    waiting_since: datetime | None = None


@dataclass(frozen=True)
class Observation:
    """Figures from the database.

    Attributes:
        ended: What ended in the last 28 days, see `COUNTS`.
        under_way: What has not.
        landed_at: When each asset last loaded.
        quarantined: Number of quarantined partitions of each asset that has some.
    """

    ended: pl.DataFrame
    under_way: Mapping[Subject, ActiveRuns] = field(default_factory=dict)
    landed_at: Mapping[str, datetime] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Figures:
    """Ended runs of a subject in one window."""

    hours: int
    run_count: int = 0
    success_count: int = 0
    failure_count: int = 0
    retry_count: int = 0
    rows_in: int = 0
    rows_landed: int = 0
    rows_rejected: int = 0
    byte_count: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)

    @property
    def success_share(self) -> float | None:
        """Succeeded among succeeded and failed; None: neither."""
        ended_count = self.success_count + self.failure_count
        return self.success_count / ended_count if ended_count else None

    @property
    def reject_share(self) -> float | None:
        """Rejected among the lines that came in; None: none came."""
        return self.rows_rejected / self.rows_in if self.rows_in else None


@dataclass(frozen=True)
class SubjectHealth:
    """How a subject stands, and why.

    Attributes:
        quarantined_count: Number of its quarantined partitions.
    """

    subject: Subject
    figures: Sequence[Figures]
    under_way: ActiveRuns
    landed_at: datetime | None
    overdue: OldestMissing | None
    state: State
    reasons: Sequence[str]
    quarantined_count: int = 0

    @property
    def is_retry_useful(self) -> bool:
        """Whether a failure of the shortest window with failures may be mended by a retry."""
        recent = next((figure for figure in self.figures if figure.failure_count), None)
        return recent is not None and bool(_list_transient(recent.failures))


def _find_no_pause(_: Subject) -> Pause | None:
    """Find no pause, as where nothing is paused."""
    return None


def evaluate_health(
    observation: Observation,
    overdue: Iterable[OldestMissing],
    *,
    now: datetime,
    machine_now: datetime,
    pause_of: Callable[[Subject], Pause | None] = _find_no_pause,
) -> list[SubjectHealth]:
    """Return how every subject stands, domains before their assets.

    Args:
        observation: Observation of the database.
        overdue: Late partitions of calendars, at most one of an asset.
        now: The project's time, of loads and promises.
        machine_now: Dagster's time, of runs.
        pause_of: Returns the pause of a subject. A paused one is neither late nor waits too long.
    """
    late = sorted(overdue, key=lambda each: each.due_at)
    assets = {
        *observation.landed_at,
        *observation.quarantined,
        *(oldest_missing.asset for oldest_missing in late),
    }
    of_assets = {Subject(asset.split("/")[0], asset) for asset in assets}
    seen_subjects = {
        Subject(*row) for row in observation.ended.select("domain", "asset").unique().rows()
    }
    subjects = seen_subjects | of_assets | set(observation.under_way)
    subjects |= {Subject(subject.domain) for subject in subjects}
    figures = {hours: _sum_figures(observation.ended, hours) for hours in WINDOWS}
    subject_healths: list[SubjectHealth] = []
    for subject in sorted(subjects):
        of_it = [figures[hours].get(subject, Figures(hours)) for hours in WINDOWS]
        pause = pause_of(subject)
        missing_items = [
            missing
            for missing in late
            if _is_of(missing.asset, subject)
            and pause_of(Subject(subject.domain, missing.asset)) is None
        ]
        loaded = [at for asset, at in observation.landed_at.items() if _is_of(asset, subject)]
        way = observation.under_way.get(subject, ActiveRuns())
        judged = way if pause is None else replace(way, waiting_since=None)
        quarantined = {
            asset: count
            for asset, count in observation.quarantined.items()
            if _is_of(asset, subject)
        }
        state, reasons = evaluate_state(
            of_it, judged, missing_items, now=now, machine_now=machine_now, quarantined=quarantined
        )
        reasons = reasons if pause is None else [pause.text, *reasons]
        landed_at = max(loaded, default=None)
        oldest = missing_items[0] if missing_items else None
        total = sum(quarantined.values())
        subject_healths.append(
            SubjectHealth(subject, of_it, way, landed_at, oldest, state, reasons, total)
        )
    return subject_healths


def evaluate_state(
    figures: Sequence[Figures],
    under_way: ActiveRuns,
    overdue: Sequence[OldestMissing],
    *,
    now: datetime,
    machine_now: datetime,
    quarantined: Mapping[str, int] = MappingProxyType({}),
) -> tuple[State, list[str]]:
    """Return the worst state that a threshold gives, and every reason, the worst first."""
    reasons: list[tuple[State, str]] = []
    recent = next((figure for figure in figures if figure.success_share is not None), None)
    if recent and (recent.success_share or 0.0) < FAILING_SUCCESS_SHARE:
        reasons.append(("failing", _describe_failures(recent)))
    reasons.extend(("stale", _describe_lateness(oldest_missing, now)) for oldest_missing in overdue)
    in_lateness = {
        oldest_missing.asset: oldest_missing.quarantined_count
        for oldest_missing in overdue
        if not oldest_missing.reason
    }
    reasons.extend(
        ("attention", _describe_quarantine(asset, count))
        for asset, count in sorted(quarantined.items())
        if in_lateness.get(asset) != count
    )
    worries = _list_worries(figures[0], under_way, machine_now)
    reasons.extend(("attention", worry) for worry in worries)
    worst: State = reasons[0][0] if reasons else "healthy"
    return worst, list(dict.fromkeys(reason for _, reason in reasons))


def _list_worries(day: Figures, under_way: ActiveRuns, machine_now: datetime) -> list[str]:
    worries = [_describe_failures(day)] if day.failure_count else []
    if (day.reject_share or 0.0) > MANY_REJECTS_SHARE:
        share = f"{day.reject_share:.2%} of the lines of the last 24 h were rejected"
        worries.append(f"{share}; do this: read the table rejects")
    if day.retry_count >= MANY_RETRIES:
        worries.append(f"{day.retry_count} retries in the last 24 h")
    waiting = under_way.waiting_since
    if waiting and (hours := _count_hours(waiting, machine_now)) > LONG_WAIT_HOURS:
        wait = f"a run has waited for {hours:.1f} h to start"
        worries.append(f"{wait}; do this: see what runs, and whether the daemon does")
    return worries


def _describe_quarantine(asset: str, count: int) -> str:
    text = f"{count} partition{'s' if count > 1 else ''} of {asset} quarantined"
    return f"{text}; do this: {QUARANTINE_REMEDY}"


def _describe_lateness(oldest: OldestMissing, now: datetime) -> str:
    if oldest.reason:
        return f"{oldest.reason}; do this: {oldest.next_step}"
    late = _format_duration(_count_hours(oldest.due_at, now))
    counts = {"missing": oldest.absent_count, "quarantined": oldest.quarantined_count}
    states = [
        f"{count} {oldest.unit}{'s' if count > 1 else ''} {state}"
        for state, count in counts.items()
        if count
    ]
    text = f"{', '.join(states)}, oldest {oldest.partition}"
    return f"{oldest.asset} is {late} late, {text}; do this: {oldest.next_step}"


def _format_duration(hours: float) -> str:
    return f"{hours:.0f} h" if hours < SHOWN_IN_HOURS else f"{hours / DAY:.0f} days"


def summarize_states(found: Iterable[SubjectHealth]) -> str:
    """Return the domains by state, the worst first, e.g. "stale: finra; healthy: fx, saas"."""
    names: dict[State, list[str]] = {}
    for subject_health in found:
        names.setdefault(subject_health.state, []).append(subject_health.subject.domain)
    worst_first = sorted(names, key=STATES.index, reverse=True)
    found_by_state = (f"{state}: {', '.join(names[state])}" for state in worst_first)
    return "; ".join(found_by_state) or "no run has ended, and nothing is loaded"


def render_state(standing: SubjectHealth) -> str:
    """Return the Markdown of a subject's state, with its reasons in a list of short lines."""
    reasons = map(_wrap_lines, standing.reasons)
    return "\n".join([f"**{standing.state}**\n", *(f"- {reason}" for reason in reasons)]).rstrip()


def _wrap_lines(reason: str) -> str:
    parts = reason.replace("; do this:", "\ndo this:").replace("; ", ";\n").splitlines()
    lines = [line for part in parts for line in textwrap.wrap(part, LINE_CHARACTERS)]
    return HARD_BREAK.join(lines)


def _describe_failures(figures: Figures) -> str:
    ended = figures.success_count + figures.failure_count
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(figures.failures.items()))
    failed = (
        f"{figures.failure_count} of {ended} failed in the last {_format_duration(figures.hours)}"
    )
    return f"{failed}: {kinds}; do this: {_describe_remedy(figures.failures)}"


def _describe_remedy(failures: Mapping[str, int]) -> str:
    """Return the remedy: a retry of transient failures; of each other kind, its reason."""
    transient = _list_transient(failures)
    retries = [f"{RETRY_REMEDY} for {', '.join(transient)}"] if transient else []
    other_names = [kind for kind in sorted(failures) if kind not in transient]
    return "; ".join(retries + [f"{kind}: {PERMANENT_REASONS[kind]}" for kind in other_names])


def _list_transient(failures: Mapping[str, int]) -> list[str]:
    return sorted(kind for kind in failures if kind in TRANSIENT_CATEGORIES)


def build_rows(found: Iterable[SubjectHealth], now: datetime) -> list[dict[str, Any]]:
    """Return the rows of ``operations_control_tower``, one by subject and window."""
    return [
        _build_row(subject_health, figures, now)
        for subject_health in found
        for figures in subject_health.figures
    ]


def _build_row(standing: SubjectHealth, figures: Figures, now: datetime) -> dict[str, Any]:
    late = standing.overdue
    ended_count = figures.success_count + figures.failure_count
    return {
        "domain": standing.subject.domain,
        "asset": standing.subject.asset,
        "window_hours": figures.hours,
        "state": standing.state,
        "reasons": json.dumps(list(standing.reasons)),
        "run_count": figures.run_count,
        "success_count": figures.success_count,
        "failure_count": figures.failure_count,
        "canceled_count": figures.run_count - ended_count,
        "success_share": figures.success_share,
        "retry_count": figures.retry_count,
        "failures_by_category": json.dumps(dict(sorted(figures.failures.items()))),
        "runs_per_hour": figures.run_count / figures.hours,
        "rows_in": figures.rows_in,
        "rows_landed": figures.rows_landed,
        "rows_rejected": figures.rows_rejected,
        "reject_share": figures.reject_share,
        "byte_count": figures.byte_count,
        "queue_depth": standing.under_way.queue_depth,
        "running_count": standing.under_way.running_count,
        "last_landed_at": standing.landed_at,
        "hours_since_landing": _count_hours(standing.landed_at, now)
        if standing.landed_at
        else None,
        "oldest_unlanded_partition": late.partition if late else None,
        "hours_late": _count_hours(late.due_at, now) if late else None,
        "looked_at": now,
    }


def sum_by_day(ended: pl.DataFrame, domain: str | None = None) -> pl.DataFrame:
    """Return for each of the last 28 days, the oldest first, what ended of a domain, or of all."""
    runs = ended.filter(pl.col("asset") == "")
    if domain is not None:
        runs = runs.filter(pl.col("domain") == domain)
    sums = runs.group_by("days_ago").agg(
        success_count=pl.col("run_count").filter(pl.col("status") == "SUCCESS").sum(),
        failure_count=pl.col("run_count").filter(pl.col("status") == "FAILURE").sum(),
        rows_landed=pl.col("rows_landed").sum(),
    )
    days = pl.DataFrame({"days_ago": range(DAYS - 1, -1, -1)}, {"days_ago": pl.Int64})
    return days.join(sums, on="days_ago", how="left").fill_null(0)


def _sum_figures(ended: pl.DataFrame, hours: int) -> dict[Subject, Figures]:
    within = ended.filter(pl.col("days_ago") < hours // DAY)
    names = {"SUCCESS": "success_count", "FAILURE": "failure_count"}
    grouped = within.group_by("domain", "asset").agg(
        pl.col(SUMS).sum(),
        *(
            pl.col("run_count").filter(pl.col("status") == status).sum().alias(name)
            for status, name in names.items()
        ),
    )
    failed = within.filter(pl.col("status") == "FAILURE")
    kinds: dict[Subject, dict[str, int]] = {}
    by_kind = failed.group_by("domain", "asset", "error_category").agg(pl.col("run_count").sum())
    for domain, asset, kind, count in by_kind.rows():
        kinds.setdefault(Subject(domain, asset), {})[kind] = count
    figures: dict[Subject, Figures] = {}
    for row in grouped.rows(named=True):
        subject = Subject(row.pop("domain"), row.pop("asset"))
        figures[subject] = Figures(hours, **row, failures=kinds.get(subject, {}))
    return figures


def _is_of(asset: str, subject: Subject) -> bool:
    return asset == subject.asset or (not subject.asset and asset.split("/")[0] == subject.domain)


def _count_hours(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds() / 3600
