"""Launches of schedules that are data: known answers, limits and reasons, without Dagster."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.engine.contracts.flags import FlagSet
from orchestration_project.services.schedules.rules.launches import (
    MAX_LAUNCHES,
    RETRY_AFTER,
    Launch,
    LaunchPlan,
    plan_launches,
)
from orchestration_project.services.schedules.rules.schedules import Schedule, StoredSchedule
from tests.properties import bounded

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
NO_FLAGS = FlagSet({}, NINE)
LOST = Launch(
    name="old", due_at=NINE - HOUR, version_number=1, job="verify", requested_at=NINE - HOUR
)


class Jobs:
    """Jobs that accept each schedule but those of the job ``missing``."""

    def problems(self, schedule: Schedule) -> Sequence[str]:
        return ["job not found: missing", "no run config"] if schedule.job == "missing" else []

    def run_config(self, schedule: Schedule) -> Mapping[str, Any]:
        return schedule.run_config or {}

    def partition_key(self, schedule: Schedule, due: datetime) -> str | None:
        return None if schedule.partitions == "previous" else f"{due:%Y-%m-%d}"


def stored(name: str = "hourly", first: datetime | None = NINE, **fields: Any) -> StoredSchedule:
    schedule = Schedule(name=name, **{"job": "verify", "cron": "0 * * * *", **fields})
    return StoredSchedule(schedule, 3, "ada", NINE, next_due_at=first)


def plan(
    *due: StoredSchedule, opened: Sequence[Launch] = (), seen=(), now=NINE, flags=NO_FLAGS
) -> LaunchPlan:
    return plan_launches(due, opened, seen, Jobs(), flags, now)


def test_a_due_time_is_requested_once_with_its_config_and_tags():
    planned = plan(stored(run_config={"b": 1, "a": 2}))
    [launch] = planned.launches
    assert (launch.state, launch.due_at, launch.version_number) == ("requested", NINE, 3)
    assert launch.run_config == '{"a": 2, "b": 1}'
    assert planned.following == {"hourly": NINE + HOUR}
    run = launch.build_run()
    assert (run.run_key, run.job_name) == ("hourly at 2026-03-02T09:00:00+00:00", "verify")
    assert (run.partition_key, run.run_config) == (None, {"b": 1, "a": 2})
    assert list(run.tags.values()) == ["hourly", "2026-03-02T09:00:00+00:00"]


@pytest.mark.parametrize(
    ("catch_up", "hours", "skipped"),
    [("all", [6, 7, 8, 9], []), ("latest", [9], [6]), ("none", [9], [6])],
)
def test_due_times_after_downtime_are_launched_or_skipped_as_one(catch_up, hours, skipped):
    planned = plan(stored(first=NINE - 3 * HOUR, catch_up=catch_up))
    by_state = {"requested": [], "skipped": []}
    for launch in planned.launches:
        by_state[launch.state].append(launch.due_at.hour)
    assert by_state == {"requested": hours, "skipped": skipped}
    for launch in planned.launches[: len(skipped)]:
        assert launch.reason == (
            f"not caught up ({catch_up}), with all due times until 2026-03-02 08:00 UTC"
        )


def test_a_partition_that_is_not_published_starts_no_run():
    [launch] = plan(stored(partitions="latest")).launches
    assert (launch.state, launch.partition_key) == ("requested", "2026-03-02")
    [launch] = plan(stored(partitions="previous")).launches
    assert (launch.state, launch.reason) == (
        "skipped",
        "previous: no partition that is published yet",
    )


def test_a_flag_that_is_off_starts_no_run():
    planned = plan(stored(flag="pilot"))
    [launch] = planned.launches
    assert (launch.state, launch.reason) == (
        "skipped",
        "the flag pilot does not exist, so it is off",
    )
    assert planned.following == {"hourly": NINE + HOUR}


def test_a_schedule_that_cannot_start_its_job_is_disabled_and_keeps_its_due_time():
    planned = plan(stored("broken", job="missing"), stored())
    assert planned.disabled == {"broken": "job not found: missing; no run config"}
    assert planned.following.keys() == {"hourly"}
    assert [launch.name for launch in planned.launches] == ["hourly"]


def test_a_schedule_without_a_due_time_is_left():
    assert plan(stored(first=None)) == LaunchPlan([])


@pytest.mark.parametrize(
    ("now", "seen", "is_retried"),
    [
        (LOST.requested_at + RETRY_AFTER - SECOND, [], False),
        (LOST.requested_at + RETRY_AFTER, [], True),
        (LOST.requested_at + RETRY_AFTER, [LOST.run_key], False),
        (LOST.requested_at - SECOND, [], True),
    ],
    ids=["young", "old", "seen", "clock_set_back"],
)
def test_a_launch_without_a_run_is_requested_again_after_a_while(now, seen, is_retried):
    assert plan(opened=[LOST], seen=seen, now=now).retried == ([LOST] if is_retried else [])


def test_a_schedule_above_the_limit_continues_at_its_first_time_that_is_left():
    first = NINE - 299 * HOUR
    planned = plan(stored(first=first, catch_up="all", max_catch_up=300), stored("later"))
    assert len(planned.launches) == MAX_LAUNCHES
    assert planned.following == {"hourly": first + MAX_LAUNCHES * HOUR}


@bounded
@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 3))
def test_no_tick_requests_more_than_its_limit_and_none_is_lost(lost_count, due_count, off_count):
    opened = [replace(LOST, name=f"old_{number}") for number in range(lost_count)]
    off = [stored(f"off_{number}", flag="pilot") for number in range(off_count)]
    due = [stored(f"due_{number}") for number in range(due_count)]
    planned = plan(*off, *due, opened=opened)
    requested = [launch for launch in planned.launches if launch.state == "requested"]
    assert len(planned.retried) == min(lost_count, MAX_LAUNCHES)
    room = MAX_LAUNCHES - len(planned.retried)
    assert len(requested) == min(due_count, room)
    assert planned.following.keys() == {launch.name for launch in planned.launches}
    assert len(planned.launches) - len(requested) == (off_count if room else 0)
