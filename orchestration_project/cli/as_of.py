"""`as-of`: a table with history as it was known at a moment, exported."""

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Table

from orchestration_project.cli.export import add_options, export
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import load_settings
from orchestration_project.tables.catalogue import relation_as_of
from orchestration_project.tables.conditions import MOMENT, read_moment


def main(arguments: Sequence[str]) -> int:
    """Export what was known; return 0 when all rows are written."""
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project as-of",
        description="Write the rows of a table with history as we knew them at a time.",
    )
    add_options(parser)
    parser.add_argument("--at", required=True, metavar="TIME", help=MOMENT)
    options = parser.parse_args(arguments)
    at = _moment(options.at)
    chosen = relation_as_of(options.table, at)
    ended = export(chosen, options)
    if ended == 0 and (first := _first_after(chosen.table, at)):
        sys.stderr.write(f"{options.table}: nothing had landed by then; the first did at {first}\n")
    return ended


def _first_after(table: Table, at: datetime) -> str:
    """Return when a partition landed first, if that was after ``at``: nothing was known before."""
    with open_warehouse(load_settings()) as warehouse:
        first = warehouse.first_landed_at(table)
    return first.isoformat() if first and first > at else ""


def _moment(written: str) -> datetime:
    try:
        return read_moment(written)
    except ValueError:
        raise ConfigurationError(
            f"--at {written} is no moment", expected=MOMENT, found=repr(written)
        ) from None
