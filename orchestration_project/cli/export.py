"""`export`: a table or view as CSV, Parquet, Excel, HTML or Markdown, streamed."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestration_project.engine.environment import open_warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.export import (
    TEXT_FORMATS,
    WRITERS,
    XLSX_ROWS,
    Batches,
    ExportSummary,
    whole_file,
    with_escaped_formulas,
)
from orchestration_project.settings import load_settings
from orchestration_project.tables.catalogue import Relation, internal_tables, known_tables, relation

READER_WENT_AWAY = 141
"""The exit status of a program that SIGPIPE ended."""


def main(arguments: Sequence[str]) -> int:
    """Export; return 0 when all rows are written."""
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project export",
        description="Write a table or view of the database to a file.",
        epilog="tables and views: "
        + ", ".join(name for name in known_tables() if name not in internal_tables()),
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    return export(relation(options.table), options)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what `export` and `as-of` both take."""
    parser.add_argument("table", metavar="TABLE", help="a table or view")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="EXPR",
        help="column=value, or with != < <= > >=; may be repeated, and all must hold; NULL meets "
        "none; quote it for the shell",
    )
    parser.add_argument("--columns", metavar="A,B", help="these columns, in this order (all)")
    parser.add_argument(
        "--format",
        choices=WRITERS,
        default="csv",
        help="csv: RFC 4180, NULL is nothing between commas, empty text is two quotes; times in "
        f"UTC. parquet: typed. xlsx: a sheet of Excel, at most {XLSX_ROWS - 1} rows. html, md: a "
        "table to read.",
    )
    parser.add_argument(
        "--output",
        default="-",
        metavar="FILE",
        help=f"a file, or - for standard output ({', '.join(TEXT_FORMATS)})",
    )
    parser.add_argument(
        "--escape-formulas",
        action=argparse.BooleanOptionalAction,
        help=f"{', '.join(TEXT_FORMATS)}: put ' before texts that begin with = + - @, a tab or a "
        "carriage return: of all columns or of none; without either option, of the columns that "
        "senders write",
    )
    parser.add_argument(
        "--internal",
        action="store_true",
        help=f"also of internal tables: {', '.join(internal_tables())}",
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def export(chosen: Relation, options: argparse.Namespace) -> int:
    """Write the rows that ``options`` name of a relation; return the exit status."""
    if chosen.table.name in internal_tables() and not options.internal:
        raise ConfigurationError(
            f"{chosen.table.name} is an internal table", remedy="to export it, add --internal"
        )
    given = [name.strip() for name in (options.columns or "").split(",") if name.strip()]
    columns = chosen.columns(given)
    statement = chosen.select(columns, options.where)
    if options.output == "-" and options.format not in TEXT_FORMATS:
        raise ConfigurationError(
            f"{options.format} is not written to standard output", remedy="name a file: --output"
        )
    if options.output.endswith("/"):
        raise ConfigurationError(f"{options.output} is a folder", remedy="name a file: --output")
    with (
        open_warehouse(load_settings()) as warehouse,
        warehouse.batches(statement, chosen.table) as found,
    ):
        escape = options.escape_formulas if options.format in TEXT_FORMATS else False
        escaped = chosen.escaped_columns(columns, escape=escape)
        batches = (with_escaped_formulas(batch.select(columns), escaped) for batch in found)
        if options.output == "-":
            return _to_standard_output(chosen.table.name, batches, options.format)
        with whole_file(Path(options.output), replace=options.force) as file:
            written = WRITERS[options.format](batches, file)
    _say(chosen.table.name, written, options.output)
    return 0


def _to_standard_output(name: str, batches: Batches, form: str) -> int:
    if sys.stdout is None:  # closed before we were started
        return READER_WENT_AWAY
    try:
        written = WRITERS[form](batches, sys.stdout.buffer)
    except BrokenPipeError:  # such as `| head`; Python would complain of it once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_WENT_AWAY
    except OSError as error:
        raise ConfigurationError(
            "standard output cannot be written", found=str(error.strerror)
        ) from error
    _say(name, written, "standard output")
    return 0


def _say(name: str, written: ExportSummary, where: str) -> None:
    sys.stderr.write(f"{name}: {written.row_count} rows, {written.byte_count} bytes to {where}\n")
