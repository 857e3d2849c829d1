"""Sums and keys that a derived table keeps of its source, exactly."""

from decimal import Decimal

import polars as pl
import pytest

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly, finra_symbol_week
from orchestration_project.engine.contracts.balance import Conservation, Measure, UnbalancedError

SYMBOLS = Conservation(
    source=finra_otc_weekly,
    derived=finra_symbol_week,
    partition=["week_start", "tier"],
    measures=[
        Measure("shares", ["share_quantity"], ["lit", "dark"]),
        Measure("trades", ["trade_count"], ["total_trade_count"]),
    ],
    keys=["symbol"],
)
SOURCE = pl.DataFrame(
    {
        "symbol": ["A", "A", "B"],
        "share_quantity": pl.Series([Decimal("0.000001"), Decimal("7"), None]).cast(
            pl.Decimal(38, 6)
        ),
        "trade_count": [2**62, 2**62, 2**62],
    }
)
DERIVED = pl.DataFrame(
    {
        "week_start": ["2026-01-05", "2026-01-05"],
        "tier": ["T1", "T1"],
        "lit": pl.Series([Decimal("4"), Decimal("0.000001")]).cast(pl.Decimal(38, 6)),
        "dark": pl.Series([Decimal("3"), None]).cast(pl.Decimal(38, 6)),
        "total_trade_count": [2**62, 2**62],
    }
)


def test_quantities_are_summed_in_millionths_and_counts_beyond_64_bits():
    sums = {"shares": 7_000_001, "trades": 3 * 2**62}
    assert SYMBOLS.read_source(SOURCE) == sums
    assert SYMBOLS.read_all(SOURCE) == {**sums, "keys": 2}
    assert SYMBOLS.read_source(SOURCE.clear()) == {"shares": 0, "trades": 0}
    assert SYMBOLS.names == ["shares", "trades", "keys"]


def test_derived_rows_are_counted_only_if_keys_are():
    sums = {"shares": 7_000_001, "trades": 2**63}
    with_keys = {**sums, "keys": 2}
    for expected in (sums, with_keys):
        balances = SYMBOLS.compare(expected, DERIVED)
        assert {balance.equation: balance.came_in for balance in balances} == expected
        assert [balance.difference for balance in balances] == [0] * len(expected)


def test_derived_rows_that_lose_a_sum_or_a_key_are_refused_with_each_difference():
    kept = {"shares": 7_000_001, "trades": 2**63, "keys": 2}
    SYMBOLS.refuse_loss(kept, DERIVED)
    with pytest.raises(UnbalancedError) as refused:
        SYMBOLS.refuse_loss({**SYMBOLS.read_all(SOURCE), "keys": 3}, DERIVED)
    assert refused.value.args[0] == "finra_symbol_week does not balance with finra_otc_weekly"
    assert refused.value.expected == "the same sums and keys in both"
    assert refused.value.found == (
        f"trades: {3 * 2**62} != {2**63} finra_symbol_week; keys: 3 != 2 finra_symbol_week"
    )
    assert refused.value.subject == "2026-01-05|T1"
    assert refused.value.remedy == "correct the derivation; nothing was written"
