"""Ranges of dates: which partitions they select, and which partition a date means."""

from datetime import date, timedelta

import pytest

from orchestration_project.engine.contracts.cron import read_cron
from orchestration_project.engine.contracts.partitioning import find_period_day
from orchestration_project.engine.contracts.pipelines import (
    DateRange,
    KnownPartitions,
    propose_key,
    select_range,
)
from orchestration_project.errors import ConfigurationError

CRONS = {
    "months": "0 0 1 * *",
    "halves": "0 0 1,16 * *",
    "weeks": "0 0 * * 1",
    "fridays": "0 0 * * 5",
    "weekdays": "0 0 * * 1-5",
    "days": "0 0 * * *",
    "hours": "0 * * * *",
}
FIRST, LAST = date(2025, 11, 24), date(2026, 11, 2)


@pytest.mark.parametrize(
    ("weekdays", "names"),
    [
        ("mon-sun", "MTWTFSS"),
        ("1-0", "MTWTFSS"),
        ("fri-sun", "FSS"),
        ("sun-tue", "MTS"),
        ("0-0", "S"),
        ("7", "S"),
        ("2-6/2", "TTS"),
    ],
)
def test_weekdays_of_a_cron_end_with_sunday_where_it_is_last(weekdays: str, names: str):
    names_day = read_cron(f"0 0 * * {weekdays}").names_day
    week = [date(2026, 3, 2) + timedelta(days=number) for number in range(7)]
    assert "".join(f"{day:%a}"[0] for day in week if names_day(day)) == names


def known(kind: str, *parts: str) -> KnownPartitions:
    """Return the partitions of a calendar from FIRST to LAST."""
    names = read_cron(CRONS[kind]).names_day
    days = [FIRST + timedelta(days=number) for number in range((LAST - FIRST).days + 1)]
    keys = [day.isoformat() for day in days if names(day)]
    if kind == "hours":
        keys = [f"{key}-{hour:02}:00" for key in keys for hour in range(24)]
    if parts:
        keys = [f"{part}|{key}" for part in parts for key in keys]
    return KnownPartitions("stock", keys, CRONS[kind], "STOCK_FIRST_DAY")


def selected(kind: str, first: str, last: str, *, clip: bool = False) -> tuple[list[str], str]:
    dates = DateRange(date.fromisoformat(first), date.fromisoformat(last))
    found = select_range(known(kind), dates, clip=clip)
    return list(found.keys), "; ".join(found.notes)


@pytest.mark.parametrize(
    ("kind", "first", "last", "keys"),
    [
        ("months", "2026-09-01", "2026-10-31", ["2026-09-01", "2026-10-01"]),
        ("halves", "2026-09-16", "2026-10-15", ["2026-09-16", "2026-10-01"]),
        ("weeks", "2026-10-19", "2026-10-31", ["2026-10-19", "2026-10-26"]),
        ("weeks", "2026-10-26", "2026-11-08", ["2026-10-26", "2026-11-02"]),
        ("fridays", "2026-10-23", "2026-10-30", ["2026-10-23", "2026-10-30"]),
        ("weekdays", "2026-10-31", "2026-11-02", ["2026-11-02"]),
        ("days", "2026-10-31", "2026-11-01", ["2026-10-31", "2026-11-01"]),
    ],
)
def test_a_range_selects_the_partitions_whose_day_it_holds(kind, first, last, keys):
    found, _ = selected(kind, first, last)
    assert found == keys


@pytest.mark.parametrize(
    ("kind", "first", "last", "keys", "notes"),
    [
        (
            "months",
            "2026-09-15",
            "2026-10-31",
            ["2026-09-01", "2026-10-01"],
            "2026-09-01 is loaded whole: the range begins within it, on 2026-09-15",
        ),
        (
            "months",
            "2026-09-15",
            "2026-09-20",
            ["2026-09-01"],
            "2026-09-01 is loaded whole: the range begins within it, on 2026-09-15; "
            "2026-09-01 is loaded whole: the range ends within it, on 2026-09-20",
        ),
        (
            "halves",
            "2026-09-20",
            "2026-09-30",
            ["2026-09-16"],
            "2026-09-16 is loaded whole: the range begins within it, on 2026-09-20",
        ),
        (
            "weeks",
            "2026-10-21",
            "2026-11-01",
            ["2026-10-26"],
            "the week 2026-10-19 is not loaded: the range begins within it, on 2026-10-21",
        ),
    ],
)
def test_periods_that_a_range_cuts_are_named(kind, first, last, keys, notes):
    assert selected(kind, first, last) == (keys, notes)


