"""Text, logs, Markdown, CSV and TSV."""

import csv
import re
from collections.abc import Iterator
from io import StringIO

from orchestration_project.domains.documents.extracted import Draft, Table
from orchestration_project.domains.documents.text import decode

DELIMITERS = ",;\t|"
SAMPLE_CHARACTERS = 16_384
MAX_NESTING = 20
"""Blocks within blocks of Markdown; headings below are text."""

ATX_HEADING = re.compile(r"[ >\t]*#{1,6}[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$")


def read(content: bytes, draft: Draft) -> None:
    """Add one page with the whole text, and the rows of a CSV file as its table."""
    decoded = decode(content)
    for code, detail in decoded.notes:
        draft.note(code, detail)
    text = decoded.text
    if draft.media_type == "text/markdown":
        headings = list(markdown_headings(text))
        draft.title = next((_plain(line) for level, line in headings if level == 1), None)
        draft.add_page(text, headings=headings)
    elif draft.media_type in ("text/csv", "text/tab-separated-values"):
        draft.add_page(text, [Table(_rows(text, draft))])
    else:
        draft.add_page(text)


def _plain(line: str) -> str:
    """Return the text of a heading's line."""
    found = ATX_HEADING.match(line)
    return found[1] if found else line.strip()


def markdown_headings(text: str) -> Iterator[tuple[int, str]]:
    """Yield level and whole line of each heading of a Markdown text, as CommonMark has them."""
    from markdown_it import MarkdownIt

    lines = text.split("\n")
    for token in MarkdownIt("commonmark", {"maxNesting": MAX_NESTING}).parse(text):
        if token.type == "heading_open" and token.map:
            yield int(token.tag[1:]), lines[token.map[0]].rstrip("\r")


def _rows(text: str, draft: Draft) -> tuple[tuple[str, ...], ...]:
    """Return the rows of a delimited text; what deviates from its dialect is noted."""
    delimiter = "\t" if draft.media_type.endswith("separated-values") else _delimiter(text)
    try:
        rows = _parse(text, delimiter, is_strict=True)
    except csv.Error as error:
        draft.note("irregular_rows", str(error))
        try:
            rows = _parse(text, delimiter, is_strict=False)
        except csv.Error:  # a field beyond the limit of the module
            rows = tuple(tuple(line.split(delimiter)) for line in text.splitlines())
    if len({len(row) for row in rows}) > 1:
        draft.note("irregular_rows", "rows of different length")
    return rows


def _parse(text: str, delimiter: str, *, is_strict: bool) -> tuple[tuple[str, ...], ...]:
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=is_strict)
    return tuple(tuple(row) for row in reader if row)


def _delimiter(text: str) -> str:
    """Return the delimiter that gives the most rows of one and the same length above 1."""
    sample = text[:SAMPLE_CHARACTERS]
    if len(text) > SAMPLE_CHARACTERS:
        sample = sample.rpartition("\n")[0]

    def evenness(delimiter: str) -> tuple[float, int]:
        try:
            lengths = [len(row) for row in _parse(sample, delimiter, is_strict=False)]
        except csv.Error:
            return 0, 0
        usual = max(set(lengths), key=lengths.count, default=1)
        return (lengths.count(usual) / len(lengths), usual) if usual > 1 else (0, 0)

    return max(DELIMITERS, key=evenness)
