"""The command that follows the change feed of a table, a JSON line for each change."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import note
from orchestration_project.cli.exit_statuses import ExitStatus
from orchestration_project.errors import ConfigurationError

if TYPE_CHECKING:
    from orchestration_project.services.change_feed import Change

POLL_SECONDS = 1.0

MAX_PAGE_CHANGES = 1000
"""Changes that are written between two looks for a signal."""


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
    """Write each change of a row of TABLE as a line of JSON, until Ctrl-C or SIGTERM.

    Changes come in order of commit. A reader that keeps the cursor of the last line that it took
    gets each change once. A signal ends the command after a whole line, a second one at once.
    TABLE needs a history: `tables` shows which have one.
    """
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.services.change_feed import find_position, read_changes
    from orchestration_project.settings import load_settings

    if sys.stdout is None:  # closed before this process started
        return ExitStatus.UNREAD
    names = [name.strip() for name in (columns or "").split(",") if name.strip()]
    with _stopped_by_signals() as stop, open_warehouse(load_settings()) as warehouse:
        with warehouse.reading() as connection:
            position = find_position(connection, table, after)
        is_at_end = False
        while not (stop.is_set() or (is_at_end and (once or stop.wait(POLL_SECONDS)))):
            with warehouse.reading() as connection:
                page = read_changes(
                    *(connection, table, position),
                    limit=MAX_PAGE_CHANGES,
                    columns=names,
                    is_masked=False,
                )
            _write_lines(page.changes)
            position, is_at_end = page.position, not page.is_more
    note(f"{table}: to go on from here, add --after {position}")
    return ExitStatus.DONE


def _write_lines(changes: Sequence["Change"]) -> None:
    """Write changes to standard output.

    Raises:
        BrokenPipeError: Its reader went away.
        ConfigurationError: It cannot be written, such as to a full disk.
    """
    from orchestration_project.tables.queries.json_rows import write_json

    try:
        for change in changes:
            sys.stdout.buffer.write(f"{write_json(change.to_fields())}\n".encode())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigurationError(
            "standard output cannot be written", found=str(error.strerror)
        ) from error


@contextmanager
def _stopped_by_signals() -> Iterator[Event]:
    """Give an event that the first SIGTERM or Ctrl-C sets; a second one has its usual effect."""
    stop = Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]

    def restore() -> None:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)

    def end(*_: object) -> None:
        stop.set()
        restore()

    for number in numbers:
        signal.signal(number, end)
    try:
        yield stop
    finally:
        restore()
