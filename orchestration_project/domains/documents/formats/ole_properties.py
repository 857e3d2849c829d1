"""Properties of a compound file: title, author and time of creation, read within their stream.

olefile's own reader of them loops as often as a damaged file says.
"""

import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import NamedTuple

from orchestration_project.domains.documents.text import decode

STREAM = "\x05SummaryInformation"
MAX_BYTES, MAX_PROPERTIES = 1_000_000, 1_000
"""Limits of the stream; one of Office has about 20 properties in some hundred bytes."""

CODE_PAGE, TITLE, AUTHOR, CREATED = 1, 2, 4, 12
SHORT, BYTES, WIDE, FILETIME = 0x02, 0x1E, 0x1F, 0x40
"""Types of values: a number of two bytes, texts, and a time in 100 ns since 1601."""

ENCODINGS = {1200: "utf-16-le", 65001: "utf-8"}
"""Code pages that Python calls otherwise."""

XLS_DRAWINGS = {0x1C, 0x1B6}
"""Types of records of a workbook: a comment, and the text of a shape."""

XLS_BEGIN, XLS_CHART = 0x809, b"\x20\x00"
"""Type of the record that begins a part, and the kind of a chart in it."""

XLS_VALUE, XLS_FORMULA = 0x205, 0x06
"""Types of records of a truth value or error, and of a formula with its last value."""

EPOCH = datetime(1601, 1, 1, tzinfo=UTC)


class OleProperties(NamedTuple):
    """Properties of a document; None: it does not have the property."""

    title: str | None = None
    author: str | None = None
    created_at: datetime | None = None


def read_ole_properties(content: bytes) -> OleProperties:
    """Return the properties of a compound file.

    Raises:
        Exception: Several, for damaged files.
    """
    from olefile import OleFileIO

    with OleFileIO(BytesIO(content)) as file:
        if not file.exists(STREAM):
            return OleProperties()
        stream = file.openstream(STREAM).read(MAX_BYTES)
    values = _locate_values(stream)
    page = values.get(CODE_PAGE)
    number = struct.unpack_from("<H", stream, page[1])[0] if page and page[0] == SHORT else 1252
    encoding = ENCODINGS.get(number, f"cp{number}")
    return OleProperties(
        _read_text(stream, values.get(TITLE), encoding),
        _read_text(stream, values.get(AUTHOR), encoding),
        _read_time(stream, values.get(CREATED)),
    )


class XlsContents(NamedTuple):
    """Contents of a workbook that are not read: comments, text boxes or charts, and errors."""

    has_drawings: bool = False
    error_count: int = 0


def inspect_xls(content: bytes) -> XlsContents:
    """Return the drawings and errors that the records of a workbook in a compound file have."""
    from olefile import OleFileIO

    try:
        with OleFileIO(BytesIO(content)) as file:
            name = next((name for name in ("Workbook", "Book") if file.exists(name)), None)
            stream = file.openstream(name).read() if name else b""
    except Exception:  # noqa: BLE001 - several, for damaged files; calamine refuses those
        return XlsContents()
    has_drawings, errors, place = False, 0, 0
    while place + 4 <= len(stream):
        record, size = struct.unpack_from("<HH", stream, place)
        body = stream[place + 4 : place + 4 + min(size, 16)]
        has_drawings |= record in XLS_DRAWINGS or (record == XLS_BEGIN and body[2:4] == XLS_CHART)
        errors += record == XLS_VALUE and body[7:8] == b"\x01"
        errors += record == XLS_FORMULA and body[6:7] == b"\x02" and body[12:14] == b"\xff\xff"
        place += 4 + size
    return XlsContents(has_drawings, errors)


def _locate_values(stream: bytes) -> Mapping[int, tuple[int, int]]:
    """Return type and place of each value by the number of its property."""
    (section,) = struct.unpack_from("<I", stream, 44)
    (count,) = struct.unpack_from("<I", stream, section + 4)
    values: dict[int, tuple[int, int]] = {}
    room = (len(stream) - section - 8) // 8
    for number in range(min(count, room, MAX_PROPERTIES)):
        name, offset = struct.unpack_from("<II", stream, section + 8 + 8 * number)
        if section + offset + 12 <= len(stream):
            (kind,) = struct.unpack_from("<I", stream, section + offset)
            values.setdefault(name, (kind & 0xFFFF, section + offset + 4))
    return values


def _read_text(stream: bytes, value: tuple[int, int] | None, encoding: str) -> str | None:
    if value is None or value[0] not in (BYTES, WIDE):
        return None
    kind, number = value
    (count,) = struct.unpack_from("<I", stream, number)
    size = count * 2 if kind == WIDE else count
    raw = stream[number + 4 : number + 4 + size]
    text = decode(raw, declared="utf-16-le" if kind == WIDE else encoding).text
    return text.split("\0")[0] or None


def _read_time(stream: bytes, value: tuple[int, int] | None) -> datetime | None:
    if value is None or value[0] != FILETIME:
        return None
    (ticks,) = struct.unpack_from("<Q", stream, value[1])
    try:
        return EPOCH + timedelta(microseconds=ticks // 10) if ticks else None
    except OverflowError:
        return None
