"""Results of extraction, its limits, and the draft that readers fill."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from io import StringIO
from typing import Literal, NamedTuple

from orchestration_project.domains.documents.fingerprints import Fingerprint, count_words
from orchestration_project.domains.documents.language import language_of
from orchestration_project.domains.documents.reasons import REASONS, DocumentError, Reason, State
from orchestration_project.domains.documents.recognition import (
    Recognised,
    Recogniser,
    RecognitionError,
)

MIB = 1024**2

Cell = str | int | float | bool | date | datetime | time | timedelta | None
"""A typed cell of a table; None is an empty one."""

Method = Literal["native", "ocr", "none"]
"""How the text of a page was got: from the file, by character recognition, or not at all."""

Dialect = Literal["strict", "lenient", "lines"]
"""How rows are read from delimited text: by its quotes, by those that are closed, or by line."""

PAGE_CHARACTERS = 2**20
"""Characters from which on a text without pages is cut into several."""

MAX_WRITTEN_WHOLE = 1e21
"""Whole numbers below it are written with all their digits."""

MAX_PROPERTY_LENGTH = 1000
"""Characters of a title or an author."""

NOTED = 5
"""Details that one note lists."""

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""Characters that PostgreSQL and UTF-8 refuse."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one extraction; each has a reason code for what exceeds it.

    Attributes:
        file_bytes: Of the file itself (``too_large``).
        pages: Of one document (``too_many_pages``).
        text_characters: Of all pages together, with those of tables that are not the text itself
            (``too_much_text``).
        children: Attachments or members (``too_many_children``).
        inflated_bytes: Of all parts of an archive (``archive_too_large``), and of all documents
            within one (see `extraction.extract_all`).
        ratio: Inflated bytes for each packed byte of a member, once it has `ratio_from_bytes`
            (``archive_ratio``).
        ratio_from_bytes: Smaller members are never refused for their ratio.
        depth: Files within files (``nested_too_deep``); a file that was delivered has depth 0.
    """

    file_bytes: int = 256 * MIB
    pages: int = 10_000
    text_characters: int = 64 * MIB
    children: int = 10_000
    inflated_bytes: int = 512 * MIB
    ratio: int = 200
    ratio_from_bytes: int = 4 * MIB
    depth: int = 5


@dataclass(frozen=True)
class Options:
    """Means of readers beside the bytes of a file.

    Attributes:
        passwords: Tried on encrypted files, in their order.
        recognise: Returns the text of images; None: pages without text stay so.
    """

    passwords: tuple[str, ...] = field(default=(), repr=False)
    recognise: Recogniser | None = None


class Heading(NamedTuple):
    """A heading: where its line begins in the page's text, its level from 1, and its text."""

    offset: int
    level: int
    text: str


class DelimitedRows(NamedTuple):
    """Rows of a delimited text, which are read whenever they are iterated over.

    As objects, cells would have ten times the memory of the text.
    """

    text: str
    delimiter: str
    dialect: Dialect

    def read(self) -> Iterator[tuple[str, ...]]:
        """Yield the rows.

        Raises:
            csv.Error: The text deviates from its dialect.
        """
        return read_delimited(StringIO(self.text), self.delimiter, self.dialect)


def read_delimited(
    lines: Iterable[str], delimiter: str, dialect: Dialect
) -> Iterator[tuple[str, ...]]:
    """Yield the rows of lines with their ends; empty lines are none.

    Raises:
        csv.Error: The text deviates from its dialect.
    """
    if dialect == "lines":
        for line in lines:
            yield from (tuple(part.split(delimiter)) for part in line.splitlines())
        return
    for row in csv.reader(lines, delimiter=delimiter, strict=dialect == "strict"):
        if row:
            yield tuple(row)


class Table(NamedTuple):
    """A table: rows of typed cells, and its name, such as the sheet's."""

    cells: tuple[tuple[Cell, ...], ...] | DelimitedRows
    name: str = ""

    @property
    def rows(self) -> tuple[tuple[Cell, ...], ...]:
        """The rows."""
        cells = self.cells
        return tuple(cells.read()) if isinstance(cells, DelimitedRows) else cells


