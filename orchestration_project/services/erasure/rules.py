"""Texts that identify a subject: found and masked in any text, JSON or bytes.

A mask has the size of what it replaces. So files, pages of JSON and offsets in them stay valid, and
a log can be masked while a process appends to it.
"""

import csv
import html
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from orchestration_project.engine.contracts.rules import escape_bytes
from orchestration_project.engine.contracts.subjects import (
    MAX_IDENTIFIER_BYTES,
    MAX_IDENTIFIERS,
    MIN_MASKED_CHARACTERS,
    CapturedLines,
    CapturedRecords,
)
from orchestration_project.errors import ConfigurationError

MASK = "*"

JSON_IN_JSON = 3
"""How often a text may have been written as a JSON string, one inside the other."""

BEFORE = r"(?:(?<![\w.+-])|(?<=\\[nrtbf])|(?<=\\u[0-9A-Fa-f]{4})|(?<=\\x[0-9A-Fa-f]{2}))"
AFTER = r"(?![\w-])"
"""Surroundings of an identifier: ann@example.com does not stand in joann@example.com."""

BYTES_BEFORE, BYTES_AFTER = rb"(?<![A-Za-z0-9_.+-])", rb"(?![A-Za-z0-9_-])"
"""The same of bytes that are not UTF-8: anything outside ASCII may stand around one."""

ESCAPE = "\\u00"
"""Beginning of an escape in JSON, which may replace a letter of ASCII."""

WIDE = ("utf-16-le", "utf-16-be")

Document = Any
"""A value that was read from JSON."""


def check_identifiers(given: Sequence[str]) -> tuple[str, ...]:
    """Return the identifiers of a request: the first is matched in columns, all are masked.

    Raises:
        ConfigurationError: There is none, there are too many, or one cannot be stored or is too
            long. The text does not quote it.
    """
    fromkeys = tuple(dict.fromkeys(name.strip() for name in given))
    if not fromkeys or len(fromkeys) > MAX_IDENTIFIERS:
        raise _build_error(f"1 to {MAX_IDENTIFIERS} identifiers", f"{len(fromkeys)}")
    for index, fromkey in enumerate(fromkeys, start=1):
        if problem := _find_problem(fromkey, is_first=index == 1):
            raise _build_error(problem[0], f"number {index} has {problem[1]}")
    return fromkeys


def _find_problem(identifier: str, *, is_first: bool) -> tuple[str, str] | None:
    """Return the expected form and the found one of an invalid identifier; None: it is valid."""
    if any("\ud800" <= character <= "\udfff" for character in identifier):
        return "text that UTF-8 can encode", "a lone surrogate"
    if any(ord(character) < 32 or ord(character) == 127 for character in identifier):
        return "text without control characters", "NUL or another control character"
    size = len(identifier.encode())
    if not identifier or size > MAX_IDENTIFIER_BYTES:
        return f"1 to {MAX_IDENTIFIER_BYTES} bytes", f"{size} bytes"
    if not is_first and len(identifier) < MIN_MASKED_CHARACTERS:
        least = f"{MIN_MASKED_CHARACTERS} characters or more, as it is masked everywhere"
        return least, f"{len(identifier)} characters"
    return None


def _build_error(expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        "invalid identifiers of a subject",
        expected=expected,
        found=found,
        remedy="give the identifier as the data has it, and others that stand alone, such as a "
        "full name",
    )


