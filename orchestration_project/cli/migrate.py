"""`migrate`: bring the database's tables up to date, or say how."""

import argparse
from collections.abc import Sequence

from orchestration_project.cli.console import echo
from orchestration_project.engine.environment import open_warehouse, unprepared_warehouse
from orchestration_project.settings import load_settings


def main(arguments: Sequence[str]) -> int:
    """Migrate; return 0 when the tables are up to date, or when the SQL for it is printed."""
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project migrate",
        description="Bring the tables in DATABASE_URL up to date; safe to repeat.",
    )
    parser.add_argument(
        "--sql",
        action="store_true",
        help="execute nothing, and print the SQL from the present version to this program's, for "
        "an owner to run",
    )
    options = parser.parse_args(arguments)
    if options.sql:
        with unprepared_warehouse(load_settings()) as warehouse:
            print(warehouse.migration_sql(), end="")  # noqa: T201 - the answer
        return 0
    with open_warehouse(load_settings()) as warehouse:
        echo(f"the tables in {warehouse.shown_url} are up to date")
    return 0
