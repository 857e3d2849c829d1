"""From one document a declaration is proposed: format, types, key and partitions."""

import gzip
from dataclasses import replace
from datetime import date

import pytest

from orchestration_project import Dataset, file_source
from orchestration_project.engine.own.attributes import parse_dataset
from orchestration_project.engine.own.proposing import propose
from orchestration_project.engine.own.writing import RequestOptions, render_source, render_yaml
from orchestration_project.errors import ConfigurationError
from tests.own.test_formats import parquet_of, workbook, zipped

TODAY = date(2026, 1, 9)
NOTHING = RequestOptions(secret_headers={})


def proposed(body, address="https://a.example/x/2026-01-05"):
    return propose(body, address, today=TODAY)


def kinds(body):
    return {field.name: (field.kind, field.is_optional) for field in proposed(body).fields}


def test_types_are_the_narrowest_that_all_values_have():
    body = (
        b"id,Trade Date,at,price,count,code,is_open,note,rate\n"
        b"A,2026-01-05,2026-01-05T09:00:00Z,6.82,5,007,true,,0.1234567\n"
        b"B,2026-01-05,2026-01-05T09:00:00+02:00,12345.5,-6,008,false,x,1\n"
    )
    assert kinds(body) == {
        "id": ("str", False),
        "trade_date": ("date", False),
        "at": ("datetime", False),
        "price": ("decimal(11, 2)", False),
        "count": ("int", False),
        "code": ("str", False),
        "is_open": ("bool", False),
        "note": ("str", True),
        "rate": ("str", False),
    }


@pytest.mark.parametrize(
    ("address", "template", "day"),
    [
        (
            "https://a/2025-12-31/x?d=2026-01-05",
            "https://a/2025-12-31/x?d={partition}",
            "2026-01-05",
        ),
        ("in/prices_20260105.csv", "in/prices_{partition:%Y%m%d}.csv", "2026-01-05"),
        ("https://a/99999999/2026-01-04", "https://a/99999999/{partition}", "2026-01-04"),
    ],
)
def test_a_day_in_the_address_becomes_the_place_of_the_partition(address, template, day):
    found = proposed(b"id\nA\n", address)
    assert (found.address, found.day.isoformat(), found.day_field) == (template, day, "")


def test_without_a_day_in_the_address_a_field_with_days_names_partitions():
    found = proposed(b"day,id\n2026-01-05,A\n2026-01-06,A\n", "https://a.example/all.csv")
    assert (found.day_field, found.key, found.day) == ("day", ["day", "id"], date(2026, 1, 6))


def test_the_key_is_the_fewest_fields_that_identify_records():
    body = b"price,side,id,note\n1.5,buy,A,x\n1.5,sell,A,y\n2.5,buy,B,z\n"
    assert proposed(body).key == ["note"]
    repeated = b"price,side,id\n1.5,buy,A\n1.5,sell,A\n2.5,buy,B\n"
    assert proposed(repeated).key == ["side", "id"]


def test_records_of_nested_json_are_found_with_their_nested_values():
    body = b'{"meta": {"n": 1}, "data": {"rows": [{"id": "A", "v": {"c": 1.5, "tags": [1]}}]}}'
    found = proposed(body)
    assert (found.format, found.records) == ("json", "data.rows")
    assert [(field.name, field.source, field.kind) for field in found.fields] == [
        ("id", "id", "str"),
        ("v_c", "v.c", "decimal(6, 1)"),
        ("v_tags", "v.tags", '"json"'),
    ]


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        (b'"links": {"self": "/a", "next": "/b?page=2"}', 'next_url("links.next")'),
        (b'"@odata.nextLink": "https://a/2"', 'next_url("@odata.nextLink")'),
        (b'"meta": {"next_cursor": "Mg"}', 'cursor("\u2026", path="meta.next_cursor")'),
        (b'"meta": {"nextPage": 2}', 'cursor("\u2026", path="meta.nextPage")'),
        (b'"links": {"next": null}', ""),
        (b'"context": "x"', ""),
    ],
)
def test_a_sample_that_names_a_next_page_says_so(more, hint):
    body = b'{"rows": [{"id": "A", "next": "B"}], ' + more + b"}"
    assert proposed(body).paging_hint == hint


def test_lines_of_json_and_other_delimiters_are_recognised():
    assert proposed(b'{"id": "A"}\n{"id": "B"}\n').format == "ndjson"
    found = proposed(b"id;amount\nA;1,5\n")
    assert (found.format, found.delimiter) == ("csv", ";")


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (workbook(("S", [["id", "paid", "n"], ["A", True, 1.5], ["B", None, 2.25]])), "xlsx"),
        (parquet_of(id=["A", "B"], paid=[True, None], n=[1.5, 2.25]), "parquet"),
        (gzip.compress(b"id,paid,n\nA,true,1.5\nB,,2.25\n", mtime=0), "csv"),
        (zipped({"x.json": '[{"id":"A","paid":true,"n":1.5},{"id":"B","n":2.25}]'}), "json"),
    ],
    ids=["XLSX", "Parquet", "CSV in gzip", "JSON in zip"],
)
def test_binary_and_compressed_samples_are_proposed_as_well(body, form):
    found = proposed(body)
    assert found.format == form
    assert [(field.name, field.kind, field.is_optional) for field in found.fields] == [
        ("id", "str", False),
        ("paid", "bool", True),
        ("n", "decimal(7, 2)", False),
    ]
    assert found.key == ["id"]


