"""Large captures are stored and read as streams: in constant memory, and verified."""

import hashlib
import io
import subprocess
import sys

import pytest

from orchestration_project.engine.captures import BlobError, Captures
from orchestration_project.engine.connections.artifacts import FolderStore, open_artifacts
from orchestration_project.errors import TransientError
from orchestration_project.settings import PROJECT_ROOT
from tests.resources.weeks import NOON
from tests.s3 import GIVEN_ENDPOINT

BODY = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(20_000)) + b"!"
MEBIBYTE = 2**20

MAX_MIB = 16
GROWTH = """
import os, sys
from datetime import UTC, datetime
from tempfile import TemporaryFile
from orchestration_project.engine.connections.artifacts import open_artifacts
from orchestration_project.engine.captures import Captures

def memory(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) // 1024 for line in file if line.startswith(field))

url, size, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
captures = Captures(open_artifacts(url))
about = {"url": "u", "request": {}, "fetched_at": datetime.now(UTC)}
captures.read(captures.keep(b"warm", **about).blob)
piece = os.urandom(2**20 - 8)
with TemporaryFile(dir=folder) as source:
    for number in range(size):
        source.write(number.to_bytes(8, "big") + piece)
    source.flush()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak counts from here
    idle = memory("VmRSS")
    captures.verify(captures.put_stream(source, **about).blob)
print(memory("VmHWM") - idle)
"""


@pytest.fixture(params=["folder", "s3"])
def url(request, tmp_path):
    return str(tmp_path / "store") if request.param == "folder" else request.getfixturevalue("s3")


@pytest.fixture
def captures(tmp_path):
    return Captures(FolderStore(tmp_path))


def stream(captures, source):
    return captures.put_stream(
        source, url="file:///a.pdf", request={"path": "a.pdf"}, fetched_at=NOON
    )


@pytest.mark.parametrize("body", [b"", b"x", BODY], ids=len)
def test_a_stream_comes_back_to_the_byte(url, body):
    store = open_artifacts(url)
    captures = Captures(store)
    capture = stream(captures, io.BytesIO(body))
    sha256 = hashlib.sha256(body).hexdigest()
    assert (capture.sha256, capture.byte_count, capture.body) == (sha256, len(body), b"")
    stored = store.found(capture.storage_uri)
    assert stored is not None
    assert stored.byte_count == capture.stored_byte_count
    assert captures.read(capture.blob) == body
    with captures.open(capture.blob) as blob:
        assert blob.read() == body


def test_a_stream_is_the_same_blob_as_its_bytes_at_once(captures, tmp_path):
    first = captures.keep(BODY, url="u", request={}, fetched_at=NOON)
    assert stream(captures, io.BytesIO(BODY)).blob == first.blob
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_file_that_changes_meanwhile_is_not_stored(url):
    class Changing(io.BytesIO):
        def seek(self, *where):
            if self.tell():  # the second reading
                self.getbuffer()[-1:] = b"!"
            return super().seek(*where)

    store = open_artifacts(url)
    with pytest.raises(TransientError, match="a file changed while it was captured"):
        stream(Captures(store), Changing(b"1" * 3 * MEBIBYTE))
    assert list(store.listed()) == []


@pytest.mark.parametrize(
    ("damaged", "found"),
    [
        (lambda stored: stored[:-7], "another size"),
        (lambda stored: stored[:50] + b"\0" * 50 + stored[100:], "SHA-256 is"),
        (lambda _: b"no frame of zstd", "no zstd"),
        (lambda stored: stored + b"x", "no zstd"),
        (lambda stored: stored + stored, "another size"),
    ],
)
def test_damaged_bytes_are_an_error_at_the_latest_at_the_end(captures, tmp_path, damaged, found):
    capture = stream(captures, io.BytesIO(BODY))
    path = tmp_path / capture.storage_uri
    path.write_bytes(damaged(path.read_bytes()))
    with pytest.raises(BlobError, match=found):
        captures.verify(capture.blob)
    path.unlink()
    with pytest.raises(BlobError, match="no such blob"):
        captures.open(capture.blob)


MAX_MOTO_MIB = 512
"""Larger uploads take longer to be put together by moto than a client waits for its answer."""


@pytest.mark.slow
@pytest.mark.parametrize("mebibytes", [64, pytest.param(2048, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_file(url, tmp_path, mebibytes):
    if url.startswith("s3:") and not GIVEN_ENDPOINT:
        mebibytes = min(mebibytes, MAX_MOTO_MIB)
    command = [sys.executable, "-c", GROWTH, url, str(mebibytes), str(tmp_path)]
    grown = subprocess.run(  # noqa: S603 - this file
        command, capture_output=True, text=True, check=True, cwd=PROJECT_ROOT
    )
    assert int(grown.stdout) <= MAX_MIB
