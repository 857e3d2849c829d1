"""Records are counted in raw bytes, apart from the parsers that make rows of them."""

import csv
import io
import zipfile
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.catalog.fx import RATES
from orchestration_project.domains.prices.contract import read_counted
from orchestration_project.engine.contracts.balance import (
    NOT_COUNTED,
    Balance,
    CountedPieces,
    RecordCount,
    build_balances,
    count_lines,
    count_quoted_lines,
    sum_balances,
)
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.contracts.parts import Part
from tests.expecting import expect_present


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b"", 0),
        (b"a|b", 0),
        (b"a|b\n", 0),
        (b"a|b\n1|2", 1),
        (b"a|b\n1|2\n3|4\n", 2),
        (b"a|b\n\n", 1),
    ],
)
def test_lines_below_the_header_are_records(body, count):
    assert count_lines(body) == (count, len(body))


@given(
    st.lists(
        st.lists(st.text('a,"\n\r ', max_size=4), min_size=2, max_size=2), min_size=1, max_size=5
    ),
    st.sampled_from(["\n", "\r\n"]),
)
def test_line_ends_within_quotes_end_no_record(rows, line_end):
    file = io.StringIO()
    csv.writer(file, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows(rows)
    assert count_quoted_lines(file.getvalue().encode())[0] == len(rows) - 1


RATES_XML = b"""<?xml version="1.0"?><Envelope><Cube>
<Cube time="2026-01-05"><Cube currency="USD" rate="1.1"/><Cube currency='JPY' rate=''/></Cube>
<Cube time="2026-01-02"><Cube currency="USD" rate="1.2"/></Cube></Cube></Envelope>
"""

RATES_CSV = b"Date,USD,JPY,\n2026-01-05,1.1,N/A,\n2026-01-02,1.2,,\n"


def count_rates(body: bytes) -> RecordCount:
    return expect_present(RATES.count_records)(body)


def archive(text: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("eurofxref-hist.csv", text)
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "filtered"),
    [
        (RATES_XML, {"other_days": 1, "not_listed": 0, "blank": 1}),
        (archive(RATES_CSV), {"other_days": 1, "not_listed": 1, "blank": 0}),
    ],
)
def test_each_rate_of_a_document_is_a_row_or_is_filtered_by_name(body, filtered):
    parsed = RATES.parse([Part(1, body)], Partition(date(2026, 1, 5)))
    assert count_rates(body) == (3, len(body))
    assert (len(parsed.rows), parsed.filtered) == (1, filtered)


def test_bytes_after_the_end_of_a_document_are_not_read():
    body = archive(RATES_CSV)
    assert count_rates(body + b"more")[1] == len(body)
    assert count_rates(RATES_XML + b"more")[1] == len(RATES_XML.rstrip())


CHART = b"""{"chart": {"result": [{"meta": {"currency": "USD", "symbol": "A", "gmtoffset": 0},
"timestamp": [1767623400, 1767709800, 1767709900],
"events": {"dividends": {"1767623400": {"amount": 1, "date": 1767623400}},
 "splits": {"1769000000": {"date": 1769000000, "numerator": 2, "denominator": 1}}},
"indicators": {"quote": [{"open": [1, 2, 2], "high": [1, 2, 2], "low": [1, 2, 2],
 "close": [1, 2, 2], "volume": [1, 2, 2]}]}}], "error": null}}
"""

SERIES = b"""{"Meta Data": {"2. Symbol": "A"}, "Time Series (Daily)": {
"2026-01-05": {"1. open": "1", "2. high": "1", "3. low": "1", "4. close": "1", "5. volume": "1"},
"2026-01-02": {"1. open": "1", "2. high": "1", "3. low": "1", "4. close": "1", "5. volume": "1"}}}
"""


@pytest.mark.parametrize(
    ("source", "body", "filtered"),
    [
        ("yahoo", CHART, {"events_of_days": 1, "other_events": 0, "earlier_bars": 1}),
        ("alpha_vantage", SERIES, {}),
        ("files", b'trade_date,close,note\n2026-01-05,1,"a\nb"\n2026-01-06,2,\n', {}),
    ],
)
def test_each_day_of_an_answer_is_read_or_is_filtered_by_name(source, body, filtered):
    days, count = read_counted(source, [Part(1, body)], len(body))
    assert count.filtered == filtered
    went_to = {"days": len(days), **filtered}
    assert [balance.difference for balance in count.balances(went_to)] == [0, 0]


def test_what_cannot_be_counted_is_named_so():
    pieces = CountedPieces([[Part(1, b"%PDF")]], NOT_COUNTED)
    assert len(list(pieces)) == 1
    [balance] = pieces.balances(4, {"rows": 3})
    assert (balance.state, str(balance)) == ("not_counted", "records: not counted = 3 rows")


def test_bytes_and_records_of_a_delivery_have_an_equation_each():
    equations = build_balances(10, (3, 9), {"rows": 2, "rejects": 1})
    assert [str(equation) for equation in equations] == [
        "bytes: 10 != 9 read",
        "records: 3 = 2 rows + 1 rejects",
    ]


def test_equations_of_one_name_are_added_up():
    total = sum_balances(
        [Balance("records", 3, {"rows": 2, "rejects": 1}), Balance("records", 4, {"rows": 3})]
    )
    assert [(str(balance), balance.difference) for balance in total] == [
        ("records: 7 != 5 rows + 1 rejects", 1)
    ]


def test_a_sum_is_not_counted_if_one_of_its_equations_is_not():
    total = sum_balances(
        [Balance("records", 3, {"rows": 3}), Balance("records", None, {"rows": 2})]
    )
    assert [(str(balance), balance.state) for balance in total] == [
        ("records: not counted = 5 rows", "not_counted")
    ]


def test_an_equation_without_places_goes_to_nothing():
    assert str(Balance("records", 3, {})) == "records: 3 != 0"
