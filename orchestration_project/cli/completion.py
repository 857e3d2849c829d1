"""`completion`: the script by which a shell completes commands, options and names."""

import re
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
)

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import echo

NOT_PLAIN = re.compile(r"([^\w@%+=:,./-])", re.ASCII)
"""A character that bash would not take as itself."""


def complete_variable(program: str) -> str:
    """Return the variable by which the script of a shell asks a program for completions."""
    return f"_{program.upper()}_COMPLETE"


class EscapingBash(BashComplete):
    """Completion for bash, which takes what it is given as if it were typed: `|` begins a pipe."""

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return the type and the escaped text of a completion; bash unescapes it once itself."""
        escaped = NOT_PLAIN.sub(r"\\\\\1", item.value)
        return f"{item.type},{escaped}"


CLASSES: Mapping[str, type[ShellComplete]] = {
    "bash": EscapingBash,
    "zsh": ZshComplete,
    "fish": FishComplete,
}


@click.command(cls=Command)
@click.argument("shell", type=click.Choice([*CLASSES]))
def completion(shell: str) -> int:
    """Print a script by which SHELL completes commands, options and names.

    Names are those of datasets, partitions, tables, columns, domains, sources and open alerts.
    bash: add `eval "$(orchestrate completion bash)"` to ~/.bashrc. zsh: the same with zsh in
    ~/.zshrc. fish: `orchestrate completion fish > ~/.config/fish/completions/orchestrate.fish`.
    Datasets and partitions are those of the latest `orchestrate datasets` or load.
    """
    root = click.get_current_context().find_root()
    program = str(root.info_name)
    script = CLASSES[shell](root.command, {}, program, complete_variable(program)).source()
    echo(script.strip())
    return 0
