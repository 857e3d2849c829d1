"""A file of the share of memory that the reference promises is read within that memory."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from orchestration_project.domains.documents.chunks import ChunkRule
from orchestration_project.domains.documents.extracted import MIB, Limits
from orchestration_project.domains.documents.rows import page_rows
from orchestration_project.resources.documents.extraction import Extraction, Source
from orchestration_project.resources.documents.worker import ReaderSettings

READER_MIB = 270
"""Memory of a reader for its program and its model of languages."""

Line = Callable[[int], str]


def rows(number: int) -> str:
    return (
        f"{number},name {number * 7919 % 100_003},{number * 1.37:.2f},2026-01-{number % 28 + 1:02}"
    )


def emoji(number: int) -> str:
    return rows(number) if number % 1000 else f"{number},\N{HONEYBEE} näme,,"


def words(number: int) -> str:
    return f"The quick brown fox {number} jumps over a lazy dog, and {number % 97} look on."


def markdown(number: int) -> str:
    return f"{'#' * (number % 3 + 1)} Heading {number}\n\nSome *text* with words.\n"


def objects(number: int) -> str:
    return f'{{"id": {number}, "name": "name {number * 7919}", "value": {number * 1.1:.2f}}}'


def elements(number: int) -> str:
    return f"<row><id>{number}</id><name>name {number}</name></row>"


def cells(number: int) -> str:
    return f"<tr><td>{number}</td><td>name {number}</td></tr>"


FORMATS = [
    *(("a.csv", 8, rows, ("", "")), ("emoji.csv", 16, emoji, ("", ""))),
    *(("a.txt", 8, words, ("", "")), ("a.jsonl", 8, objects, ("", ""))),
    *(
        ("a.md", 128, markdown, ("", "")),
        ("a.xml", 64, elements, ("<?xml version='1.0'?><a>", "</a>")),
    ),
    ("a.html", 128, cells, ("<html><body><table>", "</table></body></html>")),
]


def a_file(byte_count: int, line: Line, around: tuple[str, str] = ("", "")) -> bytes:
    """Return a file of whole lines that is as long as may be."""
    block = "".join(f"{line(number)}\n" for number in range(10_000)).encode()
    room = byte_count - len("".join(around))
    content = (block * (room // len(block) + 1))[:room].rpartition(b"\n")[0]
    return around[0].encode() + content + b"\n" + around[1].encode()


def extracted(name: str, content: bytes, memory_mib: int):
    file_bytes = len(content)
    with Extraction(
        workers=1,
        memory_bytes=memory_mib * MIB,
        timeout=timedelta(minutes=5),
        limits=Limits(file_bytes=file_bytes, text_characters=2 * file_bytes),
        settings=ReaderSettings(chunk_rule=ChunkRule()),
    ) as opened:
        [document] = opened.extract([Source(name, lambda: content)])
    return document


@pytest.mark.slow
def test_a_csv_is_read_in_little_more_memory_than_a_multiple_of_its_bytes():
    content = a_file(6 * MIB, rows)
    document = extracted("a.csv", content, READER_MIB + 6 * 5)
    assert document.extracted.findings == ()
    assert document.extracted.text.encode() == content
    [validated] = page_rows({"a": document})
    assert validated.rows["page_number"].to_list() == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "share", "line", "around"), FORMATS)
def test_a_file_at_the_edge_of_its_share_of_memory_is_read(name, share, line, around):
    content = a_file(512 * MIB // share, line, around)
    found = extracted(name, content, 512).extracted
    assert found.findings == ()
    assert len(found.text) > len(content) // 4
