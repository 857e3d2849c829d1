"""The warnings: a week against the weeks before it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.finra.anomaly_bands import (
    BY_SESSIONS,
    MEASURES,
    Band,
    EarlierWeeks,
    VenueWeek,
    band,
    size_of_derived,
    size_of_rows,
    warnings_about,
)
from orchestration_project.domains.finra.calendar import trading_level
from orchestration_project.domains.finra.gold import symbol_week, venue_sums, venue_week
from orchestration_project.engine.contracts.audits import Audit
from tests.properties import bounded
from tests.resources.weeks import LIMITS

THANKSGIVING, BEFORE_CHRISTMAS, CHRISTMAS = (
    date(2025, 11, 24),
    date(2025, 12, 15),
    date(2025, 12, 22),
)
PLAIN = date(2025, 11, 10)


def before(week: date, count: int) -> list[date]:
    """Return the ``count`` weeks before ``week``, oldest first."""
    return [week - timedelta(weeks=number) for number in range(count, 0, -1)]


def steady(level: int, week: date, measure: str = "shares") -> dict[date, int]:
    """Return twelve weeks of a market that trades ``level`` in an ordinary one, without noise."""
    by_sessions = measure in BY_SESSIONS
    return {
        earlier_week: round(level * (trading_level(earlier_week) if by_sessions else 1))
        for earlier_week in before(week, 12)
    }


def rows(week: date, quantities: Mapping[tuple[str, str, str], int]) -> pl.DataFrame:
    """Return rows of a delivery: (market, symbol, venue) and shares; a trade has 10 of them."""
    return pl.DataFrame(
        [
            (week, "T1", market, symbol, venue, shares, shares // 10)
            for (market, symbol, venue), shares in quantities.items()
        ],
        schema={
            "week_start": pl.Date(),
            "tier": pl.String(),
            "market": pl.String(),
            "symbol": pl.String(),
            "venue_id": pl.String(),
            "share_quantity": pl.Int64(),
            "trade_count": pl.Int64(),
        },
        orient="row",
    ).with_columns(
        firm_crd_number=pl.lit(None, pl.Int64),
        notional_usd=pl.lit(None, pl.Int64),
        participant_name=pl.lit(None, pl.String),
        last_update_date=pl.lit(None, pl.Date),
    )


def earlier(weeks: Sequence[pl.DataFrame], *markets: str) -> EarlierWeeks:
    """Return these deliveries as what is loaded before another one."""
    venues = [
        VenueWeek(*row)
        for week in weeks
        for row in venue_week(venue_sums(week)).select(VenueWeek._fields).rows()
    ]
    symbols = {week["week_start"][0]: week["symbol"].n_unique() for week in weeks}
    return EarlierWeeks(venues, symbols, markets or ("ATS", "NON_ATS"))


MARKET = {
    ("ATS", "AAA", "XATS"): 1_000,
    ("ATS", "BBB", "XATS"): 2_000,
    ("ATS", "BBB", "YATS"): 500,
    ("NON_ATS", "AAA", "CRD:7"): 2_500,
    ("NON_ATS", "BBB", "CRD:0"): 4_000,
}


def check_sizes_and_judge(
    week: pl.DataFrame, past: EarlierWeeks, week_start: date = PLAIN
) -> dict[str, Audit]:
    size = size_of_rows([week])
    assert size_of_rows(week.partition_by("symbol") or [week]) == size
    derived = size_of_derived(symbol_week(week), venue_week(venue_sums(week)))
    assert (derived.figures, set(derived.venues)) == (size.figures, size.venues)
    found = warnings_about(size, past, week_start=week_start, limits=LIMITS)
    return {audit.name: audit for audit in found}


def test_a_week_like_those_before_passes_and_shows_its_bands():
    past = earlier([rows(week, MARKET) for week in before(PLAIN, 4)])
    size = size_of_rows([rows(PLAIN, MARKET)])
    found = warnings_about(size, past, week_start=PLAIN, limits=LIMITS)
    assert found == [
        Audit(
            "is_of_usual_size",
            "passed",
            "rows 4 to 7, shares 6667 to 15000, trades 667 to 1500, symbols 2 to 3, venues 3 to 6",
            "rows 5, shares 10000, trades 1000, symbols 2, venues 4",
            [],
            "warning",
        ),
        Audit(
            "has_all_large_venues",
            "passed",
            "rows of all 3 venues that had at least 2.00% of the shares in each of the 4 weeks "
            "before",
            "0 missing",
            [],
            "warning",
        ),
    ]


def test_a_week_that_lost_most_of_its_rows_warns_and_blocks_nothing():
    past = earlier([rows(week, MARKET) for week in before(PLAIN, 4)])
    lost = dict(list(MARKET.items())[3:])
    size = check_sizes_and_judge(rows(PLAIN, lost), past)["is_of_usual_size"]
    assert (size.outcome, size.warns, size.blocks) == ("failed", True, False)
    assert size.offenders == [
        {"measure": "rows", "found": 2, "usual": 5, "least": 4, "most": 7},
        {"measure": "shares", "found": 6500, "usual": 10000, "least": 6667, "most": 15000},
        {"measure": "trades", "found": 650, "usual": 1000, "least": 667, "most": 1500},
        {"measure": "venues", "found": 2, "usual": 4, "least": 3, "most": 6},
    ]


def test_an_empty_week_warns_of_everything():
    past = earlier([rows(week, MARKET) for week in before(PLAIN, 4)])
    found = check_sizes_and_judge(rows(PLAIN, {}), past)
    assert [offender["measure"] for offender in found["is_of_usual_size"].offenders] == list(
        MEASURES
    )
    assert found["has_all_large_venues"].found == "3 missing"


def test_too_few_earlier_weeks_are_not_applicable_with_their_number():
    past = earlier([rows(week, MARKET) for week in before(PLAIN, 3)])
    assert [
        (value.outcome, value.expected, value.found)
        for value in check_sizes_and_judge(rows(PLAIN, MARKET), past).values()
    ] == [("not_applicable", "at least 4 of the 12 weeks before", "3 weeks")] * 2
    assert (
        check_sizes_and_judge(rows(PLAIN, MARKET), earlier([]))["is_of_usual_size"].found
        == "0 weeks"
    )


def test_weeks_that_lack_a_market_of_the_delivery_are_not_compared():
    ats = {place: shares for place, shares in MARKET.items() if place[0] == "ATS"}
    weeks = [rows(week, ats) for week in before(PLAIN, 4)]
    assert (
        check_sizes_and_judge(rows(PLAIN, MARKET), earlier(weeks))["is_of_usual_size"].found
        == "0 weeks"
    )
    of_one = check_sizes_and_judge(rows(PLAIN, ats), earlier(weeks, "ATS"))
    assert {value.outcome for value in of_one.values()} == {"passed"}


def test_a_large_venue_without_a_row_is_named_with_its_share_before():
    past = earlier([rows(week, MARKET) for week in before(PLAIN, 4)])
    left = {place: shares for place, shares in MARKET.items() if place[2] == "CRD:7"}
    found = check_sizes_and_judge(rows(PLAIN, left), past)["has_all_large_venues"]
    assert (found.outcome, found.found) == ("failed", "2 missing")
    assert found.offenders == [  # De Minimis Firms, which lump many, do not count
        {"venue_id": "XATS", "share_before": 0.3},
        {"venue_id": "YATS", "share_before": 0.05},
    ]


def test_a_venue_that_was_large_in_some_of_the_weeks_may_vanish():
    weeks = [rows(week, MARKET) for week in before(PLAIN, 4)]
    small = {**MARKET, ("ATS", "BBB", "YATS"): 1}
    weeks[1] = rows(before(PLAIN, 4)[1], small)
    left = {place: shares for place, shares in MARKET.items() if place[2] != "YATS"}
    assert (
        check_sizes_and_judge(rows(PLAIN, left), earlier(weeks))["has_all_large_venues"].outcome
        == "passed"
    )


def is_usual(measure: str, history: Mapping[date, int], week: date, found: float) -> bool:
    usual = band(measure, history, week, LIMITS)
    return usual.least <= found <= usual.most


@pytest.mark.parametrize(
    ("measure", "week", "part"),
    [
        ("trades", THANKSGIVING, 0.62),
        ("shares", BEFORE_CHRISTMAS, 0.71),
        ("shares", CHRISTMAS, 0.71),
    ],
    ids=["38 % less in Thanksgiving week", "29 % less before Christmas", "29 % less at Christmas"],
)
def test_the_swings_that_were_measured_are_usual(measure, week, part):
    assert is_usual(measure, steady(1_000_000, week, measure), week, part * 1_000_000)


def test_what_is_usual_at_thanksgiving_would_warn_in_a_plain_week():
    assert not is_usual("trades", steady(1_000_000, PLAIN), PLAIN, 620_000)


def test_a_holiday_among_the_weeks_before_does_not_lower_what_is_usual():
    after = date(2026, 1, 12)
    assert band("shares", steady(1_000_000, after), after, LIMITS) == Band(
        "shares", 666_667, 1_000_000, 1_500_000
    )


def test_a_restless_past_widens_the_band_up_to_the_cap_alone():
    wide = {week: 10 ** (5 + number) for number, week in enumerate(before(PLAIN, 5))}
    assert band("rows", wide, PLAIN, LIMITS) == Band("rows", 5_000_000, 10_000_000, 20_000_000)
    narrow = replace(LIMITS, cap=1.6)
    assert band("rows", wide, PLAIN, narrow) == Band("rows", 6_250_000, 10_000_000, 16_000_000)


WEEKS = st.sampled_from([*before(date(2026, 2, 2), 60)])
NATURAL = st.floats(0.81, 1.23)
"""A week's own noise: the median of such weeks is at least 0.81 of what the market trades."""


