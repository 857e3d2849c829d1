"""Parts of a document, counted in its bytes apart from the reader that extracts them.

A count knows no more of a format than what marks a part: line ends outside of quotes, tokens, tags,
boundaries, entries of a directory. Formats without such a count are not counted.
"""

import codecs
import json
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import NamedTuple
from xml.parsers.expat import ExpatError, ParserCreate
from zipfile import BadZipFile, ZipFile

from orchestration_project.domains.documents.extracted import (
    DelimitedRows,
    Extracted,
    Page,
)

NOT_UNDERSTOOD = (
    *(ValueError, LookupError, OSError, RuntimeError, struct.error),
    *(BadZipFile, zlib.error, ExpatError),
)
"""Errors of counts in bytes that are not as their format says: these are not counted."""

MAX_COPIED_BYTES = 64 * 2**20
"""Larger mails, and larger parts of an archive, are not counted: a count copies them."""

WORD, ASCII_WORD = re.compile(rb"\S+"), re.compile(r"\S+", re.ASCII)
JSON_TOKEN = re.compile(
    rb'("(?:[^"\\]++|\\.)*+")(\s*+:)?|[^\s{}\[\],:"]++|\{\s*+\}|\[\s*+\]', re.DOTALL
)
COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
ATTRIBUTE = re.compile(rb"([\w:-]+)\s*=\s*[\"']([^\"']*)")
SHARED_TEXT = re.compile(rb"<(?:\w+:)?si(?:\s[^>]*)?(?:/>|>(.*?)</(?:\w+:)?si>)", re.DOTALL)
ROW = re.compile(rb"<(?:\w+:)?row(?:\s[^>]*)?(?<!/)>(.*?)</(?:\w+:)?row>", re.DOTALL)
CELL = re.compile(rb"<(?:\w+:)?c((?:\s[^>]*)?)(?<!/)>(.*?)</(?:\w+:)?c>", re.DOTALL)
STORED = re.compile(rb"<(?:\w+:)?[vt](?:\s[^>]*)?(?<!/)>(?:[^<]|<!\[CDATA\[)")
FORMULA, ANY_VALUE = re.compile(rb"<(?:\w+:)?f[\s/>]"), re.compile(rb"<(?:\w+:)?(?:v|is)[\s/>]")
MIME_TYPE = re.compile(rb"(?im)^content-type[ \t]*:[ \t]*(multipart|message)/([^;\s]*)(.*)$")
BOUNDARY = re.compile(rb"(?i)\bboundary\s*=\s*(?:\"([^\"\\]+)\"|([^\s;\"]+))")


class PartCounter(NamedTuple):
    """Functions that count the parts of a format.

    Attributes:
        unit: Name of what it counts, such as rows.
        in_bytes: Counts in the file; it may look at how the reader took the file, as its delimiter.
        extracted: Counts what was extracted.
    """

    unit: str
    in_bytes: Callable[[bytes, Extracted], int]
    extracted: Callable[[Extracted], int]


def _refuse(reason: str, *, is_uncountable: bool) -> None:
    if is_uncountable:
        raise ValueError(reason)


# -- text -----------------------------------------------------------------------------------------


def _start_of_text(content: bytes) -> int:
    """Return where a text begins whose whitespace and marks are single bytes.

    Raises:
        ValueError: It is in UTF-16 or UTF-32, or has NUL.
    """
    _refuse("NUL", is_uncountable=b"\0" in content)
    return len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0


def _count_words(content: bytes, found: Extracted) -> int:
    is_cut = any(_can_break(page, "\n", " ") for page in found.pages[:-1])
    _refuse("a word longer than a page", is_uncountable=is_cut)
    return sum(1 for _ in WORD.finditer(content, _start_of_text(content)))


def _can_break(page: Page, *pauses: str) -> bool:
    """Return whether a page may end within what the pauses end."""
    return all(page.text.find(pause, 1) < 0 for pause in pauses)


def _count_found_words(found: Extracted) -> int:
    return sum(1 for page in found.pages for _ in ASCII_WORD.finditer(page.text))


def _count_rows(content: bytes, found: Extracted) -> int:
    """Count lines that are not empty; line ends within quotes end none."""
    cells = [table.cells for page in found.pages for table in page.tables]
    delimited = [cell for cell in cells if isinstance(cell, DelimitedRows)]
    is_split = not delimited or delimited[0].dialect == "lines"
    _refuse("a field beyond the limit", is_uncountable=is_split)
    end = re.escape(delimited[0].delimiter).encode()
    field = rb'(?:"(?:[^"]++|"")*+(?:"|\Z)[^%b\r\n]*+|[^%b"\r\n][^%b\r\n]*+|)' % (end, end, end)
    line = re.compile(rb"%b(?:%b%b)*+(?:\r\n?|\n|\Z)" % (field, end, field))
    lines = line.finditer(content, _start_of_text(content))
    return sum(1 for match in lines if match[0][:1] not in (b"", b"\r", b"\n"))


