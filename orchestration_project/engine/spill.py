"""A file that holds what is too large for memory while a partition is loaded.

It has no name: however its process ends, the system takes it back.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedRandom, BytesIO
from pathlib import Path
from weakref import finalize

import polars as pl

from orchestration_project.engine.connections.artifacts import encode_parquet, write_parquet
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.errors import ConfigurationError


def _close(files: list[BufferedRandom]) -> None:
    """Close the files of a store that is gone, which a cycle with an error may have held."""
    for file in files:
        file.close()


class DiskSpill:
    """Frames in a file in ``folder``, which is made once there is something to put into it.

    The files are given back with the last use of what they hold.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[BufferedRandom] = []
        finalize(self, _close, self._files)
        self._rows: BufferedRandom | None = None
        self._places: list[tuple[int, int]] = []

    def put(self, frame: pl.DataFrame) -> int:
        """Keep ``frame``; return the number that it is had back by.

        Raises:
            ConfigurationError: The disk has no room for it.
        """
        buffer = BytesIO()
        # the older form copies a slice; the newer one would write all texts that it shares
        compat = pl.CompatLevel.oldest()
        frame.write_ipc_stream(buffer, compression="lz4", compat_level=compat)
        self._rows = self._rows or self.new_file()
        with self.explained():
            start = self._rows.seek(0, 2)
            self._rows.write(buffer.getbuffer())
        self._places.append((start, buffer.tell()))
        return len(self._places) - 1

    def get(self, number: int) -> pl.DataFrame:
        """Return the frame that was kept under ``number``."""
        if self._rows is None:
            raise IndexError(number)
        start, size = self._places[number]
        with self.explained():
            self._rows.seek(start)
            return pl.read_ipc_stream(BytesIO(self._rows.read(size)))

    def new_file(self) -> BufferedRandom:
        """Return a new file for something else, which is open as long as this store is used.

        Raises:
            ConfigurationError: None can be made.
        """
        with self.explained():
            self._folder.mkdir(parents=True, exist_ok=True)
            file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - `_close` does
            self._files.append(file)
        return file

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say of an error of the disk what to do.

        Raises:
            ConfigurationError: The disk is full, or the folder is not ours.
        """
        try:
            yield
        except OSError as error:
            raise ConfigurationError(
                "a partition that is too large for memory cannot be put on disk",
                expected=f"a folder with free space, ours to write, at {self._folder}",
                found=f"{error.strerror or error}",
                remedy="free some disk, mend the folder's permissions, or set STATE_DIR",
            ) from error


def write_staged_file(
    spill: DiskSpill, validated: Validated, columns: Sequence[str]
) -> tuple[bytes | BufferedRandom, str]:
    """Return ``columns`` of the valid rows as Parquet, and its SHA-256 (hex).

    It is in memory if the rows are; else it is an open file of ``spill``.

    Raises:
        ConfigurationError: The disk has no space for it.
    """
    if validated.ranges is None:
        content = encode_parquet(validated.rows.select(columns))
        return content, hashlib.sha256(content).hexdigest()
    file = spill.new_file()
    with spill.explained():
        write_parquet((rows.select(columns) for rows in validated.pieces()), file)
        file.seek(0)
        return file, hashlib.file_digest(file, "sha256").hexdigest()
