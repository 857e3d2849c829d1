"""HTML: visible text in document order, headings, tables and properties."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from orchestration_project.domains.documents.extracted import Draft, Table, parse_time
from orchestration_project.domains.documents.formats.grid import (
    MAX_ROW_SPAN,
    Grid,
    set_cell,
)
from orchestration_project.domains.documents.text import decode

HIDDEN = {
    *("script", "style", "template", "noscript", "head", "iframe", "object", "title"),
    *("defs", "desc", "metadata", "annotation", "annotation-xml"),  # of drawings and formulas
}
"""Elements whose content no reader sees as text."""

BLOCKS = {
    *("address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details"),
    *("dialog", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1"),
    *("h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "legend", "li", "main", "nav", "ol"),
    *("p", "pre", "section", "summary", "table", "tbody", "text", "tfoot", "thead", "tr", "ul"),
}
"""Elements that begin and end a line; ``text`` is one of a drawing."""

UNSHOWN_INPUTS = {"hidden", "password", "checkbox", "radio", "file", "image", "color", "range"}
"""Types of inputs whose value is not shown as text."""

CELLS = {"td", "th"}
SECTIONS = {"tbody", "thead", "tfoot"}
HEADINGS = {f"h{level}": level for level in range(1, 7)}
NUMBER = re.compile(r"\s*(\d{1,6})", re.ASCII)
SPACES = re.compile(r"[ \t\r\n\f\v]+")

MAX_NESTED_TABLES = 2000
"""Tables that are returned; the text has the cells of all."""


class HtmlText(NamedTuple):
    """Visible text with its headings and tables, and the title."""

    text: str
    headings: list[tuple[int, str]]
    tables: list[Table]
    title: str | None
    parser: LexborHTMLParser


def read(content: bytes, draft: Draft) -> None:
    """Add one page with the visible text."""
    decoded = decode(content)
    for code, detail in decoded.notes:
        draft.note(code, detail)
    page = html_text(decoded.text)
    draft.title = page.title
    draft.author = _find_meta(page.parser, "author")
    draft.created_at = parse_time(_find_meta(page.parser, "article:published_time", "date"))
    draft.add_page(page.text, page.tables, headings=page.headings)


def html_text(html: str) -> HtmlText:
    """Return the visible text of an HTML document; malformed markup is parsed as browsers do.

    A line of the text is a block or a row of a table; tabs separate cells, and spaces are
    collapsed except in ``pre``.

    Raises:
        MemoryError: The document is too large for the memory.
    """
    try:
        parser = LexborHTMLParser(html.encode("utf-8", "replace"))
    except SelectolaxError as error:  # it parses any text, if it has the memory
        raise MemoryError from error
    title = parser.css_first("title")
    root = parser.root
    writer = _Writer()
    if root is not None:
        writer.write(root)
    return HtmlText(
        writer.text(),
        writer.headings,
        [Table(rows) for rows in _read_tables(parser) if rows],
        SPACES.sub(" ", title.text()).strip() if title else None,
        parser,
    )


def _find_meta(parser: LexborHTMLParser, *names: str) -> str | None:
    for node in parser.css("meta"):
        attributes = node.attributes
        if (attributes.get("name") or attributes.get("property") or "").lower() in names:
            return attributes.get("content")
    return None


def _walk_nodes(root: LexborNode) -> Iterator[tuple[LexborNode, bool]]:
    """Yield each node when it begins, with True, and elements again when they end, with False.

    Depth is bounded by the heap alone: documents may nest far deeper than Python recurses.
    """
    stack = [(root, True)]
    while stack:
        node, is_start = stack.pop()
        yield node, is_start
        if not is_start or not node.is_element_node or node.tag in HIDDEN:
            continue
        stack.append((node, False))
        children = []
        child = node.first_child
        while child is not None:
            children.append((child, True))
            child = child.next
        stack.extend(reversed(children))


class _Writer:
    """Text of visible nodes, line by line."""

    def __init__(self) -> None:
        self.headings: list[tuple[int, str]] = []
        self._lines: list[str] = []
        self._line: list[str] = []
        self._preformatted = 0
        self._grids: list[tuple[Grid, int]] = []  # of the open tables, and their last column

    def write(self, root: LexborNode) -> None:
        for node, is_start in _walk_nodes(root):
            if node.is_text_node:
                self._add(node.text_content or "")
            elif node.is_element_node:
                self._element(node.tag or "", is_start)
                self._table_part(node, is_start)
                if node.tag == "input" and is_start:
                    self._add(_read_input(node))

    def _element(self, tag: str, is_start: bool) -> None:
        if tag == "br" and is_start:
            self._end_line()
        elif tag in BLOCKS:
            line = self._end_line()
            if not is_start and line and tag in HEADINGS:
                self.headings.append((HEADINGS[tag], line))
            if tag == "pre":
                self._preformatted += 1 if is_start else -1

    def _table_part(self, node: LexborNode, is_start: bool) -> None:
        """Follow the columns of the open tables; a cell comes after as many tabs as it has."""
        tag = node.tag or ""
        if tag == "table":
            if is_start:
                self._grids.append((Grid(), -1))
            elif self._grids:
                self._grids.pop()
        elif tag in SECTIONS and is_start and self._grids:
            self._grids[-1] = (Grid(), -1)
        elif tag == "tr" and is_start and self._grids:
            grid, _ = self._grids.pop()
            grid.begin_row()
            self._grids.append((grid, -1))
        elif tag in CELLS and is_start:
            grid, last = self._grids.pop() if self._grids else (Grid(), -1)
            column, _ = grid.place(*_read_spans(node))
            self._grids.append((grid, column))
            self._line.append("\t" * (column - last))

    def _add(self, text: str) -> None:
        if self._preformatted:
            first, *remaining = text.split("\n")
            self._line.append(first)
            for line in remaining:
                self._end_line()
                self._line.append(line)
        else:
            self._line.append(SPACES.sub(" ", text))

    def _end_line(self) -> str:
        """End a line; return it."""
        joined = "".join(self._line)
        if self._preformatted:
            line = joined.rstrip()
        else:
            cells = [re.sub(" +", " ", cell).strip(" ") for cell in joined.split("\t")]
            line = "\t".join(cells if cells[0] else cells[1:])
        self._line.clear()
        if line.strip():
            self._lines.append(line)
        return line

    def text(self) -> str:
        """Return the lines; the last one ends here."""
        self._end_line()
        return "\n".join(self._lines)


def _read_input(node: LexborNode) -> str:
    """Return the value of an input that a reader sees."""
    attributes = node.attributes
    is_shown = (attributes.get("type") or "text").lower() not in UNSHOWN_INPUTS
    return attributes.get("value") or "" if is_shown else ""


def _read_spans(cell: LexborNode) -> tuple[int, int]:
    """Return how many columns and rows a cell spans; zero rows are all that follow."""
    attributes = cell.attributes
    columns, rows = (_parse_number(attributes.get(name)) for name in ("colspan", "rowspan"))
    return columns or 1, MAX_ROW_SPAN if rows == 0 else rows or 1


def _parse_number(text: str | None) -> int | None:
    match = NUMBER.match(text or "")
    return int(match[1]) if match else None


def _read_tables(parser: LexborHTMLParser) -> Iterator[tuple[tuple[str, ...], ...]]:
    """Yield the rows of each table, without those of tables within it."""
    for index, table in enumerate(parser.css("table")):
        if index >= MAX_NESTED_TABLES:
            return
        rows = list[tuple[str, ...]]()
        for section in _split_sections(table):
            grid = Grid()  # a cell spans no rows of another section
            rows.extend(_read_row(row, grid) for row in section)
        yield tuple(row for row in rows if row)


def _split_sections(table: LexborNode) -> Iterator[list[LexborNode]]:
    """Yield the rows of each part of a table: its head, bodies, foot, and rows without these."""
    rows = list[LexborNode]()
    for child in table.iter():
        if child.tag == "tr":
            rows.append(child)
        elif child.tag in SECTIONS:
            yield rows
            rows = []
            yield [row for row in child.iter() if row.tag == "tr"]
    yield rows


def _read_row(row: LexborNode, grid: Grid) -> tuple[str, ...]:
    grid.begin_row()
    cells = list[str]()
    for cell in row.iter():
        if cell.tag in CELLS:
            column, width = grid.place(*_read_spans(cell))
            text = SPACES.sub(" ", cell.text(separator=" ")).strip()
            set_cell(cells, column, text, width)
    cells.extend([""] * (grid.width - len(cells)))
    return tuple(cells)
