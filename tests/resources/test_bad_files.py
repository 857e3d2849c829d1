"""Files that are not as they should be: what is said of each, and what is kept of it."""

import gzip
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from orchestration_project.domains.finra.contract import FILE_FIELDS
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.files import MAX_FILE_BYTES
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.files import FinraFiles
from orchestration_project.tables.spine import captures, rejects
from tests.bad_input import BYTES, EVERY_ROW, NOTHING, REJECTS, error_or_outcome, promise, watched
from tests.prepared import Prepared
from tests.resources.weeks import PartitionLoader, StoppedClock, WeekLoader, from_source, week_load

NAME, KEY = "finra_otc_weekly_otc_20251215.csv", "OTCE|2025-11-10"
LINES = [f"OTC|S{n:03}|Name, {n} (C)  #1|LINK ECN|OTCN|7|1|2025-12-15" for n in range(300)]
FIRST_NEW = LINES[0].replace("|7|", "|8|")
ROWS = [line.split("|") for line in ["|".join(FILE_FIELDS), FIRST_NEW, *LINES[1:]]]
GOOD = "\n".join(["|".join(FILE_FIELDS), *LINES]).encode()
NEW = GOOD.replace(LINES[0].encode(), FIRST_NEW.encode())
"""The file's next version, in which one quantity is another."""

LAST = LINES[-1].encode()


def body(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / NAME).write_bytes(content)


def last_line(line: bytes) -> Callable[[Path], object]:
    return body(NEW.replace(LAST, line) + b"\n")


def columns(*order: int, delimiter: str = "|", quote: str = "") -> bytes:
    return "\n".join(
        delimiter.join(f"{quote}{[*row, 'extra'][place]}{quote}" for place in order) for row in ROWS
    ).encode()


def naming(column: str, value: str) -> Callable[[Path], object]:
    """Write a file with a column in which all rows name what they belong to."""
    return body(
        columns(*range(9))
        .replace(b"extra", value.encode())
        .replace(value.encode(), column.encode(), 1)
    )


def linked_to(target: str, *, within: bool = False) -> Callable[[Path], object]:
    def link(folder: Path) -> None:
        (folder / NAME).unlink()
        (folder / NAME).symlink_to(target)
        (folder / "real.txt" if within else folder.parent / "secret").write_bytes(NEW)

    return link


