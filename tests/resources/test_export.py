"""Files of rows: exact in all formats, written batch by batch, whole or not there."""

import io
import json
import math
import re
import signal
import stat
import subprocess
import sys
import tempfile
import tracemalloc
from datetime import UTC, date, datetime, time
from decimal import Decimal
from html.parser import HTMLParser

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from openpyxl import load_workbook
from openpyxl.utils.escape import unescape

from orchestration_project.errors import ConfigurationError
from orchestration_project.services.export import (
    WRITERS,
    XLSX_ROWS,
    ExportSummary,
    open_atomic_file,
    write_arrow,
    write_csv,
    write_html,
    write_markdown,
    write_ndjson,
    write_parquet,
    write_xlsx,
)
from orchestration_project.settings import PROJECT_ROOT, child_environment
from tests.expecting import expect_present
from tests.properties import bounded
from tests.resources.weeks import NOON

SCHEMA = {
    "text": pl.String(),
    "whole": pl.Int64(),
    "number": pl.Float64(),
    "day": pl.Date(),
    "moment": pl.Datetime("us", "UTC"),
    "dollars": pl.Decimal(19, 6),
    "flag": pl.Boolean(),
}
letters = st.one_of(
    st.sampled_from("\",\r\n;N\\ é=+-@\t'|<&*#"),
    st.characters(max_codepoint=0x9F),
    st.characters(exclude_categories=["Cs"]),
)
texts = st.text(letters) | st.builds("{}{}".format, letters, st.just(" first point"))
rows = st.tuples(
    st.none() | texts,
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.dates(date(1900, 1, 1), date(2200, 1, 1)),
    st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
    st.none() | st.integers(-(2**63), 2**63 - 1).map(lambda whole: Decimal(whole).scaleb(-6)),
    st.none() | st.booleans(),
)
some_batches = st.lists(st.lists(rows, max_size=4), min_size=1, max_size=3)
FIELD = re.compile(r'(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)')


def frame(some) -> pl.DataFrame:
    return pl.DataFrame(some, SCHEMA, orient="row")


def read_as_rfc_4180(text: str) -> list[list[str | None]]:
    """Read CSV letter by letter: a field that is empty and not quoted is None."""
    lines, line, place = [], [], 0
    while place < len(text):
        field = expect_present(FIELD.match(text, place))
        quoted, bare, end = field.groups()
        line.append(bare or None if quoted is None else quoted.replace('""', '"'))
        if end == "\r\n":
            lines, line = [*lines, line], []
        place = field.end()
    if line:
        raise ValueError(f"the last line is not ended: {line}")
    return lines


def value_of(written: str | None, kind: pl.DataType) -> object:
    if written is None or kind == pl.String():
        return written
    read = {
        pl.Int64: int,
        pl.Float64: float,
        pl.Date: date.fromisoformat,
        pl.Datetime: datetime.fromisoformat,
        pl.Decimal: Decimal,
        pl.Boolean: {"true": True, "false": False}.__getitem__,
    }
    return read[type(kind)](written)


@given(batches=some_batches)
@bounded
def test_csv_gives_every_value_back(batches):
    sink = io.BytesIO()
    written = write_csv(map(frame, batches), sink)
    header, *lines = read_as_rfc_4180(sink.getvalue().decode())
    kinds = list(SCHEMA.values())
    assert header == list(SCHEMA)
    assert [tuple(map(value_of, line, kinds)) for line in lines] == [
        record for batch in batches for record in batch
    ]
    assert written == ExportSummary(sum(map(len, batches)), len(sink.getvalue()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "read"), [(write_parquet, pl.read_parquet), (write_arrow, pl.read_ipc)]
)
@given(batches=some_batches)
@bounded
def test_typed_formats_give_every_value_back_with_its_type(write, read, batches):
    sink = io.BytesIO()
    written = write(map(frame, batches), sink)
    found = read(io.BytesIO(sink.getvalue()))
    assert dict(found.schema) == SCHEMA
    assert found.equals(pl.concat(map(frame, batches)))
    assert written == ExportSummary(sum(map(len, batches)), len(sink.getvalue()))


