"""`migrate`: bring the database's tables up to date."""

import argparse
from collections.abc import Sequence

from orchestration_project.resources.providers import open_warehouse
from orchestration_project.settings import load_settings


def main(arguments: Sequence[str]) -> int:
    """Migrate; return 0 when the tables are up to date."""
    argparse.ArgumentParser(
        prog="python -m orchestration_project migrate",
        description="Bring the tables in DATABASE_URL up to date; safe to repeat.",
    ).parse_args(arguments)
    with open_warehouse(load_settings()) as warehouse:
        print(f"the tables in {warehouse.shown_url} are up to date")  # noqa: T201 - the answer
    return 0
