"""Delimited text: each line ends exactly once, as a row or as a reject with its place."""

import csv
import gzip
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestration_project.engine.contracts.delimited import (
    Parsed,
    add_records,
    count_data_rows,
    find_unfinished_line,
    parse_parts,
)
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.contracts.rules import escape_bytes
from orchestration_project.errors import ContractError
from tests.properties import bounded

COLUMNS = ("symbol", "name", "shares")
HEADER = b"symbol|name|shares"
QUOTED_HEADER = b'"symbol"|"name"|"shares"'
PIECES = (b"|", b"\n", b"\0", b"\xff", b'"', b"\r", b" ", "é".encode(), b"A", b"NA", b",", b"\\")
LINES = st.lists(
    st.one_of(
        st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join),
        st.just(b"A|B|1"),
        st.just(b'"A"|"B"|"1"'),
        st.binary(max_size=12),
    ),
    max_size=8,
).map(b"\n".join)


def parse(body: bytes) -> Parsed:
    return parse_parts([Part(1, body)], COLUMNS)


def lines_of(body: bytes) -> list[bytes]:
    """Return the lines as a person would number them, the header first."""
    return body.removesuffix(b"\n").split(b"\n")


@bounded
@given(
    header=st.sampled_from([HEADER, QUOTED_HEADER]),
    lines=LINES,
    end=st.sampled_from([b"", b"\n"]),
)
@example(HEADER, b"A|B|1\n\n\nB|C|2", b"")
@example(QUOTED_HEADER, b'"A|B|1\n"A"x|B|1\na\rb|c|d\nA"|B|1', b"\n")
def test_every_line_ends_exactly_once_and_its_place_is_that_of_its_bytes(
    header: bytes, lines: bytes, end: bytes
):
    body = header + b"\n" + lines + end
    parsed = parse(body)
    rejects = add_records(parsed.rejects, [Part(1, body)])
    ends = sorted([*parsed.rows["line_number"], *rejects["line_number"]])
    assert ends == list(range(2, len(lines_of(body)) + 1))
    assert len(ends) == count_data_rows(body)
    for reject in rejects.iter_rows(named=True):
        bytes_there = body[reject["byte_offset"] :].split(b"\n")[0]
        assert bytes_there == lines_of(body)[reject["line_number"] - 1]
        assert reject["record"] == escape_bytes(bytes_there)


@pytest.mark.slow
@bounded
@given(lines=LINES, names=st.sampled_from([COLUMNS, ("note", *COLUMNS), (*COLUMNS, "note")]))
@example(b"A|B|1|x\nC|D|2|A|B|1|x\n\nA|B|1|x", (*COLUMNS, "note"))
@example(b"x|A|B|1\nC|D|2\nx|A|B|1|y", ("note", *COLUMNS))
def test_an_unquoted_row_is_its_line_to_the_byte_and_every_reject_has_the_right_reason(
    lines: bytes, names: tuple[str, ...]
):
    body = "|".join(names).encode() + b"\n" + lines
    parsed = parse(body)
    for number, *fields in parsed.rows.select("line_number", *COLUMNS).rows():
        there = dict(zip(names, lines_of(body)[number - 1].decode().split("|"), strict=True))
        assert fields == [there[name] for name in COLUMNS]
    found = dict(parsed.rejects.select("line_number", "reason_code").rows())
    assert found == {
        number: fault
        for number, line in enumerate(lines_of(body)[1:], start=2)
        if (fault := _fault(line, len(names))) is not None
    }


def _fault(line: bytes, width: int) -> str | None:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "not_utf8"
    if "\0" in text:
        return "nul_byte"
    if text.endswith("\r"):
        return "wrong_line_end"
    return None if text.count("|") == width - 1 else "wrong_field_count"


