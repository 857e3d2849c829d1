"""What of a symbol is landed month by month, and when it is asked for again."""

from datetime import UTC, date, datetime, timedelta

from orchestration_project.domains.prices.calendar import months
from orchestration_project.domains.prices.states import (
    LANDED,
    Days,
    Standing,
    after,
    days_of,
    is_landed,
    standing_of,
)

NOW = datetime(2026, 3, 3, 23, 30, tzinfo=UTC)
JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
DAYS = Days(JANUARY, date(2026, 3, 3))


def looked(known, days, standing, through=None, at=NOW, source="files"):
    rows = after(
        known,
        months(days.first, days.last),
        standing,
        through,
        {},
        symbol="AAA",
        source=source,
        now=at,
        run_id="run",
    )
    return {**known, **{row.month_start: row for row in rows}}


def test_months_are_asked_for_up_to_the_latest_session_that_is_over():
    assert days_of([JANUARY, FEBRUARY], date(2026, 3, 3)) == Days(JANUARY, date(2026, 2, 28))
    assert days_of([MARCH], date(2026, 3, 3)) == Days(MARCH, date(2026, 3, 3))
    assert days_of([MARCH], date(2026, 2, 27)) is None


def test_what_is_landed_is_not_asked_for_until_another_session_is_over():
    known = looked({}, DAYS, LANDED, DAYS.last)
    assert is_landed(known, DAYS, "files")
    assert is_landed(known, Days(FEBRUARY, date(2026, 2, 28)), "files")
    assert not is_landed(known, Days(JANUARY, date(2026, 3, 4)), "files")
    assert not is_landed(known, Days(date(2025, 12, 1), DAYS.last), "files")
    assert not is_landed(known, DAYS, "yahoo")


def test_a_source_that_lags_behind_leaves_the_month_open():
    known = looked({}, DAYS, Standing("waiting", "so"), date(2026, 3, 2))
    assert is_landed(known, Days(JANUARY, date(2026, 3, 2)), "files")
    assert not is_landed(known, DAYS, "files")
    assert standing_of(known, DAYS, NOW) is None


def test_a_symbol_waits_until_its_time_comes_and_keeps_what_is_landed():
    known = looked({}, Days(JANUARY, date(2026, 1, 31)), LANDED, date(2026, 1, 31))
    tomorrow = NOW + timedelta(hours=6)
    known = looked(known, DAYS, Standing("waiting", "the quota", tomorrow))
    assert standing_of(known, DAYS, NOW) == Standing("waiting", "the quota", tomorrow)
    assert standing_of(known, DAYS, tomorrow) is None
    assert known[JANUARY].landed_through_date == date(2026, 1, 31)
    assert known[MARCH].landed_through_date is None


def test_a_state_is_dated_by_when_it_began():
    known = looked({}, DAYS, Standing("refused", "no such symbol"))
    later = NOW + timedelta(days=1)
    same = looked(known, DAYS, Standing("refused", "no such symbol"), at=later)
    assert same[MARCH].changed_at == NOW
    assert looked(known, DAYS, LANDED, DAYS.last, at=later)[MARCH].changed_at == later
