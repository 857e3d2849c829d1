"""docs/reference/cli.md: commands, arguments and options, from the tree of click's commands."""

from collections.abc import Iterator

import click

from orchestration_project.__main__ import root
from orchestration_project.cli.commands import GLOBAL, LazyGroup
from orchestration_project.cli.exit_statuses import MEANINGS
from tools.reference_pages.markdown import code, page, section, table

PROGRAM = "orchestrate"
HELP = ("`--help`", "`-h, --help`")
"""The option of every command; click keeps the names of the first context that requests it."""


def write() -> str:
    """Return the page."""
    context = click.Context(root, info_name=PROGRAM)
    options = table(("option", "description"), map(_row, filter(None, map(_help, GLOBAL))))
    statuses = table(
        ("exit status", "meaning"), [(int(each), text) for each, text in MEANINGS.items()]
    )
    return page(
        "cli",
        [
            section("Exit statuses", statuses),
            section("Global options", options),
            *_sections(root, context),
        ],
    )


def _sections(group: click.Group, context: click.Context) -> Iterator[str]:
    """Yield a section for each command below ``group``; a group stands before its commands."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, parent=context, info_name=name)
        usage = " ".join([inner.command_path, *command.collect_usage_pieces(inner)])
        own = [each for each in command.get_params(inner) if each not in GLOBAL]
        rows = [_row(record) for each in own if (record := each.get_help_record(inner))]
        yield section(
            code(inner.command_path),
            code(usage),
            "\n\n".join(map(_unwrapped, (command.help or "").split("\n\n"))),
            table(("option", "description"), [row for row in rows if row[0] not in HELP]),
        )
        if isinstance(command, click.Group):
            yield from _sections(command, inner)


def leaf_commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command that is not a group, aliases too, with the words that name it."""
    context = click.Context(group)
    names = group.entries if isinstance(group, LazyGroup) else group.list_commands(context)
    for name in names:
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaf_commands(command, (*path, name))
        elif command is not None:
            yield (*path, name), command


def _help(option: click.Option) -> tuple[str, str] | None:
    return option.get_help_record(click.Context(root))


def _row(record: tuple[str, str]) -> tuple[str, str]:
    return code(record[0]), record[1]


def _unwrapped(text: str) -> str:
    return " ".join(text.replace("\b", "").split())