@dataclass(frozen=True)
class Page:
    """A page, slide, sheet or chapter; formats without pages have one, or some if it is long.

    Attributes:
        number: From 1.
        text: Lines end with ``\\n``; it holds neither NUL nor surrogates.
        tables: In their order; the text has their cells too.
        method: How the text was got.
        confidence: Of recognised text, 0 to 1; None where the text is the file's.
        headings: By offset.
    """

    number: int
    text: str
    tables: tuple[Table, ...] = ()
    method: Method = "native"
    confidence: float | None = None
    headings: tuple[Heading, ...] = ()


class Child(NamedTuple):
    """A file within the file: its name, as the file has it, and its bytes."""

    name: str
    content: bytes


class Finding(NamedTuple):
    """A reason code of `REASONS`, and what was found."""

    code: str
    detail: str = ""


class ChunkSpan(NamedTuple):
    """Place of a chunk: its page, offsets in the page's text, words, and the headings above it."""

    page_number: int
    start: int
    end: int
    word_count: int
    section_path: tuple[str, ...]


class PartCount(NamedTuple):
    """Parts of a document: counted in its bytes (None: not counted), and by where they went."""

    in_bytes: int | None
    went_to: Mapping[str, int]


@dataclass(frozen=True)
class Extracted:
    """The content of one file.

    Attributes:
        name: As it was given.
        media_type: By content.
        declared_type: By the extension of the name; None for none or an unknown one.
        byte_count: Of the file.
        pages: By number; none if the document was refused.
        title: Of the document's properties, else None.
        author: The same.
        created_at: The same, in UTC; a time without a zone is taken as UTC.
        language: Of the text, ISO 639-1; None for too little text, or a mixture.
        children: Attachments and members, in their order; they are not extracted here.
        findings: Reason codes, the decisive one first; none: extracted without a remark.
        went_to: Parts that are neither pages, rows nor children, by where the reader put them.
        fingerprint: Of its text; None: not computed here.
        chunk_spans: Places of its chunks, by the rule of the run; None: not computed here.
        parts: Its parts, counted apart from its reader; None: not computed here.
    """

    name: str
    media_type: str
    declared_type: str | None
    byte_count: int
    pages: tuple[Page, ...] = ()
    title: str | None = None
    author: str | None = None
    created_at: datetime | None = None
    language: str | None = None
    children: tuple[Child, ...] = ()
    findings: tuple[Finding, ...] = ()
    went_to: Mapping[str, int] = field(default_factory=dict[str, int])
    fingerprint: Fingerprint | None = None
    chunk_spans: tuple[ChunkSpan, ...] | None = None
    parts: PartCount | None = None

    @property
    def reason_code(self) -> str | None:
        """The decisive reason code; None if the document was extracted without a remark."""
        return self.findings[0].code if self.findings else None

    @property
    def reason(self) -> Reason | None:
        """The row of the decisive reason code."""
        return REASONS[self.findings[0].code] if self.findings else None

    @property
    def state(self) -> State:
        """``loaded``, ``empty``, ``needs_ocr``, ``encrypted`` or ``refused``."""
        return self.reason.state if self.reason else "loaded"

    @property
    def text(self) -> str:
        """Text of all pages, with a line between them."""
        return "\n".join(page.text for page in self.pages)

    @property
    def word_count(self) -> int:
        """Words of all pages."""
        return sum(count_words(page.text) for page in self.pages)


