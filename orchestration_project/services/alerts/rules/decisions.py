"""Alert decisions at the end of a run: raised, repeated and recovered alerts, from plain facts.

A *problem* is one thing that is not well: a partition of an asset, a check, a job. An *alert*
covers all problems of one run, and is open until each is well again or a later alert covers it.
`messages.py` has the words.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import BaseModel, Field

from orchestration_project.engine.contracts.attempts import MAX_WAIT, compute_backoff
from orchestration_project.engine.contracts.problems import (
    ITEMS_FAILED,
    SEVERITIES,
    EndedRun,
    Problem,
    Severity,
)

FIRST_WAIT = timedelta(minutes=1)
"""After the first failed attempt to deliver an alert; the wait doubles with each further one."""

EARLY = timedelta(minutes=10)
"""A window counts as over this long, or a tenth of it, before its end: a daily check comes some
seconds earlier or later than the day before, and would else be reported every other day."""

CLOCK_SKEW_TOLERANCE = MAX_WAIT
"""Tolerated clock skew of other machines. A later date is of a clock that was set back, and is
ignored."""


class AlertKind(NamedTuple):
    """Cause and severity of alerts of a kind."""

    severity: str
    raised_when: str


KINDS = {
    "held_back": AlertKind("error", "a run quarantines partitions"),
    "failed": AlertKind("error", "a run of assets fails, never starts, or its process exits"),
    "job_failed": AlertKind("error", "the same of a job without assets; a backfill fails"),
    "check": AlertKind("that of the check", "an asset check fails, also in a run that succeeds"),
    "tick_failed": AlertKind("error", "the latest tick of a sensor or schedule failed"),
    "daemon_silent": AlertKind(
        "error", "no heartbeat of a part of Dagster's daemon for 150 s, or the daemon exited"
    ),
    "queue_stuck": AlertKind("error", "a run is queued for an hour in which none started or ended"),
    "disk_low": AlertKind("error", "a disk has less than DISK_HEADROOM_MIB free"),
    "host_silent": AlertKind(
        "error",
        "a program on a host has sent no heartbeat for 150 s; of the daemon alone: `daemon_silent`",
    ),
    "host_overloaded": AlertKind(
        "error", "a host uses over 95 % of CPU, memory or disk for 15 min, or 80 % of open files"
    ),
    "objective_burning": AlertKind(
        "error", "an objective of slo.yaml spends its error budget many times too fast"
    ),
    "two_releases": AlertKind(
        "error", "programs of two releases run beside each other for 15 minutes"
    ),
    "backup_old": AlertKind("error", "the latest backup is older than BACKUP_MAX_AGE_HOURS"),
    "restore_untried": AlertKind(
        "error", "no backup was restored with --check within 7 days of the first backup"
    ),
    "certificate_expiring": AlertKind(
        "error", "the certificate of PUBLIC_URL expires within 14 days, or is for other hosts"
    ),
    "log_lines_lost": AlertKind("warning", "log lines of a machine were lost within the last hour"),
    "prometheus": AlertKind(
        "that of its label severity", "Alertmanager sends an alert without the label covered_by"
    ),
    "alert_rules": AlertKind(
        "error", "the rules or channels are malformed, or a rule names something unknown"
    ),
    "database": AlertKind("error", "the database cannot be used"),
    "schedule_disabled": AlertKind(
        "error", "a schedule of operations_schedules is disabled: its job or run config is invalid"
    ),
    "plugin_disabled": AlertKind(
        "error",
        "a plugin is disabled for three violations in its last 20 runs, or a revoked publisher",
    ),
    "restatement": AlertKind("warning", "a source restated more than the limit"),
    ITEMS_FAILED: AlertKind(
        "warning", "files or other items of a run fail and are not retried, and its checks pass"
    ),
    "landed": AlertKind("info", "a new partition was loaded"),
    "recovered": AlertKind("that of the alert", "what an alert reported has recovered"),
    "test": AlertKind("info", "a test message was requested"),
}
"""Every kind that a rule can match; an asset may add kinds of notices of its own."""

UNRULED_KINDS = {
    "digest": AlertKind("the highest of its alerts", "several alerts of a rule are one message"),
    "notice": AlertKind("info", "metadata of an asset has `notice` without `notice_kind`"),
}
"""Kinds of messages that have no runbook."""


class Route(NamedTuple):
    """Rule that routes a problem to a channel, and its repeat interval."""

    rule: str
    window: timedelta


class Notification(NamedTuple):
    """Rule by which a channel was notified, and the time."""

    rule: str
    at: datetime


@dataclass(frozen=True)
class OpenAlert:
    """An alert whose ``problems`` are not well yet; of each problem there is one at most.

    Attributes:
        raised_at: When it was raised.
        notifications: By channel, the notification of its problems.
    """

    alert_id: str
    severity: Severity
    title: str
    problems: frozenset[Problem]
    raised_at: datetime
    notifications: Mapping[str, Notification] = field(default_factory=dict)


@dataclass(frozen=True)
class AlertDecision:
    """Decision about the alerts.

    Attributes:
        raised: The problems of a new alert; empty if there is none.
        repeated: Open alerts that were sent within the window.
        remaining: Open alerts that lose problems, and those that they keep.
        recovered: Open alerts whose last problem is well.
        fresh: By channel that gets the new alert, the rule by which it does.
        kept: Channels that got older alerts of its problems, and get no new one.
    """

    raised: frozenset[Problem]
    repeated: Sequence[OpenAlert]
    remaining: Mapping[str, frozenset[Problem]]
    recovered: Sequence[OpenAlert]
    fresh: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, Notification] = field(default_factory=dict)


def find_problems(run: EndedRun) -> frozenset[Problem]:
    """Return the problems after ``run``."""
    failed_checks = {check.problem for check in run.checks if not check.passed}
    return frozenset(
        failed_checks | (_collect_failures(run) if run.outcome == "failure" else set())
    )


def _collect_failures(run: EndedRun) -> set[Problem]:
    refused = set(run.refused or ())
    failed = {
        Problem("held_back" if unit in refused else "failed", *unit)
        for unit in refused | (run.wanted - run.loaded)
    }
    return failed or {Problem("job_failed", run.job, key) for key in run.partitions or ("",)}


def match_resolved(run: EndedRun) -> Callable[[Problem], bool]:
    """Return a predicate: whether a problem is resolved after ``run``.

    A partition is well once it loaded, in whichever job; a check once it passes. That a run named
    no partition is well once any of the asset loaded.
    """
    is_whole = run.outcome == "success"
    units = run.loaded | run.wanted if is_whole else run.loaded
    made_pairs = {(unit.asset, key) for unit in units for key in (unit.partition, "")}
    passed = {(check.asset, check.name) for check in run.checks if check.passed}
    made_units = {(run.job, key) for key in (*run.partitions, "")} if is_whole else set()

    def is_well(problem: Problem) -> bool:
        about = (problem.subject, problem.detail)
        if problem.is_check:
            return about in passed
        return about in made_units if problem.kind == "job_failed" else about in made_pairs

    return is_well


def decide(
    bad: frozenset[Problem],
    is_well: Callable[[Problem], bool],
    open_alerts: Sequence[OpenAlert],
    *,
    now: datetime,
    window: timedelta,
    routes: Mapping[Problem, Mapping[str, Route]] | None = None,
) -> AlertDecision:
    """Return the decision about alerts when ``bad`` problems are found.

    A new alert covers all bad problems, as soon as one of ``routes`` was not notified of one
    within its window; older alerts leave these problems to it. A problem without a route notifies
    no channel, and is raised again after ``window``.
    """
    holders = {problem: alert for alert in open_alerts for problem in alert.problems & bad}
    fresh: dict[str, str] = {}
    is_raised = False
    for problem in sorted(bad):
        holder, ways = holders.get(problem), (routes or {}).get(problem, {})
        due = {name: way.rule for name, way in ways.items() if _is_due(holder, name, way, now)}
        is_raised |= bool(due) or (not ways and _is_old(holder, now, window))
        fresh = due | fresh
    raised = bad if is_raised else frozenset[Problem]()
    remaining = {
        alert.alert_id: frozenset(
            problem
            for problem in alert.problems
            if problem not in raised and (problem in bad or not is_well(problem))
        )
        for alert in open_alerts
    }
    return AlertDecision(
        raised=raised,
        repeated=[alert for alert in open_alerts if alert.problems & bad] if not raised else [],
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
        fresh=fresh,
        kept=_keep_first(holders.values(), fresh) if raised else {},
    )


def _is_old(holder: OpenAlert | None, now: datetime, window: timedelta) -> bool:
    return holder is None or not is_lately(holder.raised_at, now, window)


def is_lately(at: datetime, now: datetime, window: timedelta) -> bool:
    """Whether ``at`` lies within ``window`` before ``now``, but for its last minutes."""
    return now - window + min(EARLY, window / 10) < at <= now + CLOCK_SKEW_TOLERANCE


def _is_due(holder: OpenAlert | None, channel: str, route: Route, now: datetime) -> bool:
    sent = holder.notifications.get(channel) if holder else None
    return sent is None or not is_lately(sent.at, now, route.window)


def _keep_first(holders: Iterable[OpenAlert], fresh: Mapping[str, str]) -> dict[str, Notification]:
    """Return the first notification by channel, so that no reminder is late."""
    notifications: dict[str, Notification] = {}
    for alert in holders:
        for name, notification in alert.notifications.items():
            if name not in fresh and (
                name not in notifications or notification.at < notifications[name].at
            ):
                notifications[name] = notification
    return notifications


def derive_severity(found: Iterable[Problem]) -> Severity:
    """Return that of the worst of these problems."""
    kinds = {problem.kind for problem in found}
    return "warning" if kinds <= {"check_warning"} else "error"


def find_worst(severities: Iterable[Severity]) -> Severity:
    """Return the most severe of these, of which there is one."""
    return max(severities, key=SEVERITIES.index)


def is_admitted(least: Severity, severity: Severity) -> bool:
    """Whether a channel that wants ``least`` or worse gets an alert of ``severity``."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)


