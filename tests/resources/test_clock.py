"""The one clock."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from orchestration_project.engine.connections.clock import Clock
from tests.resources.weeks import StoppedClock


def test_a_clock_without_a_start_returns_real_time_in_utc():
    before = datetime.now(UTC)  # noqa: TID251 - what the clock is compared with
    now = Clock().now()
    assert before <= now <= datetime.now(UTC)  # noqa: TID251 - what the clock is compared with
    assert now.utcoffset() == timedelta(0)


def test_a_clock_with_a_start_goes_on_from_there_in_utc():
    start = datetime(2026, 3, 2, 12, tzinfo=timezone(timedelta(hours=5)))
    clock = Clock(start)
    first, second = clock.now(), clock.now()
    assert datetime(2026, 3, 2, 7, tzinfo=UTC) <= first <= second
    assert second.utcoffset() == timedelta(0)
    assert second - start < timedelta(minutes=5)


def test_a_start_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="needs a time zone"):
        Clock(datetime(2026, 3, 2))  # noqa: DTZ001 - the fault


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2026, 1, 5, 4, 59, tzinfo=UTC), date(2026, 1, 4)),
        (datetime(2026, 1, 5, 5, 0, tzinfo=UTC), date(2026, 1, 5)),
        (datetime(2026, 7, 6, 3, 59, tzinfo=UTC), date(2026, 7, 5)),  # daylight saving time
        (datetime(2026, 7, 6, 4, 0, tzinfo=UTC), date(2026, 7, 6)),
        (datetime(2026, 3, 8, 7, 30, tzinfo=UTC), date(2026, 3, 8)),  # the hour that is left out
    ],
)
def test_finras_day_begins_at_midnight_in_new_york(moment, day):
    assert StoppedClock(moment).today_in_new_york() == day
