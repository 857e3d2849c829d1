"""The sources of prices against the demo of the vendors, its faults, and worse answers."""

import json
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr

from orchestration_project.domains.prices.answers import read_answer
from orchestration_project.domains.prices.contract import RequestedRange, check_prices
from orchestration_project.engine.captures import Capture, Captures, build_parts
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.http.shared_state import SqliteState
from orchestration_project.errors import (
    ConfigurationError,
    SourceError,
    ThrottledError,
    TransientError,
    UnavailableError,
)
from orchestration_project.resources.prices.alpha_vantage import AlphaVantage, says_too_fast
from orchestration_project.resources.prices.quota import Quota, QuotaEndedError
from orchestration_project.resources.prices.source import PriceRange, PriceSource
from orchestration_project.resources.prices.yahoo import YahooChart
from orchestration_project.settings import child_environment
from tests.faulty_server import FaultyServer, Reply
from tests.http_clients import make_client
from tests.resources.price_vendors import ANCHOR, PriceVendors, price_vendors

KEY = "premium-s3cr3t-key"
FREE_KEY = "free-s3cr3t-key"
TODAY = ANCHOR.date()
YEAR = PriceRange("BRK.B", date(2025, 3, 3), TODAY)
MONTH = PriceRange("BRK.B", date(2026, 2, 1), TODAY)

Open = Callable[..., PriceSource]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in child_environment():
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PriceVendors]:
    with price_vendors(tmp_path_factory.mktemp("vendors")) as found:
        yield found


@pytest.fixture
def open_source(tmp_path: Path, vendors: PriceVendors) -> Iterator[Open]:
    """Opens a source of the demo of the vendors, or of another server."""
    vendors.clock.time = ANCHOR
    opened: list[Any] = []

    def open_it(
        vendor: str = "yahoo",
        *,
        url: str = vendors.url,
        key: str = KEY,
        requests_per_day: int | None = None,
        overrides: dict[str, str] | None = None,
    ) -> PriceSource:
        quota = Quota(
            SqliteState(tmp_path),
            system="alpha_vantage",
            vendor="Alpha Vantage",
            requests_per_day=requests_per_day,
            now=vendors.clock.now,
        )
        own = {"before_attempt": quota.take, "is_throttled": says_too_fast}
        http = make_client(tmp_path, f"{vendor}_test", **own if vendor != "yahoo" else {})
        opened.extend([http, quota])
        given: Any = {"name": vendor, "api_url": f"{url}/", "overrides": overrides or {}}
        captures = Captures(FolderStore(tmp_path / "artifacts"))
        if vendor == "yahoo":
            return YahooChart(http, captures, vendors.clock, **given)
        given |= {"api_key": SecretStr(key), "is_premium": key == KEY}
        return AlphaVantage(http, captures, vendors.clock, quota, **given)

    yield open_it
    for client in opened:
        client.close()


def fetch_and_check_captures(source: PriceSource, requested: PriceRange) -> pl.DataFrame:
    kept: list[Capture] = []
    captures = source.fetch(requested, kept)
    assert list(captures) == kept
    assert kept[0].fetched_at == ANCHOR
    return read_answer(source.name, build_parts(captures)[0])


def expect_refusal(source: PriceSource, symbol: str, kind: type[Exception], count: int = 1) -> Any:
    """Return the error of requesting a symbol; what came is kept all the same."""
    kept: list[Capture] = []
    with pytest.raises(kind) as error:
        source.fetch(PriceRange(symbol, MONTH.first_date, TODAY), kept)
    assert len(kept) == count
    return error.value


def test_a_chart_of_a_range_has_its_sessions_and_those_until_now(open_source: Open):
    """Splits after the range are in its prices: they have to be known to be undone."""
    source = open_source()
    days = fetch_and_check_captures(
        source, PriceRange("BRK.B", date(2026, 2, 12), date(2026, 2, 18))
    )
    assert days["trade_date"].to_list()[-1] == TODAY.isoformat()
    assert days["trade_date"].to_list()[:4] == [
        "2026-02-12",
        "2026-02-13",
        "2026-02-17",  # after a weekend and Presidents' Day
        "2026-02-18",
    ]
    assert days["symbol"].unique().to_list() == ["BRK-B"]
    assert source.quota_left is None


def test_alpha_vantage_sends_100_sessions_or_all_there_are(open_source: Open):
    source = open_source("alpha_vantage")
    recent, all_there_are = (
        fetch_and_check_captures(source, MONTH),
        fetch_and_check_captures(source, YEAR),
    )
    assert len(recent) == 100
    assert recent["trade_date"][0] == "2026-03-02"
    assert all_there_are["trade_date"].min() == "2004-01-02"
    assert recent.drop("line_number", "part_number").equals(
        all_there_are.head(100).drop("line_number", "part_number")
    )


