"""DOCX: body and tables in order, headers, footers, notes, comments, text boxes, charts.

Text that a tracked deletion removed is left out, inserted text is there. Of alternatives for older
programs the first is read, so a text box is there once.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from orchestration_project.domains.documents.extracted import Draft, Table
from orchestration_project.domains.documents.formats.archives import Archive, opened
from orchestration_project.domains.documents.formats.drawings import FRAMES, Frames
from orchestration_project.domains.documents.formats.grid import Grid, set_cell
from orchestration_project.domains.documents.formats.office import (
    Link,
    links_of,
    main_part,
    read_properties,
    required,
)
from orchestration_project.domains.documents.xml import (
    Element,
    attribute,
    children_named,
    local_name,
    parse_xml,
)

CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "softHyphen": ""}
REFERENCES = {"footnoteReference": "^", "endnoteReference": "^e", "commentReference": "^c"}
"""Element of a reference, and the mark before its number in brackets."""

LEFT_OUT = {"del", "moveFrom", "delText", "instrText", "Fallback", "pPr", "rPr", "tcPr", "tblPr"}
HEADING_NAME = re.compile(r"heading (\d)$", re.IGNORECASE)
BOUNDARY_NOTES = {"separator", "continuationSeparator", "continuationNotice"}


class Line(NamedTuple):
    """A paragraph, or a row of a table, and the level of the heading that it is, else 0."""

    text: str
    level: int = 0


def read(content: bytes, draft: Draft) -> None:
    """Add one page: headers, body, footers, footnotes, endnotes, comments.

    The format has no pages until a program has laid it out.

    Raises:
        DocumentError: ``corrupt``, ``truncated``, ``xml_entities``, or a limit.
    """
    with opened(content, draft.limits) as archive:
        main = main_part(archive)
        links = links_of(archive, main)
        reader = _Reader(_read_heading_levels(archive, links, draft), Frames(archive, main, draft))
        root = required(archive, main)
        body_frames = reader.frames
        around = {
            kind: list(_read_parts(archive, links, kind, reader, draft))
            for kind in ("header", "footer", "footnotes", "endnotes", "comments")
        }
        reader.frames = body_frames
        body = [line for item in children_named(root, "body") for line in reader.lines(item)]
        read_properties(archive, draft)
    lines = [*around.pop("header"), *body, *(line for kind in around.values() for line in kind)]
    headings = [(line.level, line.text) for line in lines if line.level]
    draft.add_page("\n".join(line.text for line in lines), reader.tables, headings=headings)


def _read_heading_levels(
    archive: Archive, links: Mapping[str, Link], draft: Draft
) -> dict[str, int]:
    """Return the levels of the styles that are headings, by the id of the style."""
    heading_levels = dict[str, int]()

    def use(content: bytes) -> None:
        for style in children_named(parse_xml(content), "style"):
            for name in children_named(style, "name"):
                if level := HEADING_NAME.match(attribute(name, "val") or ""):
                    heading_levels[attribute(style, "styleId") or ""] = int(level[1])

    for link in links.values():
        if link.kind == "styles":
            archive.optional(link.part, draft, use)
    return heading_levels


def _read_parts(
    archive: Archive, links: Mapping[str, Link], kind: str, reader: "_Reader", draft: Draft
) -> Iterator[Line]:
    """Yield the lines of the parts of a kind, each different text once: headers repeat."""
    seen_names = set[str]()
    for part in sorted({link.part for link in links.values() if link.kind == kind}):
        reader.frames = Frames(archive, part, draft)
        reader.frames.tables = reader.tables
        roots = list[Element]()
        archive.optional(part, draft, lambda content, add=roots: add.append(parse_xml(content)))
        for line in (line for root in roots for line in reader.lines(root)):
            if line.text not in seen_names:
                seen_names.add(line.text)
                yield line


class _Reader:
    """Lines of parts; tables are kept as they are met."""

    def __init__(self, levels: Mapping[str, int], frames: Frames) -> None:
        self._levels = levels
        self.frames = frames
        self.tables = frames.tables

    def lines(self, container: Element) -> Iterator[Line]:
        """Yield the lines of what holds paragraphs and tables, at any depth."""
        for child in container:
            name = local_name(child)
            if name == "p":
                yield from self._paragraph(child)
            elif name == "tbl":
                yield from self._table(child)
            elif name in ("footnote", "endnote", "comment"):
                yield from self._note(child, name)
            elif name in FRAMES:
                yield from map(Line, self.frames.lines(child))
            elif name not in LEFT_OUT:
                yield from self.lines(child)

    def _note(self, note: Element, kind: str) -> Iterator[Line]:
        if attribute(note, "type") in BOUNDARY_NOTES:
            return
        mark = f"[{REFERENCES[f'{kind}Reference']}{attribute(note, 'id')}]"
        text = " ".join(line.text.strip() for line in self.lines(note))
        if text.strip():
            yield Line(f"{mark} {text}")

    def _paragraph(self, paragraph: Element) -> Iterator[Line]:
        pieces, boxes = list[str](), list[Element]()
        _collect(paragraph, pieces, boxes)
        text = "".join(pieces)
        if text.strip():
            level = self._level(paragraph)
            yield Line(" ".join(text.split()) if level else text, level)
        for box in boxes:
            if local_name(box) in FRAMES:
                yield from map(Line, self.frames.lines(box))
            else:
                yield from self.lines(box)

    def _level(self, paragraph: Element) -> int:
        for properties in children_named(paragraph, "pPr"):
            for style in children_named(properties, "pStyle"):
                return self._levels.get(attribute(style, "val") or "", 0)
        return 0

    def _table(self, table: Element) -> Iterator[Line]:
        position = len(self.tables)
        rows = list[tuple[str, ...]]()
        for row in _find_inside(table, "tr"):
            cells = self._cells(row)
            rows.append(tuple(cells))
            yield Line("\t".join(" ".join(cell.split()) for cell in cells).rstrip("\t"))
        if rows:  # tables within its cells come after it
            self.tables.insert(position, Table(tuple(rows)))

    def _cells(self, row: Element) -> list[str]:
        """Return the texts of a row's cells, each in its column of the table's grid."""
        grid, cells = Grid(), list[str]()
        grid.skip(_read_span(row, "trPr", "gridBefore", 0))
        for cell in _find_inside(row, "tc"):
            column, width = grid.place(_read_span(cell, "tcPr", "gridSpan", 1))
            set_cell(cells, column, "\n".join(line.text for line in self.lines(cell)), width)
        grid.skip(_read_span(row, "trPr", "gridAfter", 0))
        cells.extend([""] * (grid.width - len(cells)))
        return cells


def _read_span(element: Element, properties: str, name: str, default: int) -> int:
    """Return a number of columns that the properties of a row or cell have."""
    for child in children_named(element, properties):
        for value in children_named(child, name):
            text = attribute(value, "val") or ""
            return int(text) if text.isdecimal() and len(text) < 5 else default
    return default


def _find_inside(element: Element, name: str) -> Iterator[Element]:
    """Yield the elements of a name, also within content controls and insertions."""
    for child in element:
        text = local_name(child)
        if text == name:
            yield child
        elif text in ("sdt", "sdtContent", "ins", "customXml", "moveTo"):
            yield from _find_inside(child, name)


def _collect(element: Element, pieces: list[str], boxes: list[Element]) -> None:
    """Add the text of a paragraph's elements; text boxes are for their own lines."""
    for child in element:
        name = local_name(child)
        if name in CHARACTERS:
            pieces.append(CHARACTERS[name])
        elif name in REFERENCES:
            pieces.append(f"[{REFERENCES[name]}{attribute(child, 'id')}]")
        elif name in TEXTS:
            pieces.append(TEXTS[name](child))
        elif name == "txbxContent" or name in FRAMES:
            boxes.append(child)
        elif name not in LEFT_OUT:
            _collect(child, pieces, boxes)