@pytest.mark.slow
@given(batches=some_batches)
@bounded
def test_ndjson_gives_every_value_back(batches):
    sink = io.BytesIO()
    written = write_ndjson(map(frame, batches), sink)
    lines = sink.getvalue().decode().split("\n")
    assert lines.pop() == ""
    read = {"day": date.fromisoformat, "moment": datetime.fromisoformat, "dollars": Decimal}
    assert [
        tuple(
            value if value is None else read.get(name, lambda same: same)(value)
            for name, value in json.loads(line).items()
        )
        for line in lines
    ] == [record for batch in batches for record in batch]
    assert written == ExportSummary(sum(map(len, batches)), len(sink.getvalue()))


def test_ndjson_has_null_for_numbers_that_json_does_not_have():
    sink = io.BytesIO()
    write_ndjson([pl.DataFrame({"number": [math.nan, math.inf, 0.1 + 0.2]})], sink)
    assert sink.getvalue().splitlines() == [
        *[b'{"number":null}'] * 2,
        b'{"number":0.30000000000000004}',
    ]


@pytest.mark.parametrize("form", [form for form in WRITERS if form != "xlsx"])
def test_a_batch_is_written_before_the_next_one_is_asked_for(form):
    sink, sizes = io.BytesIO(), []

    def batches():
        for number in range(4):
            sizes.append(sink.tell())
            yield frame([("x" * 50, number, None, None, None, None, None)] * 1000)

    WRITERS[form](batches(), sink)
    assert sizes == sorted(set(sizes))  # grown at each


def peak_of_workbook(batch_count: int) -> int:
    """Return the bytes of Python's memory at most in use while so many batches are written."""
    batches = (
        frame([("x" * 50, n, 0.5, None, NOON, None, None)] * 500) for n in range(batch_count)
    )
    tracemalloc.start()
    try:
        write_xlsx(batches, io.BytesIO())
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_rows_of_a_workbook_are_not_kept_in_memory():
    peak_of_workbook(1)  # imports
    few, many = peak_of_workbook(2), peak_of_workbook(12)
    assert many < few * 1.3


def check_size_and_read_sheet(*some, **columns) -> list[tuple[object, ...]]:
    """Return the cells of the workbook that rows, or columns, become."""
    sink = io.BytesIO()
    written = write_xlsx([pl.DataFrame(columns) if columns else frame(some)], sink)
    assert written.byte_count == len(sink.getvalue())
    [found] = load_workbook(sink).worksheets
    return list(found.iter_rows(values_only=True))


def test_a_workbook_has_cells_of_each_type_and_text_where_a_cell_would_round():
    most, monday = 10**15 - 1, datetime(2026, 2, 2)  # noqa: DTZ001 - a cell has no zone
    rows = [
        ("a", most, 0.1, date(2026, 2, 2), NOON, Decimal("123456789.123456"), True),
        ("b", -most - 1, math.inf, date(1900, 2, 28), None, Decimal("1234567890.123456"), None),
        (None, None, None, None, None, None, None),
        ("c", 2**63 - 1, -2.5, date(9999, 12, 31), None, Decimal("-0.000001"), False),
    ]
    assert check_size_and_read_sheet(*rows) == [
        tuple(SCHEMA),
        (
            "a",
            most,
            0.1,
            monday,
            "2026-01-05T12:00:00.123456Z",
            123456789.123456,
            True,
        ),
        ("b", str(-most - 1), "inf", "1900-02-28", None, "1234567890.123456", None),
        (None,) * 7,
        ("c", str(2**63 - 1), -2.5, datetime(9999, 12, 31), None, -0.000001, False),  # noqa: DTZ001 - the same
    ]
    assert check_size_and_read_sheet(flag=[True, None, False]) == [
        ("flag",),
        (True,),
        (None,),
        (False,),
    ]


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@x", "\t=1", "{=1}", "https://x.example/", "12", " a ", "_x0041_"]
)
def test_a_text_in_a_workbook_stays_the_text_that_it_is(text):
    sink = io.BytesIO()
    write_xlsx([pl.DataFrame({"text": [text]})], sink)
    cell = load_workbook(sink).worksheets[0]["A2"]
    assert (unescape(cell.value), cell.data_type, cell.hyperlink) == (text, "s", None)
    assert cell.quotePrefix == (text[0] in "=+-@")


