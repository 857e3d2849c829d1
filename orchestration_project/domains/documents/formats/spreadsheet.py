"""XLSX, XLSM, XLSB, XLS and ODS: a page for each sheet, with typed cells."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from html import unescape
from io import BytesIO
from itertools import islice
from string import ascii_uppercase
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
from orchestration_project.domains.documents.formats.number_formats import (
    Show,
    ShownCell,
    shown_cells,
    shown_formats,
)
from orchestration_project.domains.documents.formats.office import (
    links_of,
    main_part,
    read_properties,
)
from orchestration_project.domains.documents.formats.ole_properties import (
    inspect_xls,
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
ODS_ERROR = re.compile(rb"""\bcalcext:value-type=["']error["']""")
BINARY_DRAWINGS = re.compile(r"^xl/(?:comments[^/]*\.bin|drawings/drawing[^/]*\.xml)$")
DRAWINGS = "comments, text boxes or charts"

MAX_CELLS = 20_000_000
"""Cells of a sheet, empty ones within its rectangle included: two may be far apart."""

MAX_SHOWN, MAX_NAMED = 1_000_000, 5
"""Cells of a sheet whose number format is read, and errors of one that a note names."""

MAX_ADDED = 100
"""Rows or columns that formulas without a value may add to a sheet."""

UNCALCULATED = "=?"
"""Shown in place of the value of a formula that has none stored."""


def read(content: bytes, draft: Draft) -> None:
    """Add a page for each sheet: its name, then its rows with tabs between cells.

    Raises:
        DocumentError: ``encrypted``, ``corrupt``, ``truncated``, or a limit.
    """
    parts = SheetParts({}, {}, {})
    if draft.media_type == XLS:
        _read_xls_properties(content, draft)
        xls = inspect_xls(content)
        if xls.has_drawings:
            draft.note("content_left_out", DRAWINGS)
        if xls.error_count:
            draft.note("error_cells", f"{xls.error_count} cells")
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
        shown: Cells that are shown otherwise than their values read.
        beside: Lines and tables of comments, text boxes, charts, headers and footers.
    """

    missing: dict[str, list[str]]
    shown: dict[str, list[ShownCell]]
    beside: dict[str, tuple[list[str], list[Table]]]


def _read_sheets(workbook: CalamineWorkbook, draft: Draft, parts: SheetParts) -> None:
    metadata = workbook.sheets_metadata
    draft.check_pages(len(metadata))
    for sheet in metadata:
        beside = parts.beside.get(sheet.name, ([], []))
        if sheet.typ not in (SheetTypeEnum.WorkSheet, SheetTypeEnum.MacroSheet):
            if any(beside):
                _add_sheet(sheet.name, [], [], beside, draft)
            continue
        if sheet.typ == SheetTypeEnum.MacroSheet:
            draft.note("macros_ignored", sheet.name)
        opened_sheet = workbook.get_sheet_by_name(sheet.name)
        cells = opened_sheet.total_height * opened_sheet.total_width
        if cells > MAX_CELLS:
            raise DocumentError("too_much_text", f"{cells:,} cells")
        rows = [
            [None if value == "" else cast(Cell, value) for value in row]
            for row in opened_sheet.to_python(skip_empty_area=False)
        ]
        shown_cells = parts.shown.get(sheet.name, ())
        _set_texts(rows, parts.missing.get(sheet.name, ()), shown_cells)
        _add_sheet(sheet.name, rows, list(_render_lines(rows, shown_cells)), beside, draft)


def _set_texts(rows: list[list[Cell]], missing: Sequence[str], shown: Sequence[ShownCell]) -> None:
    """Put in the texts of cells that calamine has no value, or not the shown value, of."""
    for reference in missing:
        _set_cell(rows, reference, UNCALCULATED)
    for cell in shown:
        if cell.is_value:
            _set_cell(rows, cell.reference, cell.text, is_replaced=True)


def _add_sheet(
    name: str,
    rows: list[list[Cell]],
    lines: list[str],
    beside: tuple[list[str], list[Table]],
    draft: Draft,
) -> None:
    table = Table(tuple(tuple(row) for row in rows), name)
    lines = [*lines, *beside[0]]
    text = "\n".join([name, *lines]) if lines else ""
    tables = [*([table] if rows else []), *beside[1]]
    draft.add_page(text, tables, headings=[(1, name)] if text else [])


def _render_lines(rows: list[list[Cell]], shown: Sequence[ShownCell]) -> Iterator[str]:
    """Yield the rows that are not empty as they are shown, with tabs between cells."""
    texts = {_parse_place(cell.reference): cell.text for cell in shown if not cell.is_value}
    for index, row in enumerate(rows):
        if any(value is not None for value in row):
            cells = (
                texts.get((index, column)) if texts and isinstance(value, float | int) else None
                for column, value in enumerate(row)
            )
            pairs = zip(row, cells, strict=True)
            yield "\t".join(text or _render_cell(value) for value, text in pairs).rstrip("\t")


def _render_cell(value: Cell) -> str:
    return " ".join(cell_text(value).split())


def _inspect(archive: Archive, draft: Draft) -> SheetParts:
    """Inflate all parts within the limits; return what calamine does not read of the sheets.

    Raises:
        DocumentError: A limit is exceeded, or a part declares entities.
    """
    parts = SheetParts({}, {}, {})
    sheets = dict[str, str]()
    if draft.media_type == ODS:
        archive.optional("meta.xml", draft, lambda content: _read_ods_properties(content, draft))
    else:
        read_properties(archive, draft)
        sheets = {part: name for name, part in _find_sheet_parts(archive, draft)}
    formats = _read_formats(archive, draft) if sheets else {}
    for member in archive.members:
        content, part = archive.read(member), member.filename
        if REQUIRED_PART.search(part):  # of damaged XML calamine returns what it has got
            check_xml(content)
        if part in sheets:
            _inspect_sheet(sheets[part], content, formats, parts)
            lines, tables = _read_parts_beside(archive, part, draft)
            parts.beside[sheets[part]] = ([*lines, *_read_margins(content)], tables)
        elif not sheets:
            _report_left_out(part, content, draft)
    count = sum(map(len, parts.missing.values()))
    if count:
        draft.note("formula_without_value", f"{count} cells")
    for name, cells in parts.shown.items():
        _report_errors(name, [cell for cell in cells if cell.is_error], draft)
    return parts


def _inspect_sheet(
    name: str, content: bytes, formats: Mapping[str, tuple[Show, bool]], parts: SheetParts
) -> None:
    if FORMULA.search(content):
        parts.missing[name] = list(_find_missing(content))
    parts.shown[name] = list(islice(shown_cells(content, formats), MAX_SHOWN))


def _report_left_out(part: str, content: bytes, draft: Draft) -> None:
    """Note the drawings and error cells of XLSB and ODS parts, which are not read."""
    is_content = part == "content.xml"
    if BINARY_DRAWINGS.search(part) or (is_content and ODS_DRAWINGS.search(content)):
        draft.note("content_left_out", DRAWINGS)
    if is_content and (count := len(ODS_ERROR.findall(content))):
        draft.note("error_cells", f"{count} cells")


def _read_formats(archive: Archive, draft: Draft) -> Mapping[str, tuple[Show, bool]]:
    """Return the functions of a workbook's styles that change what is shown."""
    formats = dict[str, tuple[Show, bool]]()
    for link in links_of(archive, main_part(archive)).values():
        if link.kind == "styles":
            archive.optional(
                link.part, draft, lambda content: formats.update(shown_formats(content))
            )
    return formats


def _report_errors(name: str, errors: Sequence[ShownCell], draft: Draft) -> None:
    if errors:
        places = ", ".join(f"{cell.reference} {cell.text}" for cell in errors[:MAX_NAMED])
        remaining_text = f" and {len(errors) - MAX_NAMED} more" if len(errors) > MAX_NAMED else ""
        draft.note("error_cells", f"{name}: {places}{remaining_text}")


def _read_parts_beside(archive: Archive, part: str, draft: Draft) -> tuple[list[str], list[Table]]:
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


def _read_margins(content: bytes) -> Iterator[str]:
    """Yield the headers and footers of a sheet, without the codes of its program."""
    seen_names = set[str]()
    for match in MARGIN.finditer(content):
        text = " ".join(MARGIN_CODE.sub(" ", unescape(match[2].decode("utf-8", "replace"))).split())
        line = f"[{match[1].decode().lower()}] {text}"
        if text and line not in seen_names:
            seen_names.add(line)
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


def _find_sheet_parts(archive: Archive, draft: Draft) -> Iterator[tuple[str, str]]:
    """Yield name and part of each sheet of a workbook in XML."""
    if "sheet.binary" in draft.media_type:
        return
    main = main_part(archive)
    links = links_of(archive, main)
    for sheet in parse_xml(archive.part(main) or b"").iter("{*}sheet"):
        relation = next((str(v) for k, v in sheet.attrib.items() if str(k).endswith("}id")), "")
        if relation in links:
            yield sheet.get("name", ""), links[relation].part


def _find_missing(content: bytes) -> Iterator[str]:
    """Yield the references of cells with a formula and no stored value."""
    for cell in parse_xml(content).iter("{*}c"):
        names = {local_name(child) for child in cell}
        if "f" in names and not names & {"v", "is"}:
            yield cell.get("r", "")


def _parse_place(reference: str) -> tuple[int, int] | None:
    """Return row and column of a reference such as ``B2``, from 0; None for another text."""
    match = re.fullmatch(r"([A-Z]{1,3})([1-9]\d{0,6})", reference)
    if not match:
        return None
    column = 0
    for letter in match[1]:  # digits of base 26 from A, which is 1, to Z, which is 26
        column = column * len(ascii_uppercase) + ascii_uppercase.index(letter) + 1
    return int(match[2]) - 1, column - 1


def _set_cell(
    rows: list[list[Cell]], reference: str, text: str, *, is_replaced: bool = False
) -> None:
    """Put a text into an empty cell; one far outside of the others is left out.

    Args:
        rows: All rows of the sheet, which become as long as needed.
        reference: The cell.
        text: Its text.
        is_replaced: The text replaces a value, too.
    """
    pair = _parse_place(reference)
    if pair is None:
        return
    row, column = pair
    if row >= len(rows) + MAX_ADDED or column >= len(rows[0] if rows else ()) + MAX_ADDED:
        return
    rows.extend([] for _ in range(row + 1 - len(rows)))
    width = max([column + 1, *map(len, rows)]) if len(rows[row]) <= column else 0
    if width:
        for cells in rows:
            cells.extend([None] * (width - len(cells)))
    if is_replaced or rows[row][column] is None:
        rows[row][column] = text
