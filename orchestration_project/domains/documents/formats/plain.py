"""Text, logs, Markdown, CSV and TSV."""

import csv
import re
from collections import deque
from collections.abc import Iterator, Set
from io import StringIO

from orchestration_project.domains.documents.extracted import (
    PAGE_CHARACTERS,
    Dialect,
    Draft,
    cut_pages,
    read_delimited,
)
from orchestration_project.domains.documents.text import (
    Pieces,
    decode,
    lines_of,
    with_line_feeds,
)

DELIMITERS = ",;\t|"
SAMPLE_CHARACTERS = 16_384
MAX_NESTING = 20
"""Blocks within blocks of Markdown; headings below are text."""

ATX_HEADING = re.compile(r"[ >\t]*#{1,6}[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$")


def read(content: bytes, draft: Draft) -> None:
    """Add the text as a page, or as several if it is long; those of CSV have their rows."""
    decoded = decode(content)
    for code, detail in decoded.notes:
        draft.note(code, detail)
    if draft.media_type in ("text/csv", "text/tab-separated-values"):
        _add_rows(decoded.pieces, draft)
        return
    is_markdown = draft.media_type == "text/markdown"
    for page in cut_pages(with_line_feeds(decoded.pieces.read())):
        headings = list(markdown_headings(page)) if is_markdown else []
        if draft.title is None:
            draft.title = next(
                (_read_heading(line) for level, line in headings if level == 1), None
            )
        draft.add_page(page, headings=headings)


def _read_heading(line: str) -> str:
    """Return the text of a heading's line."""
    match = ATX_HEADING.match(line)
    return match[1] if match else line.strip()


def markdown_headings(text: str) -> Iterator[tuple[int, str]]:
    """Yield level and whole line of each heading of a Markdown text, as CommonMark has them."""
    from markdown_it import MarkdownIt

    lines = text.split("\n")
    parser = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING}).disable("inline")
    for token in parser.parse(text):
        if token.type == "heading_open" and token.map:
            yield int(token.tag[1:]), lines[token.map[0]].rstrip("\r")


def _add_rows(pieces: Pieces, draft: Draft) -> None:
    """Add the pages of a delimited text; what deviates from its dialect is noted."""
    is_tab = draft.media_type.endswith("separated-values")
    delimiter = "\t" if is_tab else _detect_delimiter(next(pieces.read(), ""))
    dialect: Dialect = "strict"
    try:
        pages, lengths = _cut_rows(pieces, delimiter, dialect)
    except csv.Error as error:
        draft.note("irregular_rows", str(error))
        try:
            dialect = "lenient"
            pages, lengths = _cut_rows(pieces, delimiter, dialect)
        except csv.Error:  # a field beyond the limit of the module
            dialect = "lines"
            pages, lengths = _cut_rows(pieces, delimiter, dialect)
    if len(lengths) > 1:
        draft.note("irregular_rows", "rows of different length")
    while pages:
        page = pages.popleft()  # so that no page is held twice
        draft.add_delimited(page.removesuffix("\n") if pages else page, delimiter, dialect)


def _cut_rows(pieces: Pieces, delimiter: str, dialect: Dialect) -> tuple[deque[str], Set[int]]:
    """Return a delimited text in pages of whole rows, and the lengths of its rows.

    Raises:
        csv.Error: The text deviates from its dialect.
    """
    pages, lengths = deque[str](), set[int]()
    lines, size = list[str](), 0

    def read_lines() -> Iterator[str]:
        nonlocal size
        for line in lines_of(pieces.read()):
            lines.append(line)
            size += len(line)
            yield line

    for row in read_delimited(read_lines(), delimiter, dialect):
        lengths.add(len(row))
        if size >= PAGE_CHARACTERS:
            pages.append("".join(lines))
            lines.clear()
            size = 0
    if lines or not pages:
        pages.append("".join(lines))
    return pages, lengths


def _detect_delimiter(text: str) -> str:
    """Return the delimiter that gives the most rows of one and the same length above 1."""
    sample = text[:SAMPLE_CHARACTERS]
    if len(text) > SAMPLE_CHARACTERS:
        sample = sample.rpartition("\n")[0]

    def evenness(delimiter: str) -> tuple[float, int]:
        lines = StringIO(sample, newline="")
        try:
            lengths = [len(row) for row in read_delimited(lines, delimiter, "lenient")]
        except csv.Error:
            return 0, 0
        usual = max(set(lengths), key=lengths.count, default=1)
        return (lengths.count(usual) / len(lengths), usual) if usual > 1 else (0, 0)

    return max(DELIMITERS, key=evenness)
