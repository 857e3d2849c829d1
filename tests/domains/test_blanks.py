"""Blanks around a text are dropped, in every field of every source."""

import json
from collections.abc import Callable

import polars as pl
import pytest

from orchestration_project.domains.finra.contract import FILE_FIELDS, check_week
from orchestration_project.domains.prices.contract import RequestedRange, check_prices, read_prices
from orchestration_project.engine.contracts.parts import Part
from tests.domains import test_cboe, test_finra_datasets, test_fx
from tests.domains.datasets import record
from tests.domains.prices import HEADER, MONDAY, line
from tests.domains.weekly import WEEK, checked, file
from tests.domains.weekly import line as weekly_line

BLANKS = ["  {}", "{} ", "\t{}", "\u00a0{}\u00a0", "\u202f{} "]
"""What stands around a text: spaces, a tab, no-break spaces."""


def around(blanks: str, text: str, delimiter: str) -> str:
    """Return a line with blanks around each of its fields."""
    return delimiter.join(blanks.format(field) for field in text.split(delimiter))


def rows_of_prices(source: str, body: bytes) -> pl.DataFrame:
    answer = read_prices(source, [Part(1, body)])
    return check_prices([RequestedRange(answer, "AAA", "AAA", source, MONDAY, MONDAY)]).rows


def week(blanks: str) -> pl.DataFrame:
    return checked(around(blanks, weekly_line(), "|")).rows


def week_of_a_file(blanks: str) -> pl.DataFrame:
    texts = dict.fromkeys(FILE_FIELDS, "7") | {
        "tierDescription": "NMS Tier 1",
        "issueSymbolIdentifier": "AAA",
        "lastUpdateDate": "2025-12-01",
    }
    text = "|".join(texts[name] for name in FILE_FIELDS)
    return check_week([file(around(blanks, text, "|"))], week_start=WEEK, tier="T1").rows


def declared(blanks: str) -> pl.DataFrame:
    row: dict[str, object] = {name: blanks.format(value) for name, value in record().items()}
    return test_finra_datasets.checked(row).rows


def volume(blanks: str) -> pl.DataFrame:
    text = around(blanks, test_cboe.NYSE, ",")
    return test_cboe.checked(test_cboe.with_nyse(text)).rows


def rates(blanks: str) -> pl.DataFrame:
    header, *lines = test_fx.CSV.splitlines()
    text = "\n".join([header, *(around(blanks, each, ",") for each in lines)])
    return test_fx.checked(test_fx.archive(text)).rows


def prices_in_a_file(blanks: str) -> pl.DataFrame:
    body = "\n".join([HEADER, around(blanks, line(MONDAY, 10.25), ",")])
    return rows_of_prices("files", body.encode())


def prices_of_alpha_vantage(blanks: str) -> pl.DataFrame:
    names = ("1. open", "2. high", "3. low", "4. close", "5. volume")
    day = {name: blanks.format("10") for name in names}
    series = {"Meta Data": {"2. Symbol": "AAA"}, "Time Series (Daily)": {str(MONDAY): day}}
    return rows_of_prices("alpha_vantage", json.dumps(series).encode())


@pytest.mark.slow_after_first
@pytest.mark.parametrize("blanks", BLANKS, ids=ascii)
@pytest.mark.parametrize(
    "load",
    [
        *(week, week_of_a_file, declared, volume, prices_in_a_file, prices_of_alpha_vantage),
    ],
)
def test_blanks_around_every_field_change_no_row(load: Callable[[str], pl.DataFrame], blanks: str):
    expected = load("{}")
    assert len(expected) > 0
    assert load(blanks).equals(expected)


@pytest.mark.parametrize("blanks", BLANKS[:2])
def test_blanks_around_rates_change_none(blanks: str):
    """The ECB's archive is ASCII."""
    assert rates(blanks).equals(rates("{}"))


def test_a_symbol_with_blanks_is_the_trimmed_one_and_blanks_within_it_stay():
    symbols = ["AAA", "AAA ", "\u00a0AAA", "A A"]
    lines = [
        weekly_line(issueSymbolIdentifier=symbol, MPID=f"V{number}")
        for number, symbol in enumerate(symbols)
    ]
    assert checked(*lines).rows["symbol"].to_list() == ["A A", "AAA", "AAA", "AAA"]


def test_a_rejected_line_is_quoted_with_its_blanks():
    bad = weekly_line(issueSymbolIdentifier=" AAA ", totalWeeklyShareQuantity="x ")
    [reject] = checked(bad).rejects.to_dicts()
    assert "| AAA |" in reject["record"]
    assert reject["reason"].endswith(": x")
