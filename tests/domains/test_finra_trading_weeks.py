"""Expected trading of a week, by its sessions and the time of year."""

from datetime import date

import pytest

from orchestration_project.domains.finra.calendar import trading_level


@pytest.mark.parametrize(
    ("week_start", "level"),
    [
        (date(2025, 11, 10), 1.0),
        (date(2025, 9, 1), 0.8),  # Labor Day
        (date(2025, 6, 30), 0.7),  # closed on the 4th of July, half a session on the 3rd
        (date(2025, 11, 24), 0.63),  # Thanksgiving, half a session after it, and slow
        (date(2025, 12, 15), 1.0),
        (date(2025, 12, 22), 0.63),  # Christmas, half a session before it, and slow
        (date(2025, 12, 29), 0.72),  # New Year, and slow
        (date(2025, 1, 6), 0.8),  # a day of mourning
    ],
)
def test_the_level_of_a_week_is_its_part_of_five_sessions(week_start, level):
    assert trading_level(week_start) == pytest.approx(level)
