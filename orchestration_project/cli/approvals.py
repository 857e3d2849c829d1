"""`orchestrate approvals`: actions that need a second person, and the decisions on them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration_project.cli.commands import Group
from orchestration_project.cli.console import OUTPUT, emit_or, preview, show_rows
from orchestration_project.errors import ConfigurationError

if TYPE_CHECKING:
    from orchestration_project.engine.contracts.roles import Principal
    from orchestration_project.engine.warehouse import Warehouse
    from orchestration_project.services.access.approvals import Approval, Approvals

HEADINGS = {
    "approval_id": "id",
    "action": "action",
    "state": "state",
    "requested_by": "requested by",
    "expires_at": "expires (UTC)",
    "reason": "reason",
    "parameters": "parameters",
    "sha256": "SHA-256",
}

ID = click.argument("approval_id", metavar="ID")
KEY_FILE = click.option(
    "--key-file",
    default="-",
    show_default=True,
    metavar="FILE",
    help="File with the API key of the person who decides; -: standard input.",
)


@click.group(cls=Group)
def approvals() -> None:
    """Approvals: actions of FOUR_EYES, which another person than the requester confirms.

    An action without a confirmation is refused and requested. After the confirmation, start it
    again with the same parameters. A request is valid for 24 hours.
    """


@approvals.command("list", has_json=True)
def list_approvals() -> int:
    """List requests with their state, parameters and SHA-256."""
    with _open_approvals() as (_, stored_approvals):
        rows = [asdict(approval) for approval in stored_approvals.listed()]
    entries = [row | {"expires_at": f"{row['expires_at']:%Y-%m-%d %H:%M}"} for row in rows]
    show_rows(rows if OUTPUT.is_json else entries, HEADINGS)
    return 0


@approvals.command(has_json=True, has_dry_run=True)
@ID
@KEY_FILE
def request(approval_id: str, key_file: str) -> int:
    """Request, as the owner of an API key, what a command or run started without a login."""
    return _decide(
        *(approval_id, "requested", key_file),
        lambda found, person: found.claim(approval_id, person),
    )


@approvals.command(has_json=True, has_dry_run=True)
@ID
@click.option("--sha256", required=True, metavar="HEX", help="SHA-256 that `list` shows.")
@KEY_FILE
def confirm(approval_id: str, sha256: str, key_file: str) -> int:
    """Confirm exactly the request with a SHA-256, as another person than its requester."""
    return _decide(
        *(approval_id, "confirmed", key_file),
        lambda found, person: found.confirm(approval_id, sha256, person),
    )


@approvals.command(has_json=True, has_dry_run=True)
@ID
@click.option("--reason", required=True, metavar="TEXT", help="Reason in words.")
@KEY_FILE
def refuse(approval_id: str, reason: str, key_file: str) -> int:
    """Refuse a request, or withdraw one's own."""
    return _decide(
        *(approval_id, "refused", key_file),
        lambda found, person: found.refuse(approval_id, reason, person),
    )


def _decide(
    approval_id: str,
    state: str,
    key_file: str,
    decide: "Callable[[Approvals, Principal], Approval]",
) -> int:
    if OUTPUT.is_dry_run:
        preview(f"the request {approval_id} would be {state}")
        return 0
    with _open_approvals() as (warehouse, approvals):
        decided = decide(approvals, _identify_person(warehouse, _read_key(key_file)))
    document: dict[str, Any] = asdict(decided)
    emit_or(document, f"{decided.state}: {decided.action}, request {decided.approval_id}")
    return 0


@contextmanager
def _open_approvals() -> "Iterator[tuple[Warehouse, Approvals]]":
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.services.access.approvals import Approvals
    from orchestration_project.settings import load_settings

    with open_warehouse(load_settings()) as warehouse:
        yield warehouse, Approvals(warehouse, Clock())


def _read_key(key_file: str) -> str:
    try:
        text = sys.stdin.read() if key_file == "-" else Path(key_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "the API key cannot be read",
            expected="a file with an API key",
            found=str(getattr(error, "strerror", None) or "text that is not UTF-8"),
            remedy="correct --key-file",
        ) from None  # the error may quote the bytes
    return text.strip()


def _identify_person(warehouse: "Warehouse", key: str) -> "Principal":
    """Return the owner of an API key.

    Raises:
        ConfigurationError: It is not valid.
    """
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.services.access import Access, KnownCaller
    from orchestration_project.services.access.review import SHELL
    from orchestration_project.services.access.rules.credentials import LoginLimits

    access = Access(warehouse, Clock(), LoginLimits(timedelta(), timedelta()))
    caller = access.by_key(key, SHELL)
    if not isinstance(caller, KnownCaller):
        raise ConfigurationError(
            "invalid API key",
            expected="a valid key, as `keys create` showed it",
            found="a key that is unknown, expired, revoked or locked",
            remedy="pass your own key by --key-file or standard input",
        )
    access.note_use(caller.principal)
    return caller.principal