def special(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def instead(folder: Path) -> None:
        (folder / NAME).unlink()
        make(folder / NAME)

    return instead


def too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # takes no space


def two_for_one_week(folder: Path) -> None:
    (folder / "again.csv").write_bytes(NEW)
    text = "file,tier,week_start,market\nagain.csv,OTCE,2025-11-10,ATS\n"
    (folder / "manifest.csv").write_text(text)


def one_for_both_markets(folder: Path) -> None:
    for name in (NAME, "again.csv"):
        (folder / name).write_bytes(NEW)
    text = "file,tier,week_start,market\nagain.csv,OTCE,2025-11-10,NON_ATS\n"
    (folder / "manifest.csv").write_text(text)


CASES: dict[str, Callable[[Path], object]] = {
    "windows_line_ends": body(NEW.replace(b"\n", b"\r\n")),
    "a_line_end_of_another_kind": last_line(LAST + b"\r"),
    "carriage_returns_alone": body(NEW.replace(b"\n", b"\r")),
    "byte_order_mark": body(b"\xef\xbb\xbf" + NEW),
    "utf_16": body(NEW.decode().encode("utf-16")),
    "windows_1252": last_line(LAST.replace(b"Name", b"Na\xefve")),
    "non_ascii": last_line(LAST.replace(b"Name", "Añejo".encode())),
    "nul_byte": last_line(LAST.replace(b"Name", b"Na\0me")),
    "no_final_newline": body(NEW),
    "cut_within_a_line": body(NEW[:-30]),
    "quoted": body(columns(*range(8), quote='"')),
    "quotes_that_do_not_pair": body(columns(*range(8), quote='"').replace(b'"S299"', b'"S299')),
    "comma_separated": body(columns(*range(8), delimiter=",", quote='"')),
    "semicolon_separated": body(columns(*range(8), delimiter=";")),
    "tab_separated": body(columns(*range(8), delimiter="\t")),
    "reordered_columns": body(columns(*reversed(range(8)))),
    "blanks_around_fields": body(
        NEW.split(b"\n", 1)[0] + b"\n" + NEW.split(b"\n", 1)[1].replace(b"|", " |\u00a0".encode())
    ),
    "extra_column": body(columns(8, *range(8)).replace(b"extra", b"new", 1)),
    "column_in_other_case": body(NEW.replace(b"MPID", b"mpId")),
    "renamed_column": body(NEW.replace(b"MPID", b"venueId")),
    "missing_column": body(columns(*range(7))),
    "a_field_too_many": last_line(LAST + b"|x"),
    "line_of_20_mb": last_line(LAST.replace(b"Name", b"x" * 20_000_000)),
    "nan": last_line(LAST.replace(b"|7|", b"|NaN|")),
    "1e308": last_line(LAST.replace(b"|7|", b"|1e308|")),
    "blank_symbol": last_line(LAST.replace(b"S299", b"")),
    "many_bad_lines": body(NEW.replace(b"|7|", b"|-7|")),
    "more_trades_than_shares": last_line(LAST.replace(b"|7|1|", b"|7|8|")),
    "more_shares_than_the_cap": last_line(LAST.replace(b"|7|1|", b"|100000000001|1|")),
    "update_after_the_download": last_line(LAST.replace(b"2025-12-15", b"2099-12-15")),
    "a_row_twice": body(NEW + b"\n" + LAST),
    "another_tier": last_line(LAST.replace(b"OTC|", b"NMS Tier 1|", 1)),
    "another_week": naming("weekStartDate", "2025-11-03"),
    "another_market": naming("summaryTypeCode", "OTC_W_SMBL_FIRM"),
    "gzip_file": body(gzip.compress(NEW)),
    "web_page": body(b"<!DOCTYPE html>\n<html>\nSession expired\n"),
    "empty_file": body(b""),
    "header_alone": body(GOOD.split(b"\n")[0]),
    "two_files_for_one_week": two_for_one_week,
    "one_file_for_both_markets": one_for_both_markets,
    "a_name_without_a_week": lambda folder: (folder / "week46.csv").write_bytes(NEW),
    "a_name_that_is_no_utf_8": lambda folder: (folder / "week\udcff.csv").write_bytes(NEW),
    "link_within_the_folder": linked_to("real.txt", within=True),
    "link_out_of_the_folder": linked_to("../secret"),
    "dangling_link": linked_to("nowhere"),
    "loop_of_links": linked_to(NAME),
    "named_pipe": special(os.mkfifo),
    "folder_instead_of_a_file": special(Path.mkdir),
    "huge_file": special(too_large),
}


@contextmanager
def opened(below: Path) -> Iterator[tuple[WeekLoader, PartitionLoader, Path]]:
    """Give the load of a folder of files, of which the good one is loaded."""
    folder = below / "files"
    folder.mkdir()
    (folder / NAME).write_bytes(GOOD)
    with Warehouse(f"sqlite:///{below}/x.sqlite", clock=StoppedClock()) as warehouse:
        warehouse.prepare(holds="real")
        store = FolderStore(below / "artifacts")
        files = FinraFiles(folder, Captures(store), StoppedClock())
        load = week_load(files, warehouse, store, below)
        load.write_batch(load.take(KEY))
        yield load, PartitionLoader(warehouse, below / "artifacts", tier="OTCE"), folder


@pytest.fixture
def tables(prepared: Prepared, tmp_path: Path) -> None:
    """Make the database's tables, in less time than migrations take."""
    prepared.sqlite(tmp_path / "x.sqlite")


@pytest.mark.slow_after_first
@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_reported_and_kept_as_documented(case: str, tmp_path: Path):
    with opened(tmp_path) as (load, partition_loader, folder), watched(partition_loader) as kept:
        CASES[case](folder)
        message = error_or_outcome(lambda: load.write_batch(load.take(KEY)))
        message += " ".join(reason for (reason,) in partition_loader.rows(rejects, "reason"))
        promised = promise(case)
        assert (promised.is_seen_in(message), kept()) == (True, promised.kept), message
        if kept() in (EVERY_ROW, REJECTS):
            assert partition_loader.quantities()["S000"] == 8
            assert len(partition_loader.quantities()) + partition_loader.count(rejects) == 300


@pytest.mark.slow
def test_a_link_out_of_the_folder_is_neither_read_nor_quoted(tmp_path: Path):
    with opened(tmp_path) as (load, _, folder):
        CASES["link_out_of_the_folder"](folder)
        (tmp_path / "secret").write_text("PASSWORD=s3cr3t")
        assert "s3cr3t" not in error_or_outcome(lambda: load.take(KEY))
    blobs = [path for path in (tmp_path / "artifacts" / "blobs").rglob("*") if path.is_file()]
    assert len(blobs) == 1  # that of the good file


class Growing(FolderStore):
    """A store at which a file grows by a line whenever something is put: it is being written."""

    def __init__(self, folder: Path, file: Path, times: int) -> None:
        super().__init__(folder)
        self.file, self.times = file, times

    def put(self, name: str, content: bytes | BinaryIO) -> None:
        super().put(name, content)
        if self.times:
            self.times -= 1
            more = LINES[0].replace("S000", f"T{self.times}")
            self.file.write_bytes(self.file.read_bytes() + f"\n{more}".encode())


@pytest.mark.slow_after_first
@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(("times", "read"), [(100, 3), (1, 2)])
def test_a_file_that_grows_while_it_is_read_is_read_again_three_times_at_most(
    times: int, read: int, tmp_path: Path
):
    with opened(tmp_path) as (load, partition_loader, folder), watched(partition_loader) as kept:
        (folder / NAME).write_bytes(NEW)
        store = Growing(tmp_path / "artifacts", folder / NAME, times)
        growing = from_source(load, FinraFiles(folder, Captures(store), StoppedClock()))
        before = partition_loader.count(captures)
        message = error_or_outcome(lambda: growing.write_batch(growing.take(KEY)))
        assert partition_loader.count(captures) - before == read
        if read == 2:  # it settled
            assert (kept(), len(partition_loader.quantities())) == (EVERY_ROW, 301)
            return
        promised = promise(
            "test_a_file_that_grows_while_it_is_read_is_read_again_three_times_at_most"
        )
        assert (promised.is_seen_in(message), promised.kept, kept()) == (True, BYTES, BYTES), (
            message
        )


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Be a user whom permissions stop, as root is not."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.slow
def test_a_file_that_this_user_may_not_read_is_named():
    promised = promise("test_a_file_that_this_user_may_not_read_is_named")
    with (
        tempfile.TemporaryDirectory() as below,
        unprivileged(Path(below)),
        opened(Path(below)) as (load, partition_loader, folder),
        watched(partition_loader) as kept,
    ):
        (folder / NAME).chmod(0)
        message = error_or_outcome(lambda: load.take(KEY))
        assert (promised.is_seen_in(message), kept(), promised.kept) == (True, NOTHING, NOTHING), (
            message
        )
