"""Returns and corporate actions: what a changed day and an upgrade have derived again."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, update

from orchestration_project.domains.prices.calendar import sessions
from orchestration_project.domains.prices.gold import ROWS_BEFORE
from orchestration_project.domains.prices.tables import prices_corporate_actions, prices_returns
from orchestration_project.engine.derived import DerivedLoad, DerivedPart, PendingDerivation
from orchestration_project.errors import ContractError
from orchestration_project.resources.prices import gold
from orchestration_project.resources.prices.gold import derive_outdated, outdated_symbols
from orchestration_project.tables.spine import fences
from tests.domains.prices import line
from tests.resources.price_loading import FEBRUARY, PriceLoader

TABLES = (prices_returns, prices_corporate_actions)


def test_what_other_definitions_derived_is_derived_again(light_loader: PriceLoader):
    days = [line(day, 10 + number % 4, dividend=0.25) for number, day in enumerate(FEBRUARY)]
    light_loader.write("AAA", *days)
    light_loader.load("AAA")
    derive_outdated(light_loader.warehouse)
    right = [light_loader.warehouse.frame(select(table), table) for table in TABLES]
    with light_loader.warehouse.writing() as connection:
        [known_from] = connection.execute(
            select(fences.c.known_from).where(fences.c.table_name == "prices_daily")
        ).scalars()
        for table in TABLES:  # as the first version named what it was made of
            own = update(fences).where(fences.c.table_name == table.name)
            connection.execute(own.values(source_version=known_from.isoformat()))
        connection.execute(update(prices_returns).values(missing_count=7))
        connection.execute(update(prices_corporate_actions).values(dividend=7))
    assert set(outdated_symbols(light_loader.warehouse)) == {"AAA"}
    derive_outdated(light_loader.warehouse)
    again = [light_loader.warehouse.frame(select(table), table) for table in TABLES]
    assert [one.equals(other) for one, other in zip(right, again, strict=True)] == [True, True]
    assert outdated_symbols(light_loader.warehouse) == {}


def test_of_a_changed_day_the_rows_that_its_windows_reach_back_to_are_read_once(
    light_loader: PriceLoader,
):
    days = sessions(date(2025, 1, 1), FEBRUARY[-1])
    months = sorted({day.replace(day=1).isoformat() for day in days})
    light_loader.write("AAA", *map(line, days))
    light_loader.load("AAA", months=months)
    assert derive_outdated(light_loader.warehouse).rows == {
        "prices_corporate_actions": 0,
        "prices_returns": len(days) - 1,
    }
    light_loader.write("AAA", *map(line, days[:-1]), line(days[-1], 11, dividend=0.25))
    light_loader.load("AAA", months=months[-1:], full=True)
    requested: list[tuple[str, tuple]] = []

    def note(_connection, _cursor, statement, values, _context, _many):
        if statement.startswith("SELECT"):
            requested.append((statement, values))

    event.listen(Engine, "before_cursor_execute", note)
    rows = derive_outdated(light_loader.warehouse).rows
    event.remove(Engine, "before_cursor_execute", note)
    assert rows == {"prices_corporate_actions": 1, "prices_returns": 1}
    with light_loader.warehouse.reading() as connection:
        found = [len(connection.exec_driver_sql(*request).all()) for request in requested]
    assert [count for count in found if count > 2] == [ROWS_BEFORE + 1, ROWS_BEFORE + 2]
    assert not any("prices_returns" in statement for statement, _ in requested)


@pytest.mark.parametrize(
    ("place", "numbers"),
    [(0, "dividends: 4750000 != 4500000"), (1, "keys: 19 != 17 prices_returns + 1 first_day")],
)
def test_a_derivation_that_loses_a_day_fails_and_writes_nothing(
    light_loader: PriceLoader, place, numbers
):
    days = [line(day, 10, dividend=0.25) for day in FEBRUARY]
    light_loader.write("AAA", *days)
    light_loader.load("AAA")
    derived = gold.TABLES[place]

    def make(due: PendingDerivation, read: Any) -> DerivedPart:
        part = derived.make(due, read)
        return replace(part, rows=part.rows.head(-1))

    load = DerivedLoad([replace(derived, make=make)], light_loader.warehouse)
    with pytest.raises(ContractError, match="does not balance") as raised:
        load.write_batch(load.take("AAA"))
    assert numbers in raised.value.found
    assert light_loader.warehouse.frame(select(derived.table), derived.table).is_empty()
