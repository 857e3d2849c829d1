"""What an upgrade makes of returns and corporate actions that an earlier version derived."""

from sqlalchemy import select, update

from orchestration_project.resources.prices.gold import derive_outdated, outdated_symbols
from orchestration_project.tables.prices import prices_corporate_actions, prices_returns
from orchestration_project.tables.spine import fences
from tests.domains.prices import line
from tests.resources.prices_desk import FEBRUARY, Desk

TABLES = (prices_returns, prices_corporate_actions)


def test_what_other_definitions_derived_is_derived_again(light_desk: Desk):
    days = [line(day, 10 + number % 4, dividend=0.25) for number, day in enumerate(FEBRUARY)]
    light_desk.write("AAA", *days)
    light_desk.load("AAA")
    derive_outdated(light_desk.warehouse)
    right = [light_desk.warehouse.frame(select(table), table) for table in TABLES]
    with light_desk.warehouse.writing() as connection:
        [known_from] = connection.execute(
            select(fences.c.known_from).where(fences.c.table_name == "prices_daily")
        ).scalars()
        for table in TABLES:  # as the first version named what it was made of
            own = update(fences).where(fences.c.table_name == table.name)
            connection.execute(own.values(source_version=known_from.isoformat()))
        connection.execute(update(prices_returns).values(missing_count=7))
        connection.execute(update(prices_corporate_actions).values(dividend=7))
    assert set(outdated_symbols(light_desk.warehouse)) == {"AAA"}
    derive_outdated(light_desk.warehouse)
    again = [light_desk.warehouse.frame(select(table), table) for table in TABLES]
    assert [one.equals(other) for one, other in zip(right, again, strict=True)] == [True, True]
    assert outdated_symbols(light_desk.warehouse) == {}