class Subject:
    """The identifiers of a subject; the case of an e-mail address does not matter."""

    def __init__(
        self,
        identifiers: Sequence[str],
        companions: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.identifiers = tuple(identifiers)
        self._companions = companions or {}

    @property
    def ignores_case(self) -> bool:
        """Whether the first one is an e-mail address."""
        return "@" in self.first

    @property
    def first(self) -> str:
        """The one that is matched in declared columns."""
        return self.identifiers[0]

    def is_first(self, value: object) -> bool:
        """Whether a value of a column or of JSON is the identifier."""
        if isinstance(value, bool) or not isinstance(value, str | int):
            return False
        return self._folded(str(value)) == self._folded(self.first)

    def _folded(self, text: str) -> str:
        return lower_ascii(text) if self.ignores_case else text

    @cached_property
    def masked(self) -> tuple[str, ...]:
        """Those that are masked wherever they stand."""
        return tuple(
            identifier
            for identifier in self.identifiers
            if len(identifier) >= MIN_MASKED_CHARACTERS
        )

    @cached_property
    def searched(self) -> tuple[str, ...]:
        """Texts of which a text with an identifier contains one, in lower case; for SQL."""
        forms = [lower_ascii(name) for text in self.masked for name in _spell_forms(text)]
        return tuple(dict.fromkeys([*forms, ESCAPE] if forms else ()))

    @cached_property
    def _patterns(self) -> Sequence[re.Pattern[str]]:
        return _compile_patterns(self.masked)

    @cached_property
    def _byte_patterns(self) -> Sequence[tuple[re.Pattern[bytes], bytes]]:
        """Patterns and units of masks of bytes that are not UTF-8."""
        chunks: dict[bytes, bytes] = {}
        for text in self.masked:
            for name in _spell_forms(text):
                chunks[name.encode()] = MASK.encode()
            for encoding in ("latin-1", *WIDE):
                chunks[text.encode(encoding, "ignore")] = MASK.encode(encoding)
        return [
            (re.compile(BYTES_BEFORE + re.escape(text) + BYTES_AFTER, re.IGNORECASE), mask)
            for text, mask in chunks.items()
        ]

    def mask(self, text: str) -> str:
        """Return a text in which all identifiers are masked, and in JSON their companions."""
        if not self._may_be_in(text):
            return text
        masked = _mask_text(text, self._patterns)
        if not self._companions:
            return masked
        return _mask_text(masked, _compile_patterns(self._names_beside(text)))

    def _may_be_in(self, text: str) -> bool:
        lowered = lower_ascii(text) if text.isascii() else text.lower()
        return any(name in lowered for name in self.searched)

    def mask_bytes(self, content: bytes) -> bytes:
        """Return bytes of the same size in which all identifiers are masked."""
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return self._mask_others(content)
        masked = self.mask(text)
        content = content if masked == text else masked.encode()
        return self._mask_others(content) if b"\0" in content else content

    def _mask_others(self, content: bytes) -> bytes:
        """Return bytes that are not UTF-8, or UTF-16 perhaps, with masks."""
        for pattern, mask in self._byte_patterns:
            content = pattern.sub(
                lambda found, unit=mask: unit * (len(found.group(0)) // len(unit)), content
            )
        return content

    @cached_property
    def _byte_forms(self) -> Sequence[bytes]:
        forms = [name for text in self.masked for name in _spell_forms(lower_ascii(text))]
        wide = [text.encode(name) for text in map(lower_ascii, self.masked) for name in WIDE]
        return [*(form.lower().encode() for form in forms), *wide]

    def may_be_in(self, content: bytes) -> bool:
        """Whether bytes have an identifier, or it as a part of a longer text."""
        lowered = content.lower()
        return any(form in lowered for form in self._byte_forms)

    def is_in(self, content: bytes) -> bool:
        """Whether bytes have an identifier."""
        return self.mask_bytes(content) != content

    def _names_beside(self, text: str) -> list[str]:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return []
        return [
            value
            for entry in _iterate_objects(document)
            for member, companions in self._companions.items()
            if self.is_first(entry.get(member))
            for value in map(entry.get, companions)
            if isinstance(value, str) and value and not self.is_first(value)
        ]


def lower_ascii(text: str) -> str:
    """Return a text with A-Z in lower case, as databases do."""
    return "".join(
        character.lower() if "A" <= character <= "Z" else character for character in text
    )


def _spell_forms(text: str) -> Iterator[str]:
    """Yield the forms in which texts, JSON, HTML, URLs and rejects have an identifier."""
    yield from (text, json.dumps(text, ensure_ascii=False)[1:-1], escape_bytes(text.encode()))
    yield from (_encode_for_url(text, "/"), _encode_for_url(text), html.escape(text))
    for _ in range(JSON_IN_JSON):
        text = json.dumps(text)[1:-1]
        yield text


def _encode_for_url(text: str, safe: str = "") -> str:
    """Return a text as a URL has it."""
    return "".join(
        chr(number)
        if number < 128 and (chr(number).isalnum() or chr(number) in f"_.-~{safe}")
        else f"%{number:02X}"
        for number in text.encode()
    )


def _compile_patterns(texts: Sequence[str]) -> Sequence[re.Pattern[str]]:
    """Return patterns of all forms, the longest first."""
    forms = sorted({name for text in texts for name in _spell_forms(text)}, key=len, reverse=True)
    return [
        re.compile(BEFORE + "".join(map(_build_letter_pattern, form)) + AFTER, re.IGNORECASE)
        for form in forms
    ]


def _build_letter_pattern(letter: str) -> str:
    """Return the pattern of a letter, which JSON may have as an escape."""
    if not letter.isascii():
        return re.escape(letter)
    return rf"(?:{re.escape(letter)}|\\u00{ord(letter):02x})"


def _mask_text(text: str, patterns: Sequence[re.Pattern[str]]) -> str:
    for pattern in patterns:
        text = pattern.sub(lambda found: MASK * len(found.group(0).encode()), text)
    return text


def _iterate_objects(document: Document) -> Iterator[Mapping[str, Document]]:
    """Yield all objects in a JSON document."""
    waiting = [document]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def find_value(document: Document, path: Sequence[str]) -> Document:
    """Return the value that names of members lead to in JSON; None: there is none."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def has_subject_at(content: str | bytes, path: Sequence[str], subject: Subject) -> bool:
    """Whether JSON has the identifier at a path; other bytes do not."""
    try:
        return subject.is_first(find_value(json.loads(content), path))
    except (ValueError, RecursionError):
        return False


_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def remove_records(
    content: bytes, declared: CapturedRecords | CapturedLines, subject: Subject
) -> tuple[bytes, int]:
    """Return captured bytes without the records of the subject, and the number of these.

    All other bytes are as they were. Bytes of another format are returned as they are.
    """
    cut = _cut_lines if isinstance(declared, CapturedLines) else _cut_elements
    try:
        return cut(content.decode(), declared, subject)  # pyright: ignore[reportArgumentType] - as chosen
    except (ValueError, RecursionError, csv.Error):
        return content, 0


def _cut_elements(text: str, declared: CapturedRecords, subject: Subject) -> tuple[bytes, int]:
    start = _start_of(text, declared.records)
    spans = [
        (begin, end)
        for begin, end, record in (() if start is None else _iterate_elements(text, start))
        if subject.is_first(find_value(record, declared.path))
    ]
    for begin, end in reversed(spans):
        text = _cut(text, begin, end)
    return text.encode(), len(spans)


def _cut_lines(text: str, declared: CapturedLines, subject: Subject) -> tuple[bytes, int]:
    """Cut out lines; a quoted value may go over several."""
    lines = list(io.StringIO(text, newline=""))  # which ends them as csv does
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=declared.delimiter)
    position = next(reader, []).index(declared.field)
    kept_names, start, count = lines[: reader.line_num], reader.line_num, 0
    for values in reader:
        if len(values) > position and subject.is_first(values[position]):
            count += 1
        else:
            kept_names += lines[start : reader.line_num]
        start = reader.line_num
    return "".join(kept_names).encode(), count


def _cut(text: str, begin: int, end: int) -> str:
    """Return an array's text without an element, and without one comma beside it."""
    before, after = text[:begin].rstrip(), text[end:].lstrip()
    if before.endswith(","):
        return before[:-1] + after
    return before + (after[1:] if after.startswith(",") else after)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _start_of(text: str, path: Sequence[str]) -> int | None:
    """Return where the array begins to which names of members lead; None: there is none."""
    at = _skip(text, 0)
    for name in path:
        number = next((value for key, value in _iterate_members(text, at) if key == name), None)
        if number is None:
            return None
        at = number
    return at if text[at : at + 1] == "[" else None


def _iterate_members(text: str, at: int) -> Iterator[tuple[str, int]]:
    """Yield the members of the object at a place: name, and where its value begins."""
    if text[at : at + 1] != "{":
        return
    at = _skip(text, at + 1)
    while text[at : at + 1] == '"':
        name, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)  # the colon
        yield name, at
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)  # the comma


def _iterate_elements(text: str, at: int) -> Iterator[tuple[int, int, Document]]:
    """Yield the elements of the array at a place: where each begins and ends, and its value."""
    at = _skip(text, at + 1)
    while at < len(text) and text[at] != "]":
        value, end = _DECODER.raw_decode(text, at)
        yield at, end, value
        at = _skip(text, end)
        if text[at : at + 1] != ",":
            return
        at = _skip(text, at + 1)