def test_a_free_key_has_no_adjusted_prices_and_no_long_history(open_source: Open):
    source = open_source("alpha_vantage", key=FREE_KEY)
    assert fetch_and_check_captures(source, MONTH)["adjusted_close"].null_count() == 100
    kept: list[Capture] = []
    with pytest.raises(SourceError) as error:
        source.fetch(YEAR, kept)
    assert "premium feature" in error.value.found
    assert "PRICES_SOURCE=yahoo" in error.value.remedy


def test_both_vendors_report_the_same_each_in_its_own_terms(
    open_source: Open, vendors: PriceVendors
):
    requested = PriceRange(vendors.symbol_with("split"), date(2026, 1, 5), TODAY)
    chart = numbers(fetch_and_check_captures(open_source(), requested))
    series = numbers(fetch_and_check_captures(open_source("alpha_vantage"), requested)).join(
        chart.select("trade_date"), on="trade_date"
    )
    series = series.sort("trade_date")
    (split,) = chart.filter(pl.col("split_ratio") != 1).iter_rows(named=True)
    assert split["split_ratio"] == 4
    assert series.select("dividend", "split_ratio").equals(chart.select("dividend", "split_ratio"))
    later = pl.when(pl.col("trade_date") < split["trade_date"]).then(4).otherwise(1)
    as_charted = series.with_columns(pl.col("close") / later, pl.col("volume") * later)
    for name in ("close", "adjusted_close", "volume"):
        apart = ((as_charted[name] - chart[name]) / chart[name]).abs().max()
        assert isinstance(apart, float)
        assert apart < 1e-4


def test_a_chart_names_the_later_split_whether_or_not_its_day_was_asked_for(
    open_source: Open, vendors: PriceVendors
):
    symbol, first = vendors.symbol_with("split"), date(2026, 1, 5)
    by_last: list[dict[date, str]] = []
    for last in (date(2026, 1, 9), TODAY):
        answer = fetch_and_check_captures(open_source(), PriceRange(symbol, first, last))
        requested = RequestedRange(answer, symbol, answer["symbol"][0], "yahoo", first, last)
        rows = check_prices([requested]).rows
        by_last.append(dict(rows.select("trade_date", "later_splits").iter_rows()))
    early, late = by_last
    assert len(set(early.values())) == 1
    assert early == {day: late[day] for day in early}
    [day, ratio] = early[first].split(" ")
    assert ratio == "4"
    assert {late[late_day] for late_day in late if str(late_day) >= day} == {"none"}


def test_adjusted_prices_of_alpha_vantage_have_more_places(
    open_source: Open, vendors: PriceVendors
):
    symbol = vendors.symbol_with("dividend")
    answer = fetch_and_check_captures(
        open_source("alpha_vantage"), PriceRange(symbol, YEAR.first_date, TODAY)
    )
    assert answer["adjusted_close"].str.contains(r"\.[0-9]{12}$").any()
    spelled = answer["symbol"][0]
    requested = RequestedRange(answer, symbol, spelled, "alpha_vantage", YEAR.first_date, TODAY)
    found = check_prices([requested])
    assert found.rejects.is_empty()
    assert found.rows["adjusted_close"].null_count() == 0


def numbers(days: pl.DataFrame) -> pl.DataFrame:
    return days.select("trade_date", pl.exclude("trade_date", "symbol").cast(pl.Float64))


def test_nulls_come_as_a_day_without_prices_and_are_no_day_of_alpha_vantage(
    open_source: Open, vendors: PriceVendors
):
    requested = PriceRange(vendors.symbol_with("nulls"), MONTH.first_date, TODAY)
    empty = fetch_and_check_captures(open_source(), requested).filter(pl.col("close").is_null())
    assert empty.select("open", "volume", "adjusted_close").row(0) == (None, None, None)
    (missing,) = empty["trade_date"]
    days = fetch_and_check_captures(open_source("alpha_vantage"), requested)["trade_date"]
    assert missing not in days
    assert len(days) == 99


