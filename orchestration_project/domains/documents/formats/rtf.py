"""Rich Text Format."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby

from striprtf.striprtf import rtf_to_text

from orchestration_project.domains.documents.extracted import Draft, Table
from orchestration_project.domains.documents.reasons import DocumentError

ESCAPED = re.compile(rb"\\[\\{}]")
CODE_PAGE = re.compile(r"\\ansicpg(\d{3,5})")
PROPERTY = re.compile(r"\{\\(title|author) ((?:[^{}\\]|\\[\\{}']|\\u-?\d++)*)\}")
CREATED = re.compile(r"\{\\creatim((?:\\[a-z]+\d+)+)\}")
NUMBERS = re.compile(r"\\(yr|mo|dy|hr|min|sec)(\d+)")
SEPARATOR = "|"
"""The mark of striprtf between the cells of a row."""


def read(content: bytes, draft: Draft) -> None:
    """Add one page with the text; cells of a table row are separated by ``|``.

    Raises:
        DocumentError: ``truncated``, if groups are open at the end.
    """
    plain = ESCAPED.sub(b"", content)
    if plain.count(b"{") > plain.count(b"}"):
        raise DocumentError("truncated", "groups are open at the end")
    source = content.decode("latin-1")
    match = CODE_PAGE.search(source)
    encoding = f"cp{match[1]}" if match else "cp1252"
    text = _extract_text(source, encoding, draft)
    for name, value in PROPERTY.findall(source[:100_000]):
        setattr(draft, name, _extract_text(f"{{\\rtf1 {value}}}", encoding, draft))
    draft.created_at = _read_created(source[:100_000])
    draft.add_page(text, _find_tables(text) if "\\trowd" in source else ())


def _find_tables(text: str) -> Iterator[Table]:
    """Yield the tables of a text: lines that follow one another and end with `SEPARATOR`."""
    lines = text.split("\n")
    for has_cells, rows in groupby(lines, key=lambda line: line.endswith(SEPARATOR)):
        if has_cells:
            yield Table(tuple(tuple(line[:-1].split(SEPARATOR)) for line in rows))


def _extract_text(source: str, encoding: str, draft: Draft) -> str:
    try:
        return rtf_to_text(source, encoding=encoding, errors="strict")
    except LookupError:
        draft.note("encoding_mismatch", f"unknown {encoding}")
        return rtf_to_text(source, encoding="cp1252", errors="backslashreplace")
    except UnicodeError:
        draft.note("undecodable_bytes", f"not valid {encoding}")
        return rtf_to_text(source, encoding=encoding, errors="backslashreplace")


def _read_created(source: str) -> datetime | None:
    if not (match := CREATED.search(source)):
        return None
    parts = {name: int(value) for name, value in NUMBERS.findall(match[1])}
    try:
        day = (parts["yr"], parts["mo"], parts["dy"])
        times = (parts.get(text, 0) for text in ("hr", "min", "sec"))
        return datetime(*day, *times, tzinfo=UTC)
    except (KeyError, ValueError, OverflowError):
        return None
