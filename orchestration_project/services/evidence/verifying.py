"""Whether an archive is what it was when it was made, from the file alone."""

import hashlib
import lzma
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile

from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.services.evidence.rules import (
    MANIFEST,
    SUMS,
    Manifest,
    MemberContent,
    Problem,
    find_problems,
    read_manifest,
    sum_of,
)

PIECE_BYTES = 1024 * 1024
MAX_TEXT_BYTES = 256 * 1024 * 1024
"""More than any manifest takes: of a member without a promised size not more is read."""

NO_ZIP = (BadZipFile, NotImplementedError, UnicodeDecodeError, OSError)
"""Errors of opening an invalid or damaged archive."""

UNREADABLE = (*NO_ZIP, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, ValueError)
"""Errors of a member that is damaged, encrypted or unsupported."""


class ArchiveVerdict(NamedTuple):
    """Result: the manifest, its SHA-256, and the defects of members."""

    manifest: Manifest
    manifest_sha256: str
    problems: Sequence[Problem]


def verify(path: Path) -> ArchiveVerdict:
    """Compare every member of the archive at ``path`` with what its manifest says.

    Raises:
        ConfigurationError: The file does not exist, or is not a zip.
        ContractError: It has no manifest, or one that cannot be read: nothing else is looked at.
    """
    try:
        with ZipFile(path) as archive:
            return _verify_archive(archive)
    except NO_ZIP as error:
        raise ConfigurationError(
            f"{path} cannot be read as an evidence archive",
            expected="a zip that export_evidence wrote, whole",
            found=str(getattr(error, "strerror", None) or error),
            remedy="name another file, or get the archive again from who made it",
        ) from error


def _verify_archive(archive: ZipFile) -> ArchiveVerdict:
    counts = Counter(archive.namelist())
    content = _read_text(archive, MANIFEST) if MANIFEST in counts else None
    if content is None:
        raise ContractError(
            f"the archive has no {MANIFEST} that can be read",
            expected="an archive of export_evidence",
            found=f"{len(counts)} members, or a manifest that is damaged",
            remedy="get the archive again from who made it",
        )
    manifest = read_manifest(content)
    sums = _read_text(archive, SUMS) if SUMS in counts else b""
    promised = {member.name: member.sha256 for member in manifest.members}
    promised |= {
        MANIFEST: sum_of(MANIFEST, sums or b"") or manifest.sha256,
        SUMS: hashlib.sha256(manifest.sums()).hexdigest(),
    }
    sizes = {member.name: member.byte_count for member in manifest.members}
    member_contents = {
        name: MemberContent(trouble="it is there more than once")
        if count > 1
        else _read(archive, name, sizes.get(name, MAX_TEXT_BYTES))
        for name, count in counts.items()
        if name in promised
    }
    extra = {name: MemberContent() for name in counts if name not in promised}
    return ArchiveVerdict(
        manifest,
        hashlib.sha256(content).hexdigest(),
        find_problems(promised, member_contents | extra),
    )


def _read_text(archive: ZipFile, name: str) -> bytes | None:
    try:
        with archive.open(name) as file:
            return file.read(MAX_TEXT_BYTES)
    except UNREADABLE:
        return None


def _read(archive: ZipFile, name: str, byte_count: int) -> MemberContent:
    """Return the SHA-256 of a member, reading little more than ``byte_count`` of it."""
    digest, read = hashlib.sha256(), 0
    try:
        with archive.open(name) as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
                read += len(piece)
                if read > byte_count:
                    return MemberContent(trouble=f"it is larger than {byte_count} bytes")
    except UNREADABLE as error:
        return MemberContent(trouble=f"it cannot be read: {error}")
    return MemberContent(digest.hexdigest())
