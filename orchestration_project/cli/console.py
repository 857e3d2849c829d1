"""How a command writes: results to standard output, notes to standard error, as its options say."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

STYLES = {
    "OK": "green",
    "ok": "green",
    "ready": "green",
    "valid": "green",
    "whole": "green",
    "SKIP": "bright_black",
    "FAILED": "bold red",
    "FAIL": "bold red",
    "failed": "bold red",
    "error": "red",
    "critical": "bold red",
    "warning": "yellow",
}
"""Colours of the words that a table shows as a state."""


@dataclass
class OutputOptions:
    """The global options that decide what a command writes.

    Attributes:
        is_json: One JSON document on standard output; everything else goes to standard error.
        is_dry_run: Nothing is written but what would be done.
        is_quiet: Neither progress nor notes.
        is_verbose: Dagster's log too, and the traceback of an error.
    """

    is_json: bool = False
    is_dry_run: bool = False
    is_quiet: bool = False
    is_verbose: bool = False

    def set(
        self,
        *,
        is_json: bool = False,
        is_dry_run: bool = False,
        is_quiet: bool = False,
        is_verbose: bool = False,
    ) -> None:
        """Write as these options say from now on."""
        self.is_json, self.is_dry_run = is_json, is_dry_run
        self.is_quiet, self.is_verbose = is_quiet, is_verbose


OUTPUT = OutputOptions()
"""Those of the running command."""


def echo(text: str) -> None:
    """Write a line of the result at once; with ``--json`` the document has it instead."""
    if not OUTPUT.is_json:
        print(text, flush=True)  # noqa: T201 - the result of a command


def progress(text: str) -> None:
    """Write a line about what is being done, unless ``--quiet``; beside JSON it is a note."""
    if OUTPUT.is_json:
        note(text)
    elif not OUTPUT.is_quiet:
        echo(text)


def note(text: str) -> None:
    """Write a line to standard error, unless ``--quiet``."""
    if not OUTPUT.is_quiet:
        sys.stderr.write(f"{text}\n")


def emit(document: object) -> None:
    """Write the result as JSON; a time is text in ISO 8601 with its zone."""
    print(json.dumps(document, indent=2, default=_make_text), flush=True)  # noqa: T201 - as `echo`


def _make_text(value: object) -> str:
    """Return a value that JSON lacks as text; a time of a database, without a zone, is UTC."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return str(value)


def emit_or(document: object, *lines: str) -> None:
    """Write ``document`` as JSON with ``--json``, otherwise ``lines``."""
    if OUTPUT.is_json:
        emit(document)
    else:
        for line in lines:
            echo(line)


def preview(text: str, **document: object) -> None:
    """Write the changes that the command would make without ``--dry-run``."""
    emit_or({"is_dry_run": True, **document}, f"dry run: {text}")


def show_rows(rows: Sequence[Mapping[str, Any]], headings: Mapping[str, str]) -> None:
    """Write rows as a table, or as a JSON list with ``--json``.

    Args:
        rows: What to show; JSON has all their fields.
        headings: The fields that the table shows, and the heading of each; times to the minute.
    """
    if OUTPUT.is_json:
        emit(list(rows))
        return
    cells = [[_render_cell(row.get(name)) for name in headings] for row in rows]
    if sys.stdout is not None and sys.stdout.isatty():
        _show_in_colour(list(headings.values()), cells)
    else:
        echo(aligned([list(headings.values()), *cells]))


def aligned(lines: Sequence[Sequence[str]], *, numbers_from: int | None = None) -> str:
    """Return cells in columns, each as wide as its longest cell and two spaces apart.

    Columns are aligned to the left, those from ``numbers_from`` on to the right.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    limit = len(widths) if numbers_from is None else numbers_from
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < limit else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _show_in_colour(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Write a table to a terminal: it wraps long cells and has colours unless ``NO_COLOR``."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for line in cells:
        table.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in line))
    Console().print(table)


def _render_cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return printable("" if value is None else str(value))


def printable(text: str) -> str:
    """Return ``text`` in one line, without what a terminal would take for a command."""
    return "".join(character if character.isprintable() else " " for character in text)
