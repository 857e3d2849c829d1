"""Decisions of the ticks that load FINRA's weeks, derive from them, and draw them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from orchestration_project.domains.finra.recomputation import week_ranges
from orchestration_project.domains.finra.selection import (
    TierWeek,
    by_publication,
    outdated,
    parsed,
    run_key,
    summary,
    within_horizon,
)
from orchestration_project.engine.contracts.partition_tags import RANGE_END, RANGE_START
from orchestration_project.engine.contracts.ticks import (
    ONCE_A_DAY,
    REQUESTED,
    Places,
    PlannedRun,
    TickPlan,
    choose_runs,
    describe_waiting,
    hash_keys,
    list_keys,
)


def plan_runs(
    weeks: Iterable[TierWeek], versions: Mapping[str, str], today: date
) -> list[PlannedRun]:
    """Return a run for each week that has a present version, by key in ``versions``."""
    return [
        PlannedRun(run_key=run_key(week, versions[week.key], today), partition_key=week.key)
        for week in weeks
        if week.key in versions
    ]


def describe_refusals(refusals: Collection[str]) -> str:
    """Return a sentence about the weeks that FINRA refuses; without any, an empty text."""
    return f" FINRA says nothing of {', '.join(sorted(refusals))}." if refusals else ""


def _describe_requests(
    runs: Sequence[PlannedRun], *, waiting_count: int, refusals: Collection[str], left_out: str = ""
) -> str:
    weeks = summary(map(parsed, list_keys(runs)))
    waiting = describe_waiting(waiting_count)
    return f"Requested {weeks}.{waiting}{left_out}{describe_refusals(refusals)}"


# -- weeks that FINRA published --------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PublishedWeeks:
    """Weeks that FINRA lists, and those that are loaded.

    Attributes:
        listed: Weeks of known tiers.
        unknown: Tiers that are not documented.
        loaded: Keys of the weeks that are loaded or were quarantined.
        partitions: Keys of the weeks that Dagster has.
        today: Day of the tick.
        horizon: Weeks since their publication in which missing ones are due.
    """

    listed: Sequence[TierWeek]
    unknown: Sequence[str]
    loaded: Collection[str]
    partitions: Collection[str]
    today: date
    horizon: int

    @cached_property
    def in_horizon(self) -> list[TierWeek]:
        """Weeks that were published lately."""
        return within_horizon(self.listed, today=self.today, weeks=self.horizon)

    @cached_property
    def recent(self) -> list[TierWeek]:
        """Those of them that are partitions: none lies before FINRA_FIRST_WEEK."""
        return [week for week in self.in_horizon if week.key in self.partitions]

    @cached_property
    def missing(self) -> list[TierWeek]:
        """Those of them that were never loaded, by their publication."""
        return by_publication(week for week in self.recent if week.key not in self.loaded)

    @property
    def keys(self) -> set[str]:
        """Keys of the listed weeks."""
        return {week.key for week in self.listed}

    @property
    def left_out(self) -> str:
        """A sentence about unknown tiers; without any, an empty text."""
        names = ", ".join(self.unknown)
        return f" Left out, as tiers that are not documented: {names}." if names else ""

    def find_not_due(self) -> Places:
        """Return the listed weeks that are not missing, by the reason."""
        in_horizon = {week.key for week in self.in_horizon}
        recent = {week.key for week in self.recent}
        return {
            "before_horizon": self.keys - in_horizon,
            "no_partition": in_horizon - recent,
            "loaded": {key for key in recent if key in self.loaded},
        }

    def list_waiting(self, running: Collection[TierWeek]) -> list[TierWeek]:
        """Return the missing weeks that no run loads."""
        return [week for week in self.missing if week not in running]

    def find_unread(self, running: Collection[TierWeek], cursor: str | None) -> list[TierWeek]:
        """Return the weeks whose versions a tick reads: none that were requested in vain today."""
        waiting = self.list_waiting(running)
        return [] if cursor == self.digest(waiting) else waiting

    def digest(self, waiting: Iterable[TierWeek]) -> str:
        """Return the cursor after these weeks were requested in vain; the day after, they wait."""
        return f"{self.today} {hash_keys(week.key for week in waiting)}"


@dataclass(frozen=True, kw_only=True)
class ReadWeeks:
    """Missing weeks whose versions a tick read, up to its limit of runs.

    Attributes:
        new: Runs of a key that no run has.
        requested_today: Runs of a key that a run has.
        rest: Weeks above the limit, which were not read.
        refusals: Keys of the weeks that FINRA says nothing of.
    """

    new: Sequence[PlannedRun] = ()
    requested_today: Sequence[PlannedRun] = ()
    rest: Sequence[TierWeek] = ()
    refusals: Collection[str] = ()


def plan_publication(
    weeks: PublishedWeeks, running: Collection[TierWeek], read: ReadWeeks, cursor: str | None
) -> TickPlan:
    """Return which published weeks a tick requests that were never loaded.

    Args:
        weeks: Weeks that FINRA lists.
        running: Those that a run loads.
        read: Versions of the first that are missing.
        cursor: Weeks that the last tick requested in vain, as `PublishedWeeks.digest`.
    """
    waiting = weeks.list_waiting(running)
    not_due = {**weeks.find_not_due(), "under_way": [week.key for week in running]}
    if not waiting:
        under_way = f" or are being loaded ({summary(running)})" if running else ""
        reason = (
            f"Nothing to do: all {len(weeks.recent)} partitions published in the last "
            f"{weeks.horizon} weeks were taken{under_way}.{weeks.left_out}"
        )
        return TickPlan(places=not_due, skip_reason=reason)
    digest = weeks.digest(waiting)
    in_vain = f"Not loaded, and requested today: {summary(waiting)}; {ONCE_A_DAY}{weeks.left_out}"
    if cursor == digest:
        return TickPlan(skip_reason=in_vain)
    places = {
        REQUESTED: list_keys(read.new),
        "asked_today": list_keys(read.requested_today),
        "waiting": [week.key for week in read.rest],
        "refused": read.refusals,
        **not_due,
    }
    if read.new:
        message = _describe_requests(
            read.new,
            waiting_count=len(read.rest),
            refusals=read.refusals,
            left_out=weeks.left_out,
        )
        return TickPlan(requests=read.new, places=places, message=message)
    if read.refusals:  # which may be over in a minute, so the next tick looks again
        refused = describe_refusals(read.refusals)
        return TickPlan(
            places=places, skip_reason=f"Nothing can be requested.{refused}{weeks.left_out}"
        )
    return TickPlan(places=places, skip_reason=in_vain, cursor=digest)


def plan_outdated_weeks(
    weeks: PublishedWeeks, due: Sequence[TierWeek], refusals: Collection[str]
) -> TickPlan:
    """Return which published weeks a backfill loads: the place `REQUESTED`.

    Args:
        weeks: Weeks that FINRA lists.
        due: Recent ones that are missing or restated.
        refusals: Keys of recent ones that FINRA says nothing of.
    """
    requested = [week.key for week in due]
    not_due = weeks.find_not_due()
    places = {
        REQUESTED: requested,
        "refused": refusals,
        **not_due,
        "loaded": set(not_due["loaded"]) - {*refusals, *requested},
    }
    left_out = f"{weeks.left_out}{describe_refusals(refusals)}"
    if due:
        return TickPlan(places=places, message=f"{summary(due)}.{left_out}")
    reason = (
        f"Nothing to do: all {len(weeks.recent)} partitions published in the last "
        f"{weeks.horizon} weeks were taken, and none has changed since.{left_out}"
    )
    return TickPlan(places=places, skip_reason=reason)


# -- loaded weeks that FINRA changed ---------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Loaded weeks that FINRA may have changed since a day.

    Attributes:
        loaded: Versions of all loaded weeks, by key.
        week_count: Loaded weeks that are partitions.
        suspects: Those that may have changed.
        versions: Present versions of suspects, by key.
        refusals: Keys of the suspects that FINRA says nothing of.
        since: First day of the changes.
        today: Last day of the changes.
        next_cursor: Cursor after a tick that finds no change.
    """

    loaded: Mapping[str, Collection[str]]
    week_count: int
    suspects: Sequence[TierWeek]
    versions: Mapping[str, str]
    refusals: Collection[str]
    since: date
    today: date
    next_cursor: str

    @cached_property
    def changed(self) -> list[TierWeek]:
        """Suspects of another version than the loaded ones, by their publication."""
        readable = [week for week in self.suspects if week.key not in self.refusals]
        return by_publication(outdated(readable, seen=self.loaded, now=self.versions))

    def build_runs(self, running: Collection[TierWeek]) -> list[PlannedRun]:
        """Return the runs that are due, without weeks that a run loads."""
        weeks = [week for week in self.changed if week not in running]
        return plan_runs(weeks, self.versions, self.today)


