"""`orchestrate COMMAND`, also as `python -m orchestration_project COMMAND`.

`COMMANDS` lists them; the module of a command is imported when it is requested. An error or a
signal becomes an exit status here.
"""

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import add_completion_class, shell_complete

from orchestration_project.cli import console
from orchestration_project.cli.commands import (
    OPTIONS_KEY,
    PROGRAM,
    Entry,
    LazyGroup,
    read_versions,
)
from orchestration_project.cli.exit_statuses import ExitStatus, report_error
from orchestration_project.engine.connections.files import make_files_private

COMPLETE = f"_{PROGRAM.upper()}_COMPLETE"
"""The variable by which a shell asks click for completions."""

LOAD, QUERY, OPERATE, ADMIN = SECTIONS = ("Load", "Query", "Operate", "Admin")

COMPLETION = f"Shell completion: {PROGRAM} completion --help"

CLI = "orchestration_project.cli"
COMMANDS = {
    "run": Entry(f"{CLI}.loads:run", "Load the latest weeks of a source, or sync once.", LOAD),
    "load": Entry(f"{CLI}.loads:load", "Load partitions of a dataset.", LOAD),
    "backfill": Entry(f"{CLI}.loads:backfill", "Load all partitions between two dates.", LOAD),
    "replay": Entry(
        f"{CLI}.loads:replay", "Load recorded deliveries again, without the source.", LOAD
    ),
    "plan": Entry(
        f"{CLI}.plan:plan", "Show what the present code would change in loaded rows.", LOAD
    ),
    "apply": Entry(f"{CLI}.plan:apply", "Replay what a plan says will change.", LOAD),
    "new-source": Entry(
        f"{CLI}.new_source:new_source", "Declare a source of your own from a sample.", LOAD
    ),
    "preview": Entry(f"{CLI}.own_sources:preview", "Show a partition of your own source.", LOAD),
    "items": Entry(f"{CLI}.queries:items", "List work items: state, attempts, reason.", LOAD),
    "datasets": Entry(
        f"{CLI}.loads:datasets", "List what can be loaded, and its partitions.", LOAD
    ),
    "documents": Entry(
        f"{CLI}.documents:documents", "Extract files; show their text, or why not.", LOAD
    ),
    "web": Entry(f"{CLI}.web:web", "Check site files on captured pages.", LOAD),
    "export": Entry(f"{CLI}.queries:export", "Write a table or view to a file or pipe.", QUERY),
    "diff": Entry(f"{CLI}.queries:diff", "Compare a table at two points in time.", QUERY),
    "follow": Entry(f"{CLI}.follow:follow", "Write the changes of a table as they come.", QUERY),
    "sql": Entry(f"{CLI}.queries:sql", "Write the rows of a SELECT, now or as of a time.", QUERY),
    "gold": Entry(f"{CLI}.finra_gold:gold", "Derive a gold table as of a time.", QUERY),
    "explain": Entry(f"{CLI}.explain:explain", "Show how a number came about.", QUERY),
    "tables": Entry(f"{CLI}.queries:tables", "List tables and views.", QUERY),
    "dbt-sources": Entry(
        f"{CLI}.dbt_sources:dbt_sources", "Write a sources.yml for a dbt project.", QUERY
    ),
    "ui": Entry(f"{CLI}.operate:ui", "Serve Dagster's UI with its daemon.", OPERATE),
    "stack": Entry(f"{CLI}.worker:stack", "Serve everything on this machine, with TLS.", OPERATE),
    "gateway": Entry(f"{CLI}.operate:gateway", "Serve the UI alone, behind its login.", OPERATE),
    "worker": Entry(f"{CLI}.worker:worker", "Execute runs of RUN_LAUNCHER=celery.", OPERATE),
    "code-server": Entry(
        f"{CLI}.worker:code_server", "Serve the code and runs of some domains.", OPERATE
    ),
    "mqtt": Entry(
        f"{CLI}.mqtt_bridge:mqtt", "Receive messages of MQTT, and publish events.", OPERATE
    ),
    "verify": Entry(
        f"{CLI}.operate:verify", "Check that everything a load needs is ready.", OPERATE
    ),
    "attention": Entry(
        f"{CLI}.attention:attention", "List what needs a person, and how to answer it.", OPERATE
    ),
    "trace": Entry(f"{CLI}.trace:trace", "Show the events of a trace.", OPERATE),
    "alerts": Entry(
        f"{CLI}.operate:alerts", "List, close and test alerts; check their rules.", OPERATE
    ),
    "objectives": Entry(
        f"{CLI}.objectives:objectives", "List objectives; write their Prometheus rules.", OPERATE
    ),
    "automation": Entry(
        f"{CLI}.automation:automation", "List schedules and sensors; switch profiles.", OPERATE
    ),
    "pause": Entry(f"{CLI}.pauses:pause", "Start no new run of a domain or source.", OPERATE),
    "resume": Entry(f"{CLI}.pauses:resume", "End a pause.", OPERATE),
    "plugins": Entry(f"{CLI}.plugins:plugins", "Add, grant, enable and disable plugins.", OPERATE),
    "keys": Entry(f"{CLI}.operate:keys", "Create, list, rotate and revoke API keys.", OPERATE),
    "access": Entry(f"{CLI}.access:access", "List who may do what.", OPERATE),
    "approvals": Entry(
        f"{CLI}.approvals:approvals", "List, confirm and refuse actions of two persons.", OPERATE
    ),
    "domains": Entry(f"{CLI}.domains:domains", "List, add and remove domains.", OPERATE),
    "config": Entry(f"{CLI}.config:command", "Show, check and compare settings.", OPERATE),
    "completion": Entry(
        f"{CLI}.completion:completion", "Print the script of a shell's completion.", ADMIN
    ),
    "upgrade": Entry(f"{CLI}.upgrade:upgrade", "Show what an upgrade would do.", ADMIN),
    "migrate": Entry(f"{CLI}.administration:migrate", "Upgrade the database's tables.", ADMIN),
    "init": Entry(f"{CLI}.init:init", "Write a project for sources of your own.", ADMIN),
    "check": Entry(f"{CLI}.own_sources:check", "Check the sources that you declare.", ADMIN),
    "test": Entry(f"{CLI}.own_sources:test", "Judge samples of your own sources.", ADMIN),
    "schema": Entry(f"{CLI}.schema:schema", "Make the tables of your own sources.", ADMIN),
    "rename": Entry(f"{CLI}.schema:rename", "Rename a source, table or column of your own.", ADMIN),
    "drain": Entry(f"{CLI}.administration:drain", "Wait until no run is in progress.", ADMIN),
    "copy-database": Entry(
        f"{CLI}.administration:copy_database", "Copy all tables to an empty database.", ADMIN
    ),
    "backup": Entry(f"{CLI}.operations_backup:backup", "Back up databases and artifacts.", ADMIN),
    "restore": Entry(f"{CLI}.operations_backup:restore", "Restore a backup, and check it.", ADMIN),
    "reset": Entry(
        f"{CLI}.administration:reset", "Delete all local state, after a question.", ADMIN
    ),
    "support-bundle": Entry(
        f"{CLI}.support_bundle:support_bundle", "Write an archive to attach to a report.", ADMIN
    ),
    "evidence": Entry(
        f"{CLI}.administration:evidence", "Export and verify archives of evidence.", ADMIN
    ),
    "artifacts": Entry(
        f"{CLI}.administration:artifacts", "List captures, and get their bytes.", ADMIN
    ),
    "erase": Entry(f"{CLI}.erasure:erase", "Erase a person or document, after a question.", ADMIN),
    "run-saas": Entry(f"{CLI}.loads:run_saas", "Alias of `run saas`."),
    "as-of": Entry(f"{CLI}.queries:as_of", "Alias of `export --as-of`."),
}