def cell_text(value: Cell) -> str:
    """Return a cell as text: dates in ISO 8601, durations in hours, whole floats as integers."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < MAX_WRITTEN_WHOLE:
        return str(int(value))
    if isinstance(value, timedelta):
        return _format_duration(value)
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _format_duration(value: timedelta) -> str:
    """Return a duration as a sheet shows it, such as ``30:15:00``."""
    sign = "-" if value < timedelta() else ""
    minutes, seconds = divmod(abs(value), timedelta(minutes=1))
    hours, minutes = divmod(minutes, 60)
    fraction = f".{seconds.microseconds:06d}".rstrip("0") if seconds.microseconds else ""
    return f"{sign}{hours}:{minutes:02}:{seconds.seconds:02}{fraction}"


def in_utc(value: datetime) -> datetime:
    """Return a time in UTC; one without a zone is taken as UTC."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def parse_time(text: str | None) -> datetime | None:
    """Return an ISO 8601 time in UTC; None for none or another text."""
    try:
        return in_utc(datetime.fromisoformat((text or "").strip()))
    except (ValueError, OverflowError):
        return None


@dataclass
class Draft:
    """The findings of a reader so far; its methods keep the limits.

    Attributes:
        name: Of the file.
        media_type: By content; a reader may make it more exact.
        declared_type: By the name's extension.
        limits: What must not be exceeded.
        options: What it may use.
        ocr_problem: Why images were not recognised, if something recognises any.
    """

    name: str
    media_type: str
    declared_type: str | None
    limits: Limits
    options: Options = field(default_factory=Options)
    ocr_problem: RecognitionError | None = None
    title: str | None = None
    author: str | None = None
    created_at: datetime | None = None
    pages: list[Page] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)
    went_to: Counter[str] = field(default_factory=Counter)
    _characters: int = 0

    def note(self, code: str, detail: str = "") -> None:
        """Add a reason code; one that is there gets the detail too."""
        details = self.notes.setdefault(code, [])
        if detail and len(details) < NOTED:
            details.append(self._storable(detail)[:200])

    def check_pages(self, count: int) -> None:
        """Refuse a document of ``count`` pages if these are too many.

        Raises:
            DocumentError: ``too_many_pages``.
        """
        if count > self.limits.pages:
            raise DocumentError("too_many_pages", f"{count:,} pages, limit {self.limits.pages:,}")

    def add_page(
        self,
        text: str,
        tables: Iterable[Table] = (),
        *,
        method: Method = "native",
        confidence: float | None = None,
        headings: Sequence[tuple[int, str]] = (),
    ) -> None:
        """Add the next page; NUL and lone surrogates are replaced, with a note.

        Args:
            text: Its text; every line break becomes ``\\n``.
            tables: Its tables.
            method: How the text was got.
            confidence: Of recognised text, 0 to 1.
            headings: Levels and texts of its headings in order; each is a line of the text.

        Raises:
            DocumentError: ``too_many_pages`` or ``too_much_text``.
        """
        self.check_pages(len(self.pages) + 1)
        clean = self._storable(text.replace("\r\n", "\n").replace("\r", "\n"))
        cleaned = tuple(self._table(table) for table in tables)
        self._charge(len(clean))
        located = tuple(_locate_headings(clean, headings))
        self.pages.append(Page(len(self.pages) + 1, clean, cleaned, method, confidence, located))

    def add_delimited(self, text: str, delimiter: str, dialect: Dialect) -> None:
        """Add the next page, whose text is its table; line breaks are ``\\n``.

        Raises:
            DocumentError: ``too_many_pages`` or ``too_much_text``.
        """
        clean = self._storable(text)
        self.add_page(clean, [Table(DelimitedRows(clean, delimiter, dialect))])

    def recognise(self, image: Callable[[], bytes]) -> Sequence[Recognised] | None:
        """Return the text of each page of an image file; None if it is not recognised.

        The image is not made where an earlier one has shown that none of them is.
        """
        is_hopeless = self.ocr_problem and self.ocr_problem.reason_code != "ocr_failed"
        if self.options.recognise is None or is_hopeless:
            return None
        try:
            return self.options.recognise(image())
        except RecognitionError as error:
            self.ocr_problem = error
            return None

    def _table(self, table: Table) -> Table:
        if isinstance(table.cells, DelimitedRows):
            return table
        rows = tuple(
            tuple(self._storable(cell) if isinstance(cell, str) else cell for cell in row)
            for row in table.cells
        )
        self._charge(sum(len(c) if isinstance(c, str) else 8 for row in rows for c in row))
        return Table(rows, self._storable(table.name))

    def _charge(self, characters: int) -> None:
        self._characters += characters
        if self._characters > self.limits.text_characters:
            raise DocumentError(
                "too_much_text", f"more than {self.limits.text_characters:,} characters"
            )

    def _storable(self, text: str) -> str:
        if UNSTORABLE.search(text) is None:
            return text  # itself: a copy of a long text would need its memory
        self.notes.setdefault("text_replaced", [])
        return UNSTORABLE.sub("\ufffd", text)

    def add_child(self, name: str, content: bytes) -> None:
        """Add a file within the file.

        Raises:
            DocumentError: ``too_many_children``.
        """
        if len(self.children) >= self.limits.children:
            raise DocumentError("too_many_children", f"more than {self.limits.children:,}")
        self.children.append(Child(self._storable(name), content))

    def finish(self, byte_count: int) -> Extracted:
        """Return the result; a document without any text has a decisive reason."""
        has_text = any(page.text.strip() for page in self.pages)
        if not has_text and not self.children:
            code, details = "no_text", list[str]()
            if any(page.method == "none" for page in self.pages):
                problem = self.ocr_problem
                code = problem.reason_code if problem else "needs_ocr"
                details = [problem.detail] if problem else []
            self.notes = {code: details, **self.notes}
            self.notes.pop("pages_need_ocr", None)
        return self._result(byte_count, tuple(self.pages), tuple(self.children))

    def refuse(self, byte_count: int, reason_code: str, detail: str) -> Extracted:
        """Return the result of a document that cannot be extracted: neither pages nor children."""
        known_names = self.notes.pop(reason_code, [])
        names = [self._storable(detail)[:1000]] if detail else known_names
        self.notes = {reason_code: names, **self.notes}
        return self._result(byte_count, (), ())

    def _result(
        self, byte_count: int, pages: tuple[Page, ...], children: tuple[Child, ...]
    ) -> Extracted:
        title, author = self._property(self.title), self._property(self.author)
        return Extracted(
            self._storable(self.name),
            self.media_type,
            self.declared_type,
            byte_count,
            pages,
            title,
            author,
            self.created_at,
            language_of(pages),
            children,
            tuple(Finding(code, "; ".join(details)) for code, details in self.notes.items()),
            dict(self.went_to),
        )

    def _property(self, text: str | None) -> str | None:
        clean = " ".join(self._storable(text or "").split())
        return clean[:MAX_PROPERTY_LENGTH] or None


