"""When prices are loaded and derived from, ticked by the test over what a folder of files gave."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.catalog import REGISTRY
from orchestration_project.domains.prices.calendar import sessions
from orchestration_project.engine.http.shared_state import SqliteState
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import (
    ContractError,
    OrchestrationError,
    SourceError,
    TransientError,
)
from orchestration_project.resources.prices.gold import derive_outdated
from orchestration_project.resources.prices.quota import Quota
from orchestration_project.sensors.prices import (
    prices_daily_after_close,
    prices_on_landing,
    prices_on_new_symbol,
    prices_waiting_hourly,
)
from orchestration_project.services.retries.retrying import ItemRetries
from orchestration_project.services.retries.rules import ItemFilter
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import balances
from tests.domains.prices import line
from tests.resources.price_loading import BOTH, FRIDAY_EVENING, JANUARY, PriceLoader
from tests.resources.weeks import StoppedClock

FEBRUARY = sessions(date(2026, 2, 1), date(2026, 2, 28))
FIRST, LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock(FRIDAY_EVENING)


@pytest.fixture
def price_loader(tmp_path: Path, clock: StoppedClock) -> Iterator[PriceLoader]:
    with Warehouse(f"sqlite:///{tmp_path}/w.sqlite", clock=clock) as warehouse:
        warehouse.prepare(holds="real")
        price_loader = PriceLoader(warehouse, tmp_path, clock)
        yield price_loader
        price_loader.source.close()


def expect_skip(result) -> str:
    assert isinstance(result, dg.SkipReason)
    return str(result.skip_message)


def resources(price_loader: PriceLoader) -> dict[str, object]:
    return {
        "clock": price_loader.clock,
        "settings": load_settings(),
        "warehouse": price_loader.warehouse,
    }


def ticked(schedule: dg.ScheduleDefinition, price_loader: PriceLoader):
    return schedule(dg.build_schedule_context(resources=resources(price_loader)))


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("now", "partition"),
    [
        (datetime(2026, 3, 6, 23, 30, tzinfo=UTC), "2026-03-01"),  # winter: 18:30 in New York
        (datetime(2026, 3, 9, 22, 30, tzinfo=UTC), "2026-03-01"),  # summer: the same
        (datetime(2025, 11, 28, 18, 30, tzinfo=UTC), "2025-11-01"),  # half an hour after a half day
    ],
)
def test_after_the_close_the_present_month_is_asked_for(
    price_loader: PriceLoader, now: datetime, partition: str
):
    price_loader.clock.at = now
    requested = ticked(prices_daily_after_close, price_loader)
    assert isinstance(requested, dg.RunRequest)
    assert requested.partition_key == partition


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (None, 1),
        (TransientError("it did not answer"), 0),
        (SourceError("it sent a page"), 0),
        (ContractError("it is broken"), 0),
    ],
)
def test_what_a_month_lacks_of_its_last_evening_is_asked_for_with_the_next(
    price_loader: PriceLoader,
    monkeypatch: pytest.MonkeyPatch,
    error: OrchestrationError | None,
    lacks: int,
):
    monkeypatch.setenv("PRICES_SYMBOLS", "AAA,BBB")
    march = sessions(date(2026, 3, 1), date(2026, 3, 3))
    price_loader.write("AAA", *map(line, FEBRUARY))
    price_loader.write("BBB", *map(line, FEBRUARY[: len(FEBRUARY) - lacks]))
    price_loader.source.errors = {"BBB": error} if error else {}
    price_loader.load("AAA", "BBB")
    price_loader.source.errors = {}
    for symbol in ("AAA", "BBB"):
        price_loader.write(symbol, *map(line, [*FEBRUARY, *march]))
    price_loader.clock.at = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
    requested = ticked(prices_daily_after_close, price_loader)
    assert isinstance(requested, dg.RunRequest)
    assert (requested.tags[FIRST], requested.tags[LAST]) == ("2026-02-01", "2026-03-01")
    price_loader.load("AAA", "BBB", months=("2026-02-01", "2026-03-01"))
    assert list(price_loader.closes("BBB")) == [*FEBRUARY, march[0]]
    price_loader.clock.at += timedelta(days=1)
    requested = ticked(prices_daily_after_close, price_loader)
    assert isinstance(requested, dg.RunRequest)
    assert requested.partition_key == "2026-03-01"


@pytest.mark.slow
def test_a_month_that_no_evening_asked_for_goes_with_the_next_and_an_unwanted_symbol_does_not(
    price_loader: PriceLoader, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PRICES_SYMBOLS", "AAA")
    price_loader.write("AAA", *map(line, FEBRUARY))
    price_loader.load("AAA", "GONE", months=("2026-01-01",))
    price_loader.clock.at = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
    requested = ticked(prices_daily_after_close, price_loader)
    assert isinstance(requested, dg.RunRequest)
    assert requested.tags[FIRST] == "2026-02-01"
    price_loader.write("AAA", *map(line, [*FEBRUARY, date(2026, 3, 2)]))
    price_loader.load("AAA", months=("2026-02-01",))
    requested = ticked(prices_daily_after_close, price_loader)
    assert isinstance(requested, dg.RunRequest)
    assert requested.partition_key == "2026-03-01"


def test_on_a_holiday_and_before_the_close_nothing_is_asked_for(
    price_loader: PriceLoader, clock: StoppedClock
):
    clock.at = datetime(2025, 12, 25, 23, 30, tzinfo=UTC)
    reason = expect_skip(ticked(prices_daily_after_close, price_loader))
    assert reason == "Nothing to do: the exchange does not trade on 2025-12-25."
    clock.at = datetime(2026, 2, 27, 20, 59, tzinfo=UTC)
    reason = expect_skip(ticked(prices_daily_after_close, price_loader))
    assert reason.startswith("Too early: the session of 2026-02-27 closes at")


@pytest.mark.slow
def test_what_waits_for_a_quota_is_asked_for_when_its_time_has_come_and_not_before(
    price_loader: PriceLoader, clock: StoppedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    price_loader.source.quota = Quota(
        SqliteState(tmp_path),
        system="vendor",
        requests_per_day=1,
        vendor="The vendor",
        now=clock.now,
    )
    for symbol in ("AAA", "BBB"):
        price_loader.write(symbol, *map(line, FEBRUARY))
    price_loader.load("AAA", "BBB", months=("2026-01-01", "2026-02-01"))

    def tick(symbols: str = "AAA,BBB"):
        monkeypatch.setenv("PRICES_SYMBOLS", symbols)
        return ticked(prices_waiting_hourly, price_loader)

    nothing = "Nothing to do: no symbol waits for a time that has come."
    assert expect_skip(tick()) == nothing
    clock.at += timedelta(hours=6)
    assert expect_skip(tick("AAA,CCC")) == nothing
    requested = tick()
    assert isinstance(requested, dg.RunRequest)
    assert (requested.tags[FIRST], requested.tags[LAST]) == ("2026-01-01", "2026-02-01")
    price_loader.load("AAA", "BBB", months=("2026-01-01", "2026-02-01"))
    assert expect_skip(tick()) == nothing


@pytest.mark.slow
def test_a_symbol_that_is_retried_is_asked_for_over_the_months_of_its_run(
    price_loader: PriceLoader, monkeypatch: pytest.MonkeyPatch
):
    def tick(symbols: str = "AAA"):
        monkeypatch.setenv("PRICES_SYMBOLS", symbols)
        return ticked(prices_waiting_hourly, price_loader)

    nothing = "Nothing to do: no symbol waits for a time that has come."
    price_loader.write("AAA", *map(line, FEBRUARY))
    price_loader.source.errors = {"AAA": TransientError("it did not answer")}
    price_loader.load("AAA", months=BOTH)
    price_loader.source.errors = {}
    assert expect_skip(tick()) == nothing
    retries = ItemRetries(price_loader.warehouse, price_loader.clock, REGISTRY)
    assert retries.retry(ItemFilter(domain="prices")) == {"prices_symbols": 1}
    assert expect_skip(tick("BBB")) == nothing
    requested, again = tick(), tick()
    assert isinstance(requested, dg.RunRequest)
    assert isinstance(again, dg.RunRequest)
    assert (requested.tags[FIRST], requested.tags[LAST]) == BOTH
    assert requested.run_key == again.run_key
    price_loader.load("AAA", months=BOTH)
    assert expect_skip(tick()) == nothing
    assert retries.plan(ItemFilter(domain="prices")).topics == []


@pytest.mark.slow
def test_new_symbols_are_asked_for_over_the_months_that_others_have(
    price_loader: PriceLoader, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    def tick(symbols: str):
        monkeypatch.setenv("PRICES_SYMBOLS", symbols)
        return prices_on_new_symbol(
            dg.build_sensor_context(instance, resources=resources(price_loader))
        )

    assert expect_skip(tick("AAA")).endswith("no price was ever requested; launch prices_backfill.")
    price_loader.write("AAA", *map(line, FEBRUARY))
    price_loader.load("AAA", "GONE")
    assert expect_skip(tick("AAA,GONE")) == "Nothing to do: all 2 wanted symbols were requested."
    requested = tick("AAA,BBB")
    assert isinstance(requested, dg.RunRequest)
    assert requested.tags[FIRST] == "2026-02-01"
    assert requested.run_key != getattr(tick("AAA,CCC"), "run_key", None)
    columns = [balances.c[name] for name in ("came_in", "went_to")]
    statement = select(*columns).where(balances.c.equation == "tick")
    ticks = price_loader.warehouse.frame(statement, balances).rows()
    assert ticks == [(2, '{"requested": 1, "loaded": 1}')]


@pytest.mark.slow
def test_a_new_symbol_that_an_evening_met_first_is_asked_for_over_the_months_that_others_have(
    price_loader: PriceLoader,
    instance: dg.DagsterInstance,
    clock: StoppedClock,
    monkeypatch: pytest.MonkeyPatch,
):
    def tick() -> Any:
        return prices_on_new_symbol(
            dg.build_sensor_context(instance, resources=resources(price_loader))
        )

    monkeypatch.setenv("PRICES_SYMBOLS", "AAA,BBB")
    for symbol in ("AAA", "BBB"):
        price_loader.write(symbol, *map(line, [*JANUARY, *FEBRUARY, date(2026, 3, 2)]))
    price_loader.load("AAA", months=BOTH)
    clock.at = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
    price_loader.load("AAA", "BBB", months=("2026-03-01",))
    first, again = tick(), tick()
    clock.at += timedelta(days=1)
    later = tick()
    assert (first.tags[FIRST], first.tags[LAST]) == ("2026-01-01", "2026-03-01")
    assert first.run_key == again.run_key != later.run_key  # what waited in it is requested again
    price_loader.load("AAA", "BBB", months=(*BOTH, "2026-03-01"))
    assert expect_skip(tick()) == "Nothing to do: all 2 wanted symbols were requested."


@pytest.mark.slow
def test_a_new_symbol_that_an_evening_was_refused_is_asked_for_once_that_may_help(
    price_loader: PriceLoader,
    instance: dg.DagsterInstance,
    clock: StoppedClock,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    def tick() -> Any:
        return prices_on_new_symbol(
            dg.build_sensor_context(instance, resources=resources(price_loader))
        )

    monkeypatch.setenv("PRICES_SYMBOLS", "AAA,GONE")
    monkeypatch.setenv("PRICES_SOURCE", "demo")
    price_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY, date(2026, 3, 2)]))
    price_loader.load("AAA", months=BOTH)
    clock.at = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
    price_loader.load("AAA", "GONE", months=("2026-03-01",))
    clock.at += timedelta(hours=6)
    assert tick().tags[FIRST] == "2026-01-01"  # another source may have it
    monkeypatch.setenv("FINRA_SOURCE", "api")
    monkeypatch.setenv("PRICES_SOURCE", price_loader.source.name)
    monkeypatch.setenv("PRICES_FILES_DIR", str(tmp_path))
    later = "Nothing to do: a new symbol may be requested from 2026-03-03 19:30:00+00:00 on."
    assert expect_skip(tick()) == later
    clock.at += timedelta(hours=14)
    assert tick().tags[FIRST] == "2026-01-01"
    price_loader.load("AAA", "GONE", months=(*BOTH, "2026-03-01"))
    assert expect_skip(tick()) == "Nothing to do: all 2 wanted symbols were requested."


@pytest.mark.slow
def test_no_symbol_is_requested_with_a_clock_before_all_loads(
    price_loader: PriceLoader, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PRICES_SYMBOLS", "AAA")
    price_loader.write("AAA", *map(line, FEBRUARY))
    price_loader.load("AAA")
    earlier = dg.MonthlyPartitionsDefinition("2025-11-01", end_date="2026-01-01")
    monkeypatch.setattr("orchestration_project.sensors.prices.symbols.MONTHS", earlier)
    found = prices_on_new_symbol(
        dg.build_sensor_context(instance, resources=resources(price_loader))
    )
    assert (
        expect_skip(found) == "Nothing to do: 2026-02-01, the oldest month of all, is yet to come."
    )


@pytest.mark.slow
def test_a_load_is_derived_from_once(price_loader: PriceLoader, instance: dg.DagsterInstance):
    def tick():
        context = dg.build_sensor_context(instance)
        return prices_on_landing(
            context, clock=price_loader.clock, warehouse=price_loader.warehouse
        )

    assert expect_skip(tick()) == "Nothing to do: what is derived of prices is current."
    price_loader.write("AAA", *map(line, FEBRUARY))
    price_loader.load("AAA")
    first, again = tick(), tick()
    assert isinstance(first, dg.RunRequest)
    assert isinstance(again, dg.RunRequest)
    assert first.run_key == again.run_key  # one that fails is not asked for each minute
    price_loader.clock.at += timedelta(days=1)
    later = tick()
    assert isinstance(later, dg.RunRequest)
    assert later.run_key != first.run_key  # nor never again
    derive_outdated(price_loader.warehouse)
    assert expect_skip(tick()).startswith("Nothing to do")