def _count_found_text_rows(found: Extracted) -> int:
    cells = (table.cells for page in found.pages for table in page.tables)
    return sum(
        1 for delimited in cells if isinstance(delimited, DelimitedRows) for _ in delimited.read()
    )


# -- values ---------------------------------------------------------------------------------------


def _count_json(content: bytes, found: Extracted) -> int:
    """Count values that have none within them, and the line breaks of texts."""
    has_other_lines = any(finding.code == "lines_unreadable" for finding in found.findings)
    _refuse("lines that are not JSON", is_uncountable=has_other_lines)
    _refuse_broken_lines(found)
    line_count = 0
    for token in JSON_TOKEN.finditer(content, _start_of_text(content)):
        is_name = token[2] is not None
        breaks = _count_line_breaks(token[1]) if token[1] and b"\\" in token[1] else 0
        _refuse("a name with a line break", is_uncountable=is_name and breaks > 0)
        line_count += 0 if is_name else 1 + breaks
    return line_count


def _count_line_breaks(token: bytes) -> int:
    text = json.loads(token)
    _refuse("a carriage return", is_uncountable="\r" in text)
    return text.count("\n")


def _count_xml(content: bytes, found: Extracted) -> int:
    """Count elements with attributes or text, and the texts that follow elements."""
    _refuse("default attributes", is_uncountable=b"<!ATTLIST" in content)
    _refuse_broken_lines(found)
    line_count, run, is_own_line = 0, list[str](), False

    def end_run() -> None:
        nonlocal line_count, is_own_line
        line_count += bool("".join(run).strip()) and not is_own_line
        run.clear()
        is_own_line = False

    def begin(_: str, attributes: Mapping[str, str]) -> None:
        nonlocal line_count, is_own_line
        end_run()
        texts = [text for name, text in attributes.items() if name.partition(":")[0] != "xmlns"]
        _refuse("line breaks", is_uncountable=any(set(text) & {"\n", "\r"} for text in texts))
        is_own_line = bool(texts)
        line_count += is_own_line

    parser = ParserCreate()
    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda _: end_run()
    parser.CharacterDataHandler = run.append
    parser.Parse(content, True)
    return line_count


def _refuse_broken_lines(found: Extracted) -> None:
    is_cut = any(_can_break(page, "\n") for page in found.pages[:-1])
    _refuse("a line longer than a page", is_uncountable=is_cut)


def _count_found_lines(found: Extracted) -> int:
    return sum(page.text.count("\n") + 1 for page in found.pages if page.text)


# -- archives -------------------------------------------------------------------------------------


def _count_members(content: bytes, _: Extracted) -> int:
    """Count the entries of the directory at the end of an archive."""
    end = content.rfind(b"PK\x05\x06")
    (size,) = struct.unpack_from("<L", content, end + 12)
    return content.count(b"PK\x01\x02", max(end - size, 0), end)


def _read_part(archive: ZipFile, name: str) -> bytes:
    is_large = archive.getinfo(name).file_size > MAX_COPIED_BYTES
    _refuse("a large part", is_uncountable=is_large)
    content = archive.read(name)
    _refuse("UTF-16", is_uncountable=b"\0" in content[:100])
    return content


def _find_tags(content: bytes, name: bytes) -> list[dict[bytes, bytes]]:
    """Return the attributes of the tags of a name; a namespace in the name is left out."""
    findall = re.findall(rb"<(?:\w+:)?%b(\s[^>]*)>" % name, COMMENT.sub(b"", content))
    return [
        {key.rpartition(b":")[2]: text for key, text in ATTRIBUTE.findall(item)} for item in findall
    ]


def _count_slides(content: bytes, _: Extracted) -> int:
    with ZipFile(BytesIO(content)) as archive:
        return len(_find_tags(_read_part(archive, "ppt/presentation.xml"), b"sldId"))


def _count_chapters(content: bytes, _: Extracted) -> int:
    with ZipFile(BytesIO(content)) as archive:
        package = _find_tags(_read_part(archive, "META-INF/container.xml"), b"rootfile")[0]
        return len(_find_tags(_read_part(archive, package[b"full-path"].decode()), b"itemref"))


