"""Estimates of traded value become millionths of a dollar, and dollars again."""

import pytest
from alembic import command
from sqlalchemy import text

from orchestration_project.engine.warehouse.migrating import build_alembic_config

VERSION = "0050"
"""That before the one with the measures."""

INSERT = text(
    "INSERT INTO finra_symbol_week_value (week_start, tier, symbol, share_quantity, price, "
    "session_count, notional_dollars) VALUES ('2025-11-10', 'T1', :symbol, 5, 2500000, 5, :dollars)"
)


@pytest.mark.slow
def test_an_estimate_keeps_its_value_and_one_that_64_bits_lack_is_left_out(migrated):
    with migrated.writing() as connection:
        config = build_alembic_config(connection)
        command.downgrade(config, VERSION)
        for symbol, dollars in (("A", 12.5), ("B", 0.1), ("C", 1e300)):
            connection.execute(INSERT, {"symbol": symbol, "dollars": dollars})
        command.upgrade(config, "head")
        column = "estimated_notional_usd"
        select = f"SELECT symbol, {column} FROM finra_symbol_week_value ORDER BY symbol"  # noqa: S608
        assert connection.execute(text(select)).all() == [("A", 12_500_000), ("B", 100_000)]
        command.downgrade(config, VERSION)
        select = select.replace(column, "notional_dollars")
        assert connection.execute(text(select)).all() == [("A", 12.5), ("B", 0.1)]
        command.upgrade(config, "head")
