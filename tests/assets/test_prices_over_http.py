"""Daily prices as Dagster runs them, from vendors of which a test decides every answer."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import date, datetime, time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.__main__ import main
from orchestration_project.assets.prices import SPECS
from orchestration_project.definitions import defs
from orchestration_project.domains.prices.calendar import NEW_YORK, sessions
from orchestration_project.domains.prices.tables import PRICES, prices_symbol_months
from tests import databases
from tests.faulty_server import FaultyServer, Reply, Request
from tests.runs import expect_failure, metadata_by_partition, observed_by

JANUARY, FEBRUARY = "2026-01-01", "2026-02-01"
DAYS = sessions(date(2026, 1, 1), date(2026, 3, 3))
QUOTA = b'{"Information": "our standard API rate limit is 25 requests per day"}'

Answer = Callable[[str], bytes]
"""Returns what a vendor answers of a symbol."""


def series(symbol: str) -> bytes:
    """Return all days as Alpha Vantage writes them."""
    day = {f"{number}. {name}": "10.5" for number, name in enumerate(PRICES, 1)}
    days = {trading_day.isoformat(): day | {"5. volume": "1000"} for trading_day in DAYS}
    return json.dumps({"Meta Data": {"2. Symbol": symbol}, "Time Series (Daily)": days}).encode()


def chart(symbol: str, **changes: Any) -> bytes:
    """Return all days as Yahoo writes them; ``changes`` are of ``meta`` and of the arrays."""
    opened = [datetime.combine(day, time(9, 30), NEW_YORK).timestamp() for day in DAYS]
    arrays = {name: changes.get(name, [10.5] * len(DAYS)) for name in (*PRICES, "volume")}
    arrays["volume"] = [1000] * len(DAYS)
    meta = {"symbol": symbol, "currency": "USD", "gmtoffset": -18000}
    result = {
        "meta": {name: changes.get(name, value) for name, value in meta.items()},
        "timestamp": list(map(int, opened)),
        "indicators": {"quote": [arrays], "adjclose": [{"adjclose": [10.5] * len(DAYS)}]},
    }
    return json.dumps({"chart": {"result": [result], "error": None}}).encode()


class Vendor:
    """A vendor that answers as ``answers`` say of a symbol, and else with its days."""

    def __init__(self, usual: Answer) -> None:
        self.usual = usual
        self.answers: dict[str, Answer] = {}
        self.requested: list[str] = []

    def __call__(self, request: Request) -> Reply:
        address = urlsplit(request.target)
        symbol = parse_qs(address.query).get("symbol", [address.path.rsplit("/", 1)[-1]])[0]
        self.requested.append(symbol)
        return Reply(body=self.answers.get(symbol, self.usual)(symbol))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def url(demo_settings, prepared, set_clock, tmp_path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty database for real data."""
    found = prepared.sqlite(tmp_path / "warehouse.sqlite")
    (tmp_path / "finra").mkdir()
    for name, value in {
        "DATABASE_URL": found,
        "FINRA_SOURCE": "files",
        "FINRA_FILES_DIR": f"{tmp_path}/finra",
        "PRICES_SYMBOLS": "AAA,BBB",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    set_clock("2026-03-03T23:30:00+00:00")
    return found


@pytest.fixture
def alpha_vantage(url, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    """Alpha Vantage, as the source of prices."""
    vendor = Vendor(series)
    server = stack.enter_context(FaultyServer(vendor))
    for name, value in {
        "PRICES_SOURCE": "alpha_vantage",
        "ALPHA_VANTAGE_API_URL": server.url,
        "ALPHA_VANTAGE_API_KEY": "a-key",
        "ALPHA_VANTAGE_REQUESTS_PER_SECOND": "100",
    }.items():
        monkeypatch.setenv(name, value)
    return vendor


@pytest.fixture
def yahoo(url, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    """Yahoo, as the source of prices."""
    vendor = Vendor(chart)
    server = stack.enter_context(FaultyServer(vendor))
    for name, value in {
        "PRICES_SOURCE": "yahoo",
        "YAHOO_API_URL": server.url,
        "YAHOO_REQUESTS_PER_SECOND": "0",
    }.items():
        monkeypatch.setenv(name, value)
    return vendor


def run(instance: dg.DagsterInstance, *months: str, **config) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("prices_daily").execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={"ops": {"prices_daily_load": {"config": config}}} if config else {},
        tags={
            "dagster/asset_partition_range_start": months[0],
            "dagster/asset_partition_range_end": months[-1],
        },
    )


def states(url: str) -> Sequence[tuple[str, str, str]]:
    row = prices_symbol_months.c
    wanted = select(row.month_start, row.symbol, row.state).order_by(row.month_start, row.symbol)
    return [(str(month), symbol, state) for month, symbol, state in databases.rows(url, wanted)]


@pytest.mark.slow
def test_a_month_of_which_all_symbols_wait_is_not_materialized_and_says_so(
    url, instance, alpha_vantage: Vendor
):
    alpha_vantage.answers = {"AAA": lambda _: QUOTA}
    result = run(instance, JANUARY, FEBRUARY)
    assert result.success
    assert {state for _, _, state in states(url)} == {"waiting"}
    for spec in SPECS:
        assert instance.get_materialized_partitions(spec.key) == set()
    observed = observed_by(result)
    for month in (JANUARY, FEBRUARY):
        assert observed["daily"][month]["symbols_waiting"] == 2
        assert observed["daily_capture"][month]["quota_left"] == 0
    assert {evaluation.check_name for evaluation in result.get_asset_check_evaluations()} == {
        check_spec.name for check_spec in defs.resolve_assets_def(SPECS[1].key).check_specs
    }


@pytest.mark.slow
def test_symbols_with_bad_responses_fail_and_others_are_loaded(
    url, instance, yahoo: Vendor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PRICES_SYMBOLS", "EUR,SHORT,OTHER,PAGE,AAA")
    yahoo.answers = {
        "EUR": lambda symbol: chart(symbol, currency="EUR"),
        "SHORT": lambda symbol: chart(symbol, close=[10.5]),
        "OTHER": lambda _: chart("ELSE"),
        "PAGE": lambda _: b"<html>Please log in</html>",
    }
    broken = [*yahoo.answers]
    result = run(instance, FEBRUARY)
    assert not result.success
    assert f"4 of 5 symbols failed: {', '.join(broken)}" in expect_failure(
        result, "prices_daily_load"
    )
    assert metadata_by_partition(result)["daily"][FEBRUARY]["symbols_landed"] == 1
    observed = observed_by(result)["daily"][FEBRUARY]
    assert (observed["category"], observed["is_retryable"]) == ("source", False)
    assert [symbol for _, symbol, state in states(url) if state == "refused"] == sorted(broken)
    yahoo.answers = {}
    again = run(instance, FEBRUARY)  # on the same day: the next run requests them
    assert again.success
    assert [symbol for _, symbol, state in states(url) if state == "landed"] == [
        "AAA",
        *sorted(broken),
    ]


@pytest.mark.slow
def test_a_month_whose_run_failed_without_a_row_is_not_materialized(url, instance, yahoo: Vendor):
    yahoo.usual = lambda _: b"<html>Please log in</html>"
    yahoo.answers = {"SPY": chart}
    assert not run(instance, FEBRUARY).success
    for spec in SPECS:
        assert instance.get_materialized_partitions(spec.key) == set()


@pytest.mark.slow  # it waits for the step's second attempt
def test_a_symbol_that_is_always_throttled_is_asked_for_three_times_across_both_attempts(
    url, instance, alpha_vantage: Vendor
):
    alpha_vantage.answers = {"AAA": lambda _: b'{"Note": "our call frequency is 5 a minute"}'}
    result = run(instance, FEBRUARY)
    assert not result.success
    assert "1 of 2 symbols failed: AAA" in expect_failure(result, "prices_daily_load")
    assert len([event for event in result.all_events if event.is_step_up_for_retry]) == 1
    assert alpha_vantage.requested.count("AAA") == 3
    assert alpha_vantage.requested.count("BBB") == 1
    assert observed_by(result)["daily"][FEBRUARY]["category"] == "transient"
    assert metadata_by_partition(result)["daily_capture"][FEBRUARY]["quota_left"] == 25 - 4


@pytest.mark.slow  # two runs
def test_the_check_of_a_second_source_that_fails_for_three_days_warns(
    url, instance, stack: ExitStack, set_clock, alpha_vantage: Vendor, monkeypatch
):
    page = Vendor(lambda _: b"<html>Please log in</html>")
    page.answers = {"SPY": chart}
    monkeypatch.setenv("PRICES_SECOND_SOURCE", "yahoo")
    monkeypatch.setenv("YAHOO_API_URL", stack.enter_context(FaultyServer(page)).url)
    passed: list[bool] = []
    for now, price in (("2026-02-27T23:30", b"10.5"), ("2026-03-02T23:30", b"10.6")):
        set_clock(f"{now}:00+00:00")
        alpha_vantage.usual = lambda symbol, price=price: series(symbol).replace(b"10.5", price)
        checks = run(instance, FEBRUARY, full=True).get_asset_check_evaluations()
        [check] = [check for check in checks if check.check_name == "agrees_with_second_source"]
        passed.append(check.passed)
    assert passed == [True, False]
    assert check.severity == dg.AssetCheckSeverity.WARN
    error = check.metadata["second_source_error"].value
    assert str(error).startswith("nothing of yahoo: Yahoo has no chart of")


@pytest.mark.slow
def test_a_month_for_which_the_vendor_was_not_asked_is_reported_so_with_how_to_ask(
    alpha_vantage: Vendor, instance, capfd
):
    how = "to ask the source: --full, or full: true in the run's config, or the preset prices_full"
    assert run(instance, FEBRUARY).success
    again = metadata_by_partition(run(instance, FEBRUARY))["daily"][FEBRUARY]
    assert alpha_vantage.requested == ["AAA", "BBB"]
    assert {name: again[name] for name in ("outcome", "symbols_unchanged", "what_to_do")} == {
        "outcome": "not asked",
        "symbols_unchanged": 0,
        "what_to_do": how,
    }
    assert again["symbols_not_asked"] == 2
    assert main(["load", "prices_daily", FEBRUARY]) == 0
    said = capfd.readouterr().out
    assert f"AAA: not asked: its months are loaded; {how}" in said
    assert f"[ 1/1] {FEBRUARY}: not asked; {how}" in said
