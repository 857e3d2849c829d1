"""The unpacked language model: workers map it, and decompress the library's where it is damaged."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration_project.resources.documents.extraction import Extraction, Source
from orchestration_project.resources.documents.setups import unpack_language_model
from orchestration_project.resources.documents.worker import ReaderSettings
from tests import programs
from tests.domains.test_documents_language import TEXTS
from tests.resources import document_functions

UNPACK = """
import resource, sys
from pathlib import Path
from orchestration_project.resources.documents.setups import unpack_language_model
if sys.argv[2:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
print(unpack_language_model(Path(sys.argv[1])))
"""


def rank_in_worker(file: Path | None) -> list[tuple[str, str]]:
    """Return for each text whether a worker has mapped the model, and the rank of languages."""
    with Extraction(
        workers=1,
        settings=ReaderSettings(language_model=file),
        function=document_functions.classify,
    ) as opened:
        texts = [Source(name, text.encode) for name, text in sorted(TEXTS.items())]
        names = sorted(document.extracted.name for document in opened.extract(texts))
    return [(is_mapped, rank) for is_mapped, _, rank in (name.partition(" ") for name in names)]


@pytest.mark.slow
def test_a_mapped_model_ranks_languages_as_the_library_does(tmp_path: Path):
    mapped, unpacked = rank_in_worker(unpack_language_model(tmp_path)), rank_in_worker(None)
    assert {is_mapped for is_mapped, _ in mapped} == {"True"}
    assert {is_mapped for is_mapped, _ in unpacked} == {"False"}
    assert [rank for _, rank in mapped] == [rank for _, rank in unpacked]


@pytest.mark.slow
@pytest.mark.parametrize("length", [0, 100, 10_000_000])
def test_the_library_decompresses_the_model_where_the_file_is_damaged(tmp_path: Path, length: int):
    file = unpack_language_model(tmp_path)
    assert file
    os.truncate(file, length)
    assert {is_mapped for is_mapped, _ in rank_in_worker(file)} == {"False"}


def test_the_model_is_unpacked_once_and_replaces_that_of_other_versions(tmp_path: Path):
    file = unpack_language_model(tmp_path)
    assert file
    written = file.stat().st_mtime_ns
    assert unpack_language_model(tmp_path) == file
    assert file.stat().st_mtime_ns == written
    other = file.rename(file.with_name("0.3.0-0.npz"))
    assert unpack_language_model(tmp_path) == file
    assert not other.exists()
    assert list(file.parent.iterdir()) == [file]


def test_a_model_with_a_changed_byte_is_unpacked_again(tmp_path: Path):
    file = unpack_language_model(tmp_path)
    assert file
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert unpack_language_model(tmp_path) == file
    assert file.read_bytes() == whole


def test_nothing_is_written_without_state_dir(tmp_path: Path):
    assert unpack_language_model(tmp_path / "state") is None
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_file(tmp_path: Path):
    arguments = [sys.executable, "-c", UNPACK, str(tmp_path), str(10**7)]
    ended = subprocess.run(  # noqa: S603 - our own program
        arguments, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "None\n"
    assert list(tmp_path.glob("*/*")) == []


def test_what_a_killed_writer_left_is_neither_used_nor_kept(tmp_path: Path):
    writer = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", UNPACK, str(tmp_path)]
    )
    assert programs.wait_for(lambda: list(tmp_path.glob("*/*.partial")), poll_seconds=0.005)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert [path.suffix for path in tmp_path.glob("*/*")] == [".partial"]
    file = unpack_language_model(tmp_path)
    assert file
    assert file.stat().st_size > 6 * 10**7
    assert list(file.parent.iterdir()) == [file]
