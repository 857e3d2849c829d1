"""Fields that a source adds or drops: ignored, refused or collected, as the declaration decides."""

import io
from typing import Any

import polars as pl
import pytest

from orchestration_project import Field, http_source
from orchestration_project.errors import ConfigurationError, SourceError
from tests.own.declared import dataset, rows

RATE = Field("rate", int, "its rate")
NOTE = Field("note", str, "a note", optional=True)


def parquet(**columns):
    file = io.BytesIO()
    pl.DataFrame(columns).write_parquet(file)
    return file.getvalue()


WITH_OTHERS = {
    "csv": b"name,rate,unit,place\nECB,7,eur,\n",
    "json": b'[{"name": "ECB", "rate": 7, "unit": "eur", "place": null}]',
    "ndjson": b'{"name": "ECB", "rate": 7, "unit": "eur", "place": ""}\n',
    "html": b"<table><tr><th>name<th>rate<th>unit<th>place<tr><td>ECB<td>7<td>eur<td></table>",
    "parquet": parquet(name=["ECB"], rate=[7], unit=["eur"], place=[None]),
}
DECLARED = {"name": "ECB", "rate": 7}


def of(kind, *fields, **more):
    source = http_source("http://127.0.0.1/{partition}", format=kind)
    return dataset(RATE, *fields, source=source, **more)


@pytest.mark.slow_after_first
@pytest.mark.parametrize("kind", WITH_OTHERS)
def test_other_fields_are_ignored_refused_or_collected(kind):
    body = WITH_OTHERS[kind]
    [ignored] = rows(of(kind), body)
    assert DECLARED.items() <= ignored.items()
    assert "other_fields" not in ignored
    [collected] = rows(of(kind, new_fields="collect"), body)
    assert DECLARED.items() <= collected.items()
    assert collected["other_fields"] == '{"place": "", "unit": "eur"}'
    with pytest.raises(SourceError, match="does not name") as raised:
        rows(of(kind, new_fields="refuse"), body)
    assert (raised.value.expected, raised.value.found) == ("name, rate", "place, unit")


@pytest.mark.parametrize("decision", ["collect", "refuse"])
def test_without_other_fields_there_is_nothing_to_decide(decision):
    [found] = rows(of("csv", new_fields=decision), b"name,rate\nECB,7\n")
    assert found.get("other_fields") is None


def test_members_of_a_declared_path_are_not_others():
    price = Field("close", int, "price", source="price.close")
    body = b'[{"name": "A", "rate": 1, "price": {"close": 2, "open": 3}, "unit": {"b": [1.50]}}]'
    [found] = rows(of("json", price, new_fields="collect"), body)
    assert (found["close"], found["other_fields"]) == (2, '{"unit": "{\\"b\\": [1.50]}"}')


@pytest.mark.parametrize("kind", ["csv", "html", "parquet"])
def test_an_optional_field_that_a_header_lacks_refuses_or_is_null(kind):
    body = {
        "csv": b"name,rate\nECB,7\n",
        "html": b"<table><tr><th>name<th>rate<tr><td>ECB<td>7</table>",
        "parquet": parquet(name=["ECB"], rate=[7]),
    }[kind]
    with pytest.raises(SourceError, match="cannot be read") as raised:
        rows(of(kind, NOTE), body)
    assert "note" in raised.value.expected
    [found] = rows(of(kind, NOTE, missing_fields="ignore"), body)
    assert (found["rate"], found["note"]) == (7, None)


def test_a_required_field_that_a_header_lacks_always_refuses():
    with pytest.raises(SourceError, match="cannot be read"):
        rows(of("csv", NOTE, missing_fields="ignore"), b"name,note\nECB,x\n")


@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        ("csv", {"new_fields": "colect"}, "ignore, refuse, collect"),
        ("json", {"missing_fields": "ignore"}, "one of the formats csv, html, xlsx, parquet"),
        ("xml", {"new_fields": "refuse"}, "one of the formats csv, json, ndjson"),
    ],
)
def test_a_decision_that_does_not_fit_is_refused(kind, more, expected):
    options: dict[str, Any] = {"records": "a/b"} if kind == "xml" else {}
    source = http_source("http://127.0.0.1/{partition}", format=kind, **options)
    with pytest.raises(ConfigurationError) as raised:
        dataset(RATE, source=source, **more)
    assert str(raised.value.expected).startswith(expected)


def test_the_column_that_collects_cannot_be_declared():
    with pytest.raises(ConfigurationError, match="invalid fields"):
        of("csv", Field("other_fields", str, "others"), new_fields="collect")
