"""The output of a step goes into a file and on to the console, in this process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from select import select
from typing import BinaryIO, TextIO

import psutil
import pytest

from orchestration_project.instance.logs import mirrored

PATIENCE_SECONDS = 20


@pytest.fixture
def console(tmp_path) -> Iterator[tuple[TextIO, BinaryIO]]:
    """A stream that a step writes to, and what is seen at its other end."""
    seen, end = os.pipe()
    with os.fdopen(end, "w") as stream, os.fdopen(seen, "rb", buffering=0) as other:
        yield stream, other


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "logs" / "step.out"


def _read(seen: BinaryIO, byte_count: int) -> bytes:
    """Read so many bytes, or as many as come."""
    found = b""
    while len(found) < byte_count and select([seen], [], [], PATIENCE_SECONDS)[0]:
        found += seen.read(byte_count - len(found))
    return found


def _shown(seen: BinaryIO, words: bytes) -> bool:
    return _read(seen, len(words)) == words


def test_what_a_step_and_its_programs_write_is_in_the_file_and_on_the_console(console, file):
    stream, seen = console
    with mirrored(stream, file):
        stream.write("of the step\n")
        stream.flush()
        subprocess.run([sys.executable, "-c", "print('of a program')"], stdout=stream, check=True)
        os.write(stream.fileno(), b"of a library\n")
        stream.write("last, not flushed")
    words = b"of the step\nof a program\nof a library\nlast, not flushed"
    assert file.read_bytes() == words
    assert _shown(seen, words)
    stream.write("after it")
    stream.flush()
    assert _shown(seen, b"after it")
    assert file.read_bytes() == words


def test_it_is_on_the_console_while_the_step_goes_on(console, file):
    stream, seen = console
    with mirrored(stream, file):
        print("now", file=stream, flush=True)
        assert _shown(seen, b"now\n")


def test_more_than_is_read_at_once_arrives_whole(console, file):
    stream, seen = console
    lines = "".join(f"line {number}\n" for number in range(50_000)).encode()
    with ThreadPoolExecutor(1) as pool:
        shown = pool.submit(_read, seen, len(lines))
        with mirrored(stream, file):
            os.write(stream.fileno(), lines)
        assert shown.result() == lines
    assert file.read_bytes() == lines


def test_what_an_earlier_attempt_wrote_stays_and_is_not_shown_again(console, file):
    stream, seen = console
    for attempt in ("first", "second"):
        with mirrored(stream, file):
            print(attempt, file=stream)
        assert _shown(seen, f"{attempt}\n".encode())
    assert file.read_text() == "first\nsecond\n"


def test_a_step_goes_on_when_the_console_is_closed(console, file):
    stream, seen = console
    seen.close()
    with mirrored(stream, file):
        for number in range(3):
            print(number, file=stream, flush=True)
    assert file.read_text() == "0\n1\n2\n"


def test_an_error_of_the_step_is_raised_and_the_stream_is_as_it_was(console, file):
    stream, seen = console
    with pytest.raises(OSError, match="of the step"), mirrored(stream, file):
        raise OSError("of the step")
    print("after it", file=stream, flush=True)
    assert _shown(seen, b"after it\n")


def test_a_stream_that_is_no_file_is_left_alone(file):
    stream = StringIO()
    with mirrored(stream, file):
        print("kept", file=stream)
    assert stream.getvalue() == "kept\n"
    assert file.read_bytes() == b""


def test_no_process_is_started_and_no_file_stays_open(console, file):
    stream, _ = console
    own = psutil.Process()
    files, processes = own.num_fds(), own.children()
    with mirrored(stream, file):
        assert own.children() == processes
    assert own.num_fds() == files
