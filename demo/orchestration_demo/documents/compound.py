"""A writer of compound files (OLE), and of XLS and MSG in them."""

import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

from orchestration_demo.documents.story import Story

SECTOR, SMALL_SECTOR, SMALL_STREAM = 512, 64, 4096
END, FREE, FAT, NONE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD, 0xFFFFFFFF
EXCEL_EPOCH = date(1899, 12, 30)
FILE_TIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)

Folder = Mapping[str, "bytes | Folder"]
"""Name to the bytes of a stream, or to a folder."""


class _Entry:
    """An entry of the directory: a stream or a folder, and where it is."""

    def __init__(self, name: str, kind: int, content: bytes = b"") -> None:
        self.name, self.kind, self.content = name, kind, content
        self.children: list[int] = []
        self.right = NONE
        self.start = END


def compound(folder: Folder) -> bytes:
    """Return a compound file with these streams and folders, at most 109 * 128 sectors long.

    Siblings form a list in the order of their names and no balanced tree, which readers accept.
    """
    entries = [_Entry("Root Entry", 5)]
    _add(folder, entries, entries[0])
    small, small_table = bytearray(), list[int]()
    for entry in entries[1:]:
        if entry.kind == 2 and 0 < len(entry.content) < SMALL_STREAM:
            entry.start = len(small) // SMALL_SECTOR
            small += _padded(entry.content, SMALL_SECTOR)
            last = len(small) // SMALL_SECTOR
            small_table += [*range(entry.start + 1, last), END]
    entries[0].content = bytes(small)
    sectors, table = bytearray(), list[int]()
    for entry in entries:
        if entry.kind == 5 or len(entry.content) >= SMALL_STREAM:
            entry.start = _append(entry.content, sectors, table)
    small_start = _append(struct.pack(f"<{len(small_table)}I", *small_table), sectors, table)
    small_count = (len(small_table) * 4 + SECTOR - 1) // SECTOR
    directory = b"".join(_entry_bytes(entry) for entry in entries)
    directory_start = _append(directory, sectors, table)
    fat_count = 1
    while fat_count * (SECTOR // 4) < len(table) + fat_count:
        fat_count += 1
    fat_start = len(table)
    table += [FAT] * fat_count
    table += [FREE] * (fat_count * (SECTOR // 4) - len(table))
    sectors += struct.pack(f"<{len(table)}I", *table)
    places = [*range(fat_start, fat_start + fat_count)]
    header = struct.pack(
        "<8s16x5H6x9I",
        *(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6, 0, fat_count),
        *(directory_start, 0, SMALL_STREAM, small_start, small_count, END, 0),
    )
    header += struct.pack("<109I", *places, *[FREE] * (109 - len(places)))
    return bytes(header + sectors)


def _add(folder: Folder, entries: list[_Entry], parent: _Entry) -> None:
    """Add the entries of a folder; names are ordered by length, then by letter."""
    for name in sorted(folder, key=lambda each: (len(each), each.upper())):
        inside = folder[name]
        entry = _Entry(name, 2, inside) if isinstance(inside, bytes) else _Entry(name, 1)
        number = len(entries)
        entries.append(entry)
        if parent.children:
            entries[parent.children[-1]].right = number
        parent.children.append(number)
        if not isinstance(inside, bytes):
            _add(inside, entries, entry)


def _padded(content: bytes, size: int) -> bytes:
    return content + bytes(-len(content) % size)


def _append(content: bytes, sectors: bytearray, table: list[int]) -> int:
    """Add bytes as sectors; return the number of the first one."""
    if not content:
        return END
    start = len(table)
    sectors += _padded(content, SECTOR)
    table += [*range(start + 1, len(sectors) // SECTOR), END]
    return start


def _entry_bytes(entry: _Entry) -> bytes:
    name = entry.name.encode("utf-16-le") + b"\0\0"
    child = entry.children[0] if entry.children else NONE
    return struct.pack(
        "<64sHBB3I16xI16xIQ",
        *(name, len(name), entry.kind, 1, NONE, entry.right, child, 0),
        *(entry.start if entry.content or entry.kind == 2 else END, len(entry.content)),
    )


def xls(story: Story) -> bytes:
    """Return a story as XLS (BIFF8): its text in one sheet, its table in another."""
    lines = [story.title, *(t for s in story.sections for t in (s.heading, *s.paragraphs))]
    rows = [[line] for line in lines]
    sheets = {"Text": _sheet(rows), "Table": _sheet(story.rows)}
    formats = _record(0x00E0, bytes(20)) + _record(0x00E0, struct.pack("<HH16x", 0, 14))
    head = _record(0x0809, struct.pack("<HHHHII", 0x0600, 5, 0x0DBB, 1996, 0, 6)) + formats
    bound_bytes = sum(4 + 8 + len(name) for name in sheets)
    place = len(head) + bound_bytes + 4
    bounds = b""
    for name, content in sheets.items():
        fields = struct.pack("<IHBB", place, 0, len(name), 0)
        bounds += _record(0x0085, fields + name.encode("ascii"))
        place += len(content)
    workbook = head + bounds + _record(0x000A) + b"".join(sheets.values())
    return compound(
        {
            "Workbook": workbook + bytes(max(0, SMALL_STREAM - len(workbook))),
            "\x05SummaryInformation": _properties(story),
        }
    )


def _properties(story: Story) -> bytes:
    """Return the property set of title, author and time of creation, in UTF-8."""
    values = {1: struct.pack("<IhH", 2, 65001 - 65536, 0)}
    for number, text in ((2, story.title), (4, story.author)):
        content = text.encode() + b"\0"
        values[number] = struct.pack("<II", 30, len(content)) + _padded(content, 4)
    values[12] = struct.pack("<IQ", 64, _file_time(story))
    place, index, body = 8 + 8 * len(values), b"", b""
    for number, value in values.items():
        index += struct.pack("<II", number, place + len(body))
        body += value
    section = struct.pack("<II", place + len(body), len(values)) + index + body
    kind = bytes.fromhex("e0859ff2f94f6810ab9108002b27b3d9")
    return struct.pack("<HHI16xI", 0xFFFE, 0, 2, 1) + kind + struct.pack("<I", 48) + section


def _file_time(story: Story) -> int:
    return int((story.created_at - FILE_TIME_EPOCH).total_seconds()) * 10_000_000


def _record(number: int, data: bytes = b"") -> bytes:
    return struct.pack("<HH", number, len(data)) + data


def _sheet(rows: Sequence[Sequence[str | float | date]]) -> bytes:
    content = _record(0x0809, struct.pack("<HHHHII", 0x0600, 0x10, 0x0DBB, 1996, 0, 6))
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            content += _xls_cell(row, column, value)
    return content + _record(0x000A)


def _xls_cell(row: int, column: int, value: str | float | date) -> bytes:
    if isinstance(value, str):
        text = value.encode("utf-16-le")
        return _record(0x0204, struct.pack("<HHHHB", row, column, 0, len(value), 1) + text)
    is_day = isinstance(value, date)
    number = float((value - EXCEL_EPOCH).days) if isinstance(value, date) else float(value)
    return _record(0x0203, struct.pack("<HHHd", row, column, int(is_day), number))


def msg(story: Story, attachments: Mapping[str, bytes] | None = None) -> bytes:
    """Return a story as a message of Outlook with attachments."""
    lines = [text for section in story.sections for text in (section.heading, *section.paragraphs)]
    body = "\r\n".join([*lines, *("\t".join(row) for row in story.cells)])
    folder: dict[str, bytes | Folder] = {
        "__properties_version1.0": bytes(32)
        + struct.pack("<IIQ", 0x00390040, 6, _file_time(story)),
        "__substg1.0_0037001F": story.title.encode("utf-16-le"),
        "__substg1.0_0C1A001F": story.author.encode("utf-16-le"),
        "__substg1.0_0C1F001F": "author@example.org".encode("utf-16-le"),
        "__substg1.0_0E04001F": "Office".encode("utf-16-le"),
        "__substg1.0_1000001F": body.encode("utf-16-le"),
    }
    for number, (name, content) in enumerate((attachments or {}).items()):
        folder[f"__attach_version1.0_#{number:08X}"] = {
            "__properties_version1.0": bytes(8),
            "__substg1.0_37010102": content,
            "__substg1.0_3707001F": name.encode("utf-16-le"),
        }
    return compound(folder)


def encrypted_office() -> bytes:
    """Return the compound file of an encrypted document of Office."""
    return compound({"EncryptedPackage": bytes(5000), "EncryptionInfo": bytes(200)})
