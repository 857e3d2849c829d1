"""Bad input of documents as data: what it is, how it is made, and how it ends.

docs/reference/documents.md is generated from the rows.
"""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from orchestration_demo.documents.corpus import FORMATS
from orchestration_demo.documents.damage import BAD, MANY_MEMBERS, MANY_PAGES
from orchestration_demo.documents.packages import archive
from orchestration_demo.documents.story import Story, Words, make_story

GIB = 2**30
OUTSIDE = "outside.txt"
"""File beside the folder, to which a link leads."""

CHANGING, GONE, RENAMED = "changing.txt", "gone.txt", "old-name.txt"
"""Files that a test changes, deletes and renames once they are listed."""


class BadInput(NamedTuple):
    """A row.

    Attributes:
        what: What is wrong.
        reason_code: What it ends with; empty: the file is extracted, its name is escaped.
        path: Of the file, as it is listed.
        write: Makes the file below a folder.
        is_within: Whether a file within it has the reason.
    """

    what: str
    reason_code: str
    path: str
    write: Callable[[Path], object]
    is_within: bool = False


def _story() -> Story:
    return make_story(Random(36), Words(Random(36)))  # noqa: S311 - to be repeated


def _of(extension: str, reason_code: str, what: str, inner: str = "") -> BadInput:
    """Return a row of a file that the generator damages."""
    bad = next(
        bad_file
        for bad_file in BAD
        if (bad_file.extension, bad_file.reason_code, bad_file.inner_reason)
        == (extension, reason_code, inner)
    )
    code = inner or reason_code
    name = f"{code}.{extension}"
    write = lambda folder: (folder / name).write_bytes(bad.write(_story(), Random(1)))  # noqa: E731, S311 - the same
    return BadInput(what, code, name, write, bool(inner))


def _bytes(what: str, reason_code: str, name: str, content: bytes) -> BadInput:
    return BadInput(what, reason_code, name, lambda folder: (folder / name).write_bytes(content))


def _sparse(folder: Path) -> None:
    with (folder / "huge.pdf").open("wb") as file:
        file.truncate(2 * GIB)


def _linked(name: str, target: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).symlink_to(target)


def _inflated() -> bytes:
    """Return an archive of archives that inflate to more than all files within one may."""
    inner = archive([(f"{n}.txt", bytes(4_000_000)) for n in range(20)])
    return archive([(f"{n}.zip", inner + bytes([n])) for n in range(9)])


FILES: tuple[BadInput, ...] = (
    _of("txt", "empty_file", "empty"),
    _of("pdf", "no_text", "without text"),
    _of("docx", "truncated", "truncated"),
    _of("pdf", "corrupt", "corrupt"),
    _of("pdf", "encrypted", "encrypted PDF"),
    _of("docx", "encrypted", "encrypted Office file"),
    _of("zip", "encrypted", "encrypted archive"),
    _of("docx", "wrong_extension", "wrong extension"),
    _of("docx", "unsupported_type", "a program named as a document"),
    _of("zip", "archive_ratio", "ZIP bomb by ratio"),
    _of("zip", "too_many_children", f"ZIP bomb by count: {MANY_MEMBERS:,} members"),
    _of("zip", "archive_overlap", "ZIP bomb of members that overlap"),
    _of("zip", "", "archives in archives deeper than 5", "nested_too_deep"),
    _of("eml", "", "mails attached to mails deeper than 5", "nested_too_deep"),
    _of("docx", "xml_entities", "XML entities"),
    _of("xml", "xml_entities", "external XML entities"),
    _of("zip", "unsafe_path", "path traversal in an archive"),
    _of("pdf", "too_many_pages", f"{MANY_PAGES:,} pages"),
    _of("docm", "macros_ignored", "macros, which are never run"),
    _of("txt", "text_replaced", "NUL in text"),
    _bytes("lone surrogates in text", "text_replaced", "lone.json", rb'{"a": "half \ud800 pair"}'),
    BadInput(
        "a link out of the folder", "not_a_file", "out.txt", _linked("out.txt", f"../{OUTSIDE}")
    ),
    BadInput(
        "a named pipe", "not_a_file", "pipe.txt", lambda folder: os.mkfifo(folder / "pipe.txt")
    ),
    BadInput(
        "a file that cannot be read", "unreadable", "loop.txt", _linked("loop.txt", "loop.txt")
    ),
    _bytes("a file that changes while it is read", "changed_while_read", CHANGING, b"some words"),
    _bytes("a file that vanishes before it is read", "vanished", GONE, b"words that go"),
    _bytes("a file that is renamed before it is read", "vanished", RENAMED, b"words that move"),
    BadInput(
        "a line break in the name",
        "",
        "line%0Abreak.txt",
        lambda folder: (folder / "line\nbreak.txt").write_text("words of a line"),
    ),
    BadInput(
        "invalid UTF-8 in the name",
        "",
        "latin%FF.txt",
        lambda folder: (folder / os.fsdecode(b"latin\xff.txt")).write_text("words of bytes"),
    ),
)
"""What a folder may have."""

HEAVY: tuple[BadInput, ...] = (
    BadInput("a file of 2 GiB", "too_large", "huge.pdf", _sparse),
    BadInput(
        "ZIP bomb of archives in archives",
        "archive_too_large",
        "nested.zip",
        lambda folder: (folder / "nested.zip").write_bytes(_inflated()),
        is_within=True,
    ),
)
"""The same, where it takes seconds."""

READER_ENDS: tuple[BadInput, ...] = (
    _bytes("a file whose reader hangs", "parser_timed_out", "hang", b"1"),
    _bytes("a file whose reader needs too much memory", "parser_out_of_memory", "eat", b"2"),
    _bytes("a file whose reader crashes its process", "parser_crashed", "crash", b"3"),
    _bytes("a file whose reader raises an error", "parser_failed", "raise", b"4"),
)
"""What a file may do to its reader."""

GOOD = "good.md"


def write_good(folder: Path) -> None:
    """Write a file that is extracted whatever lies beside it."""
    write, _ = FORMATS["md"]
    (folder / GOOD).write_bytes(write(_story()))