def plan_restatement(
    sweep: Sweep, running: Collection[TierWeek], known_keys: Collection[str], limit: int
) -> TickPlan:
    """Return which changed weeks a tick requests; the cursor moves when none is left.

    Args:
        sweep: Loaded weeks, and their present versions.
        running: Changed weeks that a run loads.
        known_keys: Run keys of `Sweep.build_runs` that a run has.
        limit: How many runs to request at most.
    """
    if not sweep.week_count:
        return TickPlan(skip_reason="Nothing to do: no week was taken yet.")
    polled = f"{sweep.week_count} weeks that were taken, from {sweep.since} to {sweep.today}"
    if not sweep.changed and not sweep.refusals:
        reason = f"Nothing to do: FINRA changed none of the {polled}."
        return TickPlan(skip_reason=reason, cursor=sweep.next_cursor)
    chosen = choose_runs(sweep.build_runs(running), known_keys, limit)
    unchanged = [key for key, version in sweep.versions.items() if version in sweep.loaded[key]]
    places = {
        **chosen.places,
        "under_way": [week.key for week in running],
        "refused": sweep.refusals,
        "unchanged": unchanged,
    }
    if chosen.requested:
        message = _describe_requests(
            chosen.requested, waiting_count=len(chosen.waiting), refusals=sweep.refusals
        )
        return TickPlan(requests=chosen.requested, places=places, message=message)
    again = f" Being loaded or requested today: {summary(sweep.changed)}; {ONCE_A_DAY}"
    left_out = (again if sweep.changed else "") + describe_refusals(sweep.refusals)
    return TickPlan(
        places=places, skip_reason=f"Nothing more to request of the {polled}.{left_out}"
    )


