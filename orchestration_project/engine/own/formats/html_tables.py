"""HTML: the rows of a table below its first one."""

import html
import re
from collections.abc import Iterator, Sequence
from typing import Any

from orchestration_project.engine.contracts.balance import RecordCount
from orchestration_project.engine.own.formats.shared import (
    MAX_CELLS,
    Record,
    Row,
    build_library_error,
    build_read_error,
    decode_text,
    iterate_table_records,
)
from orchestration_project.engine.own.reading import Reading

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
MAX_SPAN = 65_534
"""Rows that a cell covers, as browsers have it."""


def read(body: bytes, reading: Reading, names: Sequence[str]) -> Iterator[Record]:
    """Yield the records of a table; a cell that covers several rows belongs to each.

    Raises:
        SourceError: The table is missing, or its header lacks a field.
    """
    try:
        from selectolax.lexbor import LexborHTMLParser  # an extra
    except ImportError as error:
        raise build_library_error("selectolax") from error
    tree = LexborHTMLParser(decode_text(body).encode())
    tree.strip_tags(["script", "style", "template"])
    for node in tree.css("br, p, div, li"):
        node.insert_after(" ")
    table = _choose_table(tree, reading.table)
    rows = [row for row in table.css("tr") if _find_table(row) == table.mem_id]
    return iterate_table_records(_iterate_rows(rows, reading.skip), names)


def _choose_table(tree: Any, wanted: int | str) -> Any:
    """Return the table of a number or heading.

    Raises:
        SourceError: There is none, or several have the heading.
    """
    tables: list[Any] = []
    headings: list[str] = []
    last = ""
    for node in tree.css(f"table, caption, {', '.join(HEADINGS)}"):
        if node.tag == "table":
            tables.append(node)
            headings.append("" if _find_table(node) else last)
        elif node.tag == "caption":
            owner = _find_table(node)
            headings[[table.mem_id for table in tables].index(owner)] = _read_text(node)
        else:
            last = _read_text(node)
    entries = [
        table
        for number, (table, heading) in enumerate(zip(tables, headings, strict=True), 1)
        if wanted in (number, heading)
    ]
    if len(entries) != 1:
        titles = [f"{number} {heading}".strip() for number, heading in enumerate(headings[:10], 1)]
        raise build_read_error(f"one table {wanted}", ", ".join(titles) or "no table")
    return entries[0]


def _find_table(node: Any) -> int:
    """Return the identity of the table that an element belongs to; 0: to none."""
    parent = node.parent
    while parent is not None and parent.tag != "table":
        parent = parent.parent
    return 0 if parent is None else parent.mem_id


def _read_text(node: Any) -> str:
    return " ".join(node.text().split())


def _iterate_rows(rows: Sequence[Any], skip: int) -> Iterator[Row]:
    """Yield the rows with the cells of rows above that cover them."""
    covering: dict[int, tuple[int, str]] = {}  # by column: how many rows, and their text
    count = 0
    for number, row in enumerate(rows, 1):
        line = {column: text for column, (_, text) in covering.items()}
        covering = {at: (left - 1, text) for at, (left, text) in covering.items() if left > 1}
        cells = [cell for cell in row.iter() if cell.tag in ("td", "th")]
        column = 0
        for cell in cells:
            while column in line:
                column += 1
            line[column] = _read_text(cell)
            span = _read_span(cell, "rowspan")
            if span > 1:
                covering[column] = (span - 1, line[column])
            for _ in range(_read_span(cell, "colspan") - 1):
                column += 1
                line[column] = line[column - 1]
        count += len(line)
        if count > MAX_CELLS:
            raise build_read_error(f"at most {MAX_CELLS} cells", "more")
        if number > skip:
            texts = [line.get(at, "") for at in range(max(line, default=-1) + 1)]
            yield Row(number, texts, _find_problem(cells) if number > skip + 1 else ("", ""))


def _read_span(cell: Any, name: str) -> int:
    text = cell.attributes.get(name) or "1"
    number = int(text) if re.fullmatch(r"[0-9]{1,5}", text) else 1
    return min(number or MAX_SPAN, MAX_SPAN if name == "rowspan" else 1000)


def _find_problem(cells: Sequence[Any]) -> tuple[str, str]:
    """Return why a row cannot be a record: it names columns, or a cell covers several of them."""
    if cells and all(cell.tag == "th" for cell in cells):
        return "header_row", "the row has headers alone"
    if any(_read_span(cell, "colspan") > 1 for cell in cells):
        return "spanning_cell", "a cell covers several columns"
    return "", ""


# -- counts, apart from what makes records --------------------------------------------------------


TAG = re.compile(
    rb"<!--.*?-->|<(?P<left_out>script|style|template)\b.*?</(?P=left_out)"
    rb"|<(?P<title>caption|h[1-6])\b[^>]*>(?P<text>.*?)</(?P=title)"
    rb"|<(?P<ends>/?)(?P<name>table|tr)\b[^>]*>",
    re.DOTALL | re.IGNORECASE,
)
MARKUP = re.compile(rb"<[^>]*>")


def count(body: bytes, reading: Reading) -> RecordCount:
    """Count the tags that begin a row of the table, but for its header and what is above."""
    headings = [""]  # the last one, then that of each table
    rows = [0]
    around = [0]
    for tag in TAG.finditer(body):
        name = (tag["name"] or tag["title"] or b"").lower()
        if tag["title"]:
            text = html.unescape(MARKUP.sub(b"", tag["text"]).decode("utf-8", "replace"))
            headings[around[-1] if name == b"caption" else 0] = " ".join(text.split())
        elif name == b"table" and not tag["ends"]:
            around.append(len(rows))
            headings.append("" if len(around) > 2 else headings[0])
            rows.append(0)
        elif name == b"table" and len(around) > 1:
            around.pop()
        elif name == b"tr" and not tag["ends"]:
            rows[around[-1]] += 1
    numbers = [
        number for number in range(1, len(rows)) if reading.table in (number, headings[number])
    ]
    return max(sum(rows[number] for number in numbers) - reading.skip - 1, 0), len(body)
