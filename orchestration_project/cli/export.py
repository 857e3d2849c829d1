"""Exports a table or view: checks what was asked for, then streams the rows."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath

from sqlalchemy import Table

from orchestration_project.cli.console import OUTPUT, note, preview
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.services.export import (
    TEXT_FORMATS,
    WRITERS,
    Batches,
    ExportSummary,
    open_batches,
    whole_file,
)
from orchestration_project.settings import load_settings
from orchestration_project.tables.catalogue import (
    Relation,
    internal_tables,
    relation,
    relation_as_of,
)
from orchestration_project.tables.conditions import MOMENT, read_moment

READER_WENT_AWAY = 141
"""The exit status of a program that SIGPIPE ended."""

STANDARD_OUTPUT = "-"

SUFFIXES = {**{f".{name}": name for name in WRITERS}, ".htm": "html", ".jsonl": "ndjson"}
"""The formats by the end of a file's name."""


@dataclass(frozen=True)
class _Destination:
    """Target file of the rows, and their format."""

    form: str
    output: str
    escape_formulas: bool | None
    force: bool


def export_table(
    *,
    table: str,
    at: str | None,
    at_option: str,
    where: Sequence[str],
    columns: str | None,
    order_by: str | None,
    limit: int | None,
    form: str | None,
    output: str,
    escape_formulas: bool | None,
    internal: bool,
    force: bool,
) -> int:
    """Write the chosen rows of ``table``; return the exit status.

    Args:
        table: A table or view.
        at: The time of which the rows are, if not those of now.
        at_option: The option that gave it.
        where: Conditions, which must all hold.
        columns: Comma-separated; None: all.
        order_by: Comma-separated, with - where descending; None: the key.
        limit: How many rows at most.
        form: The format; None: by the suffix of ``output``.
        output: A file, or ``-``.
        escape_formulas: In all columns, in none, or (None) in those that senders write.
        internal: Whether the table may be an internal one.
        force: Whether an existing file is replaced.
    """
    moment = _moment(at, at_option) if at is not None else None
    chosen = relation(table) if moment is None else relation_as_of(table, moment)
    if chosen.table.name in internal_tables() and not internal:
        raise ConfigurationError(
            f"{chosen.table.name} is an internal table", remedy="to export it, add --internal"
        )
    destination = _Destination(_format(form, output), output, escape_formulas, force)
    _require_writable(destination)
    names, order = _names(columns), _names(order_by)
    status = _export(chosen, chosen.columns(names), where, order, limit, destination)
    if status == 0 and moment and (first := _first_after(chosen.table, moment)):
        note(f"{table}: nothing had landed by then; the first did at {first}")
    return status


def _names(written: str | None) -> list[str]:
    return [name.strip() for name in (written or "").split(",") if name.strip()]


def _format(form: str | None, output: str) -> str:
    """Return the format, which the suffix of a file's name decides unless one is named.

    Raises:
        ConfigurationError: No format has that suffix.
    """
    suffix = PurePath(output).suffix.lower()
    if form or not suffix:
        return form or "csv"
    if suffix not in SUFFIXES:
        raise ConfigurationError(
            f"invalid --output {output}: no format has the suffix {suffix}",
            expected=f"one of {', '.join(SUFFIXES)}",
            remedy=did_you_mean(suffix, SUFFIXES) or "choose another suffix, or add --format",
        )
    return SUFFIXES[suffix]


def _require_writable(destination: _Destination) -> None:
    if destination.output == STANDARD_OUTPUT and destination.form not in TEXT_FORMATS:
        raise ConfigurationError(
            f"{destination.form} is not written to standard output",
            remedy="name a file: --output",
        )
    if destination.output.endswith("/"):
        raise ConfigurationError(
            f"{destination.output} is a folder", remedy="name a file: --output"
        )


def _export(
    chosen: Relation,
    columns: Sequence[str],
    where: Sequence[str],
    order: Sequence[str],
    limit: int | None,
    destination: _Destination,
) -> int:
    statement = chosen.select(columns, where, order_by=order, limit=limit)
    if OUTPUT.is_dry_run:
        name = "standard output" if destination.output == STANDARD_OUTPUT else destination.output
        preview(f"{', '.join(columns)} of {chosen.table.name} would be written to {name}")
        return 0
    with (
        open_warehouse(load_settings()) as warehouse,
        open_batches(
            warehouse,
            chosen,
            columns,
            statement,
            form=destination.form,
            escape=destination.escape_formulas,
        ) as batches,
    ):
        if destination.output == STANDARD_OUTPUT:
            return _to_standard_output(chosen.table.name, batches, destination.form)
        with whole_file(Path(destination.output), replace=destination.force) as file:
            written = WRITERS[destination.form](batches, file)
    _report(chosen.table.name, written, destination.output)
    return 0


def _to_standard_output(name: str, batches: Batches, form: str) -> int:
    if sys.stdout is None:  # closed before this process started
        return READER_WENT_AWAY
    try:
        written = WRITERS[form](batches, sys.stdout.buffer)
    except BrokenPipeError:  # such as `| head`; Python would complain of it again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_WENT_AWAY
    except OSError as error:
        raise ConfigurationError(
            "standard output cannot be written", found=str(error.strerror)
        ) from error
    _report(name, written, "standard output")
    return 0


def _report(name: str, written: ExportSummary, where: str) -> None:
    note(f"{name}: {written.row_count} rows, {written.byte_count} bytes to {where}")


def _first_after(table: Table, at: datetime) -> str:
    """Return when a partition landed first, if that was after ``at``: nothing was known before."""
    with open_warehouse(load_settings()) as warehouse:
        first = warehouse.first_landed_at(table)
    return first.isoformat() if first and first > at else ""


def _moment(written: str, option: str) -> datetime:
    try:
        return read_moment(written)
    except ValueError:
        raise ConfigurationError(f"invalid {option} {written!r}: expected {MOMENT}") from None
