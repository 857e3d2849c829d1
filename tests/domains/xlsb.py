"""A writer of XLSB, the workbook in binary records, for the tests of readers."""

import struct
from collections.abc import Sequence
from datetime import date
from io import BytesIO
from zipfile import ZipFile

from orchestration_demo.documents.packages import (
    EXCEL_EPOCH,
    archive,
    package,
    relations,
)
from orchestration_demo.documents.story import Story

KIND = "application/vnd.ms-excel.sheet.binary.macroEnabled.main"
ROW, REAL, TEXT, FORMULA_NUMBER, BOOLEAN = 0, 5, 6, 9, 4
DATE_STYLE = 1

Value = str | float | bool | date


def record(kind: int, content: bytes = b"") -> bytes:
    """Return a record; its type and its size have seven bits in each byte."""
    head = bytes([kind]) if kind < 128 else bytes([kind & 0x7F | 0x80, kind >> 7])
    size, left = bytearray(), len(content)
    while True:
        size.append(left & 0x7F | (0x80 if left > 127 else 0))
        left >>= 7
        if not left:
            return head + bytes(size) + content


def wide(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")


def cell(column: int, value: Value, *, is_formula: bool = False) -> bytes:
    style = DATE_STYLE if isinstance(value, date) else 0
    place = struct.pack("<II", column, style)
    if isinstance(value, str):
        return record(TEXT, place + wide(value))
    if isinstance(value, bool):
        return record(BOOLEAN, place + bytes([value]))
    number = (value - EXCEL_EPOCH).days if isinstance(value, date) else value
    content = place + struct.pack("<d", number)
    return record(FORMULA_NUMBER, content + bytes(10)) if is_formula else record(REAL, content)


def sheet(rows: Sequence[Sequence[Value]], total: float) -> bytes:
    """Return a sheet of rows, with a formula's stored value below."""
    width = max(map(len, rows)) - 1
    content = record(129) + record(148, struct.pack("<IIII", 0, len(rows), 0, width)) + record(145)
    for number, row in enumerate(rows):
        content += record(ROW, struct.pack("<I", number) + bytes(13))
        content += b"".join(cell(column, value) for column, value in enumerate(row))
    content += record(ROW, struct.pack("<I", len(rows)) + bytes(13))
    return content + cell(0, total, is_formula=True) + record(146) + record(130)


def xlsb(rows: Sequence[Sequence[Value]], total: float, story: Story) -> bytes:
    """Return a workbook with macros and a sheet ``Binary``."""
    bundle = struct.pack("<II", 0, 1) + wide("rId1") + wide("Binary")
    book = record(131) + record(143) + record(156, bundle) + record(144) + record(157) + record(132)
    formats = b"".join(record(47, struct.pack("<HH", 0, number) + bytes(12)) for number in (0, 14))
    styles = record(278) + record(617, struct.pack("<I", 2)) + formats + record(618) + record(279)
    links = {
        "rId1": ("worksheet", "worksheets/sheet1.bin"),
        "rId2": ("styles", "styles.bin"),
    }
    empty = package(
        KIND, "xl/workbook.bin", {"xl/_rels/workbook.bin.rels": relations(links)}, story
    )
    with ZipFile(BytesIO(empty)) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    parts |= {
        "xl/workbook.bin": book,
        "xl/styles.bin": styles,
        "xl/worksheets/sheet1.bin": sheet(rows, total),
        "xl/vbaProject.bin": b"Sub Auto_Open: macro words",
    }
    return archive(parts.items())
