"""Values that are read of a response, every day and digit, and responses that are refused."""

import json
from contextlib import suppress
from decimal import Decimal
from io import BytesIO
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.prices.answers import read_answer, with_records
from orchestration_project.domains.prices.days import ANSWER_SCHEMA, VALUES
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.errors import SourceError
from tests.properties import bounded

OPENED = {"2026-01-02": 1767364200, "2026-01-05": 1767623400, "2026-07-01": 1782912600}


def day(**values: str | None) -> dict[str, Any]:
    """Return a day as it is read, of which the values that are not given are null."""
    return dict.fromkeys(VALUES) | values


def days_of(answer: pl.DataFrame) -> list[dict[str, Any]]:
    return answer.select(VALUES).to_dicts()


def series(**days: dict[str, str]) -> bytes:
    return json.dumps({"Meta Data": {"2. Symbol": "X"}, "Time Series (Daily)": days}).encode()


PLAIN = {"1. open": "1.10", "2. high": "2", "3. low": "0.9", "4. close": "1.5", "5. volume": "007"}


def chart(
    timestamps: list[int], events: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    quote = {name: [1.5] * len(timestamps) for name in ("open", "high", "low", "close")}
    quote |= {"volume": [10] * len(timestamps)} | changes
    result = {
        "meta": {"symbol": "X", "gmtoffset": -18000},
        "timestamp": timestamps,
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": [1.25] * len(timestamps)}]},
        "events": events or {},
    }
    return {"chart": {"result": [result], "error": None}}


def read_chart(content: object) -> pl.DataFrame:
    return read_answer("yahoo", Part(1, json.dumps(content).encode()))


def test_alpha_vantage_is_read_newest_first_as_it_is_written():
    body = series(**{"2026-01-05": PLAIN, "2026-01-02": PLAIN | {"4. close": "n/a"}})
    answer = read_answer("alpha_vantage", Part(3, body))
    assert answer.schema == ANSWER_SCHEMA
    assert answer["symbol"].to_list() == ["X", "X"]
    assert answer.select("part_number", "line_number").rows() == [(3, 1), (3, 2)]
    usual = day(open="1.10", high="2", low="0.9", close="1.5", volume="007")
    assert days_of(answer) == [
        usual | {"trade_date": "2026-01-05"},
        usual | {"trade_date": "2026-01-02", "close": "n/a"},
    ]


def test_alpha_vantage_s_adjusted_days_have_their_events():
    of_a_day = {
        "1. open": "1",
        "4. close": "2",
        "5. adjusted close": "1.999999999999",
        "6. volume": "5",
        "7. dividend amount": "0.2400",
        "8. split coefficient": "4.0",
    }
    answer = read_answer("alpha_vantage", Part(1, series(**{"2026-01-05": of_a_day})))
    assert days_of(answer) == [
        day(
            trade_date="2026-01-05",
            open="1",
            close="2",
            adjusted_close="1.999999999999",
            volume="5",
            dividend="0.2400",
            split_ratio="4.0",
        )
    ]


def test_a_day_that_stands_there_twice_is_refused_as_json_would_keep_one():
    text = json.dumps(PLAIN)
    body = f'{{"Meta Data": {{"2. Symbol": "X"}}, "Time Series (Daily)": {{"2026-01-02": {text}, '
    with pytest.raises(SourceError) as error:
        read_answer("alpha_vantage", Part(1, (body + f'"2026-01-02": {text}}}}}').encode()))
    assert "twice" in error.value.found


def test_a_chart_s_numbers_keep_every_digit_that_stands_there():
    body = json.dumps(chart([OPENED["2026-01-02"]])).replace("[1.5]", "[189.83999633789062]", 1)
    body = body.replace("[1.25]", "[1e-05]").replace("[10]", "[12345678901234567890]")
    (found,) = days_of(read_answer("yahoo", Part(1, body.encode())))
    assert found["open"] == "189.83999633789062"
    assert found["adjusted_close"] == "0.00001"
    assert found["volume"] == "12345678901234567890"


def test_a_flood_of_zeros_stays_as_it_is_written():
    body = json.dumps(chart([OPENED["2026-01-02"]])).replace("[1.25]", "[1e999999999]")
    (found,) = days_of(read_answer("yahoo", Part(1, body.encode())))
    assert found["adjusted_close"] == "1e999999999"


def test_a_chart_s_days_are_those_of_the_exchange_in_summer_and_winter():
    answer = read_chart(chart(list(OPENED.values())))
    assert answer["trade_date"].to_list() == list(OPENED)


def test_nulls_in_a_chart_are_days_without_values():
    answer = read_chart(
        chart([OPENED["2026-01-02"], OPENED["2026-01-05"]], close=[None, 1.5], volume=[None, 2])
    )
    first, second = days_of(answer)
    assert (first["close"], first["volume"], first["open"]) == (None, None, "1.5")
    assert (second["close"], second["volume"]) == ("1.5", "2")


def test_of_two_bars_of_the_latest_day_the_last_counts_and_an_earlier_day_stays_twice():
    first, opening = OPENED["2026-01-02"], OPENED["2026-01-05"]
    closing = opening + 6 * 3600 + 1800
    answer = read_chart(chart([first, opening, closing], volume=[10, 20, 21]))
    assert answer.select("trade_date", "volume").rows() == [
        ("2026-01-02", "10"),
        ("2026-01-05", "21"),
    ]
    answer = read_chart(chart([first, first, opening]))
    assert answer["trade_date"].to_list() == ["2026-01-02", "2026-01-02", "2026-01-05"]
    assert read_chart(chart([first]))["trade_date"].to_list() == ["2026-01-02"]


def test_events_are_read_with_their_day_and_none_is_lost_where_that_has_no_prices():
    january = {
        name: {"date": OPENED[name], "amount": 0.24} for name in ("2026-01-02", "2026-01-05")
    }
    special = {"date": OPENED["2026-01-05"] + 60, "amount": 1.0}
    split = {"date": OPENED["2026-07-01"], "numerator": 1.0, "denominator": 3.0}
    events = {"dividends": january | {"special": special}, "splits": {"a": split}}
    answer = read_chart(chart([OPENED["2026-01-02"], OPENED["2026-01-05"]], events))
    assert answer.select("trade_date", "close", "dividend", "split_ratio").rows() == [
        ("2026-01-02", "1.5", "0.24", "1"),
        ("2026-01-05", "1.5", "1.24", "1"),
        ("2026-07-01", None, "0", "0.333333"),
    ]


def test_an_event_on_a_day_without_prices_takes_effect_on_the_next_day_with_some():
    days = [OPENED["2026-01-02"], OPENED["2026-01-05"], OPENED["2026-01-05"] + 86_400]
    before = OPENED["2026-01-02"] - 86_400  # whose prices are none of the answer's
    dividends = {name: {"date": at, "amount": 0.24} for name, at in zip("abc", days, strict=True)}
    splits = [(before, 7.0), (days[1], 4.0), (days[2], 0.5)]
    events = {
        "dividends": dividends,
        "splits": {str(at): {"date": at, "numerator": n, "denominator": 1.0} for at, n in splits},
    }
    answer = read_chart(chart(days, events, volume=[10, None, 10]))
    assert answer.select("trade_date", "dividend", "split_ratio").rows() == [
        ("2026-01-02", "0.24", "1"),
        ("2026-01-05", "0", "1"),
        ("2026-01-06", "0.48", "2.000000"),
        ("2026-01-01", "0", "7.000000"),
    ]


def test_a_chart_of_a_range_without_sessions_has_no_days():
    content = chart([])
    result = content["chart"]["result"][0]
    del result["timestamp"]
    result["indicators"] = {"quote": [{}], "adjclose": [{}]}
    assert days_of(read_chart(content)) == []


TWO = [OPENED["2026-01-02"], OPENED["2026-01-05"]]


@pytest.mark.parametrize(
    "content",
    [
        chart(TWO, close=[1.5]),
        chart(TWO, open=[1, 2, 3]),
        chart(TWO, volume={"0": 1}),
        chart(TWO, close=[[1], 2]),
        chart(TWO, close=[True, 1]),
        chart([10**30]),
        chart([None]),  # pyright: ignore[reportArgumentType] - as no source should
        chart(TWO, {"splits": {"a": {"date": 1, "numerator": 1, "denominator": 0}}}),
        chart(TWO, {"splits": {"a": {"date": 1, "numerator": "1e999", "denominator": 1}}}),
        chart(TWO, {"splits": {n: {"date": 1, "numerator": 2, "denominator": 1} for n in "ab"}}),
        chart(TWO, {"dividends": {"a": {"date": 1, "amount": "much"}}}),
        {"chart": {"result": None, "error": {"code": "Not Found", "description": "delisted"}}},
        {"chart": {"result": [], "error": None}},
        {"chart": []},
        {"finance": {"result": None}},
    ],
)
def test_a_chart_that_contradicts_itself_is_refused(content: object):
    with pytest.raises(SourceError, match="an answer holds no daily prices"):
        read_chart(content)


@pytest.mark.parametrize(("currency", "is_ours"), [("USD", True), (None, True), ("GBp", False)])
def test_a_chart_in_another_currency_is_refused(currency: str | None, is_ours: bool):
    content = chart(TWO)
    content["chart"]["result"][0]["meta"]["currency"] = currency
    if is_ours:
        assert len(read_chart(content)) == 2
    else:
        with pytest.raises(SourceError, match="an answer holds no daily prices") as error:
            read_chart(content)
        assert (error.value.expected, error.value.found[:13]) == ("prices in USD", "prices in GBp")


def test_what_only_looks_like_a_number_stays_as_it_is():
    body = b"date,close\n2026-01-02,1.2.3e5\n2026-01-05,1.5E3\n2026-01-06,.e5\n2026-01-07,Edge\n"
    answer = read_answer("files", Part(1, body))
    assert answer["close"].to_list() == ["1.2.3e5", "1500", ".e5", "Edge"]


CSV = b"Date,Open,High,Low,Close,Adj Close,Volume\n2026-01-02,1.0,2,1,NA,1.4,\n"


def test_a_csv_file_is_read_by_its_header_as_it_is_written():
    (found,) = days_of(read_answer("files", Part(1, CSV)))
    assert found == day(
        trade_date="2026-01-02", open="1.0", high="2", low="1", close="NA", adjusted_close="1.4"
    )


def test_what_pandas_users_get_from_yahoo_names_its_splits_and_writes_none_as_zero():
    splits = [0.0, 4.0, None]
    frame = pl.DataFrame({"Date": ["2026-01-02"] * 3, "Close": [1.5] * 3, "Stock Splits": splits})
    parquet = BytesIO()
    frame.write_parquet(parquet)
    for body in (frame.write_csv().encode(), parquet.getvalue()):
        answer = read_answer("files", Part(1, body))
        assert answer["split_ratio"].to_list() == ["1", "4.0", None]
    own = b"date,close,split_ratio\n2026-01-02,1.5,0.0\n"  # a mistake, which is rejected
    assert read_answer("files", Part(1, own))["split_ratio"].to_list() == ["0.0"]


def test_lines_are_counted_with_the_header_and_symbols_are_read_where_there_are_some():
    body = b"\xef\xbb\xbfsymbol,timestamp,close\r\nBRK.B,2026-01-02,1\r\nNA,2026-01-05,2\r\n"
    answer = read_answer("files", Part(1, body))
    assert answer.select("line_number", "symbol", "trade_date", "close").rows() == [
        (2, "BRK.B", "2026-01-02", "1"),
        (3, "NA", "2026-01-05", "2"),
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no trade_date and no close"),
        (b"date,open\n2026-01-02,1\n", "no close"),
        (b"date,timestamp,close\na,b,c\n", "trade_date more than once"),
        (b"date,close\n2026-01-02,1,2\n", "3 in line 2"),
        (b"date,close\n2026-01-02,1\n\n", "0 in line 3"),
        (b'date,close\n"2026-01-02,1\n', "unexpected end of data"),
        (b"date,close\n\xff,1\n", "can't decode"),
        (b"<html></html>", "no trade_date"),
        (b"PAR1 and then nothing", "Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(body: bytes, said: str):
    with pytest.raises(SourceError) as error:
        read_answer("files", Part(1, body))
    assert said in error.value.found


def test_a_parquet_file_is_read_whatever_the_types_of_its_columns():
    frame = pl.DataFrame(
        {
            "symbol": ["X"],
            "date": ["2026-01-02T14:30:00"],
            "open": [0.1],
            "close": ["1.50"],
            "volume": [12],
        }
    ).with_columns(pl.col("date").str.to_datetime(), pl.col("close").cast(pl.Decimal(10, 2)))
    buffer = BytesIO()
    frame.write_parquet(buffer)
    answer = read_answer("files", Part(1, buffer.getvalue()))
    assert answer["symbol"].to_list() == ["X"]
    assert days_of(answer) == [day(trade_date="2026-01-02", open="0.1", close="1.50", volume="12")]


def written(**columns: pa.Array) -> bytes:
    buffer = BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


DATES = pa.array(["2026-01-02"])
WIDE = pa.array([Decimal("1.5")], pa.decimal256(60, 10))


def test_a_parquet_column_of_values_that_no_price_has_is_refused_and_of_others_left_out():
    with pytest.raises(SourceError, match="an answer holds no daily prices") as error:
        read_answer("files", Part(1, written(date=DATES, close=WIDE)))
    assert error.value.found.startswith("close of decimal256(60, 10);")
    answer = read_answer("files", Part(1, written(date=DATES, close=pa.array([1.5]), note=WIDE)))
    assert days_of(answer) == [day(trade_date="2026-01-02", close="1.5")]


@pytest.mark.parametrize(
    ("moment", "zone"), [(2**55, "America/New_York"), (0, "Nowhere/Here")], ids=["too late", "zone"]
)
def test_a_time_in_parquet_that_no_calendar_has_is_refused(moment: int, zone: str):
    times = pa.array([moment], pa.timestamp("ms", tz=zone))
    with pytest.raises(SourceError, match="an answer holds no daily prices"):
        read_answer("files", Part(1, written(date=times, close=pa.array([1.5]))))


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("us")])
def test_a_date_in_parquet_that_is_no_day_is_a_line_without_one(kind: pa.DataType):
    number, bits = (pa.int32(), 31) if kind == pa.date32() else (pa.int64(), 63)
    dates = pa.array([2**bits - 1, 1, None], number).cast(kind)
    answer = read_answer("files", Part(1, written(date=dates, close=pa.array([1, 2, 3]))))
    assert answer.select("trade_date", "close").rows() == [
        (None, "1"),
        ("1970-01-02" if bits == 31 else "1970-01-01", "2"),
        (None, "3"),
    ]


def test_a_record_is_the_whole_day():
    (found,) = with_records(read_answer("files", Part(1, CSV)))["record"]
    assert json.loads(found) == {
        "symbol": None,
        **day(
            trade_date="2026-01-02", open="1.0", high="2", low="1", close="NA", adjusted_close="1.4"
        ),
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
VALUES_OF_DAYS = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | JSON


@bounded
@given(st.sampled_from(["alpha_vantage", "yahoo", "files", "demo"]), st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(source, body: bytes):
    assert_read_or_refused(source, body)


@bounded
@given(st.binary(max_size=60), st.sampled_from([b"PAR1", b"date,close\n", b'{"chart": ', b'{"']))
def test_bytes_that_begin_well_are_read_or_refused(rest: bytes, start: bytes):
    for source in ("files", "yahoo", "alpha_vantage"):
        assert_read_or_refused(source, start + rest)


@bounded
@given(st.lists(VALUES_OF_DAYS, max_size=4), st.lists(VALUES_OF_DAYS, max_size=4))
def test_no_day_of_a_chart_vanishes(closes: list[Any], opens: list[Any]):
    content = chart([86_400 * number for number in range(len(closes))], close=closes, open=opens)
    try:
        answer = read_chart(content)
    except SourceError:
        return
    assert len(answer) == len(closes) == len(opens)


@bounded
@given(st.lists(st.text(max_size=8), max_size=4, unique=True), VALUES_OF_DAYS)
def test_no_day_of_a_series_vanishes(dates: list[str], close: Any):
    body = series(**{date: PLAIN | {"4. close": close} for date in dates})
    try:
        answer = read_answer("alpha_vantage", Part(1, body))
    except SourceError:
        return
    assert answer["trade_date"].to_list() == [date.strip() for date in dates]


@bounded
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters=',"\r\n'), min_size=1)))
def test_no_line_of_a_file_vanishes(closes: list[str]):
    lines = [f"2026-01-02,{close}" for close in closes]
    body = "\n".join(["date,close", *lines]).encode()
    expected = [close.strip() for close in closes]
    assert read_answer("files", Part(1, body))["close"].to_list() == expected


def assert_read_or_refused(source: Any, body: bytes) -> None:
    with suppress(SourceError):
        assert read_answer(source, Part(1, body)).schema == ANSWER_SCHEMA