def _show_version(context: click.Context, _: click.Parameter, value: Any) -> None:
    if not value or context.resilient_parsing:
        return
    names = read_versions()
    if context.meta.get(OPTIONS_KEY, {}).get("is_json"):
        console.emit(names)
    else:
        other_text = ", ".join(f"{name} {text}" for name, text in names.items() if name != PROGRAM)
        console.echo(f"{PROGRAM} {names[PROGRAM]} ({other_text})")
    context.exit()


root = LazyGroup(
    PROGRAM,
    entries=COMMANDS,
    sections=SECTIONS,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="Auditable data ingestion on Dagster.",
    epilog=COMPLETION,
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            callback=_show_version,
            help="Show the versions of this program, Dagster, schema and Python.",
        )
    ],
)


MAX_START_OBJECTS = 1_000_000
"""Objects that a process allocates before its first garbage collection; a small command ends."""


def _suspend_garbage_collection() -> None:
    """Collect no garbage before a process has allocated `MAX_START_OBJECTS`.

    Objects of imported modules stay until the end. To examine them again and again takes a fifth
    of the CPU time of a small command.
    """
    thresholds = gc.get_threshold()

    def keep_imported(phase: str, _: Mapping[str, int]) -> None:
        if phase == "start":
            gc.freeze()
            gc.set_threshold(*thresholds)
        else:
            gc.callbacks.remove(keep_imported)

    gc.callbacks.append(keep_imported)
    gc.set_threshold(MAX_START_OBJECTS, *thresholds[1:])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` name and return its exit status.

    Without ``arguments``, those of the process.

    Raises:
        SystemExit: With 0 after ``--help`` or ``--version``, with 2 after a usage error.
    """
    if sys.stderr is None:  # closed before this process started, so it has no reader
        sys.stderr = Path(os.devnull).open("w", errors="backslashreplace")  # noqa: SIM115 - to the end
    if instruction := os.environ.get(COMPLETE):  # noqa: TID251 - click's protocol, no setting
        from orchestration_project.cli.completion import EscapingBash

        add_completion_class(EscapingBash)
        return shell_complete(root, {}, PROGRAM, COMPLETE, instruction)
    if arguments is None:
        _suspend_garbage_collection()
    make_files_private()
    console.OUTPUT.set()
    try:  # the imports of a command too: they take seconds, in which Ctrl-C may come
        return _run(sys.argv[1:] if arguments is None else arguments)
    except (KeyboardInterrupt, RuntimeError) as error:
        # Python 3.11 makes a RuntimeError of a Ctrl-C while it creates a class with a property.
        if KeyboardInterrupt not in (type(error), type(error.__cause__)):
            raise
        sys.stderr.write("interrupted\n")
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.UNREAD
    except Exception as error:  # noqa: BLE001 - defects are raised again
        return report_error(error)


def _run(arguments: Sequence[str]) -> int:
    try:
        with root.make_context(PROGRAM, list(arguments)) as context:
            return root.invoke(context) or 0
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


if __name__ == "__main__":
    sys.exit(main())