@pytest.mark.parametrize("vendor", ["yahoo", "alpha_vantage"])
def test_a_session_under_way_is_reported_with_its_numbers_so_far(
    open_source: Open, vendors: PriceVendors, vendor: str
):
    over = fetch_and_check_captures(open_source(vendor), MONTH).filter(trade_date="2026-03-02")
    vendors.clock.time = ANCHOR - timedelta(hours=2)
    kept: list[Capture] = []
    captures = open_source(vendor).fetch(MONTH, kept)
    under_way = read_answer("demo", build_parts(captures)[0]).filter(trade_date="2026-03-02")
    assert int(under_way["volume"][0]) < int(over["volume"][0])
    vendors.clock.time = datetime(2026, 3, 2, 14, 29, tzinfo=UTC)
    captures = open_source(vendor).fetch(MONTH, kept)
    assert "2026-03-02" not in read_answer("demo", build_parts(captures)[0])["trade_date"]


@pytest.mark.parametrize("vendor", ["yahoo", "alpha_vantage"])
def test_a_vendor_revises_a_close_later(open_source: Open, vendors: PriceVendors, vendor: str):
    symbol = vendors.symbol_with("revised")
    requested = PriceRange(symbol, MONTH.first_date, TODAY)
    before = fetch_and_check_captures(open_source(vendor), requested)
    vendors.clock.time = ANCHOR + timedelta(days=6)
    captures = open_source(vendor).fetch(requested, [])
    after = read_answer("demo", build_parts(captures)[0])
    both = before.join(after, on="trade_date")
    changed = both.filter(pl.col("close") != pl.col("close_right"))
    assert changed["trade_date"].to_list() == ["2026-02-25"]


@pytest.mark.parametrize(
    ("vendor", "said"), [("yahoo", "may be delisted"), ("alpha_vantage", "Invalid API call")]
)
def test_a_symbol_that_vanished_is_refused_with_the_vendor_s_words(
    open_source: Open, vendors: PriceVendors, vendor: str, said: str
):
    symbol = vendors.symbol_with("vanished")
    fetch_and_check_captures(open_source(vendor), PriceRange(symbol, MONTH.first_date, TODAY))
    vendors.clock.time = ANCHOR + timedelta(days=8)
    error = expect_refusal(open_source(vendor), symbol, UnavailableError)
    assert said in error.found
    assert "PRICES_SYMBOLS_FILE" in error.remedy


@pytest.mark.parametrize("vendor", ["yahoo", "alpha_vantage"])
def test_who_is_too_fast_asks_again(open_source: Open, vendors: PriceVendors, vendor: str):
    source = open_source(vendor, requests_per_day=25)
    requested = PriceRange(vendors.symbol_with("throttled"), MONTH.first_date, TODAY)
    assert len(fetch_and_check_captures(source, requested)) > 0
    if vendor == "alpha_vantage":
        assert source.quota_left == 23


def test_a_symbol_that_stays_throttled_is_not_asked_for_again_of_the_same_source(
    open_source: Open,
):
    note = Reply(body=b'{"Note": "call frequency"}')
    with FaultyServer(lambda _: note) as server:
        source = open_source("alpha_vantage", url=server.url, requests_per_day=25)
        for _ in range(2):
            expect_refusal(source, "AAPL", ThrottledError, count=0)
        assert (len(server.requests), source.quota_left) == (2, 23)
        expect_refusal(source, "MSFT", ThrottledError, count=0)
        assert len(server.requests) == 4


@pytest.mark.parametrize("vendor", ["yahoo", "alpha_vantage"])
@pytest.mark.parametrize("fault", ["web_page", "empty"])
def test_what_answers_in_the_vendor_s_place_is_kept_and_refused(
    open_source: Open, vendors: PriceVendors, vendor: str, fault: Any
):
    symbol = vendors.symbol_with(fault)
    source = open_source(vendor)
    error = expect_refusal(source, symbol, SourceError)
    assert not isinstance(error, UnavailableError)
    assert ("<html>" in error.found) == (fault == "web_page")
    assert len(fetch_and_check_captures(source, PriceRange(symbol, MONTH.first_date, TODAY))) > 0


@pytest.mark.parametrize("vendor", ["yahoo", "alpha_vantage"])
def test_another_symbol_s_prices_are_refused(open_source: Open, vendors: PriceVendors, vendor: str):
    error = expect_refusal(open_source(vendor), vendors.symbol_with("other"), SourceError)
    assert (error.expected, error.found) == (
        open_source(vendor).vendor_symbol(vendors.symbol_with("other")),
        "OTHER",
    )


@pytest.mark.parametrize("vendor", ["yahoo", "alpha_vantage"])
def test_what_is_not_mapped_is_not_asked_for(open_source: Open, vendor: str):
    assert (
        "PRICES_SYMBOLS_FILE"
        in expect_refusal(open_source(vendor), "ABCp", ConfigurationError, count=0).remedy
    )
    spelled = open_source(vendor, overrides={"ABCp": "ABC-P"})
    assert len(fetch_and_check_captures(spelled, PriceRange("ABCp", MONTH.first_date, TODAY))) > 0


