"""Whatever happens to a partition, each moment's state stays what was published then."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings

from tests.resources.histories import HISTORIES, holds_for
from tests.resources.weeks import MONDAY, Desk


@pytest.mark.parametrize(
    ("warehouse", "examples"),
    [
        pytest.param("sqlite", 40),
        pytest.param("postgresql", 15),
        pytest.param("sqlite", 10_000, marks=pytest.mark.slow),
        pytest.param("postgresql", 1_000, marks=pytest.mark.slow),
    ],
    indirect=["warehouse"],
)
def test_as_of_gives_for_every_moment_the_state_that_was_current(desk, clock, examples):
    weeks = itertools.count()

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(HISTORIES)
    def each(history):
        week = MONDAY + timedelta(weeks=next(weeks))
        holds_for(Desk(desk.warehouse, desk.folder, week_start=week), clock, history)

    each()
