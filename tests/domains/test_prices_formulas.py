"""Formulas of prices: of captured bytes they give the rows that the contract gives."""

import json
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from orchestration_project.domains.prices.contract import RequestedRange, check_prices, read_prices
from orchestration_project.domains.prices.formulas import PRICE_FORMULAS, PRICE_RULES
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.contracts.capture_forms import find_form, read_records
from orchestration_project.engine.contracts.formulas import (
    ROW,
    SourceRows,
    build_row_set,
    evaluate,
    judge_line,
    read_value,
)
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.services.evidence import recompute
from tests.domains.test_prices_answers import OPENED, PLAIN, chart, series
from tests.expecting import expect_present

SECOND, FIFTH, JULY = OPENED.values()
EVENTS = {
    "dividends": {str(SECOND): {"amount": 0.24, "date": SECOND}},
    "splits": {
        str(FIFTH): {"date": FIFTH, "numerator": 3.0, "denominator": 2.0, "splitRatio": "3:2"},
        str(JULY): {"date": JULY, "numerator": 1.0, "denominator": 10.0, "splitRatio": "1:10"},
    },
}
ADJUSTED = {
    "1. open": "1.10",
    "2. high": "2",
    "3. low": "0.9",
    "4. close": "1.5",
    "5. adjusted close": "1.2345675",
    "6. volume": "1000",
    "7. dividend amount": "0.2400",
    "8. split coefficient": "1.0",
}
ANSWERS: dict[str, dict[str, Any]] = {
    "a chart": chart(
        [SECOND, FIFTH, JULY], EVENTS, close=[189.83999633789062, 1.5, 1.5], high=[200.0] * 3
    ),
    "a chart of one day": chart([FIFTH], low=[0.12345678359270096]),
    "a chart with a day without prices": chart([SECOND, FIFTH], close=[None, 1.5]),
    "a chart with defects": chart([SECOND, FIFTH, JULY], high=[1.25, 1.5, 1.5], low=[1.5, 0, 1.5]),
    "a series": {"2026-01-05": ADJUSTED, "2026-01-02": ADJUSTED | {"8. split coefficient": "4.0"}},
    "a series without events": {"2026-01-05": PLAIN, "2026-01-02": PLAIN | {"2. high": "0.5"}},
}
SATURDAY = FIFTH - 2 * 24 * 60 * 60
LATE_EVENTS = {
    "dividends": {
        "1": {"amount": 0.24, "date": SATURDAY},
        "2": {"amount": 0.5, "date": FIFTH},
        "3": {"amount": 1.5, "date": FIFTH + 24 * 60 * 60},
        "4": {"amount": 9.5, "date": SECOND - 24 * 60 * 60},
    },
    "splits": {
        "1": {"date": FIFTH + 60, "numerator": 3.0, "denominator": 2.0, "splitRatio": "3:2"},
    },
}
ANSWERS["a chart with events on days without trade"] = chart(
    [SECOND, FIFTH, JULY], LATE_EVENTS, close=[1.5, None, 1.5]
)
FILES = {
    "a file": b"Date,Open,High,Low,Close,Adj Close,Volume\r\n"
    b"2026-01-02,1.5,1.5,1.5,1.5,1.4999999,1e3\r\n2026-01-05,1.5,1,1.5,1.5,1.4,7\r\n",
    "a file with dividends and splits": b"\xef\xbb\xbf"
    b'ticker,timestamp,open,high,low,"close",volume,Dividends,Stock Splits\n'
    b"X,2026-01-02,10,10,10,10,5,0,0.0\nX,2026-01-05,10,10,10,10,5,0.25,4\n"
    b"X,2026-01-06,5,5,5,5,5,,2.0\nX,2026-01-07,5,5,5,5,5,a,0\n",
    "a file with a day without ratio": b"trade_date,open,high,low,close,volume,split_ratio\n"
    b"2026-01-02,10,10,10,10,5,1\n2026-01-05,10,10,10,10,5,4\n2026-01-06,5,5,5,5,5,\n",
}
GIVEN = {"symbol": "X"}
NAMES = [name for name in PRICE_FORMULAS if name not in ("capture_id", "known_from")]


def write(answer: dict[str, Any]) -> bytes:
    """Return the bytes of an answer."""
    return json.dumps(answer).encode() if "chart" in answer else series(**answer)


