"""Chunks: parts of a document's pages of a bounded number of words, with exact places.

A chunk never crosses a page, so its place is one page and two offsets, and the page's text cut
there is the chunk, to the character. It ends where a reader would pause, if that is near.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from orchestration_project.domains.documents.extracted import ChunkSpan, Heading, Page
from orchestration_project.domains.documents.fingerprints import WORD
from orchestration_project.errors import ConfigurationError

RULE_VERSION = "1"
"""Version of the rules here; a chunk of other rules has another id."""

PAUSES = (
    re.compile(r"\n[ \t]*\n"),
    re.compile(r"[.!?\u2026\u3002][\"'\u201d\u2019)\]]*(?=\s)|\n"),
)
"""Ends of paragraphs, then of sentences and lines: where a chunk ends rather than elsewhere."""


@dataclass(frozen=True)
class ChunkRule:
    """The rule by which pages are cut.

    Attributes:
        words: Maximum words of a chunk.
        overlap: Words at the end of a chunk with which the next one of the page begins again.
        version: Of the rules; a part of each chunk's id.

    Raises:
        ConfigurationError: ``words`` is less than 1, or ``overlap`` negative or more than half of
            them.
    """

    words: int = 500
    overlap: int = 0
    version: str = RULE_VERSION

    def __post_init__(self) -> None:
        if self.words < 1:
            raise ConfigurationError(f"invalid words: expected 1 or more, got {self.words}")
        if not 0 <= self.overlap <= self.words // 2:
            raise ConfigurationError(
                f"invalid overlap: expected 0 to {self.words // 2} words, got {self.overlap}"
            )

    @property
    def label(self) -> str:
        """The rule as a part of ids, e.g. ``1/500/0``."""
        return f"{self.version}/{self.words}/{self.overlap}"


@dataclass(frozen=True)
class Chunk:
    """A part of a page.

    Attributes:
        chunk_id: SHA-256, in hexadecimal, of document id, rule, page and span.
        page_number: From 1.
        start: Where the text begins in that of the page, in characters.
        end: Where it ends, exclusive; ``page.text[start:end]`` is the text.
        text: Without spaces around it, and never empty.
        word_count: Words of the text.
        section_path: Headings above its beginning, the highest level first.
    """

    chunk_id: str
    page_number: int
    start: int
    end: int
    text: str
    word_count: int
    section_path: tuple[str, ...]


def chunk_id(document_id: str, rule: ChunkRule, page_number: int, start: int, end: int) -> str:
    """Return the id of a chunk: the same on every machine."""
    named = f"{document_id}\n{rule.label}\n{page_number}\n{start}\n{end}"
    return sha256(named.encode()).hexdigest()


def chunks(
    document_id: str,
    pages: Sequence[Page],
    rule: ChunkRule,
    spans: Iterable[ChunkSpan] | None = None,
) -> Iterator[Chunk]:
    """Yield the chunks of a document in the order of its pages; every word is in one at least.

    Args:
        document_id: Of the document.
        pages: Its pages.
        rule: How they are cut.
        spans: What `chunk_spans` returned of them; None: it is not known.
    """
    texts = {page.number: page.text for page in pages}
    for number, start, end, count, path in chunk_spans(pages, rule) if spans is None else spans:
        identity = chunk_id(document_id, rule, number, start, end)
        yield Chunk(identity, number, start, end, texts[number][start:end], count, path)


def chunk_spans(pages: Sequence[Page], rule: ChunkRule) -> Iterator[ChunkSpan]:
    """Yield the places of the chunks of some pages, in their order.

    A heading begins a chunk, unless another heading is directly before it. Text without any word,
    such as a line of dashes, belongs to the chunk before it; a page without words has no chunk.
    """
    sections = _Sections()
    for page in pages:
        for start, end, count in _split_page(page, rule):
            yield ChunkSpan(page.number, start, end, count, sections.at(page, start))
        sections.finish(page)


class _Sections:
    """The headings under which text stands, read in its order; those of a page hold on the next."""

    def __init__(self) -> None:
        self._path: list[Heading] = []
        self._passed_count = 0  # headings of the present page

    def at(self, page: Page, offset: int) -> tuple[str, ...]:
        """Return the headings above a place, with one that begins there."""
        self._pass(page, offset)
        return tuple(heading.text for heading in self._path)

    def finish(self, page: Page) -> None:
        """Pass the headings that are left of a page."""
        self._pass(page, len(page.text))
        self._passed_count = 0

    def _pass(self, page: Page, offset: int) -> None:
        path = self._path
        while self._passed_count < len(page.headings):
            heading = page.headings[self._passed_count]
            if heading.offset > offset:
                break
            while path and path[-1].level >= heading.level:
                path.pop()
            path.append(heading)
            self._passed_count += 1


def _split_page(page: Page, rule: ChunkRule) -> Iterator[tuple[int, int, int]]:
    """Yield start, end and number of words of each chunk of a page."""
    text = _Text(page)
    first = 0
    while first < len(text.words):
        limit = min(first + rule.words, len(text.words))
        section = text.next_section(first)
        is_section = section < limit
        last = section if is_section else text.pause(first, limit, rule.overlap + 1)
        yield text.start(first), text.end(last), last - first
        is_last = is_section or last == len(text.words)
        first = last if is_last else max(last - rule.overlap, first + 1)


class _Text:
    """The text of a page as words, with the places where it may be cut; words have numbers from 0.

    Attributes:
        words: Start and end of each word.
    """

    def __init__(self, page: Page) -> None:
        self._text = page.text
        self.words = [match.span() for match in WORD.finditer(page.text)]
        self._starts = [start for start, _ in self.words]
        self._sections = self._section_starts(page.headings)
        self._pauses = [[match.end() for match in pause.finditer(page.text)] for pause in PAUSES]

    def _section_starts(self, headings: Sequence[Heading]) -> list[int]:
        """Return the first words of headings; of those that follow one another only the first."""
        section_starts, after_heading = list[int](), -1
        for heading in headings:
            first = bisect_left(self._starts, heading.offset)
            if first != after_heading:
                section_starts.append(first)
            after_heading = bisect_left(self._starts, heading.offset + len(heading.text))
        return section_starts

    def next_section(self, first: int) -> int:
        """Return the first word of the next section; a number beyond the last word without one."""
        position = bisect_right(self._sections, first)
        return self._sections[position] if position < len(self._sections) else len(self.words) + 1

    def pause(self, first: int, limit: int, least: int) -> int:
        """Return the word before which a chunk ends: the last pause of its second half, else
        ``limit``.

        Args:
            first: First word of the chunk.
            limit: First word that it cannot have.
            least: Words that it has at least, if there are so many.
        """
        if limit == len(self.words):
            return limit
        shortest = min(first + max(least, (limit - first + 1) // 2), limit)
        low, high = self.words[shortest - 1][1], self.words[limit][0]
        for pauses in self._pauses:
            position = bisect_right(pauses, high) - 1
            if position >= 0 and pauses[position] > low:
                return bisect_left(self._starts, pauses[position], shortest, limit)
        return limit

    def start(self, first: int) -> int:
        """Return where the text of a chunk begins."""
        if first == 0:
            return len(self._text) - len(self._text.lstrip())
        return self._cut(first)

    def end(self, last: int) -> int:
        """Return where the text of a chunk ends that has no word from ``last`` on."""
        position = self._cut(last) if last < len(self.words) else len(self._text)
        return len(self._text[:position].rstrip())

    def _cut(self, number: int) -> int:
        """Return where the text before a word is cut from the word's: after a line or a space.

        So a mark before a word, as of a heading or a quotation, stays with it.
        """
        before, word = self.words[number - 1][1], self.words[number][0]
        between = self._text[before:word]
        spaces = [index for index, name in enumerate(between) if name.isspace()]
        lines = between.rfind("\n")
        if lines < 0 and not spaces:
            return word
        index = before + (lines if lines >= 0 else spaces[-1]) + 1
        return word - len(self._text[index:word].lstrip())
