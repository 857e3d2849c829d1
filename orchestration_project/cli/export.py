"""Exports a table or view: checks what was asked for, then streams the rows."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from pathlib import Path, PurePath
from typing import Any

import polars as pl
from sqlalchemy import Table

from orchestration_project.cli.console import OUTPUT, note, preview
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse.frames import read_frame
from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.services.export import (
    SPREADSHEET_FORMATS,
    TEXT_FORMATS,
    WRITERS,
    Batches,
    ExportSummary,
    Writer,
    escape_formulas,
    open_atomic_file,
    open_batches,
    write_csv_for_excel,
)
from orchestration_project.services.parquet_dataset import ParquetDataset, infer_partitioning
from orchestration_project.settings import load_settings
from orchestration_project.tables.catalogue import (
    internal_tables,
    known_tables,
    relation,
    relation_as_of,
)
from orchestration_project.tables.conditions import MOMENT, read_moment
from orchestration_project.tables.queries.published import REASON, REASONS, Published
from orchestration_project.tables.queries.published import published_by as published_state
from orchestration_project.tables.queries.relations import Relation

READER_WENT_AWAY = 141
"""The exit status of a program that SIGPIPE ended."""

STANDARD_OUTPUT = "-"

SHOWN_KEYS = 5
"""A note of rows that are left out."""

SUFFIXES = {**{f".{name}": name for name in WRITERS}, ".htm": "html", ".jsonl": "ndjson"}
"""The formats by the end of a file's name."""


@dataclass(frozen=True)
class Query:
    """Rows that are chosen of a table or view.

    Attributes:
        table: A table or view.
        where: Conditions, which must all hold.
        columns: Comma-separated; None: all.
        order_by: Comma-separated, with - where descending; None: the key.
        limit: How many rows at most.
        internal: Whether the table may be an internal one.
    """

    table: str
    where: Sequence[str] = ()
    columns: str | None = None
    order_by: str | None = None
    limit: int | None = None
    internal: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Query":
        """Return the query that options of a command ask for."""
        return cls(**{field.name: options[field.name] for field in fields(cls)})

    def require_public(self) -> None:
        """Refuse an internal table, unless those are asked for.

        Raises:
            ConfigurationError: It is one, or not a table or view.
        """
        name = relation(self.table).table.name
        if name in internal_tables() and not self.internal:
            raise ConfigurationError(
                f"{name} is an internal table", remedy="to export it, add --internal"
            )


@dataclass(frozen=True)
class Destination:
    """Target of rows, and their format.

    Attributes:
        form: The format.
        output: A file, or ``-``.
        escape_formulas: In all columns, in none, or (None) in those that senders write.
        force: Whether an existing file is replaced.
        byte_order_mark: Whether a CSV begins with one.
    """

    form: str
    output: str
    escape_formulas: bool | None = None
    force: bool = False
    byte_order_mark: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Destination":
        """Return the destination that options of a command name.

        Raises:
            ConfigurationError: The file cannot be written, or has no known format.
        """
        values = {field.name: options[field.name] for field in fields(cls) if field.name in options}
        values["form"] = _format(options["form"], options["output"])
        export = cls(**values)
        _require_writable(export)
        return export

    @property
    def write(self) -> Writer:
        """The function that writes the rows."""
        return write_csv_for_excel if self.byte_order_mark else WRITERS[self.form]


def export_table(
    query: Query,
    destination: Destination,
    moment: datetime | None = None,
    *,
    published_by: date | None = None,
    missing: str | None = None,
) -> int:
    """Write the chosen rows of a table; return the exit status.

    Args:
        query: The rows.
        destination: Where they are written, and how.
        moment: The time of which the rows are, if not those of now.
        published_by: Day by which the source had published the rows, if not of any day.
        missing: File for the keys of rows whose state on that day is not known.
    """
    table = query.table
    of_day = published_state(table, published_by, moment) if published_by else None
    if of_day:
        chosen = of_day.relation
    else:
        chosen = relation(table) if moment is None else relation_as_of(table, moment)
    if missing is not None and of_day is None:
        raise ConfigurationError(
            "--missing needs --published-by", remedy="add --published-by DAY, or leave it out"
        )
    status = export_relation(chosen, query, destination)
    if status == 0 and of_day and not OUTPUT.is_dry_run:
        _report_missing(of_day, query.where, missing, force=destination.force)
    if status == 0 and moment and (first := _find_first_after(chosen.table, moment)):
        note(f"{table}: nothing was loaded by then; the first load was at {first}")
    return status


def export_query(
    query: str, destination: Destination, as_of: datetime | None, limit: int | None
) -> int:
    """Write the rows of a SELECT; return the exit status.

    On SQLite it may read all tables and views, and no column with hashes of secrets. Who wrote its
    texts is not known, so formulas are escaped in all, unless that is switched off.
    """
    from orchestration_project.services.analyst_sql import MAX_ROWS, sqlite

    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        file = warehouse.file
    readable = sqlite.Readable(known_tables())
    run_query = sqlite.choose_database(settings.analyst_database_url, file, readable)
    rows = run_query(query, as_of=as_of, limit=limit or MAX_ROWS)
    if destination.form in SPREADSHEET_FORMATS and destination.escape_formulas is not False:
        rows = escape_formulas(rows, rows.columns)
    return write_rows("query", [rows], destination)