def read_contract(body: bytes, source: str) -> list[dict[str, Any]]:
    """Return the rows of the contract, with values as formulas have them."""
    answer = read_prices(source, [Part(1, body)])
    days = date(2026, 1, 1), date(2026, 12, 31)
    rows = check_prices([RequestedRange(answer, "X", "X", source, *days)]).rows
    kinds = {column.key: str(column.type) for column in prices_daily.columns}
    return [
        {name: read_value(kinds[name], row[name]) for name in NAMES}
        for row in rows.sort("trade_date").to_dicts()
    ]


def read_formulas(body: bytes, source: str = "demo") -> list[dict[str, Any]]:
    """Return the rows of the formulas."""
    given = GIVEN | {"source": source}
    form = expect_present(find_form(body, PRICE_RULES.forms))
    records = list(read_records(body, form))
    others = SourceRows([record.fields for record in records])
    lines = [build_row_set(record.fields, {**record.fields, **given}, others) for record in records]
    rows = [
        {name: evaluate(PRICE_FORMULAS[name], line) for name in NAMES}
        for line in lines
        if judge_line(line, PRICE_RULES) == ROW
    ]
    return sorted(rows, key=lambda row: row["trade_date"])


def read_program(body: bytes, source: str) -> list[dict[str, Any]]:
    """Return the rows of the program of archives."""
    given = GIVEN | {"source": source}
    form = expect_present(find_form(body, PRICE_RULES.forms))
    declared = json.loads(json.dumps(form.to_json()))
    records = [
        fields
        for reader, arguments in declared["records"]
        for *_, fields in recompute.READERS[reader](body, *arguments)
    ]
    if form.moved_to:
        recompute.move_events(records, declared["moved_to"])
    conditions = [*PRICE_RULES.filters.values(), *(rule for _, rule in PRICE_RULES.rejects)]
    rows = []
    for fields in records:
        program = recompute.Formulas({**fields, **given}, records)
        if not any(program(condition, [fields]) for condition in conditions):
            row = {name: program(PRICE_FORMULAS[name], [fields]) for name in NAMES}
            rows.append(
                {
                    name: Fraction(value) if isinstance(value, Decimal) else value
                    for name, value in row.items()
                }
            )
    return sorted(rows, key=lambda row: row["trade_date"])


CAPTURES = {name: (write(answer), "demo") for name, answer in ANSWERS.items()}
CAPTURES |= {name: (body, "files") for name, body in FILES.items()}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("capture", CAPTURES)
def test_formulas_of_captured_prices_have_the_rows_of_the_contract(capture):
    expected = read_contract(*CAPTURES[capture])
    assert expected
    assert read_formulas(*CAPTURES[capture]) == expected
    assert read_program(*CAPTURES[capture]) == expected


def test_events_of_days_without_trade_count_on_the_next_day_with_prices():
    rows = read_formulas(write(ANSWERS["a chart with events on days without trade"]))
    assert [(row["trade_date"], row["dividend"], row["split_ratio"]) for row in rows] == [
        ("2026-01-02", 0, 1_000_000),
        ("2026-07-01", 2_240_000, 1_500_000),
    ]
    assert rows[0]["later_splits"] == "2026-07-01 1.5"


def test_splits_of_a_file_that_its_closes_already_have_are_later_splits():
    rows = read_formulas(FILES["a file with dividends and splits"], "files")
    values = [(row["dividend"], row["split_ratio"], row["later_splits"]) for row in rows]
    assert values == [
        (0, 1_000_000, "2026-01-05 4"),
        (250_000, 4_000_000, "none"),
        (None, 2_000_000, "none"),
    ]


def test_a_dividend_a_split_and_later_splits_of_a_chart_have_known_values():
    rows = read_formulas(write(ANSWERS["a chart"]))
    values = [(row["dividend"], row["split_ratio"], row["later_splits"]) for row in rows]
    assert values == [
        (240_000, 1_000_000, "2026-01-05 1.5, 2026-07-01 0.1"),
        (0, 1_500_000, "2026-07-01 0.1"),
        (0, 100_000, "none"),
    ]
    assert rows[0]["close"] == 189_840_000


@pytest.mark.parametrize("body", [b"PAR1\0", b"<html></html>"])
def test_a_capture_that_cannot_be_read_has_a_form_that_says_so(body, capsys):
    form = find_form(body, PRICE_RULES.forms)
    assert form is not None
    expected, found = form.records[0][1]
    assert form.unreadable == f"the capture is {found}: expected {expected}"
    assert not list(read_records(body, form))
    with pytest.raises(SystemExit) as ended:
        recompute.READERS["none"](body, expected, found)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"invalid file: expected {expected}, found {found}\n"
