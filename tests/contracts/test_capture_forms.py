"""Records of captured bytes: their line, their place, their bytes and their fields."""

import io
from zipfile import ZipFile

import pytest

from orchestration_project.engine.contracts.capture_forms import (
    Form,
    ReadRecord,
    build_delimited_form,
    find_form,
    read_records,
)

WINDOWS = b"\xef\xbb\xbfSymbol|Shares\r\nACME| 10 \r\n\r\nZYX|7|x\r\n"
RATES = b"Date,USD,JPY\n2026-03-02,1.1, \n2026-03-03,,160\n"
UNPIVOTED = Form("", [("lines", [",", ["date", "currency", "rate"]])])
CHART = b"""{"s":"ACME"}
{"days":"1, 2","close":"7,8"} {"days":"3","close":"9"}"""
PATTERN = r'"days":"(?P<day>[^"]+)","close":"(?P<close>[^"]+)"'


def test_a_line_has_its_place_its_bytes_and_trimmed_texts_by_the_names_of_the_header():
    assert list(read_records(WINDOWS, build_delimited_form("|"))) == [
        ReadRecord(2, 18, b"ACME| 10 \r", {"symbol": "ACME", "shares": "10"}),
        ReadRecord(3, 29, b"\r", {}),
        ReadRecord(4, 31, b"ZYX|7|x\r", {}),
    ]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b'"Acme, Inc.","10"', {"name": "Acme, Inc.", "shares": "10"}),
        (b"plain,7", {"name": "plain", "shares": "7"}),
        (b'"open,1', {}),
        (b"a\0,1", {}),
        (b"a,1\r", {}),
        (b"\xff,1", {}),
    ],
)
@pytest.mark.parametrize("header", [b'"Name","Shares"', b"Name , Shares"])
def test_a_quoted_field_is_one_and_a_line_that_cannot_be_split_has_none(header, line, fields):
    (record,) = read_records(header + b"\n" + line, build_delimited_form(","))
    assert (record.content, record.fields) == (line, fields)


def test_quotes_are_letters_where_the_header_has_none_and_no_comma_separates():
    (record,) = read_records(b'a|b\n"x|y"', build_delimited_form("|"))
    assert record.fields == {"a": '"x', "b": 'y"'}


def test_a_search_reads_the_lines_with_all_texts_and_never_the_header():
    lines = b"symbol|tier\nACME|T1\nACME|T2\nsymbol|T2\n"
    records = read_records(lines, build_delimited_form("|"), ["T2", "ACME"])
    assert [(record.number, record.fields["tier"]) for record in records] == [(3, "T2")]
    found = [record.number for record in read_records(lines, build_delimited_form("|"), ["symbol"])]
    assert found == [4]


@pytest.mark.parametrize(
    ("containing", "numbers"), [([], [2, 3]), (["JPY"], [3]), (["2026-03-02", "USD"], [2])]
)
def test_an_unpivoted_line_has_a_record_for_each_cell_that_is_not_blank(containing, numbers):
    records = [
        ReadRecord(
            2, 13, b"2026-03-02,1.1, ", {"date": "2026-03-02", "currency": "USD", "rate": "1.1"}
        ),
        ReadRecord(
            3, 30, b"2026-03-03,,160", {"date": "2026-03-03", "currency": "JPY", "rate": "160"}
        ),
    ]
    expected = [record for record in records if record.number in numbers]
    assert list(read_records(RATES, UNPIVOTED, containing)) == expected


def test_lists_of_a_match_are_records_by_their_places():
    form = Form("days", [("matches", [PATTERN])])
    assert list(read_records(CHART, form)) == [
        ReadRecord(2, 14, b"1, 7", {"day": "1", "close": "7"}),
        ReadRecord(2, 14, b"2, 8", {"day": "2", "close": "8"}),
        ReadRecord(2, 44, b'"days":"3","close":"9"', {"day": "3", "close": "9"}),
    ]
    assert [record.fields["day"] for record in read_records(CHART, form, ["8"])] == ["2"]
    with pytest.raises(ValueError, match="shorter"):
        list(read_records(b'"days":"1,2","close":"7"', form))


def test_a_match_has_texts_of_an_earlier_one_and_is_a_record_with_its_last_group_alone():
    form = Form("days", [("matches", ['"s":"(?P<symbol>[A-Z]+)"|"days":"(?P<day>[0-9])"'])])
    content = b'"days":"1" "s":"ACME" "days":"2" "days":"3"'
    assert [record.fields for record in read_records(content, form)] == [
        {"day": "1"},
        {"symbol": "ACME", "day": "2"},
        {"symbol": "ACME", "day": "3"},
    ]


def test_a_member_of_an_archive_is_read_and_the_first_form_that_fits_is_found():
    packed = io.BytesIO()
    with ZipFile(packed, "w") as archive:
        archive.writestr("readme.txt", "none")
        archive.writestr("rates.csv", RATES)
    form = Form("^PK", UNPIVOTED.records, "rates.csv")
    assert [record.number for record in read_records(packed.getvalue(), form)] == [2, 3]
    forms = [form, Form("JPY", []), Form("", [])]
    contents = [packed.getvalue(), RATES, WINDOWS]
    assert [find_form(content, forms) for content in contents] == forms
    assert find_form(WINDOWS, forms[:2]) is None
    assert form.to_json() == {
        "contains": "^PK",
        "records": [["lines", [",", ["date", "currency", "rate"]]]],
        "member": "rates.csv",
    }
