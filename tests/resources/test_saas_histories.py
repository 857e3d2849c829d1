"""Whatever happens to both systems and to our runs, they agree once they are left alone."""

import itertools
import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, seed, settings
from sqlalchemy import event
from sqlalchemy.pool import Pool

from tests.resources.saas_histories import HISTORIES, History

MANY = {"sqlite": (8, 1200), "postgresql": (4, 100)}
"""What `make test-histories` tries on each database: in how many parts, and how many in each."""


@pytest.fixture(autouse=True)
def careless_databases() -> Iterator[None]:
    """Let SQLite leave to the system when to write to disk: no history is about power cuts."""

    def hurry(connection, *_):
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Pool, "checkout", hurry)
    yield
    event.remove(Pool, "checkout", hurry)


@pytest.mark.parametrize(
    ("warehouse", "examples", "number"),
    [
        pytest.param("sqlite", 25, 0),
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
    names = itertools.count()

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(HISTORIES)
    def each(steps):
        history = History(warehouse, clock, f"peopleforce{next(names)}")
        try:
            history.live(steps)
            history.settle()
        except AssertionError as error:
            raise AssertionError(f"after {steps}") from error

    each()