@pytest.mark.slow
@given(batches=some_batches)
@bounded
def test_a_workbook_gives_every_value_back_with_doubles_in_16_digits(batches):
    sink = io.BytesIO()
    write_xlsx(map(frame, batches), sink)
    _, *lines = load_workbook(sink).worksheets[0].iter_rows(values_only=True)
    lines += [(None,) * len(SCHEMA)] * (sum(map(len, batches)) - len(lines))  # rows without a value
    assert len(lines) == sum(map(len, batches))
    for line, row in zip(lines, (record for batch in batches for record in batch), strict=True):
        cells = [unescape(cell) if isinstance(cell, str) else cell for cell in line]
        assert cells == [*map(cell_of, row)] or cells == [row[0] or None, *map(cell_of, row[1:])]


def cell_of(value: object) -> object:
    """Return what the cell of a value has."""
    match value:
        case bool() | None:
            return value
        case int() if abs(value) >= 10**15:
            return str(value)
        case Decimal() if abs(value) >= 10**9:
            return f"{value:.6f}"
        case float() | Decimal():
            return float(f"{float(value):.16g}")
        case datetime():
            return f"{value:%Y-%m-%dT%H:%M:%S.%fZ}"
        case date():
            return str(value) if value < date(1900, 3, 1) else datetime.combine(value, time())
        case _:
            return value


def test_a_workbook_with_more_rows_than_a_sheet_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "temporary").mkdir()
    wide = pl.select(pl.int_range(XLSX_ROWS, dtype=pl.Int64).alias("number"))
    file = tmp_path / "x.xlsx"
    with (
        pytest.raises(ConfigurationError, match="at most 1,048,575 rows below its header"),
        open_atomic_file(file, replace=False) as sink,
    ):
        write_xlsx([wide.head(1), wide.tail(-1)], sink)
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]


def test_a_text_that_no_cell_holds_is_refused():
    assert check_size_and_read_sheet(text=["x" * 32_767])[1] == ("x" * 32_767,)
    with pytest.raises(ConfigurationError, match="row 1 has a text of 32,768 characters"):
        check_size_and_read_sheet(text=["x" * 32_768])


