"""`as-of`: a table with history as it was known at a moment, as CSV or Parquet."""

import argparse
from collections.abc import Sequence
from datetime import datetime

from orchestration_project.cli.export import add_options, export
from orchestration_project.errors import ConfigurationError
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
    return export(relation_as_of(options.table, _moment(options.at)), options)


def _moment(written: str) -> datetime:
    try:
        return read_moment(written)
    except ValueError:
        raise ConfigurationError(
            f"--at {written} is no moment", expected=MOMENT, found=repr(written)
        ) from None
