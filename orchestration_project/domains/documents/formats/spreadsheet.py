"""XLSX, XLSM, XLSB, XLS and ODS: a page for each sheet, with typed cells."""

import re
from collections.abc import Iterator
from functools import partial
from html import unescape
from io import BytesIO
from typing import NamedTuple, cast

from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum

from orchestration_project.domains.documents.decryption import is_encrypted
from orchestration_project.domains.documents.extracted import (
    Cell,
    Draft,
    Table,
    cell_text,
    parse_time,
)
from orchestration_project.domains.documents.formats.archives import Archive, opened
from orchestration_project.domains.documents.formats.drawings import (
    Frames,
    comment_lines,
    drawing_lines,
)
from orchestration_project.domains.documents.formats.office import (
    links_of,
    main_part,
    read_properties,
)
from orchestration_project.domains.documents.formats.ole_properties import (
    has_xls_drawings,
    read_ole_properties,
)
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.domains.documents.xml import (
    check_xml,
    first_text,
    local_name,
    parse_xml,
)

XLS = "application/vnd.ms-excel"
ODS = "application/vnd.oasis.opendocument.spreadsheet"
FORMULA = re.compile(rb"<(?:\w+:)?f[ />]")
REQUIRED_PART = re.compile(r"^(?:xl/(?:worksheets/)?[^/]*|content)\.xml$")
"""Parts whose cells are read."""

MARGIN = re.compile(rb"<(?:\w+:)?(?:odd|even|first)(Header|Footer)>([^<]*)</")
MARGIN_CODE = re.compile(r'&(?:"[^"]*"|K[0-9A-F]{6}|\d+|[A-Z])')
"""Code of a font, place, page number or date within a header."""

ODS_DRAWINGS = re.compile(rb"<(?:office:annotation|draw:(?:frame|custom-shape|object))[ >]")
BINARY_DRAWINGS = re.compile(r"^xl/(?:comments[^/]*\.bin|drawings/drawing[^/]*\.xml)$")
DRAWINGS = "comments, text boxes or charts"

MAX_CELLS = 20_000_000
"""Cells of a sheet, empty ones within its rectangle included: two may be far apart."""

MOST_ADDED = 100
"""Rows or columns that formulas without a value may add to a sheet."""

UNCALCULATED = "=?"
"""Shown in place of the value of a formula that has none stored."""


def read(content: bytes, draft: Draft) -> None:
    """Add a page for each sheet: its name, then its rows with tabs between cells.

    Raises:
        DocumentError: ``encrypted``, ``corrupt``, ``truncated``, or a limit.
    """
    parts = SheetParts({}, {})
    if draft.media_type == XLS:
        _read_xls_properties(content, draft)
        if has_xls_drawings(content):
            draft.note("content_left_out", DRAWINGS)
    else:  # calamine unzips without a bound
        with opened(content, draft.limits) as archive:
            parts = _inspect(archive, draft)
    try:
        with CalamineWorkbook.from_filelike(BytesIO(content)) as workbook:
            _read_sheets(workbook, draft, parts)
    except PasswordError as error:
        raise DocumentError("encrypted", "a password is needed to open it") from error
    except CalamineError as error:
        is_locked = "password" in str(error).lower() or is_encrypted(content)
        raise DocumentError("encrypted" if is_locked else "corrupt", str(error)[:200]) from error


class SheetParts(NamedTuple):
    """Contents of a workbook beside stored values, by the name of a sheet.

    Attributes:
        missing: References of cells with a formula and no stored value.
        beside: Lines and tables of comments, text boxes, charts, headers and footers.
    """

    missing: dict[str, list[str]]
    beside: dict[str, tuple[list[str], list[Table]]]


def _read_sheets(workbook: CalamineWorkbook, draft: Draft, parts: SheetParts) -> None:
    metadata = workbook.sheets_metadata
    draft.check_pages(len(metadata))
    for sheet in metadata:
        beside = parts.beside.get(sheet.name, ([], []))
        if sheet.typ not in (SheetTypeEnum.WorkSheet, SheetTypeEnum.MacroSheet):
            if any(beside):
                _add_sheet(sheet.name, [], beside, draft)
            continue
        if sheet.typ == SheetTypeEnum.MacroSheet:
            draft.note("macros_ignored", sheet.name)
        found = workbook.get_sheet_by_name(sheet.name)
        cells = found.total_height * found.total_width
        if cells > MAX_CELLS:
            raise DocumentError("too_much_text", f"{cells:,} cells")
        rows = [
            [None if value == "" else cast(Cell, value) for value in row]
            for row in found.to_python(skip_empty_area=False)
        ]
        for reference in parts.missing.get(sheet.name, ()):
            _mark(rows, reference)
        _add_sheet(sheet.name, rows, beside, draft)


def _add_sheet(
    name: str, rows: list[list[Cell]], beside: tuple[list[str], list[Table]], draft: Draft
) -> None:
    table = Table(tuple(tuple(row) for row in rows), name)
    filled = [row for row in rows if any(value is not None for value in row)]
    lines = ["\t".join(_one_line(value) for value in row).rstrip("\t") for row in filled]
    lines += beside[0]
    text = "\n".join([name, *lines]) if lines else ""
    tables = [*([table] if rows else []), *beside[1]]
    draft.add_page(text, tables, headings=[(1, name)] if text else [])