@pytest.mark.slow
@bounded
@given(
    st.lists(
        st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"))] * 3),
        max_size=5,
    )
)
def test_what_is_written_with_quotes_comes_back_exact(rows: list[tuple[str, str, str]]):
    text = io.StringIO()
    writer = csv.writer(text, delimiter="|", quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    parsed = parse(text.getvalue().encode())
    assert parsed.rows.select(COLUMNS).rows() == rows
    assert parsed.rejects.rows() == []


def test_each_reject_says_what_is_wrong_with_its_line():
    body = HEADER + b"\nA|B|1\nA|B\n\nA|B|1|2\nA|\xff|1\nA|\0|1\n"
    parsed = parse(body)
    rejects = add_records(parsed.rejects, [Part(1, body)])
    assert dict(rejects.schema) == REJECT_SCHEMA
    nul = "the line holds a NUL byte, which no database text can keep"
    assert rejects.rows() == [
        (1, 3, "wrong_field_count", "the line has 2 fields, the header has 3", 25, "A|B"),
        (1, 4, "wrong_field_count", "the line has 1 fields, the header has 3", 29, ""),
        (1, 5, "wrong_field_count", "the line has 4 fields, the header has 3", 30, "A|B|1|2"),
        (1, 6, "not_utf8", "the line is not UTF-8", 38, r"A|\xff|1"),
        (1, 7, "nul_byte", nul, 44, r"A|\x00|1"),
    ]


@pytest.mark.parametrize(
    "line", [b'"A|B|1', b'"A"x|"B"|"1"', b"A\rB|C|1", b'"A"|' + b"B" * 131_073]
)
def test_a_line_whose_quotes_cannot_be_read_is_rejected_alone(line: bytes):
    body = QUOTED_HEADER + b'\n"A"|"B"|"1"\n' + line + b'\n"C"|"D ""E"""|"2"'
    parsed = parse(body)
    assert parsed.rows.rows() == [(1, 2, "A", "B", "1"), (1, 4, "C", 'D "E"', "2")]
    reason = "the line's quotes do not pair, or it holds a carriage return"
    assert parsed.rejects.rows() == [(1, 3, "malformed_quotes", reason)]


@pytest.mark.parametrize("end", [b"", b"\r\n"])
@pytest.mark.parametrize("quote", [b"", b'"'])
def test_windows_line_ends_are_read_like_others_and_belong_to_no_field(quote: bytes, end: bytes):
    body = b"symbol|name|shares\r\nA|B\rB|1\r\nC|D|2" + end
    if quote:
        body = b'"symbol"|"name"|"shares"\r\n"A"|"B"|"1"\r\n"C"|"D"|"2"' + end
    parsed = parse(body)
    name = "B" if quote else "B\rB"
    assert parsed.rows.rows() == [(1, 2, "A", name, "1"), (1, 3, "C", "D", "2")]
    assert parsed.rejects.rows() == []


@pytest.mark.parametrize(
    ("body", "good"),
    [
        pytest.param(b"symbol|name|shares\nA|B|1\r\nC|D|2\n", 3, id="in a plain file"),
        pytest.param(b"symbol|name|shares\r\nA|B|1\nC|D|2\r\n", 3, id="in one of Windows"),
        pytest.param(b"symbol|name|shares\r\nC|D|2\r\nA|B|1\r", 2, id="cut within the line end"),
        pytest.param(b'"symbol"|"name"|"shares"\n"A"|"B"|"1"\r\n"C"|"D"|"2"', 3, id="quoted"),
    ],
)
def test_a_line_that_ends_otherwise_than_the_header_is_rejected_alone(body: bytes, good: int):
    parsed = parse(body)
    assert parsed.rows.rows() == [(1, good, "C", "D", "2")]
    reason = "the line does not end as the header does: one has a carriage return there"
    assert parsed.rejects.rows() == [(1, 5 - good, "wrong_line_end", reason)]


def test_a_byte_order_mark_is_no_part_of_the_first_name():
    assert parse(b"\xef\xbb\xbf" + HEADER + b"\nA|B|1").rows.rows() == [(1, 2, "A", "B", "1")]


def test_quotes_below_a_plain_header_are_part_of_the_text():
    assert parse(HEADER + b'\n"A"|"B|1').rows.rows() == [(1, 2, '"A"', '"B', "1")]


def test_extra_and_reordered_columns_are_found_by_name():
    body = b"shares|new|symbol|name|new\n1|x|A|B|y"
    assert parse(body).rows.rows() == [(1, 2, "A", "B", "1")]


def test_names_that_are_not_asked_for_may_be_the_same():
    parsed = parse(b"x|symbol|x|name|x_duplicated_0|shares\n1|A|2|B|3|1\n")
    assert parsed.rows.select(COLUMNS).rows() == [("A", "B", "1")]


def test_nothing_is_trimmed_or_taken_for_missing():
    body = HEADER + b"\nNA| NULL |1 \nNAN|null|\n||"
    assert parse(body).rows.select(COLUMNS).rows() == [
        ("NA", " NULL ", "1 "),
        ("NAN", "null", ""),
        ("", "", ""),
    ]


@pytest.mark.parametrize("body", [HEADER, HEADER + b"\n"])
def test_a_header_alone_has_no_lines(body: bytes):
    parsed = parse(body)
    assert (parsed.rows.rows(), parsed.rejects.rows(), count_data_rows(body)) == ([], [], 0)


@pytest.mark.parametrize(
    "header", [b"symbol|name|shares", b"SYMBOL|Name|sHARES", b'"Symbol"|"NAME"|"shares"']
)
def test_columns_are_found_in_whatever_case_and_values_stay_exact(header: bytes):
    line = b'"aB"|"Name"|"1"' if header.startswith(b'"') else b"aB|Name|1"
    for end in (b"\n", b"\r\n"):
        parsed = parse(header + end + line)
        assert parsed.rows["symbol", "name", "shares"].rows() == [("aB", "Name", "1")]


def test_a_column_that_comes_twice_in_two_cases_is_the_one_in_the_expected_case_or_refused():
    body = b"SYMBOL|symbol|name|shares\nx|A|B|1"
    assert parse(body).rows["symbol"].to_list() == ["A"]
    with pytest.raises(ContractError, match="repeats symbol"):
        parse(b"SYMBOL|Symbol|name|shares\nx|A|B|1")


def test_parts_keep_their_numbers_and_their_own_headers():
    parts = [Part(1, HEADER + b"\nA|B|1\nbad"), Part(2, b"name|shares|symbol\nD|2|C\nbad")]
    parsed = parse_parts(parts, COLUMNS)
    assert parsed.rows.rows() == [(1, 2, "A", "B", "1"), (2, 2, "C", "D", "2")]
    rejects = add_records(parsed.rejects, parts)
    assert rejects["part_number", "line_number", "byte_offset", "record"].rows() == [
        (1, 3, 25, "bad"),
        (2, 3, 25, "bad"),
    ]


@pytest.mark.parametrize(
    ("header", "what", "found"),
    [
        pytest.param(b"symbol|name", "lacks shares", "symbol|name", id="a column is missing"),
        pytest.param(b"", "lacks symbol, name, shares", None, id="the body is empty"),
        pytest.param(
            b"symbol|name|shares|name", "repeats name", "symbol|name|shares|name", id="repeated"
        ),
        pytest.param(
            b"symbol|symbol|shares", "lacks name; repeats symbol", "symbol|symbol|shares", id="both"
        ),
    ],
)
def test_a_wrong_header_is_refused_with_the_names(header: bytes, what: str, found: str | None):
    with pytest.raises(ContractError) as refused:
        parse_parts([Part(3, header + b"\nA|B|1" if header else b"")], COLUMNS)
    said = [
        f"the header is not that of the weekly data: {what}",
        "  expected: symbol|name|shares",
        *([f"  found: {found}"] if found else []),
        "  what to do: compare the source's field list with the one expected here",
        "  where: part=3",
    ]
    assert str(refused.value).split("\n") == said


UTF_16 = ("text in UTF-16", "save it as UTF-8")
CARRIAGE_RETURNS = (
    "text whose lines end in carriage returns alone",
    r"save it with line ends of \n",
)


def separated_by(what: str) -> tuple[str, str]:
    return f"text separated by {what}, not by |", "save it with | between the fields"


@pytest.mark.parametrize(
    ("body", "seems"),
    [
        pytest.param(HEADER.replace(b"|", b","), separated_by("commas"), id="commas"),
        pytest.param(b'"symbol","name","shares"', separated_by("commas"), id="quoted commas"),
        pytest.param(b"\xef\xbb\xbfshares;name;x", separated_by("semicolons"), id="semicolons"),
        pytest.param(HEADER.replace(b"|", b"\t"), separated_by("tabs"), id="tabs"),
        pytest.param((HEADER + b"\n").decode().encode("utf-16"), UTF_16, id="UTF-16"),
        pytest.param((HEADER + b"\n").decode().encode("utf-16-be"), UTF_16, id="without a mark"),
        pytest.param(HEADER + b"\rA|B|1\r", CARRIAGE_RETURNS, id="lines of an old Macintosh"),
        pytest.param(gzip.compress(HEADER), ("compressed by gzip", "unpack it"), id="gzip"),
        pytest.param(
            b"PK\x03\x04\x14",
            ("a zip archive or a spreadsheet", "unpack it, or save it as text"),
            id="zip",
        ),
        pytest.param(b'[{"symbol": "A"}]', ("JSON", "request delimited text"), id="JSON"),
        pytest.param(
            b" <html>\xff",
            ("a web page", "look at it in a browser: it may say why; then download the data again"),
            id="a web page",
        ),
    ],
)
def test_what_is_no_such_text_at_all_is_named_with_what_to_do(body: bytes, seems: tuple[str, str]):
    with pytest.raises(ContractError) as refused:
        parse(body)
    what, remedy = seems
    assert refused.value.what == f"this is not the weekly data: it seems to be {what}"
    assert refused.value.remedy == remedy
    assert refused.value.found.startswith(escape_bytes(body.split(b"\n")[0])[:20])


def test_a_renamed_column_is_named_by_both_names_and_many_are_cut_short():
    with pytest.raises(ContractError, match=r"lacks name; has unknown n\\xe4me\n"):
        parse("symbol|näme|shares".encode("latin-1"))
    many = b"|".join(b"%d" % number for number in range(9))
    with pytest.raises(ContractError, match="unknown 0, 1, 2, 3, 4 and 4 more"):
        parse(b"symbol|name|" + many)


@pytest.mark.parametrize(
    ("body", "rows"), [(b"", 0), (b"\n", 0), (b"h", 0), (b"h\n", 0), (b"h\na", 1), (b"h\n\n", 1)]
)
def test_rows_are_counted_without_the_header_and_with_or_without_a_final_newline(
    body: bytes, rows: int
):
    assert count_data_rows(body) == rows


@pytest.mark.parametrize(
    ("lines", "rest"),
    [
        pytest.param(b"A|B|1", b"", id="a missing newline alone"),
        pytest.param(b"A|B|1\nA|B", b"A|B", id="cut"),
        pytest.param(b"A|B|1\nA|B\n", b"", id="short, but ended"),
        pytest.param(b"A|B|1|2", b"", id="long"),
        pytest.param(b"", b"", id="none"),
    ],
)
def test_a_line_is_unfinished_without_its_end_and_all_its_fields(lines: bytes, rest: bytes):
    assert find_unfinished_line(HEADER + b"\n" + lines) == rest
    assert find_unfinished_line(b"\xef\xbb\xbf" + HEADER + b"\n" + lines) == rest
    assert find_unfinished_line((HEADER + b"\n" + lines).decode().encode("utf-16")) == b""


FIELD = st.text(
    st.characters(blacklist_characters="|\n\r\0", blacklist_categories=["Cs"]), max_size=6
)
ROW = st.tuples(FIELD, FIELD, FIELD)
ODD_LINES = {
    "wrong_field_count": b"A|B",
    "not_utf8": b"A|\xff|1",
    "nul_byte": b"A|\0|1",
    "wrong_line_end": b"A|B|1\r",
}


@pytest.mark.slow
@bounded
@given(st.lists(st.lists(ROW, min_size=1, max_size=4), min_size=1, max_size=4), st.data())
def test_pages_of_plain_lines_give_their_fields_in_order_whatever_other_pages_hold(pages, data):
    odd = data.draw(st.dictionaries(st.integers(0, len(pages) - 1), st.sampled_from([*ODD_LINES])))
    parts = []
    for number, rows in enumerate(pages):
        lines = ["|".join(row).encode() for row in rows] + [
            ODD_LINES[code] for place, code in odd.items() if place == number
        ]
        parts.append(Part(number, b"\n".join([HEADER, *lines])))
    parsed = parse_parts(parts, COLUMNS)
    assert parsed.rows.rows() == [
        (number, place, *row)
        for number, rows in enumerate(pages)
        for place, row in enumerate(rows, start=2)
    ]
    assert parsed.rejects.select("part_number", "line_number", "reason_code").rows() == [
        (number, len(pages[number]) + 2, odd[number]) for number in sorted(odd)
    ]


def test_a_line_too_long_beside_one_as_much_too_short_spoils_no_other():
    parsed = parse(HEADER + b"\nA|B|1\nC|D|2|x\nE|3\nF|G|4\n")
    assert parsed.rows["symbol"].to_list() == ["A", "F"]
    assert parsed.rejects["line_number"].to_list() == [3, 4]


def test_pages_whose_columns_stand_in_another_order_are_read_by_their_own_header():
    swapped = Part(2, b"name|symbol|shares\nB|A|1\n")
    parsed = parse_parts([Part(1, HEADER + b"\nA|B|1\n"), swapped], COLUMNS)
    assert parsed.rows.select(COLUMNS).rows() == [("A", "B", "1")] * 2