def cut_pages(pieces: Iterable[str]) -> Iterator[str]:
    """Yield a text page by page: cut at ends of lines, else of words, which the pages lack.

    Args:
        pieces: The text; line breaks are ``\\n``.
    """
    remainder = ""
    for piece in pieces:
        remainder += piece
        while len(remainder) > PAGE_CHARACTERS:
            ends = (remainder.rfind(pause, 1, PAGE_CHARACTERS) for pause in ("\n", " "))
            end = next((number for number in ends if number > 0), 0)
            yield remainder[: end or PAGE_CHARACTERS]
            remainder = remainder[end + 1 if end else PAGE_CHARACTERS :]
    yield remainder


def _locate_headings(text: str, headings: Sequence[tuple[int, str]]) -> Iterable[Heading]:
    """Yield headings with their offsets: each is the next line of the text that is equal."""
    name = 0
    for level, heading in headings:
        line = UNSTORABLE.sub("\ufffd", heading)
        number = _find_line(text, line, name) if line else -1
        if number >= 0:
            yield Heading(number, level, line)
            name = number + len(line)


def _find_line(text: str, line: str, start: int) -> int:
    """Return where a line begins at or after ``start``; -1 if it is not there."""
    number = text.find(line, start)
    while number >= 0:
        end = number + len(line)
        if text[number - 1 : number] in ("", "\n") and text[end : end + 1] in ("", "\n"):
            return number
        number = text.find(line, number + 1)
    return -1
