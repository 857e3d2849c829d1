"""`pause` and `resume`: have no new run start for a domain, asset or source, and end that."""

from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from typing import TYPE_CHECKING, Any

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import OUTPUT, emit_or, preview, show_rows
from orchestration_project.engine.contracts.pauses import ALL, Pause, read_end

if TYPE_CHECKING:
    from orchestration_project.services.pauses import Pauses

HEADINGS = {
    "subject": "subject",
    "until": "until (UTC)",
    "paused_by": "by",
    "paused_at": "since (UTC)",
    "reason": "reason",
}

subject_argument = click.argument("subject", metavar="[SUBJECT]", default=ALL)


@click.command(cls=Command, has_json=True, has_dry_run=True)
@subject_argument
@click.option("--reason", metavar="TEXT", help="Reason in words, for people.")
@click.option("--until", metavar="TIME", help="End with its zone, e.g. 2026-03-02T18:00Z.")
@click.option("--list", "is_list", is_flag=True, help="List the pauses in effect.")
def pause(subject: str, reason: str | None, until: str | None, is_list: bool) -> int:
    """Pause all domains, or one domain, asset or source.

    SUBJECT is a domain such as finra, an asset such as finra/otc_weekly, or a source such as
    source:finra. Running runs finish. No new one starts until --until or `resume`.
    """
    if is_list:
        return _list()
    if reason is None:
        raise click.UsageError("--reason is missing, e.g. --reason 'migration of the warehouse'")
    from orchestration_project.catalog import REGISTRY

    end = None if until is None else read_end(until)
    with _open_pauses() as pauses:
        made_pause = pauses.pause(
            *(REGISTRY, subject, reason), by=getuser(), until=end, is_dry_run=OUTPUT.is_dry_run
        )
    _show(made_pause, made_pause.text)
    return 0


@click.command(cls=Command, has_json=True, has_dry_run=True)
@subject_argument
def resume(subject: str) -> int:
    """End the pause of SUBJECT: queued runs start, sensors request what is missing."""
    with _open_pauses() as pauses:
        ended = pauses.resume(subject, by=getuser(), is_dry_run=OUTPUT.is_dry_run)
    _show(ended, f"resumed: {ended.subject}")
    return 0


@contextmanager
def _open_pauses() -> "Iterator[Pauses]":
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.services.pauses import Pauses
    from orchestration_project.settings import load_settings

    with open_warehouse(load_settings()) as warehouse:
        yield Pauses(warehouse)


def _list() -> int:
    with _open_pauses() as pauses:
        show_rows([_render_pause(pause) for pause in pauses.list_in_effect()], HEADINGS)
    return 0


def _show(pause: Pause, text: str) -> None:
    row = _render_pause(pause)
    if OUTPUT.is_dry_run:
        preview(f"would be: {text}", **row)
    else:
        emit_or(row, text)


def _render_pause(pause: Pause) -> dict[str, Any]:
    return {
        "subject": pause.subject,
        "until": pause.until,
        "paused_by": pause.paused_by,
        "paused_at": pause.paused_at,
        "reason": pause.reason,
    }
