"""`attention`: list what needs a person, and answer an entry."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from getpass import getuser
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import OUTPUT, echo, emit, note, preview, show_rows
from orchestration_project.engine.contracts.job_kinds import RETRY_FAILURES
from orchestration_project.engine.contracts.pauses import read_end
from orchestration_project.errors import UnknownNameError, cut

if TYPE_CHECKING:
    from orchestration_project.services.attention.marks import Marks
    from orchestration_project.services.attention.reading import AttentionReader
    from orchestration_project.services.attention.rules import Entry, Inbox

HEADINGS = {
    "shown_id": "id",
    "kind": "kind",
    "since": "since (UTC)",
    "shown_title": "what",
    "shown_found": "found",
    "command": "command",
}
SHOWN_ID_DIGITS, MAX_TITLE, MAX_FOUND = 8, 60, 60


@click.command(cls=Command, has_json=True, has_dry_run=True)
@click.argument("entry_id", metavar="[ENTRY]", default="")
@click.option("--kind", metavar="KIND", help="Only this kind, e.g. quarantined.")
@click.option("--domain", metavar="DOMAIN", help="Only this domain, e.g. finra.")
@click.option("--ignored", is_flag=True, help="List ignored entries in place of the others.")
@click.option("--ignore-until", metavar="TIME", help="Ignore ENTRY until then, with its zone.")
@click.option("--acknowledge", is_flag=True, help="Record that somebody works on ENTRY.")
@click.option("--show-again", is_flag=True, help="Remove the mark of ENTRY.")
@click.option("--reason", metavar="TEXT", default="", help="Reason in words, for people.")
def attention(
    entry_id: str,
    kind: str | None,
    domain: str | None,
    ignored: bool,
    ignore_until: str | None,
    acknowledge: bool,
    show_again: bool,
    reason: str,
) -> int:
    """List entries that need a person, each with a command that answers it; or show ENTRY.

    Kinds: imbalance, quarantined, failed_run, dead_letter, failed_item, refused_upload, late,
    proposal, alert. ENTRY is an id of the list, or its beginning. --ignore-until hides an entry
    until that time, or until its unit fails again.
    """
    answers = [bool(ignore_until), acknowledge, show_again]
    if sum(answers) > 1 or (any(answers) and not entry_id):
        raise click.UsageError("give ENTRY and one of --ignore-until, --acknowledge, --show-again")
    if entry_id and (kind or domain or ignored):
        raise click.UsageError("ENTRY takes no --kind, --domain and --ignored")
    with _open_attention() as (reader, marks):
        inbox = reader.read()
        if not entry_id:
            return _list(inbox, kind, domain, is_ignored=ignored)
        entry = _find(inbox, entry_id)
        if not any(answers):
            return _show(entry)
        if OUTPUT.is_dry_run:
            preview(f"would be marked: {entry.title}", entry_id=entry.entry_id)
        elif show_again:
            marks.remove(entry)
            note(f"shown again: {entry.title}")
        elif acknowledge:
            marks.acknowledge(entry, reason, by=getuser())
            note(f"acknowledged: {entry.title}")
        else:
            end: datetime | None = read_end(ignore_until) if ignore_until else None
            marks.ignore(entry, reason, end, by=getuser())
            note(f"ignored: {entry.title}")
    return 0


@contextmanager
def _open_attention() -> "Iterator[tuple[AttentionReader, Marks]]":
    from orchestration_project.catalog import REGISTRY
    from orchestration_project.engine.environment import open_clock, open_warehouse
    from orchestration_project.services.attention.marks import Marks
    from orchestration_project.services.attention.reading import AttentionReader
    from orchestration_project.settings import load_settings

    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        reader = AttentionReader(REGISTRY, settings, warehouse, open_clock(settings))
        yield reader, Marks(warehouse)


def _list(inbox: "Inbox", kind: str | None, domain: str | None, *, is_ignored: bool) -> int:
    from orchestration_project.services.attention.rules import KINDS, Selection

    if kind is not None and kind not in KINDS:
        raise click.UsageError(f"invalid kind {kind!r}: expected one of {', '.join(KINDS)}")
    entries = inbox.select(Selection(kind, domain, is_ignored))
    if OUTPUT.is_json:
        emit([_read_fields(entry) for entry in entries])
    elif entries:
        show_rows([_render_entry(entry) for entry in entries], HEADINGS)
    else:
        echo("nothing needs a person")
    if inbox.cut_kinds:
        note(f"there are more entries of {', '.join(sorted(inbox.cut_kinds))} than are shown")
    return 0


def _find(inbox: "Inbox", beginning: str) -> "Entry":
    entries = [entry for entry in inbox.entries if entry.entry_id.startswith(beginning.lower())]
    if len(entries) == 1:
        return entries[0]
    raise UnknownNameError(
        f"{len(entries)} entries match {beginning!r}"
        if entries
        else f"no entry matches {beginning!r}",
        expected="the beginning of one id",
        remedy="take the id from `attention`; a solved entry is not listed any more",
    )


def _show(entry: "Entry") -> int:
    if OUTPUT.is_json:
        emit(_read_fields(entry))
        return 0
    echo(f"{entry.kind}: {entry.title}")
    echo(f"since {entry.since:%Y-%m-%d %H:%M} UTC")
    for expectation in entry.expectations:
        echo(f"{expectation.name}: expected {expectation.expected}, found {expectation.found}")
    echo(entry.advice)
    for command in _list_commands(entry):
        echo(command)
    return 0


def _render_entry(entry: "Entry") -> dict[str, object]:
    text = entry.expectations[0].found if entry.expectations else ""
    commands = _list_commands(entry)
    return {
        **_read_fields(entry),
        "shown_id": entry.entry_id[:SHOWN_ID_DIGITS],
        "since": f"{entry.since:%Y-%m-%d %H:%M}",
        "shown_title": cut(entry.title, MAX_TITLE),
        "shown_found": cut(text, MAX_FOUND),
        "command": commands[0] if commands else "",
    }


def _read_fields(entry: "Entry") -> dict[str, Any]:
    names = (
        *("entry_id", "kind", "domain", "title", "count", "category"),
        *("advice", "can_retry_help", "asset", "partition", "run_id", "group_id", "sha256"),
    )
    return {
        **{name: getattr(entry, name) for name in names},
        "since": entry.since.isoformat(),
        "latest_at": entry.latest_at.isoformat(),
        "expectations": [expectation._asdict() for expectation in entry.expectations],
        "is_ignored": entry.is_ignored,
        "commands": _list_commands(entry),
    }


def _list_commands(entry: "Entry") -> list[str]:
    """Return the commands that answer an entry."""
    commands: list[str] = []
    retry = entry.launches.get("retry")
    if retry is not None and retry.partition:
        commands.append(f"orchestrate load {retry.job} {quote(retry.partition)}")
    if entry.group_id and "replay" in entry.launches:
        replay = f"orchestrate replay --group {quote(entry.group_id)}"
        accepted = f"{replay} --accept {entry.sha256} --reason TEXT"
        commands += [replay, *([accepted] if entry.sha256 else [])]
    elif entry.kind in ("dead_letter", "proposal"):
        commands += [_execute(launch.job, launch.config) for launch in entry.launches.values()]
    if entry.items is not None:
        codes = [entry.items.reason_code] if entry.items.reason_code else []
        options = {"dry_run": False, "topics": [entry.items.topic], "reason_codes": codes}
        commands.append(_execute(RETRY_FAILURES.job, RETRY_FAILURES.run_config(options)))
    if entry.is_rerun:
        options = {"dry_run": False, "run_id": entry.run_id}
        commands.append(_execute(RETRY_FAILURES.job, RETRY_FAILURES.run_config(options)))
    if entry.alert_id:
        commands.append(f"orchestrate alerts close {entry.alert_id[:SHOWN_ID_DIGITS]}")
    return commands


def _execute(job: str, config: Mapping[str, object]) -> str:
    """Return the command that executes a job with a config."""
    from orchestration_project.settings.project import DEFINITIONS

    dumps = json.dumps(config, separators=(",", ":"))
    return f"dagster job execute -m {DEFINITIONS} -j {job} --config-json {quote(dumps)}"
