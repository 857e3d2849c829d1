"""Erasure in files of STATE_DIR: Dagster's storage in SQLite, compute logs, caches and archives."""

import zipfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from orchestration_project.engine.connections.sqlite_files import (
    is_sqlite,
    replace_values,
    rewrite_file,
)
from orchestration_project.services.erasure.rules import Subject
from orchestration_project.services.erasure.stored import OVERLAP_BYTES, PIECE_BYTES, is_in_content

OF_SQLITE = ("-wal", "-shm", "-journal")
"""Endings of files that belong to a database of SQLite."""

ARCHIVE = b"PK\x03\x04"


@dataclass
class FileCounts:
    """Names of files that an erasure changed, or cannot read.

    Attributes:
        changed: Files with masks, databases with changed values, and deleted archives.
        unreadable: Files that cannot be searched or changed, with the reason.
    """

    changed: list[str] = field(default_factory=list[str])
    unreadable: list[str] = field(default_factory=list[str])


def erase_files(
    folder: Path, subject: Subject, *, left_out: Collection[Path], is_dry_run: bool
) -> FileCounts:
    """Mask the identifiers in files below a folder; an archive that has one is deleted.

    Args:
        folder: The folder.
        subject: The subject.
        left_out: Files and folders below it that are left as they are.
        is_dry_run: Only count.
    """
    counts = FileCounts()
    for file in iterate_files(folder, left_out):
        try:
            is_changed = _erase_file(file, subject, is_dry_run=is_dry_run)
        except FileNotFoundError:
            continue
        except (OSError, zipfile.BadZipFile) as error:
            counts.unreadable.append(f"{file}: {error}")
            continue
        if is_changed:
            counts.changed.append(str(file))
    return counts


def iterate_files(folder: Path, left_out: Collection[Path]) -> Iterator[Path]:
    """Yield the regular files below a folder, without what is left out and what it links to."""
    for path in sorted(folder.iterdir()):
        if path in left_out or path.name.endswith(OF_SQLITE):
            continue
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:  # another process has removed it meanwhile
            continue
        if S_ISDIR(mode):
            yield from iterate_files(path, left_out)
        elif S_ISREG(mode):
            yield path


def rewrite_databases(folder: Path, subject: Subject | None, *, left_out: Collection[Path]) -> None:
    """Rewrite the databases of SQLite whose files have the subject, in freed pages perhaps.

    Args:
        folder: The folder below which they are.
        subject: The subject; None: it is not known any more, so all are rewritten.
        left_out: Files and folders below it that are left as they are.

    Raises:
        TransientError: Another process reads or locks one for long.
    """
    for file in iterate_files(folder, left_out):
        if is_sqlite(file) and (subject is None or has_residue(file, subject)):
            rewrite_file(file)


def has_residue(file: Path, subject: Subject) -> bool:
    """Whether the bytes of a database, or of its write-ahead log, may have the subject.

    In a page, nothing stands between a value and the one before it.
    """
    for path in (file, Path(f"{file}-wal")):
        if path.exists():
            with path.open("rb") as opened:
                if any(subject.may_be_in(piece) for _, piece in _read_pieces(opened.read)):
                    return True
    return False


def _erase_file(file: Path, subject: Subject, *, is_dry_run: bool) -> bool:
    """Mask or delete a file; return whether it has the subject."""
    with file.open("rb") as opened:
        start = opened.read(len(ARCHIVE))
    if is_sqlite(file):
        return has_residue(file, subject) and (is_dry_run or _mask_database(file, subject))
    if start == ARCHIVE:
        has_subject = is_in_content(file.read_bytes(), subject)
        if has_subject and not is_dry_run:
            file.unlink()
        return has_subject
    return _mask_file(file, subject, is_dry_run=is_dry_run)


def _mask_database(file: Path, subject: Subject) -> bool:
    def masked(value: str | bytes) -> str | bytes:
        return subject.mask(value) if isinstance(value, str) else subject.mask_bytes(value)

    replace_values(file, masked)
    return True


def _mask_file(file: Path, subject: Subject, *, is_dry_run: bool) -> bool:
    """Mask a file in place: its size stays, and who appends to it goes on."""
    changes: list[tuple[int, bytes]] = []
    with file.open("rb") as opened:
        for start, piece in _read_pieces(opened.read):
            masked = subject.mask_bytes(piece)
            if masked != piece:
                changes.append((start, masked))
    if changes and not is_dry_run:
        with file.open("r+b") as opened:
            for start, masked in changes:
                opened.seek(start)
                opened.write(masked)
    return bool(changes)


def _read_pieces(read: Callable[[int], bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield pieces of a file that overlap, each with its start."""
    start, piece = 0, b""
    while remaining_chunk := read(PIECE_BYTES):
        kept_chunk = piece[-OVERLAP_BYTES:]
        start += len(piece) - len(kept_chunk)
        piece = kept_chunk + remaining_chunk
        yield start, piece
