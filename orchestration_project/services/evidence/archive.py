"""An archive in the making: a zip whose members are measured while they are written.

The same members make the same archive: each bears the same date, rights and order.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Self
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from orchestration_project.redaction import redacted
from orchestration_project.services.evidence.rules import (
    MANIFEST,
    README,
    SUMS,
    Manifest,
    Member,
    render_readme,
)

LEVEL = 6
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every member: the earliest that a zip can say."""

READABLE_FILE = 0o100644 << 16


class MemberWriter:
    """Takes the bytes of one member."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()
        self.byte_count = 0
        self.row_count: int | None = None

    def write(self, content: bytes) -> None:
        """Add ``content``."""
        self._sink.write(content)
        self._digest.update(content)
        self.byte_count += len(content)

    def write_lines(self, lines: Iterable[str]) -> None:
        """Add lines of JSON, each a row, without the secrets of this process."""
        self.row_count = self.row_count or 0
        for line in lines:
            self.write(f"{redacted(line)}\n".encode())
            self.row_count += 1

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was added, hex."""
        return self._digest.hexdigest()


class Archive:
    """Writes members into ``file``, in the order in which they come."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = ZipFile(file, "w", ZIP_DEFLATED, compresslevel=LEVEL)
        self._members: list[Member] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @contextmanager
    def member(self, name: str) -> Iterator[MemberWriter]:
        """Yield a writer for the bytes of the member ``name``."""
        with self._zip.open(_build_entry(name), "w", force_zip64=True) as sink:
            measured = MemberWriter(sink)
            yield measured
        self._members.append(Member(name, measured.sha256, measured.byte_count, measured.row_count))

    def add(self, name: str, content: bytes) -> None:
        """Write a member whose bytes are at hand."""
        with self.member(name) as sink:
            sink.write(content)

    def add_lines(self, name: str, lines: Iterable[str]) -> None:
        """Write a member of JSON Lines."""
        with self.member(name) as sink:
            sink.write_lines(lines)

    def finish(self, about: dict[str, str]) -> Manifest:
        """Write the archive's README, manifest and checksums."""
        self.add(README, render_readme(about))
        manifest = Manifest(about, list(self._members))
        for name, content in ((MANIFEST, manifest.to_json()), (SUMS, manifest.sums())):
            self._zip.writestr(_build_entry(name), content, compresslevel=LEVEL)
        return manifest


def _build_entry(name: str) -> ZipInfo:
    entry = ZipInfo(name, ZIP_EPOCH)
    entry.compress_type = ZIP_DEFLATED
    entry.create_system = 3  # rights as on Unix, whatever made it
    entry.external_attr = READABLE_FILE
    return entry
