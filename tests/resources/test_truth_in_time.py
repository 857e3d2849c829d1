"""Whatever happens to a partition, each moment's state stays what was published then."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.resources.histories import HISTORIES, check_history
from tests.resources.weeks import MONDAY, PartitionLoader

pytestmark = pytest.mark.usefixtures("careless_databases")

MANY = {"sqlite": (8, 1250), "postgresql": (4, 250)}
"""Examples of `make test-histories` on each database: in how many parts, and how many in each."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("warehouse", "examples", "number"),
    [
        pytest.param("sqlite", 12, 0),
        pytest.param("postgresql", 4, 0),
        *(
            pytest.param(database, examples, number, marks=pytest.mark.histories)
            for database, (parts, examples) in MANY.items()
            for number in range(1, parts + 1)
        ),
    ],
    indirect=["warehouse"],
)
def test_as_of_gives_for_every_moment_the_state_that_was_current(
    partition_loader, clock, examples, number
):
    weeks = itertools.count()

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(HISTORIES)
    def each(history):
        week = MONDAY + timedelta(weeks=next(weeks))
        check_history(
            PartitionLoader(partition_loader.warehouse, partition_loader.folder, week_start=week),
            clock,
            history,
        )

    each()
