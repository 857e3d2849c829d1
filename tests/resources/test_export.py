"""Files of rows: exact in both formats, written batch by batch, whole or not there."""

import io
import re
import signal
import stat
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.errors import ConfigurationError
from orchestration_project.services.export import (
    WRITERS,
    ExportSummary,
    whole_file,
    write_csv,
    write_parquet,
)
from orchestration_project.settings import PROJECT_ROOT, child_environment
from tests.properties import bounded

SCHEMA = {
    "text": pl.String(),
    "whole": pl.Int64(),
    "number": pl.Float64(),
    "day": pl.Date(),
    "moment": pl.Datetime("us", "UTC"),
    "dollars": pl.Decimal(19, 6),
}
texts = st.text(
    st.one_of(st.sampled_from('",\r\n;N\\ é'), st.characters(exclude_categories=["Cs"]))
)
rows = st.tuples(
    st.none() | texts,
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.dates(date(1900, 1, 1), date(2200, 1, 1)),
    st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
    st.none() | st.integers(-(2**63), 2**63 - 1).map(lambda whole: Decimal(whole).scaleb(-6)),
)
FIELD = re.compile(r'(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)')


def frame(some) -> pl.DataFrame:
    return pl.DataFrame(some, SCHEMA, orient="row")


def read_as_rfc_4180(text: str) -> list[list[str | None]]:
    """Read CSV letter by letter: a field that is empty and not quoted is None."""
    lines, line, place = [], [], 0
    while place < len(text):
        field = FIELD.match(text, place)
        assert field, text[place:]
        quoted, bare, end = field.groups()
        line.append(bare or None if quoted is None else quoted.replace('""', '"'))
        if end == "\r\n":
            lines, line = [*lines, line], []
        place = field.end()
    assert line == []
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
    }
    return read[type(kind)](written)


@given(batches=st.lists(st.lists(rows, max_size=4), min_size=1, max_size=3))
@bounded
def test_csv_gives_every_value_back(batches):
    sink = io.BytesIO()
    written = write_csv(map(frame, batches), sink)
    header, *lines = read_as_rfc_4180(sink.getvalue().decode())
    kinds = list(SCHEMA.values())
    assert header == list(SCHEMA)
    assert [tuple(map(value_of, line, kinds)) for line in lines] == [
        each for batch in batches for each in batch
    ]
    assert written == ExportSummary(sum(map(len, batches)), len(sink.getvalue()))


@given(batches=st.lists(st.lists(rows, max_size=4), min_size=1, max_size=3))
@bounded
def test_parquet_gives_every_value_back_with_its_type(batches):
    sink = io.BytesIO()
    written = write_parquet(map(frame, batches), sink)
    found = pl.read_parquet(io.BytesIO(sink.getvalue()))
    assert dict(found.schema) == SCHEMA
    assert found.equals(pl.concat(map(frame, batches)))
    assert written == ExportSummary(sum(map(len, batches)), len(sink.getvalue()))


@pytest.mark.parametrize("form", WRITERS)
def test_a_batch_is_written_before_the_next_one_is_asked_for(form):
    sink, sizes = io.BytesIO(), []

    def batches():
        for number in range(4):
            sizes.append(sink.tell())
            yield frame([("x" * 50, number, None, None, None, None)] * 1000)

    WRITERS[form](batches(), sink)
    assert sizes == sorted(set(sizes))  # grown at each


@pytest.mark.parametrize("form", WRITERS)
def test_a_failure_on_the_way_leaves_no_file_and_keeps_the_one_that_was_there(form, tmp_path):
    def batches():
        yield frame([("x", 1, None, None, None, None)])
        raise ZeroDivisionError

    for name, before in (("new", []), ("old", [b"mine"])):
        file = tmp_path / name
        for content in before:
            file.write_bytes(content)
        with (
            pytest.raises(ZeroDivisionError),
            whole_file(file, replace=True) as sink,
        ):
            WRITERS[form](batches(), sink)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"old": b"mine"}


def test_a_file_is_not_there_before_it_is_whole(tmp_path):
    with whole_file(tmp_path / "x.csv", replace=False) as sink:
        sink.write(b"half")
        assert [file.suffix for file in tmp_path.iterdir()] == [".partial"]
    assert [file.name for file in tmp_path.iterdir()] == ["x.csv"]


DIE_HALFWAY = """
import os, pathlib, signal, sys
from orchestration_project.services.export import whole_file

with whole_file(pathlib.Path(sys.argv[1]), replace=False) as sink:
    sink.write(b"half")
    sink.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_export_into_a_folder_removes_what_a_killed_one_left_and_nothing_else(tmp_path):
    command = [sys.executable, "-c", DIE_HALFWAY, str(tmp_path / "x.csv")]
    killed = subprocess.run(  # noqa: S603 - our own program
        command, env=child_environment(PYTHONPATH=str(PROJECT_ROOT)), check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"half"]
    (tmp_path / ".mine.partial").touch()
    with whole_file(tmp_path / "y.csv", replace=False):
        pass
    assert sorted(file.name for file in tmp_path.iterdir()) == [".mine.partial", "y.csv"]


def test_two_exports_into_a_folder_leave_each_other_alone(tmp_path):
    with whole_file(tmp_path / "x", replace=False) as first:
        first.write(b"1")
        with whole_file(tmp_path / "y", replace=False) as second:
            second.write(b"2")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"x": b"1", "y": b"2"}


def test_who_may_read_an_export_is_what_the_umask_lets(tmp_path):
    (tmp_path / "usual").touch()
    with whole_file(tmp_path / "x", replace=False):
        pass
    found = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert len(found) == 1


def test_a_file_that_another_puts_there_meanwhile_is_not_replaced(tmp_path):
    file = tmp_path / "x.csv"

    def write():
        with whole_file(file, replace=False) as sink:
            sink.write(b"ours")
            file.write_bytes(b"theirs")

    with pytest.raises(ConfigurationError, match="is there already"):
        write()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"x.csv": b"theirs"}


def test_the_file_that_a_link_points_to_is_replaced_and_not_the_link(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to("real")
    with whole_file(link, replace=True) as sink:
        sink.write(b"new")
    assert (link.is_symlink(), (tmp_path / "real").read_bytes()) == (True, b"new")


@pytest.mark.parametrize("place", ["missing/x.csv", "file/x.csv", "folder"])
def test_a_place_that_takes_no_file_is_a_clear_message(tmp_path, place):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(ConfigurationError, match=r"cannot be written|is not a file"),
        whole_file(tmp_path / place, replace=True),
    ):
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
