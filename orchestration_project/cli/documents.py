"""`documents`: extract files and show what they hold, and the timeline of loaded ones."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration_project.cli.commands import Command, Group
from orchestration_project.cli.console import OUTPUT, echo, emit, note
from orchestration_project.cli.documents_timeline import timeline

if TYPE_CHECKING:
    from orchestration_project.domains.documents.extracted import Page
    from orchestration_project.domains.documents.extraction import Document
    from orchestration_project.resources.documents.extraction import Source

MIB = 1024**2
LINE_CHARACTERS = 160


@click.group(cls=Group)
def documents() -> None:
    """Text, tables and properties of files, or why they cannot be had."""


documents.add_command(timeline)


@documents.command("show", cls=Command, has_json=True)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path())
@click.option(
    "--lines",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    metavar="N",
    help="First lines of the text of each document.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Time for one file.",
)
@click.option(
    "--memory-mib",
    type=click.IntRange(64),
    default=512,
    show_default=True,
    metavar="N",
    help="Memory of one reader, in MiB.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    metavar="N",
    help="Files that are read at a time.",
)
def show(files: tuple[str, ...], lines: int, timeout: float, memory_mib: int, workers: int) -> int:
    """Extract files and show type, outcome, reason, pages, words and first lines.

    Passwords and OCR are those of the settings, as in a load. Attachments and members of archives
    are documents too. JSON has all pages with text and tables.
    Exit status: 0 all extracted, 1 some failed, 2 usage.
    """
    from orchestration_project.domains.documents.settings import DocumentsSettings
    from orchestration_project.resources.documents.extraction import Extraction
    from orchestration_project.resources.documents.setups import reader_settings
    from orchestration_project.settings import load_settings

    settings = DocumentsSettings.of(load_settings())
    rows, states = list[Mapping[str, Any]](), Counter[str]()
    with Extraction(
        workers=workers,
        memory_bytes=memory_mib * MIB,
        timeout=timedelta(seconds=timeout),
        settings=reader_settings(settings, settings.documents_ocr),
    ) as extraction:
        for document in extraction.extract(_iterate_sources(files)):
            states[document.extracted.state] += 1
            if OUTPUT.is_json:
                rows.append(as_json(document))
            else:
                for line in shown(document, lines):
                    echo(line)
    if OUTPUT.is_json:
        emit(sorted(rows, key=lambda row: row["path"]))
    else:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        note(f"{states.total()} documents: {counts}")
    return int(states.total() != states["loaded"])


def _iterate_sources(files: tuple[str, ...]) -> "Iterator[Source]":
    from orchestration_project.domains.documents.extracted import Limits
    from orchestration_project.resources.documents.extraction import Source, read_file

    for file in files:
        yield Source(file, partial(read_file, Path(file), max_bytes=Limits().file_bytes))


def shown(document: "Document", lines: int) -> "Iterator[str]":
    """Yield the lines that people read about a document.

    Args:
        document: What was found.
        lines: How many lines of its text.
    """
    from orchestration_project.domains.documents.reasons import REASONS

    extracted = document.extracted
    pages, words = len(extracted.pages), extracted.word_count
    yield (
        f"{escaped(' > '.join(document.path))}: {extracted.state}, {extracted.media_type}, "
        f"{_format_count(pages, 'page')}, {_format_count(words, 'word')}"
    )
    for finding in extracted.findings:
        reason = REASONS[finding.code]
        detail = f" ({escaped(finding.detail)})" if finding.detail else ""
        yield f"  {finding.code}: {reason.meaning}{detail}; to do: {reason.remedy}"
    if extracted.title:
        yield f"  title: {escaped(extracted.title)}"
    yield from (
        f"  | {escaped(line[:LINE_CHARACTERS])}" for line in _take_lines(extracted.pages, lines)
    )


def _format_count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _take_lines(pages: "tuple[Page, ...]", count: int) -> Iterator[str]:
    """Yield the first lines of pages that are not empty."""
    left = count
    for page in pages:
        for line in page.text.split("\n"):
            if left and line.strip():
                left -= 1
                yield line.replace("\t", "  ")


def escaped(text: str) -> str:
    """Return a text in one line; what is not printable is escaped, as it may command a terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def as_json(document: "Document") -> Mapping[str, Any]:
    """Return a document as values of JSON; cells keep their types, days are in ISO 8601."""
    from orchestration_project.domains.documents.fingerprints import count_words
    from orchestration_project.domains.documents.reasons import REASONS

    extracted = document.extracted
    return {
        "path": list(document.path),
        "document_id": document.document_id,
        "parent_id": document.parent_id,
        "state": extracted.state,
        "reason_code": extracted.reason_code,
        "category": extracted.reason.category if extracted.reason else None,
        "findings": [
            {
                "code": finding.code,
                "detail": finding.detail,
                "meaning": REASONS[finding.code].meaning,
                "remedy": REASONS[finding.code].remedy,
            }
            for finding in extracted.findings
        ],
        "media_type": extracted.media_type,
        "declared_type": extracted.declared_type,
        "byte_count": extracted.byte_count,
        "page_count": len(extracted.pages),
        "word_count": extracted.word_count,
        "title": extracted.title,
        "author": extracted.author,
        "created_at": extracted.created_at.isoformat() if extracted.created_at else None,
        "pages": [
            {
                "number": page.number,
                "method": page.method,
                "confidence": page.confidence,
                "word_count": count_words(page.text),
                "text": page.text,
                "headings": [heading._asdict() for heading in page.headings],
                "tables": [
                    {
                        "name": table.name,
                        "rows": [[_encode_cell(cell) for cell in row] for row in table.rows],
                    }
                    for table in page.tables
                ],
            }
            for page in extracted.pages
        ],
    }


def _encode_cell(value: object) -> object:
    """Return a cell as JSON has it."""
    from orchestration_project.domains.documents.extracted import cell_text

    is_of_json = value is None or isinstance(value, str | int | float | bool)
    return value if is_of_json else cell_text(value)  # pyright: ignore[reportArgumentType] - a date or time