def _read_form_value(field: Element) -> str:
    """Return the value of a legacy form field that is not text: a choice, or a checked box."""
    for box in children_named(field, "checkBox"):
        values = {local_name(each): attribute(each, "val") or "1" for each in box}
        checked = values.get("checked", values.get("default", "0"))
        return "\u2612" if checked in ("1", "true", "on") else "\u2610"
    for choices in children_named(field, "ddList"):
        entries = [attribute(item, "val") or "" for item in children_named(choices, "listEntry")]
        values = {local_name(choice): attribute(choice, "val") or "0" for choice in choices}
        chosen = values.get("result", values.get("default", "0"))
        return entries[int(chosen)] if chosen.isdecimal() and int(chosen) < len(entries) else ""
    return ""


def _read_symbol(element: Element) -> str:
    """Return a symbol; most fonts of symbols have no known characters."""
    try:
        code = int(attribute(element, "char") or "", 16)
    except ValueError:
        return "\ufffd"
    return chr(code) if code < 0xE000 else "\ufffd"


TEXTS: Mapping[str, Callable[[Element], str]] = {
    "t": lambda element: element.text or "",
    "sym": _read_symbol,
    "textpath": lambda element: attribute(element, "string") or "",
    "ffData": _read_form_value,
}
"""Elements whose text is theirs alone; ``textpath`` is a watermark."""
