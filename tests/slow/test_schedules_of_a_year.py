"""A year of random schedules on a simulated clock, with downtime, against the model."""

from datetime import timedelta

import pytest

from tests.services.schedule_model import require_equal_to_model, utc

FIRST = utc("2026-01-01T00:00")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1_000, 1_012))
def test_a_year_with_downtime_and_both_changes_of_the_clock_equals_the_model(seed: int):
    require_equal_to_model(seed, FIRST, FIRST + timedelta(days=365))