def _one_line(value: Cell) -> str:
    return " ".join(cell_text(value).split())


def _inspect(archive: Archive, draft: Draft) -> SheetParts:
    """Inflate all parts within the limits; return what calamine does not read of the sheets.

    Raises:
        DocumentError: A limit is exceeded, or a part declares entities.
    """
    missing = dict[str, list[str]]()
    beside = dict[str, tuple[list[str], list[Table]]]()
    sheets, is_binary = dict[str, str](), "sheet.binary" in draft.media_type
    if draft.media_type == ODS:
        archive.optional("meta.xml", draft, lambda content: _read_ods_properties(content, draft))
    else:
        read_properties(archive, draft)
        sheets = {part: name for name, part in _sheet_parts(archive, draft)}
    for member in archive.members:
        content, part = archive.read(member), member.filename
        if REQUIRED_PART.search(part):  # of damaged XML calamine returns what it has got
            check_xml(content)
        if part in sheets:
            if FORMULA.search(content):
                missing[sheets[part]] = list(_without_value(content))
            lines, tables = _parts_beside(archive, part, draft)
            beside[sheets[part]] = ([*lines, *_margin_lines(content)], tables)
        is_drawing = part == "content.xml" and ODS_DRAWINGS.search(content)
        if is_drawing or (is_binary and BINARY_DRAWINGS.search(part)):
            draft.note("content_left_out", DRAWINGS)
    count = sum(map(len, missing.values()))
    if count:
        draft.note("formula_without_value", f"{count} cells")
    return SheetParts(missing, beside)


def _parts_beside(archive: Archive, part: str, draft: Draft) -> tuple[list[str], list[Table]]:
    """Return lines and tables of the comments and drawings of a sheet."""
    lines, tables = list[str](), list[Table]()

    def use_drawing(content: bytes, frames: Frames) -> None:
        lines.extend(drawing_lines(parse_xml(content), frames))
        tables.extend(frames.tables)

    try:
        links = links_of(archive, part).values()
    except DocumentError as error:
        if error.reason_code not in ("corrupt", "truncated"):
            raise
        draft.note("parts_unreadable", f"relationships of {part}")
        return [], []
    kinds = {link.kind for link in links}
    comments = "threadedComment" if "threadedComment" in kinds else "comments"
    for link in links:
        if link.kind == "drawing":
            frames = Frames(archive, link.part, draft)
            archive.optional(link.part, draft, partial(use_drawing, frames=frames))
        elif link.kind == comments:
            archive.optional(
                link.part, draft, lambda content: lines.extend(comment_lines(parse_xml(content)))
            )
    return lines, tables


def _margin_lines(content: bytes) -> Iterator[str]:
    """Yield the headers and footers of a sheet, without the codes of its program."""
    seen = set[str]()
    for found in MARGIN.finditer(content):
        text = " ".join(MARGIN_CODE.sub(" ", unescape(found[2].decode("utf-8", "replace"))).split())
        line = f"[{found[1].decode().lower()}] {text}"
        if text and line not in seen:
            seen.add(line)
            yield line


def _read_ods_properties(content: bytes, draft: Draft) -> None:
    root = parse_xml(content)
    draft.title = first_text(root, "title")
    draft.author = first_text(root, "initial-creator") or first_text(root, "creator")
    draft.created_at = parse_time(first_text(root, "creation-date"))


def _read_xls_properties(content: bytes, draft: Draft) -> None:
    try:
        draft.title, draft.author, draft.created_at = read_ole_properties(content)
    except Exception:  # noqa: BLE001 - several, for damaged files; the cells may be whole
        draft.note("parts_unreadable", "properties")


def _sheet_parts(archive: Archive, draft: Draft) -> Iterator[tuple[str, str]]:
    """Yield name and part of each sheet of a workbook in XML."""
    if "sheet.binary" in draft.media_type:
        return
    main = main_part(archive)
    links = links_of(archive, main)
    for sheet in parse_xml(archive.part(main) or b"").iter("{*}sheet"):
        relation = next((str(v) for k, v in sheet.attrib.items() if str(k).endswith("}id")), "")
        if relation in links:
            yield sheet.get("name", ""), links[relation].part


def _without_value(content: bytes) -> Iterator[str]:
    """Yield the references of cells with a formula and no stored value."""
    for cell in parse_xml(content).iter("{*}c"):
        names = {local_name(child) for child in cell}
        if "f" in names and not names & {"v", "is"}:
            yield cell.get("r", "")


def _mark(rows: list[list[Cell]], reference: str) -> None:
    """Put `UNCALCULATED` into an empty cell; one far outside of the others is left out."""
    found = re.fullmatch(r"([A-Z]{1,3})(\d{1,7})", reference)
    if not found:
        return
    column = 0
    for letter in found[1]:
        column = column * 26 + ord(letter) - 64
    row, width = int(found[2]), max([column, *map(len, rows)])
    if not 1 <= row <= len(rows) + MOST_ADDED or column > len(rows[0] if rows else ()) + MOST_ADDED:
        return
    rows.extend([] for _ in range(row - len(rows)))
    for each in rows:
        each.extend([None] * (width - len(each)))
    if rows[row - 1][column - 1] is None:
        rows[row - 1][column - 1] = UNCALCULATED