def wait_after(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts in vain to deliver an alert."""
    return compute_backoff(attempts, FIRST_WAIT, MAX_WAIT)


READ_OVERLAP = 20
"""Overlap of reads: two processes may write ends of runs in another order than their numbers."""

MAX_POLLS_FOR_RETRY = 10
"""After so many looks a retry that was announced will not be made: its backfill may be over."""


class Progress(BaseModel):
    """State that a tick hands to the next.

    Attributes:
        seen: Places of the latest ends of runs that were looked at, in order.
        waiting: Failed runs of which a retry is announced, and how often that was looked for.
        told: When each channel was notified that the database is lost; empty while it is not.
        suspected: Kinds of conditions that did not hold in the latest look.
        newest_backfill: Backfill that was requested last; None: none was looked for yet.
        open_backfills: Backfills that have not ended, or whose end is not recorded.
    """

    seen: list[int]
    waiting: dict[str, int] = Field(default_factory=dict)
    told: dict[str, datetime] = Field(default_factory=dict)
    suspected: list[str] = Field(default_factory=list)
    newest_backfill: str | None = None
    open_backfills: list[str] = Field(default_factory=list)

    @property
    def since(self) -> int:
        """The place after which ends are read."""
        return self.seen[0]

    def with_seen(self, places: list[int]) -> "Progress":
        """Return the progress after looking at these places too."""
        return self.model_copy(update={"seen": sorted({*self.seen, *places})[-READ_OVERLAP - 1 :]})
