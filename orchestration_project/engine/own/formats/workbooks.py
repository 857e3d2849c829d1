"""XLSX: rows of a sheet below a header, with days, whole numbers and truths as they are meant."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from posixpath import join, normpath
from typing import Any

from orchestration_project.engine.contracts.balance import RecordCount
from orchestration_project.engine.own.formats.compressed import is_compressed, unpack_zip
from orchestration_project.engine.own.formats.shared import (
    MAX_CELLS,
    Record,
    Row,
    build_library_error,
    build_read_error,
    format_value,
    iterate_table_records,
)
from orchestration_project.engine.own.formats.xml_documents import drop_namespace, parse_xml
from orchestration_project.engine.own.reading import Reading

SHARED = {"xl/sharedStrings.xml", "xl/styles.xml"}
"""Parts with texts and forms of cells."""


def read(body: bytes, reading: Reading, names: Sequence[str]) -> Iterator[Record]:
    """Yield the records of a sheet; a row is one if a cell of it has a value.

    Raises:
        SourceError: It is not a workbook, or damaged, or lacks the sheet.
    """
    sheet, part = _find_sheet(body, reading)
    cells = _read_cells(body, sheet)
    header = cells[reading.skip] if reading.skip < len(cells) else []
    problems = _find_problems(part, [format_value(cell) in names for cell in header])
    return iterate_table_records(_iterate_rows(cells, problems, reading.skip), names)


def _iterate_rows(
    cells: Sequence[Sequence[Any]], problems: Mapping[int, tuple[str, str]], skip: int
) -> Iterator[Row]:
    for number, row in enumerate(cells[skip:], skip + 1):
        if number == skip + 1 or number in problems or any(cell != "" for cell in row):
            yield Row(number, [_format_cell(cell) for cell in row], problems.get(number, ("", "")))


def _format_cell(cell: Any) -> str:
    """Return a cell as a text: a whole number has no decimals."""
    text = format_value(cell)
    return text.removesuffix(".0") if isinstance(cell, float) else text


def _read_cells(body: bytes, sheet: str) -> Sequence[Sequence[Any]]:
    try:
        from python_calamine import CalamineError, CalamineWorkbook  # an extra
    except ImportError as error:
        raise build_library_error("python-calamine") from error
    try:
        with CalamineWorkbook.from_filelike(io.BytesIO(body)) as workbook:
            opened_sheet = workbook.get_sheet_by_name(sheet)
            if opened_sheet.total_height * opened_sheet.total_width > MAX_CELLS:
                raise build_read_error(f"at most {MAX_CELLS} cells", f"more in the sheet {sheet}")
            return opened_sheet.to_python(skip_empty_area=False)
    except (CalamineError, ValueError, OSError) as error:
        raise build_read_error("a whole workbook", str(error)[:200]) from error


def _find_sheet(body: bytes, reading: Reading) -> tuple[str, bytes]:
    """Return the name of the wanted sheet, and its part of the workbook.

    Raises:
        SourceError: There are several and none is named, or it is not there.
    """
    parts = unpack_zip(body, reading.max_bytes) if is_compressed(body) else {}
    if "xl/workbook.xml" not in parts:
        raise build_read_error("a workbook of XLSX", "another document")
    targets = {
        link.get("Id", ""): normpath(join("/xl", link.get("Target", "")))[1:]
        for link in parse_xml(parts.get("xl/_rels/workbook.xml.rels", b"<none/>"))
    }
    by_name = {
        sheet.get("name", ""): targets.get(_find_relation(sheet.attrib), "")
        for sheet in parse_xml(parts["xl/workbook.xml"]).iter()
        if drop_namespace(sheet.tag) == "sheet"
    }
    for part in SHARED & set(parts):  # of damaged XML calamine returns what it has got
        parse_xml(parts[part])
    name = reading.sheet or (next(iter(by_name)) if len(by_name) == 1 else "")
    if by_name.get(name) not in parts:
        text = f"the sheet {name}" if name else "one sheet, or its name as sheet="
        raise build_read_error(text, ", ".join(by_name) or "none")
    return name, parts[by_name[name]]


def _find_relation(attributes: Mapping[str, str]) -> str:
    return next((value for name, value in attributes.items() if drop_namespace(name) == "id"), "")


def _find_problems(part: bytes, is_field: Sequence[bool]) -> Mapping[int, tuple[str, str]]:
    """Return why rows cannot be records: a field has an error, or a formula without its value."""
    problems: dict[int, tuple[str, str]] = {}
    number = 0
    for row in (
        element for element in parse_xml(part).iter() if drop_namespace(element.tag) == "row"
    ):
        number = int(row.get("r") or number + 1)
        column = -1
        for cell in row:
            column = _parse_column(cell.get("r", ""), column + 1)
            texts = {drop_namespace(name.tag): name.text or "" for name in cell}
            if column >= len(is_field) or not is_field[column]:
                continue
            if cell.get("t") == "e":
                problems[number] = ("error_cell", f"column {column + 1} has {texts.get('v', '')}")
            elif "f" in texts and not texts.get("v") and cell.get("t") != "str":
                problems[number] = (
                    "no_value",
                    f"column {column + 1} has a formula without its value",
                )
    return problems


def _parse_column(reference: str, default: int) -> int:
    """Return the number of a column, from 0, by a reference such as ``B2``."""
    letters = reference.rstrip("0123456789")
    if not letters:
        return default
    number = 0
    for letter in letters.encode():
        number = number * 26 + letter - b"@"[0]
    return number - 1


# -- counts, apart from what makes records --------------------------------------------------------


ROW = re.compile(rb"<(?:\w+:)?row\b([^>]*?)(?:/>|>(.*?)</(?:\w+:)?row>)", re.DOTALL)
NUMBER = re.compile(rb"""\br=["'](\d+)["']""")
VALUE = re.compile(rb"<(?:\w+:)?(?:v|t)\b[^>]*>[^<]")


def count(body: bytes, reading: Reading) -> RecordCount:
    """Count the rows below the header in which a cell has a value."""
    number = records = 0
    for row in ROW.finditer(_find_sheet(body, reading)[1]):
        match = NUMBER.search(row[1])
        number = int(match[1]) if match else number + 1
        records += number > reading.skip + 1 and bool(VALUE.search(row[2] or b""))
    return records, len(body)