class Table(HTMLParser):
    """The cells of a page's table."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows, self._cell = list[list[str]](), None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
            self._cell = tag

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._cell = None


@pytest.mark.slow
@given(batches=some_batches)
@bounded
def test_a_page_shows_what_a_csv_has(batches):
    sink, csv = io.BytesIO(), io.BytesIO()
    written = write_html(map(frame, batches), sink)
    write_csv(map(frame, batches), csv)
    assert Table(sink.getvalue().decode()).rows == [
        [cell or "" for cell in line] for line in read_as_rfc_4180(csv.getvalue().decode())
    ]
    assert written == ExportSummary(sum(map(len, batches)), len(sink.getvalue()))


@pytest.mark.slow
@given(batches=some_batches)
@bounded
def test_a_table_in_markdown_shows_what_a_csv_has_without_blanks_around_texts(batches):
    sink, csv = io.BytesIO(), io.BytesIO()
    write_markdown(map(frame, batches), sink)
    write_csv(map(frame, batches), csv)
    page = MarkdownIt("commonmark").enable("table").render(sink.getvalue().decode())
    assert [[one_line(cell) for cell in line] for line in Table(page).rows] == [
        [one_line(cell or "").replace("\0", REPLACED) for cell in line]
        for line in read_as_rfc_4180(csv.getvalue().decode())
    ]


REPLACED = "\ufffd"
"""Character that CommonMark has renderers show in place of NUL, for security."""


def one_line(text: str) -> str:
    """Return a text without its line breaks, and without blanks around it."""
    return re.sub(r"\r\n|[\r\n]", "", text).strip()


def test_a_table_in_markdown_has_a_line_for_each_row_and_no_markup_of_texts():
    sink = io.BytesIO()
    text = "a|b\\ *c* _d_ `e` [f](g)\r\n<script>&\n"
    one = (text, -1, 0.5, date(2026, 2, 2), NOON, Decimal("-1.5"), None)
    write_markdown([frame([one]), frame([])], sink)
    assert sink.getvalue().decode().splitlines() == [
        "| text | whole | number | day | moment | dollars | flag |",
        "| --- | ---: | ---: | --- | --- | ---: | --- |",
        r"| a\|b\\ \*c\* \_d\_ \`e\` \[f\](g)<br>&lt;script&gt;&amp;<br> | -1 | 0.5 | 2026-02-02 "
        "| 2026-01-05T12:00:00.123456Z | -1.500000 |  |",
    ]


@pytest.mark.parametrize("form", WRITERS)
def test_a_failure_on_the_way_leaves_no_file_and_keeps_the_one_that_was_there(form, tmp_path):
    def batches():
        yield frame([("x", 1, None, None, None, None, None)])
        raise ZeroDivisionError

    for name, before in (("new", []), ("old", [b"mine"])):
        file = tmp_path / name
        for content in before:
            file.write_bytes(content)
        with (
            pytest.raises(ZeroDivisionError),
            open_atomic_file(file, replace=True) as sink,
        ):
            WRITERS[form](batches(), sink)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"old": b"mine"}


def test_a_file_is_not_there_before_it_is_whole(tmp_path):
    with open_atomic_file(tmp_path / "x.csv", replace=False) as sink:
        sink.write(b"half")
        assert [file.suffix for file in tmp_path.iterdir()] == [".partial"]
    assert [file.name for file in tmp_path.iterdir()] == ["x.csv"]


DIE_HALFWAY = """
import os, pathlib, signal, sys
from orchestration_project.services.export import open_atomic_file

with open_atomic_file(pathlib.Path(sys.argv[1]), replace=False) as sink:
    sink.write(b"half")
    sink.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_the_next_export_into_a_folder_removes_what_a_killed_one_left_and_nothing_else(tmp_path):
    command = [sys.executable, "-c", DIE_HALFWAY, str(tmp_path / "x.csv")]
    killed = subprocess.run(  # noqa: S603 - our own program
        command, env=child_environment(PYTHONPATH=str(PROJECT_ROOT)), check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"half"]
    (tmp_path / ".mine.partial").touch()
    with open_atomic_file(tmp_path / "y.csv", replace=False):
        pass
    assert sorted(file.name for file in tmp_path.iterdir()) == [".mine.partial", "y.csv"]


def test_two_exports_into_a_folder_leave_each_other_alone(tmp_path):
    with open_atomic_file(tmp_path / "x", replace=False) as first:
        first.write(b"1")
        with open_atomic_file(tmp_path / "y", replace=False) as second:
            second.write(b"2")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"x": b"1", "y": b"2"}


def test_who_may_read_an_export_is_what_the_umask_lets(tmp_path):
    (tmp_path / "usual").touch()
    with open_atomic_file(tmp_path / "x", replace=False):
        pass
    found = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert len(found) == 1


def test_a_file_that_another_puts_there_meanwhile_is_not_replaced(tmp_path):
    file = tmp_path / "x.csv"

    def write():
        with open_atomic_file(file, replace=False) as sink:
            sink.write(b"ours")
            file.write_bytes(b"theirs")

    with pytest.raises(ConfigurationError, match="is there already"):
        write()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"x.csv": b"theirs"}


def test_the_file_that_a_link_points_to_is_replaced_and_not_the_link(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to("real")
    with open_atomic_file(link, replace=True) as sink:
        sink.write(b"new")
    assert (link.is_symlink(), (tmp_path / "real").read_bytes()) == (True, b"new")


@pytest.mark.parametrize("place", ["missing/x.csv", "file/x.csv", "folder"])
def test_a_place_that_takes_no_file_is_a_clear_message(tmp_path, place):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(ConfigurationError, match=r"cannot be written|is not a file"),
        open_atomic_file(tmp_path / place, replace=True),
    ):
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