def test_names_are_made_such_as_columns_may_have_each_once():
    names = [
        field.name
        for field in proposed(
            b"Total Shares,total-shares,7days,known_from,nothing\n1,2,3,4,5\n"
        ).fields
    ]
    assert names[:2] == ["total_shares", "total_shares_2"]
    assert names[2:] == ["field_7days", "known_from_2", "nothing_2"]


@pytest.mark.parametrize(
    ("body", "address", "expected"),
    [
        (b"id\n", "https://a/2026-01-05", "records"),
        (b"just a line", "https://a/2026-01-05", "a CSV with a header, JSON, XLSX or Parquet"),
        (b"<rates/>", "https://a/2026-01-05", "a CSV with a header, JSON, XLSX or Parquet"),
        (b"id\nA\n", "https://a/all", "a day in the address, or a field with days"),
        (b"id,n\nA,1\nA,1\n", "https://a/2026-01-05", "fields that differ between all records"),
    ],
)
def test_what_gives_no_declaration_is_refused(body, address, expected):
    with pytest.raises(ConfigurationError, match="no declaration can be proposed") as raised:
        proposed(body, address)
    assert raised.value.expected == expected


def test_the_file_declares_what_was_proposed(monkeypatch):
    body = b'{"rows": [{"Id": "A", "at": "2026-01-05", "price": 6.82}]}'
    options = RequestOptions(secret_headers={"X-Key": "MY_KEY"}, cursor=("after", "next"))
    text = render_source("quotes", proposed(body), options, is_file=False)
    names: dict = {}
    exec(compile(text, "source.py", "exec"), names)  # noqa: S102 - what a user's file would do
    declared = names["quotes"]
    assert (declared.name, declared.key, str(declared.partitions.since)) == (
        "quotes",
        ["id"],
        "2026-01-05",
    )
    assert [(field.name, field.kind, field.source_name) for field in declared.fields] == [
        ("id", "text", "Id"),
        ("at", "date", "at"),
        ("price", "decimal", "price"),
    ]
    assert declared.source.url == "https://a.example/x/{partition}"
    assert (declared.source.reading.records, declared.source.paging.path) == ("rows", "next")
    assert declared.source.secret_headers == {"X-Key": "MY_KEY"}


def test_a_file_of_a_folder_becomes_a_source_of_files():
    text = render_source("q", proposed(b"id;n\nA;1\n", "in/20260105.csv"), NOTHING, is_file=True)
    assert 'file_source("in/{partition:%Y%m%d}.csv", format="csv", delimiter=";")' in text


@pytest.mark.parametrize(
    "options",
    [
        RequestOptions(secret_headers={"X-Key": "MY_KEY"}, cursor=("after", "next")),
        RequestOptions(secret_headers={}, bearer="MY_TOKEN", page_size=2),
    ],
)
def test_the_yaml_declares_what_the_python_does(options):
    body = (
        b'{"rows": [{"Id": "A", "on": "2026-01-05", "price": 6.82, "is": true, "n": 1, "1": {}},'
        b' {"Id": "B", "on": null, "price": 7, "is": false, "n": 2, "1": {"a \\" b: #": [1]}}]}'
    )
    found = proposed(body)
    names: dict = {}
    source = render_source("quotes", found, options, is_file=False)
    exec(compile(source, "source.py", "exec"), names)  # noqa: S102 - what a user's file would do
    text = render_yaml("quotes", found, options, is_file=False)
    made, other = parse_dataset(text), names["quotes"]
    assert isinstance(made, Dataset)
    for fields in zip(made.fields, other.fields, strict=True):
        one, two = ((field.kind, replace(field, type=str)) for field in fields)
        assert one == two
    assert replace(made, fields=other.fields) == other
    assert text.startswith("type: orchestration_project.HttpDataset\n")


def test_the_yaml_quotes_names_that_would_be_truths():
    found = proposed(b"no,n\nA,1\nB,1\n")
    made = parse_dataset(render_yaml("on", found, NOTHING, is_file=False))
    assert (made.name, made.key) == ("on", ["no"])


def test_the_yaml_of_a_file_declares_a_source_of_files():
    found = proposed(b"id;n\nA;1\n", "in/20260105.csv")
    text = render_yaml("q", found, NOTHING, is_file=True)
    made = parse_dataset(text)
    assert isinstance(made, Dataset)
    assert made.source == file_source("in/{partition:%Y%m%d}.csv", format="csv", delimiter=";")
