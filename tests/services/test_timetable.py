"""Schedules: which times are due, across changes of the clock and downtime, and which partition."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from orchestration_project.engine.contracts.cron import read_cron
from orchestration_project.engine.dagster_private.automation import (
    find_previous_cron_time,
    is_valid_cron_string,
)
from orchestration_project.services.schedules.rules.timetable import (
    Timetable,
    Window,
    choose_window,
    find_due_times,
    find_next_times,
)
from tests.services.schedule_model import require_equal_to_model, utc

NEW_YORK = ZoneInfo("America/New_York")
MINUTELY = Timetable(read_cron("* * * * *"), NEW_YORK)


def local(cron: str, after: str, count: int, zone: str = "America/New_York") -> list[str]:
    """Return the next due times as a clock on the wall shows them."""
    timetable = Timetable(read_cron(cron), ZoneInfo(zone))
    found = find_next_times(timetable, utc(after), count)
    return [f"{moment.astimezone(timetable.zone):%m-%d %H:%M%z}" for moment in found]


def test_a_skipped_local_time_is_due_once_at_the_next_valid_moment():
    assert local("30 2 * * *", "2026-03-07T12:00", 2) == ["03-08 03:00-0400", "03-09 02:30-0400"]
    assert local("*/10 2,3 * * *", "2026-03-08T05:00", 3) == [
        "03-08 03:00-0400",
        "03-08 03:10-0400",
        "03-08 03:20-0400",
    ]


def test_a_skipped_day_is_due_once():
    found = local("0 10 * * *", "2011-12-29T00:00", 3, "Pacific/Apia")
    assert found == ["12-29 10:00-1000", "12-31 00:00+1400", "12-31 10:00+1400"]


def test_a_repeated_local_time_is_due_once_the_first_time():
    assert local("30 1 * * *", "2026-11-01T00:00", 2) == ["11-01 01:30-0400", "11-02 01:30-0500"]


def test_an_expression_of_every_hour_counts_elapsed_time():
    assert local("0 * * * *", "2026-11-01T04:30", 4) == [
        "11-01 01:00-0400",
        "11-01 01:00-0500",
        "11-01 02:00-0500",
        "11-01 03:00-0500",
    ]
    assert local("30 * * * *", "2026-03-08T06:00", 2) == ["03-08 01:30-0500", "03-08 03:30-0400"]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("seed", range(6))
def test_two_weeks_with_downtime_equal_the_model(seed: int):
    first = utc(("2026-03-01T00:00", "2026-10-20T00:00", "2026-04-01T00:00")[seed % 3])
    require_equal_to_model(seed, first, first + timedelta(days=16))


@pytest.mark.parametrize(
    "cron",
    [
        "0 6 * * 1-5",
        "*/7 3-5 1,15 * *",
        "0 0 13 * fri",
        "@weekly",
        "5 4 * jan-mar/2 sun",
        "0 0 * * 7",
    ],
)
def test_expressions_mean_what_they_mean_to_dagster(cron: str):
    assert is_valid_cron_string(cron)
    timetable, now = Timetable(read_cron(cron), ZoneInfo("UTC")), utc("2026-11-20T12:34")
    for _ in range(20):
        expected = find_previous_cron_time(cron, "UTC", now)
        [found] = timetable.until(now, 1, first=utc("2020-01-01T00:00"))
        assert found == expected
        now = found - timedelta(minutes=1)


def dagster_times(cron: str, zone: ZoneInfo, first: datetime, last: datetime) -> list[datetime]:
    """Return when Dagster's own schedules are due, as a clock on the wall shows it."""
    found, now = list[datetime](), last
    while (due := find_previous_cron_time(cron, zone.key, now)) >= first:
        found.insert(0, due.astimezone(zone))
        now = due.astimezone(UTC) - timedelta(minutes=1)
    return found


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "cron", ["30 2 * * *", "30 1 * * *", "15 1,2,3 * * *", "*/20 0-4 * * sun", "0 * * * *"]
)
@pytest.mark.parametrize(
    ("zone", "forward", "back"),
    [
        ("Europe/Berlin", "2026-03-28T12:00", "2026-10-24T12:00"),
        ("America/New_York", "2026-03-07T12:00", "2026-10-31T12:00"),
    ],
)
def test_due_times_equal_dagsters_except_that_a_repeated_one_is_due_the_first_time(
    cron: str, zone: str, forward: str, back: str
):
    timetable, length = Timetable(read_cron(cron), ZoneInfo(zone)), timedelta(days=3)
    for first in (utc(forward), utc(back)):
        expected = dagster_times(cron, timetable.zone, first, first + length)
        if not timetable.cron.is_hourly:
            expected = [moment.replace(fold=0) for moment in expected]
        found = timetable.until(first + length, 1_000, first=first)
        assert found == [moment.astimezone(UTC) for moment in expected]
        assert len(found) >= 3


