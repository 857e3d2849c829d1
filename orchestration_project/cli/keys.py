"""`keys`: who may come through the gateway by key. Who has this shell may make one."""

import argparse
from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

from orchestration_project.cli.console import echo
from orchestration_project.connections.clock import Clock
from orchestration_project.domains.access.credentials import Key
from orchestration_project.domains.access.roles import Role
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.services.access import AccessLog, AccessLogEntry, KeyFacts, Keys
from orchestration_project.settings import load_settings

DAYS = 90
ROW = "{:13} {:9} {:24} {:17} {:17} {}"
HEADINGS = ROW.format("id", "role", "owner", "last used (UTC)", "ends (UTC)", "state")


def main(arguments: Sequence[str]) -> int:
    """Do what was asked, and say the new key where there is one."""
    options = _parser().parse_args(arguments)
    clock = Clock()
    with open_warehouse(load_settings()) as warehouse:
        keys = Keys(warehouse, clock)
        if options.what == "list":
            echo("\n".join([HEADINGS, *(_row(key, clock) for key in keys.listed())]))
            return 0
        changed, said = _changed(keys, options)
        AccessLog(warehouse, clock).record(_entry(options, changed))
    echo(said)
    return 0


def _changed(keys: Keys, options: argparse.Namespace) -> tuple[str, str]:
    """Return the id of the key that was made or revoked, and what is said of it."""
    if options.what == "revoke":
        key = keys.revoke(options.key_id)
        return key.key_id, f"{key.key_id} of {key.owner} opens nothing any more"
    lasts = timedelta(days=options.days)
    if options.what == "create":
        made = keys.create(owner=options.owner, role=Role(options.role), lasts=lasts)
    else:
        overlap = timedelta(hours=options.overlap_hours)
        made = keys.rotate(options.key_id, lasts=lasts, overlap=overlap)
    return made.key_id, _shown(made, options.days)


def _shown(key: Key, days: int) -> str:
    return f"This key is shown only now, and holds for {days} days:\n  {key}"


def _entry(options: argparse.Namespace, key_id: str) -> AccessLogEntry:
    replaced = getattr(options, "key_id", None)
    target = key_id if replaced in (None, key_id) else f"{replaced} by {key_id}"
    return AccessLogEntry(uuid4().hex, "shell", f"keys {options.what}", "done", target=target)


def _row(key: KeyFacts, clock: Clock) -> str:
    state = "valid" if key.expires_at > clock.now() else "expired"
    return ROW.format(
        key.key_id,
        key.role,
        key.owner,
        f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never",
        f"{key.expires_at:%Y-%m-%d %H:%M}",
        "revoked" if key.revoked_at else state,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project keys",
        description="Keys open the UI, to people at /login and to machines in a header.",
    )
    what = parser.add_subparsers(dest="what", required=True)
    create = what.add_parser("create", help="make a key")
    create.add_argument(
        "--role", choices=[role.value for role in Role], required=True, help="what it may do"
    )
    create.add_argument(
        "--owner", type=_name, required=True, help="person or machine that it is for"
    )
    what.add_parser("list", help="list all that were made")
    rotate = what.add_parser("rotate", help="make a key in place of another")
    rotate.add_argument(
        "--overlap-hours", type=_hours, default=0, help="for how long the other still holds (0)"
    )
    revoke = what.add_parser("revoke", help="let a key, and its sessions, open nothing any more")
    for each in (create, rotate):
        each.add_argument("--days", type=_days, default=DAYS, help="it holds for (%(default)s)")
    for each in (rotate, revoke):
        each.add_argument("key_id", help="of op_<id>_<secret> the part in the middle")
    return parser


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 3650):
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 3650")
    return int(text)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = -1
    if not 0 <= hours <= 3650 * 24:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {3650 * 24}")
    return hours


def _name(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError("a name is of printable characters, in one line")
    return text
