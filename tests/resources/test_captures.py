"""Fetched bytes are stored unchanged, and once."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration_project.engine.captures import (
    BlobError,
    Captures,
    build_parts,
    limit_memory,
)
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.errors import ConfigurationError
from tests.resources.weeks import NOON


def keep(captures, body, **changes):
    usual = {
        "url": "https://host/path",
        "request": {"offset": 0},
        "response_headers": {},
        "http_status": 200,
        "row_count": 1,
        "fetched_at": NOON,
    }
    return captures.keep(body, **usual | changes)


@pytest.fixture
def captures(tmp_path):
    return Captures(FolderStore(tmp_path))


def test_a_capture_lies_under_the_hash_of_its_bytes_and_says_their_sizes(captures, tmp_path):
    body = b"a|b\n" * 1000
    capture = keep(captures, body)
    sha256 = hashlib.sha256(body).hexdigest()
    stored = tmp_path / "blobs" / sha256[:2] / f"{sha256}.zst"
    assert capture.blob_row == {
        "sha256": sha256,
        "byte_count": 4000,
        "stored_byte_count": stored.stat().st_size,
        "storage_uri": f"blobs/{sha256[:2]}/{sha256}.zst",
        "byte_offset": None,
    }
    assert stored.stat().st_size < 100


def test_every_body_comes_back_to_the_byte(tmp_path):
    captures = Captures(FolderStore(tmp_path))

    @settings(max_examples=30, derandomize=True, database=None, deadline=None)
    @given(st.binary(max_size=200))
    def expect_same_bytes(body):
        [[part]] = captures.pieces([keep(captures, body).without_body()])
        assert part.body == body

    expect_same_bytes()


def test_the_same_bytes_are_stored_once(captures, tmp_path):
    first = keep(captures, b"same")
    [path] = (path for path in tmp_path.rglob("*") if path.is_file())
    written = path.stat().st_ino
    assert keep(captures, b"same", url="https://other").blob_row == first.blob_row
    assert path.stat().st_ino == written


def test_the_same_bytes_from_many_threads_are_one_whole_file(captures, tmp_path):
    body = b"x" * 100_000
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda each: keep(captures, each), [body] * 16))
    assert len({capture.storage_uri for capture in kept}) == 1
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    [[part]] = captures.pieces([kept[0].without_body()])
    assert part.body == body


def test_bytes_that_cannot_be_stored_are_no_capture(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot write the artifact blobs/"):
        keep(Captures(FolderStore(tmp_path / "file")), b"x")


def test_parts_come_in_pieces_and_what_is_held_no_more_from_the_store(captures):
    mebibyte = 2**20
    bodies = [bytes([number]) * (3 * mebibyte) for number in range(12)]
    kept = [keep(captures, body) for body in bodies]
    light = [kept[0], *(capture.without_body() for capture in kept[1:])]
    pieces = list(captures.pieces(light))
    assert [part for piece in pieces for part in piece] == build_parts(kept)
    assert [len(piece) for piece in pieces] == [2] * 6  # 8 MiB hold two
    assert [len(piece) for piece in captures.pieces(light[:10])] == [10]  # a usual week
    assert list(captures.pieces([])) == [[]]
    empty = keep(captures, b"")
    assert list(captures.pieces([empty])) == [[Part(1, b"")]]


def test_a_body_that_is_not_in_the_store_as_it_was_is_an_error(captures, tmp_path):
    kept = keep(captures, b"one").without_body()
    [path] = (path for path in tmp_path.rglob("*") if path.is_file())
    path.unlink()
    with pytest.raises(BlobError, match="no such blob"):
        list(captures.pieces([kept]))


def test_a_delivery_holds_so_many_bytes_and_no_more(captures):
    kept = keep(captures, b"x" * (30 * 2**20))
    held = limit_memory([kept] * 4)
    assert [len(capture.body) for capture in held] == [kept.byte_count] * 2 + [0] * 2
    assert [capture.byte_count for capture in held] == [kept.byte_count] * 4


def test_captures_are_the_numbered_parts_of_a_delivery(captures):
    kept = [keep(captures, b"one"), keep(captures, b"two", market="ATS")]
    assert build_parts(kept) == [Part(1, b"one"), Part(2, b"two", "ATS")]