def test_a_source_is_ready_when_anything_of_the_vendor_answers(open_source: Open):
    assert open_source().ready() == "answered that it has no SPY"
    counting = open_source("alpha_vantage", requests_per_day=25)
    assert counting.ready() == "25 requests left until 2026-03-03 05:00 UTC"
    page = Reply(body=b"<html>Hello</html>")
    with (
        FaultyServer(lambda _: page) as elsewhere,
        pytest.raises(SourceError, match="no chart of SPY"),
    ):
        open_source(url=elsewhere.url).ready()


def test_the_vendor_s_word_that_a_quota_has_ended_holds_for_all_that_day(
    open_source: Open, vendors: PriceVendors
):
    said = f"We have detected your API key as {KEY} and our limit is 25 requests per day."
    reply = Reply(body=json.dumps({"Information": said}).encode())
    with FaultyServer(lambda _: reply) as server:
        error = expect_refusal(
            open_source("alpha_vantage", url=server.url), "AAPL", QuotaEndedError, count=0
        )
        assert error.resumes_at == datetime(2026, 3, 3, 5, tzinfo=UTC)
        assert error.retry_in_seconds == timedelta(hours=7).total_seconds()
        again = open_source("alpha_vantage", url=server.url, requests_per_day=25)
        assert again.quota_left == 0
        expect_refusal(again, "AAPL", QuotaEndedError, count=0)
        assert len(server.requests) == 1
        vendors.clock.time = error.resumes_at
        assert again.quota_left == 25


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(401, body=b"Unauthorized"), ConfigurationError),
        (
            Reply(200, body=b'{"Error Message": "the parameter apikey is invalid or missing."}'),
            ConfigurationError,
        ),
        (Reply(404, body=b"<html></html>"), SourceError),
        (Reply(503, body=b"busy"), TransientError),
        (Reply(200, body=b'{"Note": "call frequency"}'), TransientError),
    ],
)
def test_every_other_answer_is_a_named_refusal(open_source: Open, reply: Reply, kind: type):
    with FaultyServer(lambda _: reply) as server, pytest.raises(kind):
        open_source("alpha_vantage", url=server.url).fetch(MONTH, [])


@pytest.mark.parametrize("vendor", ["yahoo", "alpha_vantage"])
@pytest.mark.parametrize("status", [408, 501, 505])
def test_a_service_that_fails_says_nothing_of_a_symbol_and_is_asked_again(
    open_source: Open, vendor: str, status: int
):
    reply = Reply(status, body=b"<html>Try again</html>")
    with FaultyServer(lambda _: reply) as server:
        error = expect_refusal(open_source(vendor, url=server.url), "AAPL", TransientError)
    assert f"HTTP {status}: " in error.found


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(403, body=b"<html>No robots</html>"), TransientError),
        (Reply(404, body=b"<html>Not here</html>"), SourceError),
        (Reply(400, body=b"Bad Request"), SourceError),
        (Reply(422, body=b'{"chart": {"error": {"description": "no data"}}}'), UnavailableError),
    ],
)
def test_yahoos_answers_on_symbols_differ_from_those_on_itself(
    open_source: Open, reply: Reply, kind: type[Exception]
):
    with FaultyServer(lambda _: reply) as server:
        expect_refusal(open_source(url=server.url), "AAPL", kind)


def test_the_key_shows_up_nowhere(
    open_source: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("DEBUG")
    kept: list[Capture] = []

    def echo(request: Any) -> Reply:
        return Reply(body=json.dumps({"Error Message": f"{request.target} {KEY}"}).encode())

    texts: list[str] = []
    with FaultyServer(echo) as server:
        for _ in range(2):
            try:
                open_source("alpha_vantage", url=server.url).fetch(MONTH, kept)
            except SourceError as error:
                texts += [str(error), repr(error.context), *traceback.format_exception(error)]
        assert KEY in server.requests[0].target
    fetched_well = open_source("alpha_vantage").fetch(MONTH, kept)
    texts += [repr(fetched_well[0].capture_row), repr(open_source("alpha_vantage"))]
    logged = [
        record for record in caplog.records if not record.name.startswith("uvicorn")
    ]  # theirs
    texts += [log_record.getMessage() for log_record in logged]
    assert any("apikey=***" in text for text in texts)
    assert KEY not in "".join(texts)
    assert len(kept) == 1  # what quotes the key is not kept
