"""Prices from a folder: a file for each symbol, or one of all."""

from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration_project.domains.prices.answers import read_answer
from orchestration_project.engine.captures import Capture, Captures, build_parts
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.errors import ConfigurationError, SourceError
from orchestration_project.resources.prices.files import PriceFiles
from orchestration_project.resources.prices.source import PriceRange
from tests.resources.weeks import StoppedClock

CSV = b"date,close\n2026-01-02,1.10\n2026-01-05,1.2\n"
OF_ALL = (
    b"symbol,date,close\nA,2026-01-02,1\nBRK.B,2026-01-02,5.10\nA,2026-01-05,2\nNA,2026-01-02,7\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "prices").mkdir()
    return tmp_path / "prices"


@pytest.fixture
def files(folder: Path, tmp_path: Path) -> PriceFiles:
    captures = Captures(FolderStore(tmp_path / "artifacts"))
    return PriceFiles(folder, captures, StoppedClock(), overrides={"XYZ": "renamed"})


def check_captures_and_read_closes(files: PriceFiles, symbol: str) -> list[tuple[str, str]]:
    kept: list[Capture] = []
    captures = files.fetch(PriceRange(symbol, date(2026, 1, 1), date(2026, 1, 31)), kept)
    assert list(captures) == kept
    answer = read_answer("files", build_parts(captures)[0])
    return answer.select("trade_date", "close").rows()


def parquet(**columns: list[object]) -> bytes:
    buffer = BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


def test_a_symbol_s_own_file_is_read_under_our_spelling_or_the_file_s(
    files: PriceFiles, folder: Path
):
    (folder / "EP$C.csv").write_bytes(CSV)
    (folder / "renamed.parquet").write_bytes(parquet(date=["2026-01-02"], close=[1.5]))
    (folder / "notes.txt").write_text("not a price")
    assert check_captures_and_read_closes(files, "EP$C") == [
        ("2026-01-02", "1.10"),
        ("2026-01-05", "1.2"),
    ]
    assert check_captures_and_read_closes(files, "XYZ") == [("2026-01-02", "1.5")]
    assert files.ready() == "2 files"


def test_a_symbol_s_part_of_the_file_of_all_is_its_lines_as_they_stand(
    files: PriceFiles, folder: Path
):
    (folder / "prices.csv").write_bytes(OF_ALL)
    kept: list[Capture] = []
    files.fetch(PriceRange("A", date(2026, 1, 1), date(2026, 1, 31)), kept)
    assert kept[0].body == b"symbol,date,close\nA,2026-01-02,1\nA,2026-01-05,2\n"
    assert kept[0].url == "file:prices.csv"
    assert check_captures_and_read_closes(files, "NA") == [("2026-01-02", "7")]
    (folder / "prices.csv").write_bytes(OF_ALL + b"NA,2026-01-05,8\n")
    assert check_captures_and_read_closes(files, "NA") == [("2026-01-02", "7"), ("2026-01-05", "8")]


def test_a_parquet_file_of_all_gives_the_same_bytes_for_the_same_days(
    files: PriceFiles, folder: Path
):
    (folder / "prices.parquet").write_bytes(
        parquet(symbol=["A", "NA", "A"], date=[date(2026, 1, 2)] * 3, close=[1.5, 2.5, 3.5])
    )
    assert check_captures_and_read_closes(files, "A") == [
        ("2026-01-02", "1.5"),
        ("2026-01-02", "3.5"),
    ]
    first, second = ([], [])
    for kept in (first, second):
        files.fetch(PriceRange("NA", date(2026, 1, 1), date(2026, 1, 31)), kept)
    assert first[0].sha256 == second[0].sha256


def test_a_column_that_polars_does_not_take_harms_no_file_of_all_that_does_not_need_it(
    files: PriceFiles, folder: Path
):
    wide = pa.array([Decimal("1.5")], pa.decimal256(60, 10))
    columns = {"symbol": pa.array(["A"]), "date": pa.array(["2026-01-02"])}
    file = folder / "prices.parquet"
    pq.write_table(pa.table(columns | {"close": pa.array([1.5]), "note": wide}), file)
    assert check_captures_and_read_closes(files, "A") == [("2026-01-02", "1.5")]
    pq.write_table(pa.table(columns | {"close": wide}), file)
    with pytest.raises(SourceError, match="an answer holds no daily prices"):
        check_captures_and_read_closes(files, "A")


@pytest.mark.parametrize(
    "others",
    [
        {"x": pa.array([1]), "X": pa.array([2])},
        {"at": pa.array([0], pa.timestamp("us", tz="Nowhere/Here"))},
    ],
    ids=["of one name", "a time in no zone"],
)
def test_columns_that_are_not_ours_harm_no_file_of_all(
    files: PriceFiles, folder: Path, others: dict[str, pa.Array]
):
    ours = {"symbol": pa.array(["A"]), "date": pa.array(["2026-01-02"]), "close": pa.array([1.5])}
    table = pa.table(list((ours | others).values()), [name.lower() for name in ours | others])
    pq.write_table(table, folder / "prices.parquet")
    assert check_captures_and_read_closes(files, "A") == [("2026-01-02", "1.5")]


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("other.csv", CSV, "no file holds A"),
        ("prices.csv", CSV, "does not say whose prices they are"),
        ("prices.csv", b"symbol,date,close\nA,2026-01-02,1\n\n", "does not say whose"),
        ("prices.csv", b'symbol,date,close\n"A\n",2026-01-02,1\n', "does not say whose"),
        ("prices.parquet", parquet(symbol=[None], date=["a"], close=[1]), "does not say whose"),
        ("prices.parquet", b"PAR1", "holds no daily prices"),
        ("prices.csv", b"\xff", "holds no daily prices"),
    ],
)
def test_a_folder_that_does_not_have_a_symbol_says_so(
    files: PriceFiles, folder: Path, name: str, body: bytes, said: str
):
    (folder / name).write_bytes(body)
    with pytest.raises(SourceError, match=said):
        check_captures_and_read_closes(files, "A")


def test_two_files_of_one_symbol_are_refused(files: PriceFiles, folder: Path):
    for name in ("A.csv", "A.parquet"):
        (folder / name).write_bytes(CSV)
    with pytest.raises(ConfigurationError, match="several files hold A"):
        check_captures_and_read_closes(files, "A")


def test_a_link_out_of_the_folder_is_not_followed(files: PriceFiles, folder: Path, tmp_path: Path):
    (tmp_path / "secret").write_bytes(CSV)
    (folder / "A.csv").symlink_to(tmp_path / "secret")
    with pytest.raises(SourceError, match="cannot be read") as error:
        check_captures_and_read_closes(files, "A")
    assert error.value.found == "a link out of PRICES_FILES_DIR"


@pytest.mark.parametrize("name", ["A.csv", "prices.csv"])
@pytest.mark.parametrize(
    ("target", "found"), [("gone", "No such file or directory"), ("self", "a loop of links")]
)
def test_a_link_that_leads_nowhere_is_refused(
    files: PriceFiles, folder: Path, name: str, target: str, found: str
):
    (folder / name).symlink_to(folder / name if target == "self" else folder / "gone")
    with pytest.raises(SourceError, match=f"the file {name} cannot be read") as error:
        check_captures_and_read_closes(files, "A")
    assert error.value.found == found


def test_an_empty_folder_is_not_ready(files: PriceFiles, folder: Path):
    with pytest.raises(ConfigurationError, match="PRICES_FILES_DIR has no prices"):
        files.ready()
    folder.rmdir()
    with pytest.raises(ConfigurationError, match="PRICES_FILES_DIR has no prices"):
        files.ready()
