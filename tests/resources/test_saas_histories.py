"""Whatever happens to both systems and to our runs, they agree once they are left alone."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.resources.saas_demo_systems import systems_over_http
from tests.resources.saas_histories import HISTORIES, History
from tests.resources.saas_systems import SaasSystems, systems_in_memory

pytestmark = pytest.mark.usefixtures("careless_databases")

MANY = {"sqlite": (8, 1250), "postgresql": (4, 100)}
"""Examples of `make test-histories` on each database: in how many parts, and how many in each."""

SystemPairs = Callable[[], AbstractContextManager[SaasSystems]]


@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    ("warehouse", "examples", "number"),
    [
        pytest.param("sqlite", 10, 0),
        pytest.param("postgresql", 5, 0),
        *(
            pytest.param(database, examples, number, marks=pytest.mark.histories)
            for database, (parts, examples) in MANY.items()
            for number in range(1, parts + 1)
        ),
    ],
    indirect=["warehouse"],
)
def test_both_sides_agree_without_a_second_issue_or_a_lost_update(
    warehouse, clock, examples, number
):
    hold(warehouse, clock, lambda: nullcontext(systems_in_memory("peopleforce")), examples, number)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("warehouse", "examples", "number"),
    [
        pytest.param("sqlite", 3, 100),
        pytest.param("sqlite", 100, 101, marks=pytest.mark.histories),
    ],
    indirect=["warehouse"],
)
def test_so_they_do_over_http(warehouse, clock, saas_demo, tmp_path, examples, number):
    hold(warehouse, clock, lambda: systems_over_http(saas_demo, tmp_path), examples, number)


def hold(warehouse, clock, system_pairs: SystemPairs, examples: int, number: int) -> None:
    """Try random histories, each with systems of its own."""

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(HISTORIES)
    def each(events):
        try:
            with system_pairs() as systems:
                history = History(warehouse, clock, systems)
                history.run_steps(*events)
                history.settle_and_check()
        except AssertionError as error:
            raise AssertionError(f"after {events}") from error

    each()
