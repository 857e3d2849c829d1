"""Documents within gzip and zip: inflated within a limit, whatever sizes they claim."""

import gzip
import io
import lzma
import zlib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import IO
from zipfile import BadZipFile, ZipFile, ZipInfo

from orchestration_project.engine.own.formats.shared import build_read_error
from orchestration_project.engine.own.reading import Reading

GZIP = b"\x1f\x8b"
ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
WORKBOOK = "[Content_Types].xml"
"""A zip with this file is an Office document."""

DAMAGES = (BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, KeyError)
"""Exceptions of `gzip` and `zipfile` for damaged bytes."""


def is_compressed(body: bytes) -> bool:
    """Whether a document begins like gzip or zip."""
    return body.startswith((GZIP, *ZIP))


def is_zip(body: bytes) -> bool:
    """Whether a document begins like a zip."""
    return body.startswith(ZIP)


def is_workbook(body: bytes) -> bool:
    """Whether a document is a zip with the parts of an Office document.

    Raises:
        SourceError: It begins like a zip, and is damaged.
    """
    if not is_zip(body):
        return False
    with _open_zip(body) as archive:
        return WORKBOOK in archive.namelist()


def unpack_document(body: bytes, reading: Reading) -> bytes:
    """Return the document within gzip or zip; another one as it is.

    Raises:
        SourceError: It is damaged or too large, or a zip does not have one file of the name.
    """
    if reading.parse is not None:
        return body
    if body.startswith(GZIP) and not reading.member:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            return _inflate_file(file, reading.max_bytes)
    if not is_zip(body):
        if reading.member:
            raise build_read_error(f"a zip with {reading.member}", "another document")
        return body
    if reading.format == "xlsx" and is_workbook(body):
        return body
    with _open_zip(body) as archive:
        return _read_member(archive, _choose_file(archive, reading.member), reading.max_bytes)


END_OF_ZIP, END_OF_ZIP_BYTES = b"PK\x05\x06", 22


def find_end(body: bytes) -> int:
    """Return where a zip with its comment ends; of other bytes, their number."""
    if not is_zip(body):
        return len(body)
    end = body.rfind(END_OF_ZIP) + END_OF_ZIP_BYTES
    return min(end + int.from_bytes(body[end - 2 : end], "little"), len(body))


def unpack_zip(body: bytes, max_bytes: int) -> Mapping[str, bytes]:
    """Return the files of a zip by name, all together within the limit.

    Raises:
        SourceError: It is damaged or too large.
    """
    left = max_bytes
    parts: dict[str, bytes] = {}
    with _open_zip(body) as archive:
        for info in archive.infolist():
            parts[info.filename] = _read_member(archive, info, left)
            left -= len(parts[info.filename])
    return parts


def _open_zip(body: bytes) -> ZipFile:
    try:
        return ZipFile(io.BytesIO(body))
    except (*DAMAGES, RuntimeError) as error:
        raise build_read_error("a whole zip", str(error)) from error


def _choose_file(archive: ZipFile, wanted: str) -> ZipInfo:
    files = [info for info in archive.infolist() if not info.filename.endswith("/")]
    fitting = [info for info in files if not wanted or fnmatchcase(info.filename, wanted)]
    if len(fitting) != 1:
        names = ", ".join(info.filename for info in files[:10]) or "no file"
        raise build_read_error(f"a zip with one file {wanted or 'or member='}".strip(), names)
    return fitting[0]


def _read_member(archive: ZipFile, info: ZipInfo, limit: int) -> bytes:
    try:
        file = archive.open(info)
    except (*DAMAGES, RuntimeError, NotImplementedError) as error:  # also of encrypted ones
        raise build_read_error(f"{info.filename} in the zip, readable", str(error)) from error
    with file:
        return _inflate_file(file, limit)


def _inflate_file(file: IO[bytes] | io.BufferedIOBase, limit: int) -> bytes:
    try:
        content = file.read(limit + 1)
    except DAMAGES as error:
        raise build_read_error("a whole gzip or zip", f"{type(error).__name__}: {error}") from error
    if len(content) > limit:
        raise build_read_error(f"at most {limit} bytes when inflated", "more")
    return content
