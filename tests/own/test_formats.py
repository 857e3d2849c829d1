"""Further shapes of answers, read by a declaration alone; damaged ones are refused."""

import csv
import gzip
import io
import tracemalloc
import zipfile
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pytest
from pyarrow import parquet

from orchestration_project import Field, decimal, file_source, http_source
from orchestration_project.engine.own.formats import compressed
from orchestration_project.engine.own.reading import Reading
from orchestration_project.engine.own.records import build_counter, read_records
from orchestration_project.errors import ConfigurationError, SourceError
from tests.expecting import expect_present
from tests.own.declared import dataset, read, rejects, rows

URL = "http://127.0.0.1/{partition}"
PRICE = Field("price", decimal(12, 4), "euros")
TRADES = Field("trades", int, "count", optional=True)
DAY = date(2026, 1, 5)


def declared(*fields, **reading):
    """Return a dataset with price and trades beside its name, read as the arguments say."""
    return dataset(
        *(fields or (PRICE, TRADES)),
        source=http_source(URL, **reading),
        max_reject_ratio=1,
    )


def counted(made, body):
    """Return the records and bytes that are counted apart from the parser."""
    counter = expect_present(build_counter(made.source.reading))
    return counter(body)


def zipped(members, method=zipfile.ZIP_DEFLATED):
    """Return a zip of files by name."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return body.getvalue()


def workbook(*sheets):
    """Return a workbook of sheets with their rows; a pair is a formula and its stored value."""
    import xlsxwriter

    body = io.BytesIO()
    with xlsxwriter.Workbook(body, {"in_memory": True}) as book:
        forms = {
            date: book.add_format({"num_format": "yyyy-mm-dd"}),
            datetime: book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
            time: book.add_format({"num_format": "hh:mm"}),
        }
        for name, lines in sheets:
            sheet = book.add_worksheet(name)
            for number, line in enumerate(lines):
                for column, value in enumerate(line):
                    if isinstance(value, tuple):
                        sheet.write_formula(number, column, value[0], None, value[1])
                    else:
                        sheet.write(number, column, value, forms.get(type(value)))
    return body.getvalue()


def parquet_of(**columns):
    """Return a Parquet file of columns."""
    body = io.BytesIO()
    parquet.write_table(pa.table(columns), body)
    return body.getvalue()


XML = b"""<?xml version="1.0"?>
<m:Envelope xmlns:m="urn:m" xmlns="urn:d"><Sender>x</Sender>
<Prices time="2026-01-05">
  <!-- <Price id="no"/> -->
  <Price id="1>"><name>AAA</name><Amount unit="EUR">1.5</Amount><Trades>7</Trades></Price>
  <Price id='2"'><name>B &amp; <![CDATA[<B>]]></name><Amount unit="EUR">2</Amount></Price>
