"""Sessions of requested months that are over: a month may end on a Saturday."""

from datetime import date

import pytest

from orchestration_project.domains.prices.states import days_of
from orchestration_project.engine.contracts.key_ranges import Days


@pytest.mark.parametrize(
    ("months", "newest", "over"),
    [
        ([date(2026, 9, 1), date(2026, 10, 1)], date(2026, 11, 20), date(2026, 10, 30)),
        ([date(2026, 9, 1)], date(2026, 11, 20), date(2026, 9, 30)),
        ([date(2026, 11, 1)], date(2026, 11, 20), date(2026, 11, 20)),
    ],
)
def test_what_is_over_ends_with_its_last_session(months, newest, over):
    assert days_of(months, newest) == Days(months[0], over)


def test_before_its_first_session_nothing_of_a_month_is_over():
    assert days_of([date(2026, 11, 1)], date(2026, 10, 30)) is None
