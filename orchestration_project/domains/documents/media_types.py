"""The media type of a file by its content; its name decides only between formats of plain text."""

import json
import re
from contextlib import suppress
from io import BytesIO
from zipfile import BadZipFile, ZipFile

from orchestration_project.domains.documents.formats import FORMATS, UNKNOWN
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.domains.documents.text import decode, looks_binary

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
BY_EXTENSION = {
    extension: media_type
    for media_type, document_format in FORMATS.items()
    for extension in document_format.extensions
}
"""Extension of a name, without the dot, to the type that it declares."""

BY_OLE_STREAM = {
    stream: media_type
    for media_type, document_format in FORMATS.items()
    for stream in document_format.ole_streams
}
"""Name of a stream at the root, in small letters, to the type of the compound file."""

HEADER_LINE = re.compile(rb"[!-9;-~]+:")
MAIL_HEADERS = re.compile(
    rb"(?im)^(?:from|to|subject|date|received|message-id|mime-version|return-path|content-type)\s*:"
)
XML_ROOT = re.compile(r"<[a-z_][\w:.-]*\s[^<>]*?\bxmlns(?::[\w.-]+)?\s*=")
"""The beginning of XML without a declaration: its first element names a namespace."""

SNIFFED = 65_536
"""Bytes of a text that are looked at."""


def declared_type(name: str) -> str | None:
    """Return the type that the extension of a name declares; None for none or an unknown one."""
    _, dot, extension = name.rpartition(".")
    return BY_EXTENSION.get(extension.strip().lower()) if dot else None


def media_type_of(content: bytes, declared: str | None) -> str:
    """Return the media type of a file; ``application/octet-stream`` for an unknown one.

    Args:
        content: The file, not empty.
        declared: The type that its name declares.

    Raises:
        DocumentError: The file is a container that is encrypted or cannot be looked into.
    """
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _detect_zip_type(content, declared)
    if content.startswith(OLE):
        return _detect_ole_type(content)
    if text := _match_first_bytes(content):
        return text
    if looks_binary(content[:SNIFFED]):
        return _detect_by_magic(content)
    return _detect_text_type(content, declared)


def _match_first_bytes(content: bytes) -> str | None:
    for media_type, document_format in FORMATS.items():
        if document_format.first_bytes and document_format.first_bytes.match(content):
            return media_type
    return None


def _detect_zip_type(content: bytes, declared: str | None) -> str:
    try:
        with ZipFile(BytesIO(content)) as archive:
            names = archive.namelist()
            if "[Content_Types].xml" in names:
                return _detect_office_type(
                    _read_first_bytes(archive, "[Content_Types].xml", 1_000_000)
                )
            if "mimetype" in names:
                text = (
                    _read_first_bytes(archive, "mimetype", 100).decode("ascii", "replace").strip()
                )
                return text if text in FORMATS else "application/zip"
    except (BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError):
        return declared if declared and _is_zipped(declared) else "application/zip"
    return "application/zip"


def _is_zipped(media_type: str) -> bool:
    return "openxml" in media_type or "zip" in media_type or "opendocument" in media_type


def _read_first_bytes(archive: ZipFile, name: str, size: int) -> bytes:
    with suppress(Exception), archive.open(name) as member:  # any, of a damaged member
        return member.read(size)
    return b""


def _detect_office_type(content_types: bytes) -> str:
    text = content_types.decode("utf-8", "replace").lower()
    for media_type, document_format in FORMATS.items():
        if document_format.main_part and document_format.main_part in text:
            return media_type
    return "application/zip"


def _detect_ole_type(content: bytes) -> str:
    from olefile import OleFileIO

    try:
        with OleFileIO(BytesIO(content)) as file:
            names = {entry[0].lower() for entry in file.listdir()}
    except Exception as error:  # any, of a damaged directory
        code = "truncated" if len(content) < 1536 else "corrupt"
        raise DocumentError(code, f"compound file: {error}") from error
    if "encryptedpackage" in names:
        raise DocumentError("encrypted", "an encrypted package of Office")
    return next(
        (BY_OLE_STREAM[name] for name in sorted(names) if name in BY_OLE_STREAM),
        "application/x-ole-storage",
    )


def _detect_by_magic(content: bytes) -> str:
    import puremagic

    with suppress(Exception):  # it raises several for unknown and damaged files
        return puremagic.from_string(content[:SNIFFED], mime=True) or UNKNOWN
    return UNKNOWN


def _detect_text_type(content: bytes, declared: str | None) -> str:
    start = decode(content[:SNIFFED], is_cut=len(content) > SNIFFED).text.lstrip("\ufeff \t\r\n")
    low = start[:1000].lower()
    for media_type, document_format in FORMATS.items():
        if low.startswith(document_format.text_starts):
            return media_type
    if declared == "text/html":
        return "text/html"
    if low.startswith("<?xml") or XML_ROOT.match(low):
        return "application/xhtml+xml" if "<html" in low else "application/xml"
    if MAIL_HEADERS.search(_read_header_block(content)):
        return "message/rfc822"
    named = FORMATS.get(declared or "")
    if named and (named.is_read_as_named or named.is_plain_text):
        return named.media_type
    return _detect_json_type(start, len(content) > SNIFFED) or "text/plain"


def _read_header_block(content: bytes) -> bytes:
    """Return the first lines if all are header fields or their continuations, else nothing.

    Two fields at least: prose may have one line with a colon.
    """
    head = re.split(rb"\r?\n\r?\n", content[:SNIFFED], maxsplit=1)[0]
    lines = head.splitlines()
    fields = sum(bool(HEADER_LINE.match(line)) for line in lines)
    is_block = all(HEADER_LINE.match(line) or line[:1] in b" \t" for line in lines)
    return head if is_block and fields >= 2 else b""


def _refuse_constant(name: str) -> None:
    """Refuse NaN and infinities, which JSON does not have."""
    raise ValueError(name)


def _detect_json_type(start: str, is_cut: bool) -> str | None:
    """Return the type of a text that begins as JSON does; None for another text."""
    if not start.startswith(("{", "[")):
        return None
    first = start.split("\n", 1)[0]
    with suppress(ValueError, RecursionError):
        json.loads(first, parse_constant=_refuse_constant)
        return "application/jsonl" if start.strip() != first.strip() else "application/json"
    with suppress(ValueError, RecursionError):
        json.loads(start, parse_constant=_refuse_constant)
        return "application/json"
    return "application/json" if is_cut and start.startswith(("{", "[{")) else None