# -- what is derived of weeks ----------------------------------------------------------------------


def describe_unpartitioned(count: int) -> str:
    """Return a sentence about weeks before the first partition; without any, an empty text."""
    if not count:
        return ""
    return (
        f" {count} that are out of date lie before the first partition: set FINRA_FIRST_WEEK to "
        "have them derived too."
    )


def plan_latest_weeks(
    complete: Sequence[str], restated: Iterable[str], week_count: int
) -> TickPlan:
    """Return runs that derive the latest complete weeks, and older restated ones.

    Args:
        complete: Weeks of which all tiers are loaded, oldest first.
        restated: Weeks that FINRA changed since they were derived.
        week_count: How many of the latest to derive.
    """
    if not complete:
        return TickPlan(skip_reason="Nothing to do: no week has all tiers loaded.")
    return TickPlan(
        requests=[
            PlannedRun(run_key=f"{start}...{end}", tags={RANGE_START: start, RANGE_END: end})
            for start, end in week_ranges([*restated, *complete[-week_count:]])
        ]
    )


def plan_chart(
    run: PlannedRun,
    version: str | None,
    drawn: str | None,
    *,
    running: str,
    known_keys: Collection[str],
) -> TickPlan:
    """Return the run that draws the chart, if it shows another version than the present one.

    Args:
        run: The run.
        version: Version of the rows that the chart shows; None: nothing is loaded.
        drawn: Version of the latest chart; None: none was drawn.
        running: A sentence about a run that draws it; empty: none is under way.
        known_keys: Run keys that a run has.
    """
    if version is None:
        return TickPlan(skip_reason="Nothing to draw: no week is loaded.")
    if version == drawn:
        reason = f"Nothing to do: the picture shows the present gold ({version})."
        return TickPlan(skip_reason=reason)
    if running:
        return TickPlan(skip_reason=running)
    if run.run_key in known_keys:
        return TickPlan(skip_reason=f"The picture of {version} was requested today; {ONCE_A_DAY}")
    return TickPlan(requests=[run], message=f"Requested the chart of {version}.")
