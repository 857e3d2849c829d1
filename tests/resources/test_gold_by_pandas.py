"""Gold tables of random weeks, computed again from the loaded rows in pandas, column by column."""

import random
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest

from orchestration_project.domains.cboe import tables as cboe
from orchestration_project.domains.finra.tables import lineage as finra_lineage
from orchestration_project.resources.finra.symbols import derive_symbols
from orchestration_project.tables.catalogue import known_tables
from orchestration_project.tables.schema import key_names
from tests.gold.arithmetic import KEYS, as_values, assert_same, frame
from tests.gold.symbols import master
from tests.gold.weeks import of_weekly
from tests.resources.gold_loads import WEEKS, derive, load_week, read
from tests.resources.weeks import PartitionLoader

TIERS = ("T1", "T2", "OTCE")
VENUES = [
    # market, venue_id, mpid, firm_crd_number, participant_name
    ("ATS", "UBSA", "UBSA", 7654, "UBS ATS"),
    ("NON_ATS", "CRD:7654", None, 7654, "UBS SECURITIES"),
    ("ATS", "IATS", "IATS", 1010, "INTERACTIVE"),
    ("ATS", "JPBX", "JPBX", 2020, "JPB-X"),
    ("ATS", "JPMX", "JPMX", 2020, "JPM-X"),
    ("NON_ATS", "CRD:3030", None, 3030, "CITADEL"),
    ("NON_ATS", "NAME:OLD FIRM", None, None, "OLD FIRM"),
    ("NON_ATS", "CRD:0", None, 0, "De Minimis Firms"),
]
PRICED = {"T1", "T2"}
"""Tiers whose rows all have a traded value; of the others some lack it."""


def rows_of(chance: random.Random, tier: str, week: date) -> list[dict[str, Any]]:
    found = []
    is_last = week == WEEKS[-1]
    for symbol in [f"{tier}{letter}" for letter in "ABCDEF"]:
        for market, venue, mpid, crd, name in VENUES:
            if chance.random() < 0.35:
                continue
            shares = chance.choice([0, 1, chance.randrange(10**4), chance.randrange(10**10)])
            if symbol.endswith("F"):  # steady, and far more in the last week
                shares = (10**9 if is_last else 10**6) + chance.randrange(10**5)
            lacks_value = tier not in PRICED and chance.random() < 0.1
            found.append(
                {
                    "symbol": symbol,
                    "venue": venue,
                    "venue_id": venue,
                    "market": market,
                    "mpid": mpid,
                    "firm_crd_number": crd,
                    "participant_name": name,
                    "share_quantity": shares,
                    "trade_count": chance.randrange(shares + 1) if shares < 10 else 3,
                    "notional_usd": None if lacks_value else shares * chance.randrange(10**6),
                    "last_update_date": week + timedelta(days=chance.randrange(21, 60)),
                }
            )
    return found


STORIES = [
    # tier, symbol, weeks, issue name
    ("T1", "GMC", range(3), "Gamma Mining Corp"),
    ("T1", "GMNG", range(4, 7), "GAMMA MINING CORP."),
    ("T2", "MOVE", range(3), "Mover Inc"),
    ("T1", "MOVE", range(2, 7), "Mover & Sons, Inc."),
    ("OTCE", "AGAIN", (0, 6), "Alpha Oil Ltd"),
    ("T1", "BEFORE", range(4), "Before Co"),
    ("T1", "AFTER", range(4, 7), "Afterwards Group"),
]
"""Symbols that were renamed, moved, are in two tiers of a week, or are another company's since."""


def stories(tier: str, week: date) -> list[dict[str, Any]]:
    number, found = WEEKS.index(week), []
    for of_tier, symbol, weeks, name in STORIES:
        if of_tier == tier and number in weeks:
            is_other = symbol == "AGAIN" and number == 6
            found.append(
                {
                    "symbol": symbol,
                    "venue": "IATS",
                    "firm_crd_number": 1010,
                    "issue_name": "Zeta Gold NV" if is_other else name,
                    "share_quantity": 2_000_000 + number,
                    "last_update_date": week + timedelta(days=21),
                }
            )
    return found


def loaded(partition_loader: PartitionLoader, weeks: Sequence[date]) -> PartitionLoader:
    """Load and derive weeks of three tiers."""
    chance = random.Random(42)  # noqa: S311
    for week in weeks:
        for tier in TIERS:
            load_week(
                partition_loader, tier, week, [*rows_of(chance, tier, week), *stories(tier, week)]
            )
    derive(partition_loader, weeks)
    derive_symbols(partition_loader.warehouse)
    return partition_loader


def stale(partition_loader: PartitionLoader, name: str) -> set[Any]:
    rows = map(as_values, read(partition_loader.warehouse, name))
    return {row["week_start"] for row in rows if row["is_stale"]}


def test_each_gold_table_of_finra_and_of_market_volume_is_computed_again():
    views = {"finra_firms"}
    assert set(KEYS) == {*finra_lineage.MADE_OF, *cboe.MADE_OF, *views}
    for name, key in KEYS.items():
        assert sorted(key) == sorted(key_names(known_tables()[name]))


@pytest.mark.slow
def test_every_column_of_gold_is_what_pandas_computes(partition_loader):
    gold = loaded(partition_loader, WEEKS)
    weekly = frame(map(as_values, read(gold.warehouse, "finra_otc_weekly")))
    expected = {**of_weekly(weekly), **master(weekly)}
    for name, rows in expected.items():
        assert rows, name
        assert_same(name, read(gold.warehouse, name), rows)
    symbols = expected["finra_symbol_week"].values()
    assert any(row["firm_count"] < row["venue_count"] for row in symbols)
    assert any(row["notional_usd"] is None for row in symbols)
    windows = expected["finra_symbol_rolling_6w"].values()
    assert {row["trend_direction"] for row in windows} == {"up", "down", "flat", None}
    changes = {kind for _, _, kind in expected["finra_symbol_changes"]}
    assert changes == {"tier_move", "issue_name_change", "reuse_candidate", "two_tiers"}
    assert ("GMC", "GMNG") in expected["finra_symbol_renames"]
    assert ("BEFORE", "AFTER") in expected["finra_symbol_renames"]


@pytest.mark.slow
def test_a_restatement_marks_what_it_is_part_of_until_that_is_derived_again(partition_loader):
    weeks, restated = WEEKS[:4], WEEKS[1]
    gold = loaded(partition_loader, weeks)
    rows = rows_of(random.Random(7), "T1", restated)  # noqa: S311
    load_week(gold, "T1", restated, rows)
    assert stale(gold, "finra_symbol_rolling_6w") == set(weeks[1:])
    assert stale(gold, "finra_concentration_week") == set(weeks[1:3])
    assert stale(gold, "finra_tier_week") == {restated}
    rolling = read(gold.warehouse, "finra_symbol_rolling_6w")
    assert {row["tier"] for row in rolling if row["is_stale"]} == {"T1"}
    derive(gold, weeks)
    for name in ("finra_symbol_rolling_6w", "finra_concentration_week", "finra_tier_week"):
        assert stale(gold, name) == set()
    later = [{**row, "last_update_date": WEEKS[-1] + timedelta(days=200)} for row in rows]
    load_week(gold, "T1", restated, later)
    # dates alone restate nothing, but derived rows have them
    assert stale(gold, "finra_symbol_rolling_6w") == set(weeks[1:])
    derive(gold, weeks)
    assert stale(gold, "finra_symbol_rolling_6w") == set()