def export_dataset(query: Query, folder: str, partition_by: str | None) -> int:
    """Write the changed partitions of a table below a folder; return the exit status.

    Args:
        query: The rows, whose order and number are not asked for.
        folder: Of the dataset; made if it is missing.
        partition_by: Comma-separated; None: the day of the key, and tier.
    """
    chosen, table = relation(query.table), query.table
    query.require_public()
    by = _parse_names(partition_by) or infer_partitioning(chosen)
    dataset = ParquetDataset(Path(folder), chosen, by, _parse_names(query.columns), query.where)
    if OUTPUT.is_dry_run:
        preview(f"{table} would be written below {folder} by {', '.join(by)}")
        return 0
    with open_warehouse(load_settings()) as warehouse:
        dataset_summary = dataset.export(warehouse)
    note(
        f"{table}: {len(dataset_summary.written)} partitions written, "
        f"{dataset_summary.unchanged} unchanged, "
        f"{len(dataset_summary.removed)} removed; {dataset_summary.row_count} rows, "
        f"{dataset_summary.byte_count} bytes in {folder}"
    )
    return 0


def _parse_names(written: str | None) -> list[str]:
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


def _require_writable(destination: Destination) -> None:
    if destination.output == STANDARD_OUTPUT and destination.form not in TEXT_FORMATS:
        raise ConfigurationError(
            f"{destination.form} is not written to standard output",
            remedy="name a file: --output",
        )
    if destination.byte_order_mark and destination.form != "csv":
        raise ConfigurationError(
            f"invalid --byte-order-mark: expected --format csv, found {destination.form}",
            remedy="leave it out, or add --format csv",
        )
    if destination.output.endswith("/"):
        raise ConfigurationError(
            f"{destination.output} is a folder", remedy="name a file: --output"
        )


def export_relation(chosen: Relation, query: Query, destination: Destination) -> int:
    """Write the rows of a table in a state of it, or their changes; return the exit status."""
    query.require_public()
    columns = chosen.columns(_parse_names(query.columns))
    order = _parse_names(query.order_by)
    statement = chosen.select(columns, query.where, order_by=order, limit=query.limit)
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
        return write_rows(chosen.table.name, batches, destination)


def write_rows(name: str, batches: Batches, destination: Destination) -> int:
    """Write rows of a table, log how many, and return the exit status."""
    if destination.output == STANDARD_OUTPUT:
        return _write_to_stdout(name, batches, destination.write)
    with open_atomic_file(Path(destination.output), replace=destination.force) as file:
        written = destination.write(batches, file)
    _report(name, written, destination.output)
    return 0


def _write_to_stdout(name: str, batches: Batches, write: Writer) -> int:
    if sys.stdout is None:  # closed before this process started
        return READER_WENT_AWAY
    try:
        written = write(batches, sys.stdout.buffer)
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


def _report_missing(
    of_day: Published, where: Sequence[str], output: str | None, *, force: bool
) -> None:
    """Log which rows are left out, as their state of the day is not known."""
    keys = of_day.missing(where)
    columns = keys.subquery()
    with open_warehouse(load_settings()) as warehouse:
        with warehouse.reading() as connection:
            rows = connection.execute(of_day.left_out(where))
            counts = {row.reason: int(row.row_count) for row in rows}
            first = [
                read_frame(connection, of_day.missing(where, reason).limit(SHOWN_KEYS), columns)
                for reason in counts
            ]
        if output is not None:
            with (
                warehouse.batches(keys, columns) as batches,
                open_atomic_file(Path(output), replace=force) as file,
            ):
                WRITERS["csv"](batches, file)
    report_left_out(of_day.day, counts, pl.concat(first) if first else pl.DataFrame(), output)


def report_left_out(
    day: date, counts: Mapping[str, int], keys: pl.DataFrame, output: str | None
) -> None:
    """Log which rows are not in a state by publication.

    Args:
        day: The day.
        counts: How many there are, by reason.
        keys: Some of their keys, with the reason.
        output: The file that has all of them, if any.
    """
    for reason, explanation in REASONS.items():
        if count := counts.get(reason, 0):
            rows = keys.filter(pl.col(REASON) == reason).drop(REASON).head(SHOWN_KEYS).rows()
            text = ", ".join("|".join(map(str, row)) for row in rows)
            note(
                f"{reason}: {count} rows {explanation.format(day=day)}; they are left out: {text}"
                f"{', ...' if count > len(rows) else ''}"
            )
    if counts:
        note(f"all keys: {output}" if output else "--missing FILE writes all keys")


def _find_first_after(table: Table, at: datetime) -> str:
    """Return when a partition loaded first, if that was after ``at``: nothing was known before."""
    with open_warehouse(load_settings()) as warehouse:
        first = warehouse.first_landed_at(table)
    return first.isoformat() if first and first > at else ""


def moment_of(written: str, option: str) -> datetime:
    """Read the time of an option.

    Raises:
        ConfigurationError: It is not an ISO time with its zone.
    """
    try:
        return read_moment(written)
    except ValueError:
        raise ConfigurationError(f"invalid {option} {written!r}: expected {MOMENT}") from None
