"""Conditions as a person writes them: every spelling of a value is read as that value."""

import re
from datetime import UTC, date, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import BindParameter, Text

from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.catalogue import known_tables, relation
from orchestration_project.tables.conditions import condition, values_by_column, write_condition
from orchestration_project.tables.schema import VALUES

LETTERS = st.sampled_from("aT1 '\"(),;=<>!&|\n\t-+@é") | st.characters(codec="utf-8")
TEXTS = st.text(LETTERS, max_size=9)


@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_each_text_is_read_as_it_was_written(texts: list[str]):
    written = write_condition("symbol", *texts)
    assert values_by_column([written]) == {"symbol": texts}
    assert values_by_column([f"({written}) or (symbol=A)"]) == {"symbol": [*texts, "A"]}


@given(TEXTS, st.sampled_from(["=", "=="]), st.text(" ", max_size=2), st.sampled_from("'\""))
def test_blanks_and_quotes_change_no_value(text: str, operator: str, blanks: str, quote: str):
    quoted = f"{quote}{text.replace(quote, quote * 2)}{quote}"
    for written in (f"symbol{blanks}{operator}{blanks}{quoted}", f"symbol in{blanks}({quoted})"):
        assert values_by_column([f"{blanks}{written}{blanks}"]) == {"symbol": [text]}


@given(TEXTS)
def test_a_text_without_quotes_is_read_whole_or_refused_with_its_place(text: str):
    assume(text.lstrip()[:1] not in ("'", '"', "="))
    try:
        assert values_by_column([f"symbol={text}"]) == {"symbol": [text.strip()]}
    except ConfigurationError as error:
        place = re.search(r"at character (\d+)$", str(error.found))
        assert place is not None
        assert int(place[1]) > len("symbol=")


SPELLED = [
    ("week_start", "2026-10-05", date(2026, 10, 5)),
    ("share_quantity", "12", 12_000_000),
    ("known_from", "2026-10-05T00:00:00Z", datetime(2026, 10, 5, tzinfo=UTC)),
    ("symbol", "A", "A"),
    ("notional_dollars", "9.5", 9_500_000),
    ("tier", "T1", "T1"),
]


@pytest.mark.parametrize(("name", "value", "bound"), SPELLED)
def test_each_type_takes_each_spelling(name: str, value: str, bound: object):
    table = relation("v_finra_otc_weekly").table
    for operator in ("=", " = ", "==", " == "):
        for spelled in (value, f" {value} ", f"'{value}'", f' "{value}" '):
            compared = condition(table, f" {name}{operator}{spelled}")
            [child] = [
                child for child in compared.get_children() if isinstance(child, BindParameter)
            ]
            assert child.value == bound, (operator, spelled)


def test_known_values_are_those_that_the_columns_description_lists():
    assert any(VALUES in column.info for table in known_tables().values() for column in table.c)
    for name, table in known_tables().items():
        for column in table.columns:
            values = column.info.get(VALUES, ())
            without_remarks = re.sub(r" ?\([^()]*\)", "", str(column.comment))
            listed = re.findall(r"\w+", re.sub(r"^[^:]*?: |; (?!or )[^;]*$", "", without_remarks))
            shown = [word for word in listed if word not in ("or", "from", "Dagster")]
            if values and column.name != "movement":
                assert list(values) == shown, (name, column.name)
            assert not values or isinstance(column.type, Text)