</Prices></m:Envelope>"""

HTML = b"""<!doctype html><title>x</title>
<h2>Other</h2><table><tr><th>name<th>price</tr><tr><td>no<td>1</tr></table>
<h2>Prices of the <em>day</em></h2>
<table><thead><tr><th>name</th><th>price</th><th>trades</th></tr></thead>
<tbody><tr><td rowspan=2>AAA &amp;<br>more</td><td> 1.234,5 </td><td>7
<tr><td>2<sup>1</sup></td><td><table><tr><td>8</td></tr></table></td></tr>
<tr><td>BBB</td><td>0,5</td><td></td></tr></tbody></table>"""

FIXED = "HEADER 20260105\nAAA       000150      7\r\nBBB  \xe9    00200  \x20     \r\n\r\n"

SHAPES = {
    "CSV with decimal commas in Latin-1 below two lines of title": (
        {
            "format": "csv",
            "delimiter": ";",
            "decimal_comma": True,
            "encoding": "latin-1",
            "skip": 2,
        },
        'Börse; "\n\nname;price;trades\nCafé;1.234,5;7\n"B\nB";0,25;\n'.encode("latin-1"),
        [("Café", "1234.5", 7), ("B\nB", "0.25", None)],
    ),
    "CSV without a header, in single quotes over two lines": (
        {"format": "csv", "columns": ["name", "price", "trades"], "quote": "'"},
        b"'Ann, \"B\nC',1.5,2\nDan,2,\n",
        [('Ann, "B\nC', "1.5", 2), ("Dan", "2", None)],
    ),
    "lines of tabs whose quotes are characters": (
        {"format": "csv", "delimiter": "\t", "quote": "", "skip": 1},
        b'"a title\nname\tprice\ttrades\n"Ann\t1\t2\nD"an\t2\t3',
        [('"Ann', "1", 2), ('D"an', "2", 3)],
    ),
    "nested JSON": (
        {"format": "json", "records": "data.items"},
        b'{"data": {"n": [1, {"items": [1]}], "items": [{"name": "A", "price": 1.10, "x": ["]"]},'
        b' {"name": "B,", "price": "2", "trades": 1e2}]}, "items": []}',
        [("A", "1.10", None), ("B,", "2", 100)],
    ),
    "NDJSON in gzip": (
        {"format": "ndjson"},
        gzip.compress(b'{"name": "A", "price": 1}\n')
        + gzip.compress(b'\n{"name": "B", "price": 2}'),
        [("A", "1", None), ("B", "2", None)],
    ),
    "CSV among others in a zip": (
        {"format": "csv", "member": "*.csv"},
        zipped({"read me.txt": b"x", "d/": b"", "d/p.csv": b"name,price,trades\nA,1,2\n"}),
        [("A", "1", 2)],
    ),
    "fixed width in a zip": (
        {
            "format": "fixed_width",
            "positions": {"name": (1, 7), "price": (11, 16), "trades": (17, 23)},
            "encoding": "cp1252",
            "skip": 1,
        },
        zipped({"p.txt": FIXED.encode("cp1252")}),
        [("AAA", "150", 7), ("BBB  é", "200", None)],
    ),
    "a table of HTML by its heading": (
        {"format": "html", "table": "Prices of the day", "decimal_comma": True},
        HTML,
        [("AAA & more", "1234.5", 7), ("AAA & more", "21", 8), ("BBB", "0.5", None)],
    ),
    "a table of HTML by number": (
        {"format": "html", "table": 2, "decimal_comma": True},
        HTML,
        [("AAA & more", "1234.5", 7), ("AAA & more", "21", 8), ("BBB", "0.5", None)],
    ),
    "a workbook with days and formulas": (
        {"format": "xlsx", "sheet": "Prices", "skip": 1},
        workbook(
            ("Notes", [["name", "price"], ["no", 1]]),
            (
                "Prices",
                [
                    ["Title"],
                    ["name", "price", "trades", "note", "", 5],
                    ["AAA", ("=1.1", 1.1), 7, ("=1/0", "#DIV/0!"), "y"],
                    [],
                    [12345678901, 100000, None, None],
                    ["", None, None, None, None, 1.5],
                ],
            ),
        ),
        [("AAA", "1.1", 7), ("12345678901", "100000", None)],
    ),
    "Parquet": (
        {"format": "parquet"},
        parquet_of(
            name=pa.array(["A", "B"]).dictionary_encode(),
            price=pa.array([Decimal("1.5000"), Decimal("12345678.0001")], pa.decimal128(18, 4)),
            trades=pa.array([7, None], pa.uint32()),
        ),
        [("A", "1.5", 7), ("B", "12345678.0001", None)],
    ),
}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("shape", SHAPES)
def test_a_further_shape_is_read_and_counted_by_its_declaration_alone(shape):
    reading, body, expected = SHAPES[shape]
    made = declared(**reading)
    found = {(row["name"], row["price"], row["trades"]) for row in rows(made, body)}
    assert found == {(name, Decimal(price), trades) for name, price, trades in expected}
    assert counted(made, body) == (len(expected) + len(rejects(made, body)), len(body))


def test_a_line_of_a_csv_without_a_header_has_its_number():
    made = declared(format="csv", columns=["name", "price", "trades"], skip=1)
    found = read(made, b"title\nA,1,2,3\nB,x,4\nC,1,2\n").rejects
    assert found.select("line_number", "reason_code", "record").rows() == [
        (2, "wrong_field_count", "A,1,2,3"),
        (3, "not_an_amount", "B,x,4"),
    ]


def test_a_row_of_a_workbook_without_its_key_is_a_reject():
    reading, body, _ = SHAPES["a workbook with days and formulas"]
    assert [code for code, _ in rejects(declared(**reading), body)] == ["missing_value"]


def test_xml_has_fields_in_attributes_children_and_the_elements_around():
    made = dataset(
        Field("day", date, "x", source="../@time"),
        Field("code", str, "x", source="@id"),
        Field("price", decimal(8, 2), "x", source="Amount"),
        Field("unit", str, "x", source="Amount/@unit"),
        Field("trades", int, "x", source="Trades", optional=True),
        source=http_source(URL, format="xml", records="Envelope/Prices/Price"),
    )
    found = [tuple(row.values()) for row in rows(made, XML)]
    assert found == [
        (DAY, "AAA", "1>", Decimal("1.5"), "EUR", 7),
        (DAY, "B & <B>", '2"', Decimal("2"), "EUR", None),
    ]
    for body in (XML, XML.decode().replace('?xml version="1.0"?', "?x?").encode("utf-16")):
        assert counted(made, body) == (2, len(body))
        assert len(rows(made, body)) == 2


def test_types_of_parquet_are_read_exactly():
    moment = datetime(2026, 1, 5, 9, 30, 0, 123456, UTC)
    body = parquet_of(
        name=pa.array(["A"]),
        seen=pa.array([moment], pa.timestamp("ns", "Europe/Berlin")),
        day_of=pa.array([datetime(2026, 1, 5)], pa.timestamp("us")),  # noqa: DTZ001 - pandas has days so
        small=pa.array([0.1], pa.float32()),
        tiny=pa.array([1e-5], pa.float64()),
        is_open=pa.array([True]),
        made=pa.array([DAY], pa.date32()),
        raw=pa.array([{"a": [1, 2.5], "b": None}]),
        seen_local=pa.array([datetime(2026, 1, 5, 9)], pa.timestamp("s")),  # noqa: DTZ001 - without zone
    )
    made = declared(
        Field("seen", datetime, "x"),
        Field("day_of", date, "x"),
        Field("small", decimal(8, 6), "x"),
        Field("tiny", decimal(8, 6), "x"),
        Field("is_open", bool, "x"),
        Field("made", date, "x"),
        Field("raw", "json", "x"),
        Field("seen_local", str, "x"),
        format="parquet",
    )
    row = rows(made, body)[0]
    assert list(row.values())[2:] == [
        moment,
        DAY,
        Decimal("0.1"),
        Decimal("0.00001"),
        True,
        DAY,
        '{"a": [1.0, 2.5], "b": null}',
        "2026-01-05T09:00:00.000",
    ]


def test_cells_of_a_workbook_are_what_they_mean():
    made = declared(
        Field("day_of", date, "x"),
        Field("at", str, "x"),
        Field("hour", str, "x"),
        Field("is_open", bool, "x"),
        Field("tiny", decimal(12, 6), "x"),
        format="xlsx",
    )
    line = ["A", DAY, datetime(2026, 1, 5, 9, 30), time(9, 30), True, 1e-5]  # noqa: DTZ001 - Excel has none
    body = workbook(("S", [["name", "day_of", "at", "hour", "is_open", "tiny"], line]))
    assert list(rows(made, body)[0].values())[1:] == [
        "A",
        DAY,
        "2026-01-05T09:30:00",
        "09:30:00",
        True,
        Decimal("0.00001"),
    ]


REJECTED = {
    "a line that ends within its fields": (
        {"format": "fixed_width", "positions": {"name": (1, 3), "price": (4, 6), "trades": (7, 9)}},
        b"AAA  1  2\nBBB  1\n",
        ("short_line", "the line has 6 characters, the positions end at 9"),
    ),
    "an element that occurs twice": (
        {"format": "xml", "records": "a/b"},
        b"<a><b><name>A</name><price>1</price><price>2</price></b></a>",
        ("repeated_element", "price occurs 2 times"),
    ),
    "an element with elements within": (
        {"format": "xml", "records": "a/b"},
        b"<a><b><name>A</name><price><x>1</x></price></b></a>",
        ("not_a_text", "price has elements within"),
    ),
    "a row of HTML with a cell too few": (
        {"format": "html"},
        b"<table><tr><th>name<th>price<th>trades<tr><td>A<td>1</table>",
        ("wrong_field_count", "the line has 2 fields, the header has 3"),
    ),
    "a row of HTML over all columns": (
        {"format": "html"},
        b"<table><tr><th>name<th>price<th>trades<tr><td colspan=3>1</table>",
        ("spanning_cell", "a cell covers several columns"),
    ),
    "a second header of HTML": (
        {"format": "html"},
        b"<table><tr><th>name<th>price<th>trades<tr><th>1<th>2<th>3</table>",
        ("header_row", "the row has headers alone"),
    ),
    "a cell with an error": (
        {"format": "xlsx"},
        workbook(("S", [["name", "price", "trades"], ["A", ("=1/0", "#DIV/0!"), 1]])),
        ("error_cell", "column 2 has #DIV/0!"),
    ),
    "a formula that was never calculated": (
        {"format": "xlsx"},
        workbook(("S", [["name", "price", "trades"], ["A", 1, ("=1+1", "")]])),
        ("no_value", "column 3 has a formula without its value"),
    ),
}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("case", REJECTED)
def test_a_record_that_is_not_understood_is_a_reject_and_not_an_absence(case):
    reading, body, reject = REJECTED[case]
    made = declared(**reading)
    assert rejects(made, body)[-1] == reject
    assert counted(made, body) == (len(rows(made, body)) + len(rejects(made, body)), len(body))


DOCTYPE = b"""<!DOCTYPE a [<!ENTITY x "y">]><a><b><name>&x;</name></b></a>"""
GZIP = gzip.compress(b"name,price,trades\nA,1,2\n")
ZIP = zipped({"a.csv": b"name,price,trades\nA,1,2\n"})
PARQUET = parquet_of(name=["A"], price=["1"], trades=[1])
BOOK = workbook(("S", [["name", "price", "trades"], ["A", 1, 2]]))
ENCRYPTED = ZIP.replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01").replace(
    b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"
)
XML_READING = {"format": "xml", "records": "a/b"}

DAMAGED = {
    "a document type": (XML_READING, DOCTYPE, "without a document type"),
    "XML that ends too early": (XML_READING, b"<a><b><name>A</name></b>", "well-formed XML"),
    "XML in an unknown encoding": (
        XML_READING,
        b'<?xml version="1.0" encoding="klingon"?><a/>',
        "well-formed XML",
    ),
    "XML that is nested too deep": (XML_READING, b"<a>" * 999 + b"</a>" * 999, "at most 200"),
    "another root": (XML_READING, b"<c><b/></c>", "records at a/b"),
    "records of another name": (XML_READING, b"<a><c/></a>", "records at a/b"),
    "a cut gzip": ({"format": "csv"}, GZIP[:-5], "a whole gzip"),
    "bytes after a gzip": ({"format": "csv"}, GZIP + b"more", "a whole gzip"),
    "a gzip with another checksum": ({"format": "csv"}, GZIP[:-8] + bytes(8), "a whole gzip"),
    "a cut zip": ({"format": "csv"}, ZIP[:-30], "a whole zip"),
    "a zip with other bytes": (
        {"format": "csv"},
        zipped({"a.csv": b"name"}, zipfile.ZIP_STORED).replace(b"name", b"game", 1),
        "a whole gzip or zip",
    ),
    "an encrypted zip": ({"format": "csv"}, ENCRYPTED, "a.csv in the zip"),
    "two files in a zip": (
        {"format": "csv"},
        zipped({"a.csv": b"", "b.csv": b""}),
        "a zip with one file",
    ),
    "a zip with a file without a name": (
        {"format": "csv"},
        zipped({"xy": b"", "a.csv": b"name"}).replace(b"xy", b"\0y"),
        "a zip with one file",
    ),
    "a line of NDJSON with a control character": ({"format": "ndjson"}, b"\x1f", "JSON"),
    "a zip without the file": (
        {"format": "csv", "member": "b.csv"},
        ZIP,
        "a zip with one file b.csv",
    ),
    "no zip": ({"format": "csv", "member": "b.csv"}, b"name", "a zip with b.csv"),
    "an empty zip": ({"format": "csv"}, zipped({}), "a zip with one file"),
    "no workbook": ({"format": "xlsx"}, b"name", "a workbook of XLSX"),
    "a zip without a workbook": ({"format": "xlsx"}, zipped({"a": ZIP}), "a workbook of XLSX"),
    "a cut workbook": ({"format": "xlsx"}, BOOK[:-30], "a whole zip"),
    "a workbook of several sheets": (
        {"format": "xlsx"},
        workbook(("S", []), ("T", [])),
        "one sheet, or its name",
    ),
    "a workbook without the sheet": ({"format": "xlsx", "sheet": "T"}, BOOK, "the sheet T"),
    "a sheet without the header": (
        {"format": "xlsx", "skip": 1},
        BOOK,
        "a header with name, price, trades once",
    ),
    "a cut Parquet file": ({"format": "parquet"}, PARQUET[:-9], "a whole Parquet file"),
    "a Parquet file with other pages": (
        {"format": "parquet"},
        PARQUET[:4] + bytes(60) + PARQUET[64:],
        "a whole Parquet file",
    ),
    "Parquet without the column": (
        {"format": "parquet"},
        parquet_of(name=["A"], price=["1"]),
        "columns with trades once",
    ),
    "bytes in a column of Parquet": (
        {"format": "parquet"},
        parquet_of(name=[b"\xff"], price=["1"], trades=[1]),
        "a whole Parquet file",
    ),
    "HTML without the table": ({"format": "html", "table": "Prices"}, HTML, "one table Prices"),
    "HTML without a table": ({"format": "html"}, b"<p>name", "one table 1"),
    "HTML in another encoding": ({"format": "html"}, b"<p>\xff", "text in UTF-8"),
    "fixed width in another encoding": (
        {"format": "fixed_width", "positions": {"name": (1, 2), "price": (3, 4), "trades": (5, 6)}},
        b"\xff",
        "text in UTF-8",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_document_is_a_failure_that_says_what_was_expected(case):
    reading, body, expected = DAMAGED[case]
    with pytest.raises(SourceError, match="document cannot be read") as raised:
        read(declared(**reading), body)
    assert expected in raised.value.expected


@pytest.mark.slow_after_first
@pytest.mark.parametrize("shape", [*SHAPES, "XML"])
def test_a_document_that_is_cut_anywhere_never_ends_otherwise(shape):
    """It is refused, or the count of its records, or their rows, show the loss."""
    xml = (XML_READING, b"<a><b><name>A</name></b></a>", [()])
    reading, body, expected = SHAPES.get(shape, xml)
    made = declared(**reading)
    for length in {*range(0, len(body), max(len(body) // 40, 1)), len(body) - 1}:
        try:
            found = read(made, body[:length])
        except SourceError:
            continue
        record_count, _ = counted(made, body[:length])
        assert record_count == found.rows.height + len(rejects(made, body[:length]))
        assert found.rows.height <= len(expected)


@pytest.mark.slow
def test_bombs_are_bounded():
    zeros = bytes(50_000_000)
    laughs = "".join(
        f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' if n else '<!ENTITY l0 "ha">' for n in range(12)
    )
    bombs = [
        ({"format": "csv"}, gzip.compress(zeros)),
        ({"format": "csv"}, zipped({"a.csv": zeros})),
        ({"format": "xlsx"}, zipped({compressed.WORKBOOK: b"", "xl/workbook.xml": zeros})),
        (XML_READING, f"<!DOCTYPE a [{laughs}]><a>&l11;</a>".encode()),
        ({"format": "html"}, b"<table>" + b"<tr><td rowspan=65534 colspan=1000>" * 400),
    ]
    del zeros
    for reading, body in bombs:
        tracemalloc.start()
        with pytest.raises(SourceError):
            read(declared(**reading, max_bytes=1_000_000), body)
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
        tracemalloc.stop()


def test_options_belong_to_formats_and_have_their_values():
    wrong = {
        "a format with sheet": {"format": "csv", "sheet": "S"},
        "csv, fixed_width, html": {"format": "json", "encoding": "cp1252"},
        "names of elements": {"format": "xml"},
        "those of each field": {"format": "fixed_width"},
        "first and last": {"format": "fixed_width", "positions": {"name": (0, 3)}},
        "encoding of text": {"format": "csv", "encoding": "rot13"},
        "one character of ASCII, or none": {"format": "csv", "quote": ","},
        "a header with the names": {"format": "csv", "columns": ["a"], "unpivot": ["a", "b"]},
        "0 or more": {"format": "csv", "skip": -1},
        "a number from 1": {"format": "html", "table": 0},
        "format, records": {"format": "csv", "delimeter": ";"},
    }
    for expected, reading in wrong.items():
        with pytest.raises(ConfigurationError) as raised:
            file_source("in/{partition}", **reading)
        assert expected in raised.value.expected
    positions = {"name": (1, 3), "price": (4, 6)}
    with pytest.raises(ConfigurationError, match="invalid positions"):
        declared(format="fixed_width", positions=positions)


def test_a_subject_is_refused_where_its_records_cannot_be_cut_out():
    field = Field("mail", str, "x", subject="person")
    for reading in (
        {"format": "parquet"},
        {"format": "csv", "encoding": "cp1252"},
        {"format": "csv", "names": {"mail": "Mail"}},
        {"format": "csv", "columns": ["name", "mail"]},
        {"format": "csv", "extract": {"mail": ("name", "(.*)")}},
    ):
        with pytest.raises(ConfigurationError, match="invalid subject"):
            declared(field, **reading)
    with pytest.raises(SourceError) as raised:
        read(declared(field, format="csv"), gzip.compress(b"name,mail\nA,a@b\n"))
    assert raised.value.found == "gzip or zip"


def test_a_midnight_is_a_day_in_a_field_of_days_alone():
    made = declared(Field("at", str, "x"), Field("day_of", date, "x"), format="json")
    body = b'{"name": "A", "at": "2026-01-05T00:00:00", "day_of": "2026-01-05T00:00:00"}'
    assert list(rows(made, body)[0].values())[2:] == ["2026-01-05T00:00:00", DAY]


def test_a_long_field_leaves_the_limit_of_other_readers_as_it_is():
    limit = csv.field_size_limit()
    records = read_records(
        b"name,note\n" + b"".join(b"a,%s\n" % (b"x" * 200_000) for _ in range(2)),
        Reading(format="csv"),
        ["name"],
    )
    assert next(records).texts is not None
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("form", "body", "found", "reason"),
    [
        (
            "json",
            b'[{"name": "A", "v": "t"}, {"name": "B", "v": {"x": [1.50, "y", null]}},'
            b' {"name": "C", "v": null}, {"name": "D", "v": false}]',
            ['"t"', '{"x": [1.50, "y", null]}', None, "false"],
            [],
        ),
        (
            "csv",
            b'name,v\nA,"{""x"": 1}"\nB,5\nC,\nD,t\nE,NaN\n',
            ['{"x": 1}', "5", None],
            [("not_json", "v is not JSON: t"), ("not_json", "v is not JSON: NaN")],
        ),
    ],
)
def test_a_field_of_json_has_json_alone(form, body, found, reason):
    made = declared(Field("v", "json", "any", optional=True), format=form)
    assert [row["v"] for row in rows(made, body)] == found
    assert rejects(made, body) == reason