@bounded
@given(
    level=st.integers(1_000, 10**15),
    noise=st.lists(NATURAL, min_size=4, max_size=12),
    week=WEEKS,
    measure=st.sampled_from(MEASURES),
)
def test_a_loss_of_60_percent_warns_after_any_natural_history(level, noise, week, measure):
    weights = {day: trading_level(day) if measure in BY_SESSIONS else 1.0 for day in
               [*before(week, len(noise)), week]}  # fmt: skip
    past = {
        each: round(level * weights[each] * part)
        for each, part in zip(before(week, len(noise)), noise, strict=True)
    }
    assert not is_usual(measure, past, week, round(0.4 * level * weights[week]))
    assert is_usual(measure, past, week, round(level * weights[week]))


@bounded
@given(
    values=st.lists(st.integers(0, 10**15), min_size=4, max_size=12),
    week=WEEKS,
    measure=st.sampled_from(MEASURES),
)
def test_a_loss_of_60_percent_of_what_is_usual_warns_after_any_history_whatsoever(
    values, week, measure
):
    past = dict(zip(before(week, len(values)), values, strict=True))
    usual = band(measure, past, week, LIMITS)
    assert not is_usual(measure, past, week, 0.4 * usual.usual)
    assert usual.least <= max(usual.usual, 1)


def test_large_is_a_venue_of_the_latest_weeks_in_whatever_order_they_are_read():
    oldest, *latest = before(PLAIN, LIMITS.large_venue_weeks + 1)
    newcomer = {**MARKET, ("ATS", "AAA", "ZATS"): 3_000}
    past = earlier([rows(week, newcomer) for week in reversed(latest)] + [rows(oldest, MARKET)])
    missing = check_sizes_and_judge(rows(PLAIN, MARKET), past)["has_all_large_venues"]
    assert missing.offenders == [{"venue_id": "ZATS", "share_before": 0.2308}]


def test_weeks_in_which_nothing_was_traded_have_no_large_venue_and_no_symbol():
    idle = dict.fromkeys(MARKET, 0)
    past = replace(earlier([rows(week, idle) for week in before(PLAIN, 4)]), symbols={})
    assert [week["symbols"] for week in past.figures().values()] == [0] * 4
    assert (
        check_sizes_and_judge(rows(PLAIN, idle), past)["has_all_large_venues"].outcome == "passed"
    )