@pytest.mark.parametrize(
    ("cron", "found"),
    [
        ("0 0 30 2 *", "no date matches it"),
        ("0 0 31 2,4,6,9,11 *", "no date matches it"),
        ("60 * * * *", "a minute from 0 to 59"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("", "five fields"),
        ("@reboot", "five fields"),
        ("*/0 * * * *", "a minute"),
        ("9-3 * * * *", "a minute"),
        ("* * L * *", "a day of the month"),
        ("* * * * 8", "a day of the week from 0 to 7"),
        ("mon * * * *", "a minute"),
        ("-1 * * * *", "a minute"),
        ("* * * * \N{ARABIC-INDIC DIGIT TWO}", "a day of the week"),
        ("1," * 500 + "1 * * * *", "at most 200 characters"),
    ],
)
def test_impossible_expressions_are_refused(cron: str, found: str):
    with pytest.raises(ValueError, match=found):
        read_cron(cron)


def test_a_leap_day_is_possible_and_the_end_of_the_calendar_ends_the_times():
    leap = Timetable(read_cron("0 0 29 2 *"), ZoneInfo("UTC"))
    assert find_next_times(leap, utc("2096-03-01T00:00"), 1) == [utc("2104-02-29T00:00")]
    assert find_next_times(leap, utc("9998-01-01T00:00"), 1) == []
    assert find_next_times(MINUTELY, datetime(9999, 12, 31, 23, 58, tzinfo=UTC), 5)[2:] == []


def test_late_ticks_launch_by_the_catch_up_rule_and_name_what_they_leave_out():
    first, now = utc("2026-05-01T00:00"), utc("2026-05-01T02:00:20")
    none = find_due_times(MINUTELY, first, now, "none", 100)
    assert none.launched[0] == utc("2026-05-01T01:56")
    assert none.skipped == (first, utc("2026-05-01T01:55"))
    latest = find_due_times(MINUTELY, first, now, "latest", 100)
    assert latest.launched == [utc("2026-05-01T02:00")]
    every = find_due_times(MINUTELY, first, now, "all", 50)
    assert len(every.launched) == 50
    assert every.skipped == (first, utc("2026-05-01T01:10"))
    whole = find_due_times(MINUTELY, first, now, "all", 1000)
    assert (len(whole.launched), whole.skipped) == (121, None)
    assert {timetable.following for timetable in (none, latest, every, whole)} == {
        utc("2026-05-01T02:01")
    }


def test_a_tick_whose_clock_was_set_back_launches_nothing():
    found = find_due_times(MINUTELY, utc("2026-05-01T00:00"), utc("2026-04-30T00:00"), "all", 10)
    assert (found.launched, found.skipped) == ([], None)


def days(first: str, count: int) -> list[Window]:
    """Return days of New York as partitions."""
    start = datetime.fromisoformat(first).replace(tzinfo=NEW_YORK)
    edges = [start + timedelta(days=number) for number in range(count + 1)]
    return [Window(f"{a:%Y-%m-%d}", a, b) for a, b in pairwise(edges)]


@pytest.mark.parametrize(
    ("rule", "offset", "key"),
    [
        ("latest", 0, "2026-03-08"),
        ("previous", 0, "2026-03-07"),
        ("days_before", 0, "2026-03-09"),
        ("days_before", 1, "2026-03-08"),
        ("days_before", 3, "2026-03-06"),
        ("days_before", 40, None),
        ("none", 0, None),
    ],
)
def test_a_rule_chooses_the_partition_of_a_due_time(rule, offset: int, key: str | None):
    due = datetime(2026, 3, 9, 0, 30, tzinfo=NEW_YORK).astimezone(UTC)
    found = choose_window(rule, days("2026-03-01", 12), due, NEW_YORK, days=offset)
    assert (found and found.key) == key


def test_without_complete_partitions_none_is_chosen():
    due = utc("2026-03-02T00:00")
    assert choose_window("latest", days("2026-03-02", 3), due, NEW_YORK) is None
    assert choose_window("previous", days("2026-03-01", 1), due, NEW_YORK) is None
