"""`python -m orchestration_project <command>`: the commands that are no run of Dagster's.

A command is a module of its name in `cli/` (`as-of` is `as_of.py`), or the one that `MODULES`
names, with a function `main(arguments) -> exit status`. Only the one that is asked for is imported.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from orchestration_project.connections.files import make_files_private
from orchestration_project.errors import OrchestrationError

INTERRUPTED, UNREAD = 130, 141
"""The exit statuses of a shell for SIGINT and SIGPIPE."""

COMMANDS = {
    "run": "load the latest published weeks",
    "run-saas": "bring PeopleForce's tasks and Jira's issues into agreement",
    "replay": "check and land again what was captured, without the source",
    "migrate": "bring the database's tables up to date",
    "copy-database": "copy all tables into an empty database, and compare them",
    "verify": "look whether everything that loads depend on is ready",
    "reset": "delete what lies in STATE_DIR, after a question",
    "export": "write a table or view as CSV, Parquet, Excel, HTML or Markdown",
    "as-of": "the same of what a table with history held at a time",
    "artifacts": "get the bytes of a capture as they were received",
    "evidence": "make sure that an archive of evidence is whole, from the file alone",
    "items": "list work items, with state, attempts and reason",
    "alerts": "list open alerts, send a test to every channel, check the rules",
    "ui": "Dagster's UI and daemon, until Ctrl-C",
    "gateway": "the UI alone, behind its login; `ui` starts it",
    "keys": "make, list, rotate or revoke the keys that open the UI",
}

MODULES = {"run": "finra_run", "run-saas": "saas_run"}
"""The modules of commands that are a domain's."""


def module_of(command: str) -> str:
    """Return the name of the module of a command."""
    return f"orchestration_project.cli.{MODULES.get(command, command.replace('-', '_'))}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` name and return its exit status."""
    if sys.stderr is None:  # closed before we were started: nobody reads what is said there
        sys.stderr = Path(os.devnull).open("w", errors="backslashreplace")  # noqa: SIM115 - to the end
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(["commands:", *(f"  {name:15}{text}" for name, text in COMMANDS.items())]),
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="...", help="its options")
    chosen = parser.parse_args(arguments)
    make_files_private()
    try:  # the import too: it takes seconds, in which somebody may press Ctrl-C
        command = import_module(module_of(chosen.command))
        return command.main(chosen.options)
    except OrchestrationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (KeyboardInterrupt, RuntimeError) as error:
        # Python 3.11 makes a RuntimeError of a Ctrl-C while it creates a class with a property.
        if KeyboardInterrupt not in (type(error), type(error.__cause__)):
            raise
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:  # who read what is said has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD


if __name__ == "__main__":
    sys.exit(main())