def _count_sheet_rows(content: bytes, _: Extracted) -> int:
    """Count the rows of sheets that have a value, or a formula without one."""
    with ZipFile(BytesIO(content)) as archive:
        links = _find_tags(_read_part(archive, "xl/_rels/workbook.xml.rels"), b"Relationship")
        targets = {
            link[b"Id"]: link[b"Target"].decode()
            for link in links
            if link[b"Type"].endswith((b"/worksheet", b"/xlMacrosheet"))
        }
        empty = frozenset[bytes]()
        if "xl/sharedStrings.xml" in archive.namelist():
            texts = SHARED_TEXT.findall(_read_part(archive, "xl/sharedStrings.xml"))
            empty = frozenset(
                b"%d" % at for at, text in enumerate(texts) if not STORED.search(text)
            )
        named = [
            sheet[b"id"] for sheet in _find_tags(_read_part(archive, "xl/workbook.xml"), b"sheet")
        ]
        sheets = [targets[name] for name in named if name in targets]
        paths = [word.lstrip("/") if word.startswith("/") else f"xl/{word}" for word in sheets]
        return sum(
            _has_value(row, empty)
            for path in paths
            for row in ROW.findall(_read_part(archive, path))
        )


def _has_value(row: bytes, empty: frozenset[bytes]) -> bool:
    """Return whether a row has a cell with a value; ``empty`` are numbers of empty texts."""
    if not empty and STORED.search(row):
        return True
    return any(_is_filled(attributes, cell, empty) for attributes, cell in CELL.findall(row))


def _is_filled(attributes: bytes, cell: bytes, empty: frozenset[bytes]) -> bool:
    if FORMULA.search(cell) and not ANY_VALUE.search(cell):
        return True
    if dict(ATTRIBUTE.findall(attributes)).get(b"t") == b"s":
        number = re.search(rb">\s*(\d+)\s*<", cell)
        return number is not None and number[1] not in empty
    return STORED.search(cell) is not None


def _count_found_sheet_rows(found: Extracted) -> int:
    """Count rows with a cell in the tables that are named as their page: others are beside it."""
    sheets = (
        table.rows
        for page in found.pages
        for table in page.tables[:1]
        if table.name == page.text.partition("\n")[0]
    )
    return sum(any(cell is not None for cell in row) for rows in sheets for row in rows)


# -- mail -----------------------------------------------------------------------------------------


def _count_mail(content: bytes, found: Extracted) -> int:
    """Count the parts of a mail that hold no others; an attached mail is one."""
    _refuse("a large mail", is_uncountable=len(content) > MAX_COPIED_BYTES)
    _refuse("defects", is_uncountable=not found.went_to)
    return _count_entity(re.sub(rb"\r\n?", b"\n", content))


def _count_entity(entity: bytes) -> int:
    head, _, body = entity.partition(b"\n\n")
    kind = MIME_TYPE.search(re.sub(rb"\n[ \t]+", b" ", b"\n" + head))
    if entity.startswith(b"\n") or kind is None or kind[2].lower() == b"rfc822":
        return 1
    boundary = BOUNDARY.search(kind[3])
    if boundary is None:
        raise ValueError("a report, or parts without a boundary")
    line = rb"(?m)^--%b(--)?[ \t]*$\n?" % re.escape(boundary[1] or boundary[2])
    count, start = 0, None
    for mark in re.finditer(line, body):
        count += (
            _count_entity(body[start : mark.start()]) if start not in (None, mark.start()) else 0
        )
        start = mark.end()
        if mark[1]:
            return count
    raise ValueError("parts without an end")


def _count_found_children(found: Extracted) -> int:
    return len(found.children)


def _count_found_pages(found: Extracted) -> int:
    return len(found.pages)


WORDS = PartCounter("words", _count_words, _count_found_words)
TEXT_ROWS = PartCounter("rows", _count_rows, _count_found_text_rows)
JSON_LINES = PartCounter("lines", _count_json, _count_found_lines)
XML_LINES = PartCounter("lines", _count_xml, _count_found_lines)
SHEET_ROWS = PartCounter("rows", _count_sheet_rows, _count_found_sheet_rows)
SLIDES = PartCounter("slides", _count_slides, _count_found_pages)
CHAPTERS = PartCounter("chapters", _count_chapters, _count_found_pages)
MEMBERS = PartCounter("children", _count_members, _count_found_children)
MAIL_PARTS = PartCounter("children", _count_mail, _count_found_children)
