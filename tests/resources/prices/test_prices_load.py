"""Symbols from files of prices into the tables: what stays, goes, waits, and is asked again."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from orchestration_project.domains.finra.tables.weekly import finra_symbol_week_value
from orchestration_project.domains.prices.calendar import closes_at
from orchestration_project.domains.prices.tables import (
    PRICES,
    prices_corporate_actions,
    prices_daily,
    prices_daily_history,
    prices_returns,
    prices_symbol_months,
)
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.http.shared_state import SqliteState
from orchestration_project.engine.warehouse import QuarantinedError
from orchestration_project.resources.prices.files import PriceFiles
from orchestration_project.resources.prices.gold import derive_outdated, outdated_symbols
from orchestration_project.resources.prices.load import LoadedPrices
from orchestration_project.resources.prices.quota import Quota
from orchestration_project.resources.prices.second_source import failing_second_source
from orchestration_project.resources.prices.universe import find_oldest_unloaded_session
from orchestration_project.tables.catalogue import relation_as_of
from orchestration_project.tables.spine import captures, deliveries, landings
from tests.domains.prices import csv, line
from tests.expecting import expect_present
from tests.properties import bounded
from tests.resources.price_loading import (
    BOTH,
    FEBRUARY,
    FRIDAY_EVENING,
    JANUARY,
    MONTH,
    NOT_REQUESTED,
    PriceLoader,
)
from tests.resources.weeks import StoppedClock


@pytest.mark.slow_after_first
def test_a_range_is_loaded_and_a_second_load_requests_nothing(price_loader: PriceLoader):
    price_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY]))
    [first] = price_loader.load("AAA", months=BOTH).values()
    assert str(first) == "39 rows added, 0 changed, 0 removed, 0 unchanged"
    assert list(price_loader.closes("AAA")) == [*JANUARY, *FEBRUARY]
    [second] = price_loader.load("AAA", months=BOTH).values()
    assert str(second) == NOT_REQUESTED
    assert len(price_loader.source.requested) == 1
    assert price_loader.months().select("month_start", "state", "row_count", "run_id").rows() == [
        (date(2026, 1, 1), "landed", 20, "run 1"),
        (MONTH, "landed", 19, "run 1"),
    ]
    [third] = price_loader.load("AAA", months=BOTH, full=True).values()
    assert str(third) == "unchanged"
    assert len(price_loader.source.requested) == 2
    kept = price_loader.warehouse.frame(select(deliveries.c.group_id), deliveries)
    assert len(kept) == 1


@pytest.mark.slow_after_first
def test_a_replaced_file_of_a_closed_month_is_read_again_with_the_months_after_it(
    price_loader: PriceLoader,
):
    price_loader.source.is_local = True
    price_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY]))
    price_loader.load("AAA", months=BOTH)
    [same] = price_loader.load("AAA", months=BOTH).values()
    assert str(same) == "unchanged"
    price_loader.write(
        "AAA", *(line(day, 2.5) for day in [*JANUARY, *FEBRUARY])
    )  # a split, applied
    [replaced] = price_loader.load("AAA", months=["2026-01-01"]).values()
    assert str(replaced) == "0 rows added, 39 changed, 0 removed, 0 unchanged"
    assert set(price_loader.closes("AAA").values()) == {2.5}
    history = price_loader.warehouse.frame(select(prices_daily_history), prices_daily_history)
    assert set(history["close"]) == {10_000_000}
    assert set(price_loader.months()["state"]) == {"landed"}


def test_a_file_that_was_missing_is_read_as_soon_as_it_is_there(light_loader: PriceLoader):
    light_loader.source.is_local = True
    light_loader.write("BBB", *map(line, FEBRUARY))
    [missing] = light_loader.load("AAA").values()
    assert "no file holds AAA" in str(missing)
    light_loader.write("AAA", *map(line, FEBRUARY))
    light_loader.load("AAA")
    assert list(light_loader.closes("AAA")) == FEBRUARY


def test_a_vendor_that_refused_a_symbol_is_not_asked_until_a_stated_time(light_loader: PriceLoader):
    light_loader.write("BBB", *map(line, FEBRUARY))
    light_loader.load("AAA")
    [refused] = light_loader.load("AAA").values()
    assert str(refused) == (
        "refused: no file holds AAA: 1 files in "
        f"{light_loader.folder}; not asked until 2026-02-28 19:30 UTC; to ask the source: --full, "
        "or full: true in the run's config, or the preset prices_full"
    )
    assert len(light_loader.source.requested) == 1


@pytest.mark.slow
def test_loaded_months_ending_on_a_saturday_are_not_requested(
    light_loader: PriceLoader, clock: StoppedClock
):
    light_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY, date(2026, 3, 2)]))
    ends = {"2026-01-01": JANUARY[-1], "2026-02-01": FEBRUARY[-1], "2026-03-01": date(2026, 3, 2)}
    for month, session in ends.items():
        clock.at = closes_at(session).astimezone(UTC)
        light_loader.load("AAA", months=[month])
    assert len(light_loader.source.requested) == 3
    [ended] = light_loader.load("AAA", months=list(ends)).values()
    assert str(ended) == NOT_REQUESTED
    assert len(light_loader.source.requested) == 3


@pytest.mark.slow_on_postgresql
def test_a_day_that_vanished_in_the_range_goes_to_the_history_and_one_outside_stays(
    price_loader: PriceLoader,
):
    price_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY]))
    price_loader.load("AAA", months=BOTH)
    price_loader.write("AAA", *map(line, FEBRUARY[1:]))
    price_loader.load("AAA", full=True)
    assert list(price_loader.closes("AAA")) == [*JANUARY, *FEBRUARY[1:]]
    history = price_loader.warehouse.frame(select(prices_daily_history), prices_daily_history)
    assert history.select("trade_date", "change_cause").rows() == [(FEBRUARY[0], "source")]


@pytest.mark.slow
def test_days_that_follow_restate_nothing(light_loader: PriceLoader, clock: StoppedClock):
    clock.at -= timedelta(days=1)
    light_loader.write("AAA", *map(line, FEBRUARY[:-1]))
    light_loader.load("AAA")
    clock.at += timedelta(days=1)
    light_loader.write("AAA", *map(line, FEBRUARY))
    light_loader.load("AAA")
    light_loader.write("AAA", *map(line, FEBRUARY[:-1]), line(FEBRUARY[-1], 11))
    light_loader.load("AAA", full=True)
    causes = select(landings).order_by(landings.c.landed_at)
    found = light_loader.warehouse.frame(causes, landings)["change_cause"].to_list()
    assert found == ["first", "more", "source"]


@pytest.mark.slow
def test_symbols_beyond_the_quota_are_loaded_the_next_day(
    light_loader: PriceLoader, clock: StoppedClock, tmp_path: Path
):
    symbols = ["AAA", "BBB", "CCC"]
    for symbol in symbols:
        light_loader.write(symbol, *map(line, FEBRUARY))
    light_loader.source.quota = Quota(
        SqliteState(tmp_path),
        system="vendor",
        requests_per_day=2,
        vendor="The vendor",
        now=clock.now,
    )
    ended = light_loader.load(*symbols)
    assert light_loader.states(MONTH) == {"AAA": "landed", "BBB": "landed", "CCC": "waiting"}
    assert str(ended["CCC"]) == (
        "waiting: The vendor grants no more requests today: "
        "as many were sent today, or the vendor said so"
    )
    light_loader.load(*symbols)
    assert len(light_loader.source.requested) == 2
    [resumes_at] = light_loader.months()["resumes_at"].drop_nulls()
    clock.at = resumes_at
    light_loader.load(*symbols)
    assert [request.symbol for request in light_loader.source.requested] == symbols
    assert set(light_loader.states(MONTH).values()) == {"landed"}
    assert light_loader.closes("CCC") == light_loader.closes("AAA")


def test_what_waits_for_one_source_s_quota_is_asked_of_another_at_once(
    light_loader: PriceLoader, clock: StoppedClock, tmp_path: Path
):
    light_loader.write("AAA", *map(line, FEBRUARY))
    light_loader.source.quota = Quota(
        SqliteState(tmp_path),
        system="vendor",
        requests_per_day=0,
        vendor="The vendor",
        now=clock.now,
    )
    light_loader.source.name = "alpha_vantage"
    light_loader.load("AAA")
    assert light_loader.states(MONTH) == {"AAA": "waiting"}
    light_loader.source.close()
    light_loader.source.quota, light_loader.source.name = None, "files"
    light_loader.load("AAA")
    assert light_loader.states(MONTH) == {"AAA": "landed"}
    assert list(light_loader.closes("AAA")) == FEBRUARY


def test_a_missing_or_unmapped_symbol_harms_no_other(
    light_loader: PriceLoader, clock: StoppedClock
):
    light_loader.write("AAA", *map(line, FEBRUARY))
    symbols = ["UNKNOWN", "GONE", "AAA"]
    light_loader.load(*symbols)
    states = {"UNKNOWN": "unmapped", "GONE": "refused", "AAA": "landed"}
    assert light_loader.states(MONTH) == states
    light_loader.load(*symbols)
    assert [request.symbol for request in light_loader.source.requested] == ["GONE", "AAA"]
    light_loader.write("GONE", *map(line, FEBRUARY))
    clock.at += timedelta(days=1)
    light_loader.load(*symbols)
    assert light_loader.states(MONTH) == states | {"GONE": "landed"}


def test_a_bad_symbol_is_quarantined_alone_with_its_evidence(
    light_loader: PriceLoader,
):
    light_loader.write("BAD", line(FEBRUARY[0]), line(FEBRUARY[0]))
    light_loader.write("AAA", *map(line, FEBRUARY))
    ended = light_loader.load("BAD", "AAA")
    assert isinstance(ended["BAD"], QuarantinedError)
    assert "has_unique_days" in str(ended["BAD"])
    assert isinstance(ended["AAA"], LoadedPrices)
    assert light_loader.states(MONTH) == {"BAD": "refused", "AAA": "landed"}
    kept = select(captures).where(captures.c.partition_key == "BAD")
    assert len(light_loader.warehouse.frame(kept, captures)) == 1
    light_loader.write("BAD", *map(line, FEBRUARY))
    light_loader.load("BAD", "AAA")  # repaired, so it need not wait
    assert set(light_loader.states(MONTH).values()) == {"landed"}


def test_a_source_that_has_not_the_newest_session_yet_is_asked_again_and_removes_nothing(
    light_loader: PriceLoader,
):
    light_loader.write("AAA", *map(line, FEBRUARY))
    light_loader.load("AAA")
    light_loader.write("AAA", *map(line, FEBRUARY[:-2]))
    [ended] = light_loader.load("AAA", full=True).values()
    assert isinstance(ended, LoadedPrices)
    assert ended.standing.reason == "the source's newest price is of 2026-02-25"
    assert list(light_loader.closes("AAA")) == FEBRUARY
    light_loader.load("AAA")
    assert len(light_loader.source.requested) == 2  # what is loaded stays loaded


def test_a_newest_day_without_prices_is_one_that_the_source_has_not_yet(light_loader: PriceLoader):
    light_loader.write("AAA", *map(line, FEBRUARY[:-1]), line(FEBRUARY[-1], close=""))
    light_loader.load("AAA")
    assert light_loader.states(MONTH) == {"AAA": "waiting"}
    light_loader.write("AAA", *map(line, FEBRUARY))
    light_loader.load("AAA")
    assert list(light_loader.closes("AAA")) == FEBRUARY
    assert light_loader.states(MONTH) == {"AAA": "landed"}


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("days", "reason"),
    [
        ([*map(line, FEBRUARY)], "the source's newest price is of 2026-02-27"),
        ([line(date(2026, 3, 2), close="")], "the source's prices are yet to come"),
    ],
)
def test_a_source_that_lags_when_a_month_begins_is_waited_for_until_it_is_stale(
    light_loader: PriceLoader, clock: StoppedClock, days: list[str], reason: str
):
    march = ("2026-03-01",)
    light_loader.write("AAA", *days)
    clock.at = closes_at(date(2026, 3, 2)).astimezone(UTC)
    light_loader.load("AAA", months=march)
    assert light_loader.months().select("state", "reason").rows() == [("waiting", reason)]
    clock.at += timedelta(days=3)
    light_loader.load("AAA", months=march)
    assert light_loader.states(date(2026, 3, 1)) == {"AAA": "refused"}
    light_loader.write("AAA", *map(line, [date(2026, 3, 2), date(2026, 3, 6)]))
    clock.at += timedelta(days=1)
    light_loader.load("AAA", months=march)
    assert light_loader.states(date(2026, 3, 1)) == {"AAA": "landed"}


def test_a_day_that_is_yet_to_come_does_not_vouch_for_those_before_it(light_loader: PriceLoader):
    light_loader.write("AAA", *map(line, FEBRUARY))
    light_loader.load("AAA")
    light_loader.write("AAA", *map(line, FEBRUARY[:5]), line(date(2062, 2, 9)))
    light_loader.load("AAA", full=True)
    assert list(light_loader.closes("AAA")) == FEBRUARY


def test_complete_months_are_loaded_while_another_month_waits(
    light_loader: PriceLoader,
):
    light_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY[:-1]]))
    light_loader.load("AAA", months=BOTH)
    assert light_loader.months().select("month_start", "state", "reason").rows() == [
        (date(2026, 1, 1), "landed", None),
        (MONTH, "waiting", "the source's newest price is of 2026-02-26"),
    ]
    light_loader.write("AAA", line(FEBRUARY[0]), line(FEBRUARY[0]))
    [held] = light_loader.load("AAA", months=BOTH, full=True).values()
    assert isinstance(held, QuarantinedError)
    states = [light_loader.states(date(2026, 1, 1)), light_loader.states(MONTH)]
    assert states == [{"AAA": "landed"}, {"AAA": "refused"}]


def test_a_complete_month_left_waiting_is_loaded_after_a_run(
    light_loader: PriceLoader,
):
    light_loader.write("AAA", *map(line, FEBRUARY))
    light_loader.load("AAA")
    waits = {"state": "waiting", "reason": "another month lags", "resumes_at": FRIDAY_EVENING}
    with light_loader.warehouse.writing() as connection:
        connection.execute(update(prices_symbol_months).values(waits))
    [found] = light_loader.load("AAA").values()
    assert str(found) == NOT_REQUESTED
    rows = (
        light_loader.months().select("state", "reason", "resumes_at", "landed_through_date").rows()
    )
    assert rows == [("landed", None, None, FEBRUARY[-1])]
    assert len(light_loader.source.requested) == 1


def test_a_day_whose_session_is_not_over_is_left_out(
    light_loader: PriceLoader, clock: StoppedClock
):
    clock.at = FRIDAY_EVENING - timedelta(hours=4)
    light_loader.write("AAA", *map(line, FEBRUARY))
    light_loader.load("AAA")
    assert list(light_loader.closes("AAA")) == FEBRUARY[:-1]


def late(price_loader: PriceLoader, symbols: str, now: datetime) -> str | None:
    """Return the month that the control tower names, and how many more are missing."""
    found = find_oldest_unloaded_session(
        price_loader.warehouse, symbols.split(), now, first_month=date(2026, 1, 1)
    )
    if found is None:
        return None
    more = f" and {found.missing_count - 1} more" if found.missing_count > 1 else ""
    return f"{found.asset} {found.partition}{more}"


def test_a_session_of_which_a_symbol_has_no_prices_is_late_a_day_after_its_close(
    light_loader: PriceLoader, clock: StoppedClock
):
    assert late(light_loader, "AAA BBB", clock.at) is None  # nothing was ever requested
    light_loader.write("AAA", *map(line, FEBRUARY))
    light_loader.write("BBB", *map(line, FEBRUARY[:-2]))
    light_loader.load("AAA", "BBB")
    monday_close = closes_at(date(2026, 3, 2))
    assert late(light_loader, "AAA", monday_close) is None
    assert late(light_loader, "AAA", monday_close + timedelta(days=1)) == "prices/daily 2026-03-01"
    assert late(light_loader, "AAA BBB", monday_close) == "prices/daily 2026-02-01"
    tuesday_close = monday_close + timedelta(days=1)
    assert late(light_loader, "AAA BBB", tuesday_close) == "prices/daily 2026-02-01 and 1 more"
    assert late(light_loader, "AAA NEW", monday_close) is None  # never asked for, so it is new


def test_a_month_without_loads_is_late_if_a_later_one_is_loaded(
    light_loader: PriceLoader, clock: StoppedClock, tmp_path: Path
):
    light_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY]))
    light_loader.source.quota = Quota(
        SqliteState(tmp_path),
        system="vendor",
        requests_per_day=0,
        vendor="The vendor",
        now=clock.now,
    )
    light_loader.load("AAA", months=BOTH[:1])
    light_loader.source.close()
    light_loader.source.quota = None
    light_loader.load("AAA")
    assert light_loader.states(MONTH) == {"AAA": "landed"}
    assert late(light_loader, "AAA", clock.at) == "prices/daily 2026-01-01"
    clock.at += timedelta(days=1)
    light_loader.load("AAA", months=BOTH[:1])
    assert late(light_loader, "AAA", clock.at) is None


def test_a_month_between_loaded_ones_is_late_if_not_requested(
    light_loader: PriceLoader, clock: StoppedClock
):
    light_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY, date(2026, 3, 2)]))
    light_loader.load("AAA", months=BOTH[:1])
    clock.at = closes_at(date(2026, 3, 2)).astimezone(UTC)
    light_loader.load("AAA", months=["2026-03-01"])
    assert late(light_loader, "AAA", clock.at + timedelta(hours=20)) == "prices/daily 2026-02-01"


def test_an_unknown_symbol_is_late_only_where_no_other_is_loaded(
    light_loader: PriceLoader, clock: StoppedClock
):
    light_loader.write("AAA", *map(line, FEBRUARY))
    light_loader.load("AAA", "GONE", "UNKNOWN")
    assert light_loader.states(MONTH) == {"AAA": "landed", "GONE": "refused", "UNKNOWN": "unmapped"}
    assert late(light_loader, "AAA GONE UNKNOWN", clock.at + timedelta(days=1)) is None
    assert late(light_loader, "GONE UNKNOWN", clock.at) == "prices/daily 2026-02-01"
    light_loader.write("BAD", line(FEBRUARY[0]), line(FEBRUARY[0]))
    light_loader.load("BAD")
    assert late(light_loader, "AAA BAD", clock.at) == "prices/daily 2026-02-01"


@pytest.mark.slow
def test_a_month_is_quarantined_if_each_symbol_that_lacks_it_is(
    light_loader: PriceLoader, clock: StoppedClock
):
    def counts(*symbols: str) -> tuple[int, int]:
        found = expect_present(
            find_oldest_unloaded_session(
                light_loader.warehouse, symbols, clock.at, first_month=date(2026, 1, 1)
            )
        )
        return found.missing_count, found.quarantined_count

    light_loader.write("BAD", line(FEBRUARY[0]), line(FEBRUARY[0]))
    light_loader.write("LATE", *map(line, FEBRUARY[:-2]))
    light_loader.load("BAD", "LATE")
    assert counts("BAD") == (1, 1)
    assert counts("BAD", "LATE") == (1, 0)
    light_loader.load("BAD", months=BOTH[:1])  # its latest delivery is of another month, and loaded
    assert counts("BAD") == (1, 0)


@pytest.mark.slow_on_postgresql
def test_restated_prices_mark_the_values_of_their_weeks_stale(
    light_loader: PriceLoader, clock: StoppedClock
):
    weeks = sorted({day - timedelta(days=day.weekday()) for day in FEBRUARY})
    value = {"tier": "T1", "share_quantity": 1, "price": 1, "session_count": 5}
    values = [
        {**value, "week_start": week, "symbol": symbol, "is_stale": False}
        for week in weeks
        for symbol in ("AAA", "BBB")
    ]
    with light_loader.warehouse.writing() as connection:
        for fields in values:
            given = dict.fromkeys(finra_symbol_week_value.columns.keys()) | fields
            connection.execute(
                finra_symbol_week_value.insert().values({**given, "estimated_notional_usd": 1})
            )

    def stale() -> list[tuple[date, str]]:
        column = finra_symbol_week_value.c
        wanted = select(column.week_start, column.symbol).where(column.is_stale)
        with light_loader.warehouse.reading() as connection:
            return sorted((week, symbol) for week, symbol in connection.execute(wanted))

    closes = dict.fromkeys(FEBRUARY, 5.0)
    for symbol in ("AAA", "BBB"):
        light_loader.write(symbol, *(line(day, close) for day, close in closes.items()))
    light_loader.load("AAA", "BBB")
    assert stale() == []
    day = FEBRUARY[8]
    closes[day] = 6.0
    light_loader.write("AAA", *(line(key, close) for key, close in closes.items()))
    light_loader.load("AAA", "BBB", full=True)
    assert stale() == [(day - timedelta(days=day.weekday()), "AAA")]


@pytest.mark.slow
def test_a_file_names_a_later_split_before_and_after_its_day_is_loaded(light_loader: PriceLoader):
    split = line(FEBRUARY[2], split_ratio=4)
    days = [*JANUARY, *FEBRUARY[:2], *FEBRUARY[3:]]
    light_loader.write("AAA", *(line(day) for day in days), split)
    for months, added in ((BOTH[:1], len(JANUARY)), (BOTH, len(FEBRUARY))):
        [loaded] = light_loader.load("AAA", months=months).values()
        assert str(loaded).startswith(f"{added} rows added, 0 changed, 0 removed")
        with light_loader.warehouse.reading() as connection:
            columns = prices_daily.c
            named = select(columns.later_splits).where(columns.trade_date <= JANUARY[-1])
            assert set(connection.execute(named).scalars()) == {f"{FEBRUARY[2]} 4"}


@pytest.mark.slow
def test_a_new_dividend_has_all_loaded_months_requested_again(light_loader: PriceLoader):
    light_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY[:3]]))
    light_loader.load("AAA", months=BOTH)
    adjusted = [line(day, adjusted_close=9) for day in [*JANUARY, *FEBRUARY[:3]]]
    payday = line(FEBRUARY[3], 9, dividend=1)
    light_loader.write("AAA", *adjusted, payday, *(line(day, 9) for day in FEBRUARY[4:]))
    light_loader.load("AAA")
    assert [request.first_date for request in light_loader.source.requested] == [
        date(2026, 1, 1),
        MONTH,
        JANUARY[0],
    ]
    statement = select(func.min(prices_daily.c.adjusted_close), func.max(prices_daily.c.close))
    with light_loader.warehouse.reading() as connection:
        assert connection.execute(statement).one() == (9_000_000, 10_000_000)
    looked = light_loader.months().select("month_start", "row_count", "run_id").rows()
    assert looked == [(date(2026, 1, 1), 20, "run 2"), (MONTH, 19, "run 2")]


def test_months_before_loaded_ones_are_requested_up_to_now(
    light_loader: PriceLoader, clock: StoppedClock
):
    clock.at -= timedelta(days=7)
    light_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY[:-5]]))
    light_loader.load("AAA")
    clock.at += timedelta(days=7)
    halved = [line(day, 5) for day in [*JANUARY, *FEBRUARY[:-5], *FEBRUARY[-4:]]]
    light_loader.write("AAA", *halved, line(FEBRUARY[-5], 5, split_ratio=2))
    light_loader.load("AAA", months=BOTH[:1])
    assert set(light_loader.closes("AAA").values()) == {5.0}
    assert light_loader.states(MONTH) == {"AAA": "landed"}
    assert len(light_loader.source.requested) == 2


def test_months_before_loaded_ones_do_not_wait_for_later_gaps(
    light_loader: PriceLoader, clock: StoppedClock
):
    clock.at -= timedelta(days=7)
    light_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY[:-5]]))
    light_loader.load("AAA")
    before = light_loader.states(MONTH)
    clock.at += timedelta(days=7)
    [ended] = light_loader.load("AAA", months=BOTH[:1]).values()
    assert isinstance(ended, LoadedPrices)
    assert (ended.standing.state, light_loader.states(MONTH)) == ("landed", before)


@pytest.mark.slow
def test_a_split_without_prices_has_all_loaded_months_requested(
    light_loader: PriceLoader,
):
    light_loader.write("AAA", *map(line, JANUARY))
    light_loader.load("AAA", months=BOTH[:1])
    split = f"{FEBRUARY[3]},,,,,,,0,2"
    halved = [line(day, 5) for day in [*JANUARY, *FEBRUARY] if day != FEBRUARY[3]]
    light_loader.write("AAA", *halved, split)
    light_loader.load("AAA")
    assert [request.first_date for request in light_loader.source.requested[1:]] == [
        MONTH,
        JANUARY[0],
    ]
    assert set(light_loader.closes("AAA").values()) == {5.0}


@pytest.mark.slow
def test_a_withdrawn_split_has_all_loaded_months_requested_again(
    light_loader: PriceLoader,
):
    light_loader.write("AAA", *map(line, JANUARY))
    light_loader.load("AAA", months=BOTH[:1])
    halved = [line(day, 5) for day in [*JANUARY, *FEBRUARY[1:]]]
    light_loader.write("AAA", *halved, line(FEBRUARY[0], 5, split_ratio=2))
    light_loader.load("AAA")
    assert set(light_loader.closes("AAA").values()) == {5.0}
    light_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY]))
    light_loader.load("AAA", full=True)
    assert set(light_loader.closes("AAA").values()) == {10.0}


def test_a_dividend_of_a_day_that_the_source_does_not_have_yet_is_not_taken_for_withdrawn(
    light_loader: PriceLoader,
):
    light_loader.write(
        "AAA", *map(line, [*JANUARY, *FEBRUARY[:-1]]), line(FEBRUARY[-1], dividend=1)
    )
    light_loader.load("AAA", months=BOTH)
    light_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY[:-1]]))
    light_loader.load("AAA", full=True)
    assert len(light_loader.source.requested) == 2


def series(closes: Mapping[date, float]) -> bytes:
    """Return days as Alpha Vantage writes them."""
    days = {
        day.isoformat(): {f"{number}. {name}": str(close) for number, name in enumerate(PRICES, 1)}
        | {"5. volume": "1000"}
        for day, close in closes.items()
    }
    return json.dumps({"Meta Data": {"2. Symbol": "AAA"}, "Time Series (Daily)": days}).encode()


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize("month", BOTH)
def test_another_source_replaces_all_loaded_months_by_force(price_loader: PriceLoader, month: str):
    price_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY]))
    price_loader.load("AAA", months=BOTH)
    price_loader.source.name = "alpha_vantage"
    (price_loader.folder / "AAA.csv").write_bytes(series(dict.fromkeys([*JANUARY, *FEBRUARY], 5)))
    [refused] = price_loader.load("AAA", months=[month], full=True).values()
    assert "loaded from another source" in str(refused)
    [forced] = price_loader.load("AAA", months=[month], force=True).values()
    assert str(forced) == "0 rows added, 39 changed, 0 removed, 0 unchanged"
    assert set(price_loader.closes("AAA").values()) == {5.0}
    assert set(price_loader.months()["source"]) == {"alpha_vantage"}
    [again] = price_loader.load("AAA", months=BOTH).values()
    assert str(again) == NOT_REQUESTED


@pytest.mark.parametrize(("close", "outcome"), [(10, "passed"), (12, "failed")])
def test_a_second_source_that_disagrees_warns_and_its_answer_is_kept(
    light_loader: PriceLoader, tmp_path: Path, clock: StoppedClock, close: float, outcome: str
):
    folder = tmp_path / "second"
    folder.mkdir()
    closes = dict.fromkeys(FEBRUARY, 10) | {FEBRUARY[-1]: close}
    (folder / "AAA.csv").write_bytes(series(closes))
    store = Captures(FolderStore(tmp_path / "artifacts"))
    light_loader.second = PriceFiles(folder, store, clock, overrides={})
    light_loader.second.name = "alpha_vantage"
    light_loader.write("AAA", *map(line, FEBRUARY))
    light_loader.write("BBB", *map(line, FEBRUARY))
    light_loader.load("AAA", "BBB")
    assert light_loader.states(MONTH) == {"AAA": "landed", "BBB": "landed"}
    found = light_loader.warehouse.latest_audits(prices_daily).filter(
        name="agrees_with_second_source"
    )
    assert found.select("partition_key", "outcome").rows() == [
        ("AAA", outcome),
        ("BBB", "not_applicable"),
    ]
    why = f"nothing of alpha_vantage: no file holds BBB: 1 files in {folder}"
    assert found["found"][1] == why
    kept = light_loader.warehouse.frame(select(captures), captures).filter(partition_key="AAA")
    assert kept.sort("part_number")["source"].to_list() == ["files", "alpha_vantage"]


@pytest.mark.slow
def test_a_second_source_that_always_fails_is_noticed_after_three_days_until_it_answers(
    light_loader: PriceLoader, tmp_path: Path, clock: StoppedClock
):
    folder = tmp_path / "second"
    folder.mkdir()
    (folder / "BBB.csv").write_bytes(b"<html>Please log in</html>")
    light_loader.second = PriceFiles(
        folder, Captures(FolderStore(tmp_path / "artifacts")), clock, overrides={"CCC": ""}
    )
    clock.at -= timedelta(days=4)
    found: list[Mapping[str, Any]] = []
    for sessions_over in (-4, -3, -2, -1, None):
        for symbol in ("AAA", "BBB", "CCC"):
            light_loader.write(symbol, *map(line, FEBRUARY[:sessions_over]))
        light_loader.load("AAA", "BBB", "CCC")
        found.append(failing_second_source(light_loader.warehouse))
        clock.at += timedelta(days=1)
    assert found[:3] == [{}, {}, {}]
    since = FRIDAY_EVENING - timedelta(days=4)
    for day in found[3:]:
        assert day["second_source_fails_since"] == since
        assert day["second_source_error"].startswith("nothing of files: ")
    (folder / "AAA.csv").write_bytes(csv(*map(line, FEBRUARY)))
    light_loader.write("AAA", *map(line, FEBRUARY[:-1]), line(FEBRUARY[-1], 11))
    light_loader.load("AAA", full=True)
    assert failing_second_source(light_loader.warehouse) == {}


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_what_is_derived_of_changes_is_what_would_be_derived_of_all(price_loader: PriceLoader):
    days = [*JANUARY, *FEBRUARY]
    price_loader.write("AAA", *(line(day, 10 + number % 4) for number, day in enumerate(days)))
    price_loader.write("BBB", *map(line, days))
    price_loader.load("AAA", "BBB", months=("2026-01-01",))
    assert derive_outdated(price_loader.warehouse).symbol_count == 2
    assert outdated_symbols(price_loader.warehouse) == {}
    price_loader.load("AAA", "BBB", months=BOTH)
    lines = [line(day, 10 + number % 4) for number, day in enumerate(days)]
    lines[25] = line(days[25], 12.5, dividend=0.25)
    del lines[30]
    price_loader.write("AAA", *lines)
    price_loader.load("AAA", months=BOTH, full=True)
    assert derive_outdated(price_loader.warehouse).symbol_count == 2
    parts = [_derived(price_loader, table) for table in (prices_returns, prices_corporate_actions)]
    assert len(parts[0]) == 2 * (len(days) - 1) - 1
    with price_loader.warehouse.writing() as connection:
        for name in ("prices_returns", "prices_corporate_actions", "fences"):
            connection.exec_driver_sql(
                f"DELETE FROM {name}"  # noqa: S608 - names of tables
                + " WHERE table_name <> 'prices_daily'" * (name == "fences")
            )
    derive_outdated(price_loader.warehouse)
    whole = [_derived(price_loader, table) for table in (prices_returns, prices_corporate_actions)]
    assert [part.equals(each) for part, each in zip(parts, whole, strict=True)] == [True, True]


def _derived(price_loader: PriceLoader, table):
    return price_loader.warehouse.frame(select(table).order_by(*table.primary_key.columns), table)


STATES = st.dictionaries(st.sampled_from(FEBRUARY[:6]), st.integers(1, 3), min_size=1)
DELIVERIES = st.lists(
    st.tuples(STATES, st.sampled_from([BOTH, BOTH[1:], BOTH[:1]])), min_size=1, max_size=5
)


@pytest.mark.slow
@settings(bounded, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DELIVERIES)
def test_any_sequence_of_overlapping_ranges_is_known_as_it_was_at_each_moment(
    light_loader: PriceLoader, clock: StoppedClock, deliveries
):
    """Each state has January's last day too; a source vouches for the days up to its newest."""
    symbol = f"S{light_loader.runs}"
    known: dict[date, float] = {}
    moments = []
    for state, months in deliveries:
        clock.at += timedelta(minutes=1)
        held = {JANUARY[-1]: 5, **dict(sorted(state.items()))}
        light_loader.write(symbol, *(line(day, close) for day, close in held.items()))
        [ended] = light_loader.load(symbol, months=months, full=True).values()
        first = date.fromisoformat(months[0])
        last = max(held) if months[-1] == BOTH[1] else JANUARY[-1]
        if isinstance(ended, QuarantinedError):  # a remnant: what was known stays
            assert "is_complete" in str(ended)
            continue
        assert isinstance(ended, LoadedPrices)
        kept = {day: close for day, close in known.items() if not first <= day <= last}
        known = kept | {day: float(close) for day, close in held.items() if first <= day <= last}
        moments.append(
            (ended.write_result.known_from if ended.write_result else clock.at, dict(known))
        )
    for at, expected in moments:
        assert _expect_distinct_days_as_of(light_loader, symbol, at) == expected
    clock.at = FRIDAY_EVENING


def _expect_distinct_days_as_of(price_loader: PriceLoader, symbol: str, at) -> dict[date, float]:
    relation = relation_as_of("prices_daily", at)
    statement = relation.select(["trade_date", "close"], [f"symbol={symbol}"])
    with price_loader.warehouse.batches(statement, prices_daily) as batches:
        found = [row for batch in batches for row in batch.select("trade_date", "close").rows()]
    assert len({day for day, _ in found}) == len(found)
    return {day: close / 1e6 for day, close in found}


@pytest.mark.slow_after_first
def test_a_file_that_lacks_most_loaded_days_is_quarantined(price_loader: PriceLoader):
    price_loader.source.is_local = True
    price_loader.write("AAA", *map(line, FEBRUARY))
    price_loader.load("AAA")
    price_loader.write("AAA", *map(line, FEBRUARY[-3:]))
    [held] = price_loader.load("AAA").values()
    assert isinstance(held, QuarantinedError)
    assert "at least 16 of the 19 loaded keys" in str(held)
    assert list(price_loader.closes("AAA")) == FEBRUARY
