"""`copy-database`: move from one database to another, with all history."""

import argparse
from collections.abc import Sequence

from orchestration_project.cli.console import echo
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.settings import Settings, load_settings


def main(arguments: Sequence[str]) -> int:
    """Copy; return 0 when all tables have arrived and were compared."""
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project copy-database",
        description="Copy all tables of DATABASE_URL into an empty database, in one transaction, "
        "and compare their counts and hashes. Stop runs before: what they land meanwhile is not "
        "copied. The artifacts stay where they are.",
    )
    parser.add_argument(
        "--to",
        required=True,
        metavar="URL",
        help="the empty database; the list of processes shows a password in it, but none in "
        "PGPASSWORD or ~/.pgpass",
    )
    parser.add_argument("--to-schema", metavar="NAME", help="its DATABASE_SCHEMA (none)")
    options = parser.parse_args(arguments)
    settings = load_settings()
    with (
        open_warehouse(settings) as source,
        _target(options, settings) as target,
    ):
        counts = target.fill_from(source)
        for name, count in counts.items():
            echo(f"{name:30}{count:>15,} rows")
        echo(
            f"\n{target.shown_url} holds what {source.shown_url} held: count and hash of each "
            "table are equal. Set DATABASE_URL to it, with its password"
            + (f", and DATABASE_SCHEMA={options.to_schema}." if options.to_schema else ".")
        )
    return 0


def _target(options: argparse.Namespace, settings: Settings) -> Warehouse:
    try:
        target = Warehouse(options.to, clock=open_clock(settings), schema=options.to_schema)
        target.version()  # whatever it cannot do is said of the option, too
        return target
    except OrchestrationError as error:
        error.within(option="--to")  # what is said of DATABASE_URL is said of this one
        raise
