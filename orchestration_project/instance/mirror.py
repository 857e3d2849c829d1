"""What a step writes: into a file, and on to the console meanwhile, by a thread of this process.

Dagster starts a `tail` for each of the two streams of each step, and a Python program for each of
these that ends it if the run dies: four processes, and the time it takes to end them again.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TextIO

from dagster._core.execution.compute_logs import redirect_to_file

SECONDS_BETWEEN_LOOKS = 0.1
BYTES_AT_ONCE = 2**16


@contextmanager
def mirrored(stream: TextIO, path: Path) -> Iterator[None]:
    """Send what is written to ``stream`` to the end of a file, and to where it would have gone.

    That holds for what child processes write, too. A stream that is no file is left alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    if _is_file(stream):
        with _shown(stream, path), redirect_to_file(stream, str(path)):
            yield
    else:
        yield


def _is_file(stream: TextIO) -> bool:
    try:
        stream.fileno()
    except OSError:  # as in a test, or a notebook
        return False
    return True


@contextmanager
def _shown(stream: TextIO, path: Path) -> Iterator[None]:
    """Show meanwhile what comes to the end of the file, and the last of it afterwards."""
    ended, console, start = Event(), os.dup(stream.fileno()), path.stat().st_size
    thread = Thread(target=_show, args=(path, start, console, ended), name="mirror", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show(path: Path, start: int, console: int, ended: Event) -> None:
    try:
        with os.fdopen(console, "wb") as shown, path.open("rb") as file:
            file.seek(start)
            is_last = False
            while not is_last:
                is_last = ended.wait(SECONDS_BETWEEN_LOOKS)
                while some := file.read(BYTES_AT_ONCE):
                    shown.write(some)
                shown.flush()
    except OSError:  # nobody looks at the console any more; the file has it all
        return
