"""The figures: the same for ever for a seed, and like the market they stand for."""

import re
from collections import defaultdict
from datetime import date

import polars as pl
import pytest
from orchestration_demo.market import Market
from orchestration_demo.publication import TIERS
from orchestration_demo.symbols import universe
from orchestration_demo.venues import venues_of

from tests.demo.program import Demo, StartDemo, partition

CALM = {"T1": "2026-01-19", "T2": "2025-12-29", "OTCE": "2025-12-22"}  # sixth to eighth back
TREACHEROUS = {
    *("EP$C", "NEE$U", "BRK.B", "PL.W", "RAC.U", "NA", "NAN", "NULL", "TRUE", "1E5"),
    *("ABCp", "ABCP"),
}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_in_any_order_process_and_clock(
    demo: Demo, start_demo: StartDemo
):
    other = start_demo(clock_now="2026-03-18T09:00:00+00:00")
    requested = [partition(week, tier) for tier, week in CALM.items()]
    first = [demo.data(compareFilters=request, limit=5000).content for request in requested]
    second = [
        other.data(compareFilters=request, limit=5000).content for request in reversed(requested)
    ]
    assert first == second[::-1]
    assert all(len(body) > 10_000 for body in first)


@pytest.mark.slow
def test_another_seed_gives_other_figures(demo: Demo, start_demo: StartDemo):
    requested = partition(CALM["T1"], "T1")
    other = start_demo(seed=7)
    assert (
        other.data(compareFilters=requested).content != demo.data(compareFilters=requested).content
    )


@pytest.mark.parametrize("tier", TIERS)
def test_every_total_is_the_sum_of_its_rows(demo: Demo, tier: str):
    records = demo.records(partition(CALM[tier], tier))
    identity = {
        "SMBL": ("issueSymbolIdentifier",),
        "FIRM": ("MPID", "marketParticipantName", "firmCRDNumber"),
        "VOL_STATS": (),
    }
    for market in ("ATS", "OTC"):
        rows = [
            record for record in records if record["summaryTypeCode"] == f"{market}_W_SMBL_FIRM"
        ]
        for suffix, key in identity.items():
            totals = [
                record for record in records if record["summaryTypeCode"] == f"{market}_W_{suffix}"
            ]
            assert _sums(totals, key) == _sums(rows, key)
            assert len(totals) == len(_sums(totals, key))


def test_treacherous_symbols_trade_every_week_each_in_one_tier(demo: Demo):
    tiers = defaultdict(set)
    for tier, week in CALM.items():
        for record in demo.records(partition(week, tier)):
            tiers[record["issueSymbolIdentifier"]].add(tier)
    assert tiers.keys() >= TREACHEROUS
    assert {symbol: found for symbol, found in tiers.items() if symbol and len(found) > 1} == {}


def test_ats_rows_have_an_mpid_and_firms_outside_have_a_name_and_a_number(demo: Demo):
    records = demo.records(partition(CALM["T1"], "T1"))
    ats = [record for record in records if record["summaryTypeCode"] == "ATS_W_SMBL_FIRM"]
    otc = [record for record in records if record["summaryTypeCode"] == "OTC_W_SMBL_FIRM"]
    assert {len(record["MPID"]) for record in ats} == {4}
    assert {record["MPID"] for record in otc} == {None}
    assert all(record["marketParticipantName"] for record in otc)
    de_minimis = [record for record in otc if record["marketParticipantName"] == "De Minimis Firms"]
    assert {firm["firmCRDNumber"] for firm in de_minimis} == {0}


REAL_NAMES = (
    *(
        "CITADEL",
        "VIRTU",
        "JANE STREET",
        "TWO SIGMA",
        "G1 EXECUTION",
        "HRT EXECUTION",
        "UBS",
        "SIGMA X",
    ),
    *("IBKR", "INTELLIGENT CROSS", "JPM", "LEVEL ATS", "CROSSFINDER", "BARCLAYS", "SUPERX", "BIDS"),
    *("POSIT", "ONECHRONOS", "INSTINCT", "PURESTREAM", "LIQUIDNET", "INSTINET", "CITIBLOC"),
    *("LUMINEX", "STIFEL", "OTC LINK", "GLOBAL OTC", "MOONSHINE", "TRADEBOOK", "VANDHAM"),
    *("BERKSHIRE", "NEXTERA", "EL PASO", "PLANET LABS", "RITHM", "NANO LABS"),
)
"""Names of the firms, venues and issuers of the real market."""


