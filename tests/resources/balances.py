"""Equations computed of a database, as `verify --balance` does."""

from collections.abc import Mapping

from sqlalchemy import text

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.equations import BalanceFilter
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.balance.verifying import (
    BalanceVerdict,
    list_equations,
    verify_balances,
)


def verify(warehouse: Warehouse, chosen: BalanceFilter | None = None) -> BalanceVerdict:
    """Return the verdict on all equations of a database."""
    return verify_balances(warehouse, list_equations(REGISTRY), chosen or BalanceFilter())


def differences(warehouse: Warehouse) -> Mapping[tuple[str, str], int]:
    """Return the sum of differences by table and equation, without those that balance."""
    found: dict[tuple[str, str], int] = {}
    for imbalance in verify(warehouse).imbalances:
        place = (imbalance.table_name, imbalance.balance.equation)
        found[place] = found.get(place, 0) + imbalance.balance.difference
    return found


def assert_balanced(url: str, *table_names: str) -> None:
    """Make sure that nothing in a database is unbalanced, and that these tables were counted."""
    with Warehouse(url, clock=Clock()) as warehouse:
        verdict = verify(warehouse)
    assert not verdict.imbalances
    balanced = {table for (table, _), counts in verdict.counts.items() if counts.balanced}
    assert balanced >= set(table_names)


def plant_and_expect_rows(warehouse: Warehouse, statement: str) -> None:
    """Change rows behind the back of all loads."""
    with warehouse.writing() as connection:
        assert connection.execute(text(statement)).rowcount > 0
