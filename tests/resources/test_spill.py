"""Rows that are too large for memory are in a private file."""

import gc
import os
import weakref
from datetime import date
from io import BufferedRandom
from pathlib import Path

import polars as pl
import pytest

from orchestration_project.engine.spill import DiskSpill
from orchestration_project.errors import ConfigurationError

ROWS = pl.DataFrame(
    {
        "symbol": ["NA", None, "", "é" * 1000],
        "shares": [2**63 - 1, None, 0, -1],
        "day": [date(2025, 11, 10), None, None, None],
        "sum": pl.Series([2**70, None, 1, -(2**70)], dtype=pl.Int128),
    }
)


def test_frames_come_back_as_they_were_in_any_order(tmp_path: Path):
    shelf = DiskSpill(tmp_path)
    frames = [ROWS, ROWS[1:3], ROWS.clear(), ROWS.reverse()]
    numbers = [shelf.put(frame) for frame in frames]
    for number, frame in reversed(list(zip(numbers, frames, strict=True))):
        found = shelf.get(number)
        assert found.equals(frame)
        assert found.schema == frame.schema
    assert shelf.get(numbers[0]).equals(ROWS)


def flushed(shelf: DiskSpill) -> list[BufferedRandom]:
    """Return its files, as they are on disk."""
    for file in shelf._files:
        file.flush()
    return shelf._files


def test_a_slice_takes_the_room_of_its_own_rows(tmp_path: Path):
    shelf = DiskSpill(tmp_path)
    texts = pl.DataFrame({"text": [os.urandom(500).hex() for _ in range(1000)]})
    shelf.put(texts[:1])
    assert sum(os.fstat(file.fileno()).st_size for file in flushed(shelf)) < 10_000


def test_no_file_is_made_before_there_is_something_to_keep_and_none_has_a_name(tmp_path: Path):
    folder = tmp_path / "scratch"
    shelf = DiskSpill(folder)
    assert not folder.exists()
    shelf.put(ROWS)
    assert list(folder.iterdir()) == []


def test_its_files_are_closed_with_it(tmp_path: Path):
    shelf = DiskSpill(tmp_path)
    shelf.put(ROWS)
    other = shelf.new_file()
    del shelf
    assert other.closed


@pytest.mark.slow
def test_its_files_are_closed_before_they_are_collected_with_it(tmp_path: Path):
    """A cycle is collected in the order that its parts were last found in: here files are first."""
    shelf = DiskSpill(tmp_path)
    file = shelf.new_file()
    known = weakref.ref(file)
    shelf.itself = shelf  # pyright: ignore[reportAttributeAccessIssue] - as an error's frames do
    held_later = [shelf]
    del shelf
    gc.collect()
    del file, held_later
    gc.collect()
    assert known() is None  # a file left open is a warning, and so fails


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_reported_with_the_folder_and_the_remedy(tmp_path: Path, monkeypatch):
    def full(dir):
        return Path("/dev/full").open("w+b", buffering=0)

    monkeypatch.setattr("orchestration_project.engine.spill.tempfile.TemporaryFile", full)
    with pytest.raises(ConfigurationError, match="too large for memory") as refusal:
        DiskSpill(tmp_path).put(ROWS)
    assert "No space left on device" in str(refusal.value)
    assert str(tmp_path) in str(refusal.value)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="set STATE_DIR"):
        DiskSpill(tmp_path / "file" / "scratch").put(ROWS)


def test_another_file_is_another_one_whichever_was_first(tmp_path: Path):
    shelf = DiskSpill(tmp_path)
    other = shelf.new_file()
    number = shelf.put(ROWS)
    assert other.seek(0, 2) == 0
    assert shelf.get(number).equals(ROWS)