@pytest.mark.slow_after_first
@pytest.mark.parametrize("tier", TIERS)
def test_synthetic_figures_name_no_real_firm_venue_or_issuer(tier: str):
    names = [
        *venues_of(tier).frame["marketParticipantName"],
        *universe(1, tier, 2_000).frame["issueName"],
    ]
    real = re.compile(rf"\b({'|'.join(REAL_NAMES)})\b", re.IGNORECASE)
    assert [name for name in names if real.search(name)] == []


def test_names_hold_what_breaks_careless_readers(demo: Demo):
    names = " ".join(
        str(record["issueName"]) for record in demo.records(partition(CALM["T2"], "T2"))
    )
    assert [mark for mark in (",", "#", "(", "  ") if mark not in names] == []


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(seed=20_250_106, rows_per_week=160_000)


@pytest.mark.slow_after_first
@pytest.mark.parametrize("week", [date(2025, 11, 10), date(2025, 11, 24), date(2025, 12, 22)])
def test_a_default_week_has_150_000_rows_like_the_real_market(market: Market, week: date):
    rows = {tier: market.firm_rows(tier, week) for tier in TIERS}
    total = sum(row.height for row in rows.values())
    assert total >= 150_000
    shares = {tier: round(row.height / total, 2) for tier, row in rows.items()}
    assert shares == pytest.approx({"T1": 0.47, "T2": 0.34, "OTCE": 0.19}, abs=0.02)
    for row in rows.values():
        outside = row.filter(market="OTC")
        lump = outside.filter(firmCRDNumber=0)
        assert 0.25 < _total(lump) / _total(outside) < 0.36
        assert row.filter(pl.col("trades") > pl.col("shares")).is_empty()
        assert row["trades"].min() == 1


def test_a_week_is_worth_tens_to_a_few_hundred_billion_dollars(market: Market):
    week = date(2025, 11, 10)
    dollars = [int(market.firm_rows(tier, week)["cents"].sum()) / 100 for tier in TIERS]
    assert 50e9 < sum(dollars) < 500e9


def test_volumes_are_heavy_tailed_and_one_venue_holds_most_of_the_otc_market(market: Market):
    rows = market.firm_rows("OTCE", date(2025, 11, 10))
    by_symbol = rows.group_by("issueSymbolIdentifier").agg(pl.col("shares").sum())
    assert _total(by_symbol.top_k(by_symbol.height // 100, by="shares")) > 0.3 * _total(rows)
    ats = rows.filter(market="ATS")
    assert 0.6 < _total(ats.filter(MPID="OTCN")) / _total(ats) < 0.95
    huge = rows.filter(pl.col("shares") / pl.col("trades") > 100_000)
    assert 0.003 < huge.height / rows.height < 0.03


def test_no_ticker_is_in_two_tiers_however_many_there_are():
    frames = [universe(1, tier, 40_000).frame["issueSymbolIdentifier"] for tier in TIERS]
    tickers = pl.concat(frames)
    assert tickers.n_unique() == tickers.len() == 120_000


def test_symbols_come_and_go_slowly(market: Market):
    weeks = (date(2025, 9, 8), date(2025, 9, 15), date(2026, 9, 7))
    first, next_week, next_year = (
        set(market.firm_rows("T1", week)["issueSymbolIdentifier"]) for week in weeks
    )
    assert 0 < len(first - next_week) < 0.02 * len(first)
    assert 0.05 * len(first) < len(first - next_year) < 0.3 * len(first)


def _total(rows: pl.DataFrame) -> int:
    """Return the shares of all ``rows``."""
    return int(rows["shares"].sum())


def _sums(records: list[dict], key: tuple[str, ...]) -> dict[tuple, list[int]]:
    """Return shares, trades and cents by ``key``."""
    sums: dict[tuple, list[int]] = defaultdict(lambda: [0, 0, 0])
    for record in records:
        found = sums[tuple(record[name] for name in key)]
        found[0] += record["totalWeeklyShareQuantity"]
        found[1] += record["totalWeeklyTradeCount"]
        found[2] += round(record["totalNotionalSum"] * 100)
    return dict(sums)