@pytest.mark.parametrize("kind", [kind for kind in CRONS if kind not in ("months", "halves")])
def test_a_range_beyond_the_known_partitions_is_refused_with_first_last_and_setting(kind):
    days = known(kind).days().values()
    ends = f"dates between {min(days)} and {max(days)}"
    with pytest.raises(ConfigurationError, match=f"no partition before {min(days)}\n") as refused:
        selected(kind, "2020-01-01", "2026-10-01")
    assert refused.value.expected == ends
    assert refused.value.found == "2020-01-01 to 2026-10-01"
    assert "set STOCK_FIRST_DAY to an earlier day" in refused.value.remedy
    assert "--clip" in refused.value.remedy
    with pytest.raises(ConfigurationError, match=f"no partition after {max(days)}\n") as refused:
        selected(kind, "2026-10-01", "2027-01-01")
    assert "DEMO_CLOCK_NOW" in refused.value.remedy
    assert "STOCK_FIRST_DAY" not in refused.value.remedy
    keys, notes = selected(kind, "2020-01-01", "2027-01-01", clip=True)
    assert keys == known(kind).keys
    assert f"nothing is loaded before {min(days)}, the first partition" in notes
    assert f"nothing is loaded after {max(days)}, the last partition" in notes


def test_a_calendar_that_has_ended_names_no_later_partition_to_wait_for():
    ended = KnownPartitions("stock", ["2023-01-30", "2023-02-06"], CRONS["weeks"], is_ended=True)
    dates = DateRange(date(2023, 1, 30), date(2023, 3, 1))
    with pytest.raises(ConfigurationError, match="no partition after 2023-02-06") as refused:
        select_range(ended, dates, clip=False)
    assert refused.value.remedy == "clip the range to these dates: --clip, or clip: true"


@pytest.mark.parametrize(("clip", "first"), [(False, "2020-01-01"), (True, "2027-06-01")])
def test_a_range_without_a_partition_is_refused_also_if_it_may_be_clipped(clip, first):
    with pytest.raises(ConfigurationError, match="stock has no partition from"):
        selected("weeks", first, f"{first[:4]}-12-31", clip=clip)


def test_a_part_restricts_a_range_and_is_shown_with_it():
    dates = DateRange(date(2026, 10, 19), date(2026, 10, 26), "T2")
    found = select_range(known("weeks", "T1", "T2"), dates, clip=False)
    assert found.keys == ["T2|2026-10-19", "T2|2026-10-26"]
    assert found.tags == {
        "requested_range": "T2|2026-10-19 to T2|2026-10-26",
        "loaded_range": "T2|2026-10-19 to T2|2026-10-26",
    }


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        ("months", "2026-10", "2026-10-01"),
        ("months", "2026-10-31", "2026-10-01"),
        ("halves", "2026-10-30", "2026-10-16"),
        ("halves", "2026-10", "2026-10-01"),
        ("weeks", "2026-10-11", "2026-10-05"),
        ("weeks", "2026-10", "2026-10-05"),
        ("weeks", "2026-10-8", "2026-10-05"),
        ("fridays", "2026-10-08", "2026-10-09"),
        ("fridays", "2026-10-05", "2026-10-09"),
        ("weekdays", "2026-10-10", "2026-10-09"),
        ("weekdays", "2026-10-11", "2026-10-12"),
        ("weeks", "2030-01-07", "2026-11-02"),
        ("weeks", "1999-01-01", "2025-11-24"),
        ("weeks", "9999-12-31", "2026-11-02"),
        ("weeks", "0001-01-01", "2025-11-24"),
        ("hours", "2026-10-05", "2026-10-05-00:00"),
    ],
)
def test_the_partition_is_proposed_whose_period_contains_the_date_else_the_nearest(
    kind, written, meant
):
    assert propose_key(written, known(kind)) == meant


def test_the_other_part_of_a_proposed_key_is_the_written_one_or_spelled_like_it():
    weeks = known("weeks", "T1", "T2", "OTCE")
    assert propose_key("T2|2026-10-08", weeks) == "T2|2026-10-05"
    assert propose_key("OTC|2026-10-08", weeks) == "OTCE|2026-10-05"
    assert propose_key("2026-10-08", weeks) == "T1|2026-10-05"


def test_without_a_date_the_key_is_proposed_that_is_spelled_most_like_it():
    assert propose_key("orange", KnownPartitions("fruit", ["apple", "oranges"])) == "oranges"
    assert propose_key("2026-10-05", KnownPartitions("fruit", [])) == ""


@pytest.mark.parametrize("kind", CRONS)
def test_each_named_day_is_the_day_of_its_own_period(kind):
    cron = read_cron(CRONS[kind])
    is_monthly = len(cron.days) < 31
    for number in range(800):
        day = FIRST + timedelta(days=number)
        named = find_period_day(day, cron.names_day, is_monthly=is_monthly)
        assert named is not None
        assert cron.names_day(named)
        if cron.names_day(day):
            assert named == day
