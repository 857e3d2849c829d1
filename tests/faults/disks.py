"""A disk of a few megabytes that a test fills to its last byte, and empties again."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGE = 4096
"""Unit of the size of files on such a disk."""


@dataclass(frozen=True)
class Disk:
    """A file system of its own, mounted at ``folder``."""

    folder: Path

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"

    def fill(self, *, leaving_pages: int = 0) -> None:
        """Take all its space but some pages."""
        with self._filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(PAGE))
            except OSError:
                size = file.tell() // PAGE * PAGE
            file.truncate(max(size - leaving_pages * PAGE, 0))

    def refuse_writes(self) -> None:
        """Make it a disk that is only read."""
        self._remount("ro")

    def take_writes(self) -> None:
        """Make it one again that is written."""
        self._remount("rw")

    def _remount(self, how: str) -> None:
        command = ["mount", "-o", f"remount,{how}", str(self.folder)]
        subprocess.run(command, check=True)  # noqa: S603 - arguments of our own

    def free(self) -> None:
        """Give all the space back."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def tiny_disk(folder: Path, *, mebibytes: int) -> Iterator[Disk]:
    """Mount a disk at ``folder``; where that is not allowed, skip the test."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(  # noqa: S603 - arguments of our own
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0755", "none", str(folder)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S603, S607 - the same
