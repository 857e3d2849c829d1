"""Launches of schedules that are data: which due times a tick starts, skips or requests again."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from orchestration_project.engine.contracts.flags import FlagSet
from orchestration_project.engine.contracts.ticks import PlannedRun
from orchestration_project.engine.tracing.traceparent import HIDDEN_PREFIX
from orchestration_project.services.schedules.rules.schedules import Schedule, StoredSchedule
from orchestration_project.services.schedules.rules.timetable import DueTimes, find_due_times

MAX_LAUNCHES = 250
"""Runs that one tick requests: Dagster's daemon makes them within a minute."""

RETRY_AFTER = timedelta(minutes=5)
"""Several times as long as the daemon needs to make `MAX_LAUNCHES` runs."""

NO_PARTITION = "no partition that is published yet"

SCHEDULE_TAG, DUE_TAG = "schedule", f"{HIDDEN_PREFIX}schedule_due_at"


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A due time of a schedule, with the columns of `operations_schedule_launches`."""

    name: str
    due_at: datetime
    version_number: int
    job: str
    requested_at: datetime
    state: Literal["requested", "launched", "skipped"] = "requested"
    partition_key: str | None = None
    reason: str | None = None
    run_config: str | None = None
    run_id: str | None = None

    @property
    def run_key(self) -> str:
        """Key of its run, of which Dagster makes one."""
        return f"{self.name} at {self.due_at.isoformat()}"

    def is_lost(self, now: datetime) -> bool:
        """Whether its request is so old that the tick's daemon ended before it made the run."""
        return not self.requested_at <= now < self.requested_at + RETRY_AFTER

    def build_run(self) -> PlannedRun:
        """Return its run."""
        return PlannedRun(
            run_key=self.run_key,
            job_name=self.job,
            partition_key=self.partition_key,
            run_config=json.loads(self.run_config or "{}"),
            tags={SCHEDULE_TAG: self.name, DUE_TAG: self.due_at.isoformat()},
        )


class LaunchedJobs(Protocol):
    """Jobs of a code location, as launches need them."""

    def problems(self, schedule: Schedule) -> Sequence[str]:
        """Return why a schedule could not start its job; empty: it could."""
        ...

    def run_config(self, schedule: Schedule) -> Mapping[str, Any]:
        """Return the run config of a schedule's runs."""
        ...

    def partition_key(self, schedule: Schedule, due: datetime) -> str | None:
        """Return the partition of a due time; None: the rule finds none that is published."""
        ...


@dataclass(frozen=True)
class LaunchPlan:
    """Decision of a tick of the schedules.

    Attributes:
        retried: Earlier launches that are requested again.
        launches: Due times that are requested or skipped.
        following: Next due time of each schedule that was planned, by its name; None: none comes.
        disabled: Reasons by the names of schedules that cannot start their job.
    """

    retried: Sequence[Launch]
    launches: list[Launch] = field(default_factory=list)
    following: dict[str, datetime | None] = field(default_factory=dict)
    disabled: dict[str, str] = field(default_factory=dict)


def plan_launches(
    due: Sequence[StoredSchedule],
    opened: Sequence[Launch],
    seen: Collection[str],
    jobs: LaunchedJobs,
    flags: FlagSet,
    now: datetime,
) -> LaunchPlan:
    """Return the launches of a tick, at most `MAX_LAUNCHES`; the others are due at the next one.

    Args:
        due: Schedules that are due, in the order of their due times.
        opened: Earlier launches without a run, in the order of their requests.
        seen: Those of their run keys of which Dagster has a run.
        jobs: Jobs of the code location.
        flags: Flags in effect.
        now: When the tick is.
    """
    lost = [launch for launch in opened if launch.run_key not in seen and launch.is_lost(now)]
    plan = LaunchPlan(lost[:MAX_LAUNCHES])
    room = MAX_LAUNCHES - len(plan.retried)
    for stored in due:
        if room <= 0:
            break
        schedule, first = stored.schedule, stored.next_due_at
        if first is None:
            continue
        if problems := jobs.problems(schedule):
            plan.disabled[schedule.name] = "; ".join(problems)
            continue
        times = find_due_times(
            schedule.timetable, first, now, schedule.catch_up, schedule.max_catch_up
        )
        launches = list(_build_launches(stored, times, room, jobs, flags, now))
        plan.launches.extend(launches)
        plan.following[schedule.name] = next(iter(times.launched[room:]), times.following)
        room -= sum(launch.state == "requested" for launch in launches)
    return plan


def _build_launches(
    stored: StoredSchedule,
    times: DueTimes,
    room: int,
    jobs: LaunchedJobs,
    flags: FlagSet,
    now: datetime,
) -> Iterator[Launch]:
    """Yield the launches of a schedule: the times that it skips as one, then ``room`` others."""
    schedule = stored.schedule
    launch = Launch(
        name=schedule.name,
        due_at=now,
        version_number=stored.version_number,
        job=schedule.job,
        requested_at=now,
    )
    if times.skipped is not None:
        start, end = times.skipped
        reason = f"not caught up ({schedule.catch_up}), with all due times until {end:%F %R} UTC"
        yield replace(launch, due_at=start, state="skipped", reason=reason)
    config = json.dumps(jobs.run_config(schedule), sort_keys=True)
    for moment in times.launched[:room]:
        key = None if schedule.partitions == "none" else jobs.partition_key(schedule, moment)
        reason = _find_reason_to_skip(schedule, key, moment, flags)
        yield replace(
            launch,
            due_at=moment,
            partition_key=key,
            run_config=config,
            state="skipped" if reason else "requested",
            reason=reason or None,
        )


def _find_reason_to_skip(
    schedule: Schedule, partition_key: str | None, moment: datetime, flags: FlagSet
) -> str:
    """Return why a due time starts no run: no partition, or its flag is off; empty: it starts."""
    if partition_key is None and schedule.partitions != "none":
        return f"{schedule.partitions}: {NO_PARTITION}"
    if schedule.flag is None:
        return ""
    return flags.why_off(schedule.flag, partition_key or moment.isoformat())
