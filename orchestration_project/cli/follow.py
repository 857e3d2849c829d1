"""The command that follows the change feed of a table, a JSON line for each change."""

import sys
import time

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import note

POLL_SECONDS = 1.0


@click.command(cls=Command)
@click.argument("table")
@click.option(
    "--after",
    metavar="CURSOR",
    help="Only changes after the one with this cursor; latest: from now. [default: all]",
)
@click.option("--columns", metavar="A,B", help="These columns, beside the key. [default: all]")
@click.option("--once", is_flag=True, help="End after the last change instead of waiting for more.")
def follow(table: str, after: str | None, columns: str | None, once: bool) -> int:
    """Write each change of a row of TABLE, in order of commit, as a line of JSON; then wait.

    A reader that keeps the cursor of the last line that it took gets each change once. A table
    needs a history: `tables` shows which have one.
    """
    from orchestration_project.cli.export import give_up_output
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.services.change_feed import (
        parse_position,
        read_changes,
        read_last_position,
    )
    from orchestration_project.settings import load_settings
    from orchestration_project.tables.queries.json_rows import write_json

    names = [name.strip() for name in (columns or "").split(",") if name.strip()]
    with open_warehouse(load_settings()) as warehouse:
        with warehouse.reading() as connection:
            is_latest = after == "latest"
            position = (
                read_last_position(connection, table) if is_latest else parse_position(table, after)
            )
        while True:
            with warehouse.reading() as connection:
                page = read_changes(connection, table, position, columns=names, is_masked=False)
            try:
                for change in page.changes:
                    print(write_json(change.to_fields()))  # noqa: T201 - the result of a command
                sys.stdout.flush()
            except BrokenPipeError:
                return give_up_output()
            position = page.position
            if not page.is_more:
                if once:
                    note(f"{table}: to go on from here, add --after {position}")
                    return 0
                time.sleep(POLL_SECONDS)
