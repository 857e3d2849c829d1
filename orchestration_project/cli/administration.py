"""The commands that administer: database, local state, evidence and captured bytes."""

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from orchestration_project.cli.artifacts import repair
from orchestration_project.cli.commands import Command, Group
from orchestration_project.cli.console import (
    OUTPUT,
    aligned,
    echo,
    emit_or,
    note,
    preview,
    show_rows,
)
from orchestration_project.engine.contracts.job_kinds import EXPORT_EVIDENCE
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.services.evidence.rules import MANIFEST

if TYPE_CHECKING:
    from orchestration_project.engine.warehouse import Warehouse
    from orchestration_project.settings import Settings

CAPTURE_HEADINGS = {
    "capture_id": "id",
    "partition_key": "partition",
    "part_number": "part",
    "fetched_at": "fetched (UTC)",
    "row_count": "rows",
    "byte_count": "bytes",
    "sha256": "SHA-256",
}


@click.command(cls=Command, has_dry_run=True)
@click.option("--sql", is_flag=True, help="Print the SQL for an owner to run, and execute nothing.")
@click.option(
    "--wait",
    type=click.FloatRange(0, 86_400),
    metavar="SECONDS",
    help="Upgrade nothing, and wait until another process has upgraded them.",
)
def migrate(sql: bool, wait: float | None) -> int:
    """Upgrade the tables in DATABASE_URL to the version of this program.

    Other commands make the tables of an empty database, and refuse tables of another version.
    Repeating it is safe.

    It compares tables, columns, types, keys and indexes with the declared ones, names each
    difference, and changes nothing if there is one. So do verify, and ui, gateway, worker and
    mqtt at their start. Runs and other commands compare a hash that it stores in database_labels.
    Additional tables, columns and indexes are named and stay.
    """
    from orchestration_project.engine.environment import (
        open_unprepared_warehouse,
        open_upgraded_warehouse,
    )
    from orchestration_project.engine.warehouse.migrating import format_names
    from orchestration_project.migrations import NEWEST_VERSION
    from orchestration_project.settings import load_settings

    settings = load_settings()
    if sql:
        with open_unprepared_warehouse(settings) as warehouse:
            print(warehouse.migration_sql(), end="")  # noqa: T201 - the result
        return 0
    if wait is not None:
        with open_unprepared_warehouse(settings) as warehouse:
            _wait_for_version(warehouse, NEWEST_VERSION, wait)
        return 0
    if OUTPUT.is_dry_run:
        with open_unprepared_warehouse(settings) as warehouse:
            warehouse.migration_sql()  # refuses tables that no script migrates
            version = warehouse.version() or "none"
            preview(f"{warehouse.shown_url}: version {version} -> {NEWEST_VERSION}")
        return 0
    with open_unprepared_warehouse(settings) as warehouse:
        was_empty = warehouse.version() is None
    with open_upgraded_warehouse(settings) as warehouse:
        additions = warehouse.compare_tables()
        echo(f"the tables in {warehouse.shown_url} are up to date")
        if not was_empty:
            _keep_what_is_on(settings, warehouse)
        if additions:
            echo(f"not of this project, and left as they are: {format_names(additions)}")
    return 0


def _wait_for_version(warehouse: "Warehouse", expected: str, seconds: float) -> None:
    """Return once the tables are of a version.

    Raises:
        ConfigurationError: They are not in time, or of a newer version.
    """
    until = time.monotonic() + seconds
    while (version := warehouse.version() or "none") != expected:
        if time.monotonic() >= until:
            raise ConfigurationError(
                "the tables are not up to date",
                expected=f"version {expected}",
                found=f"version {version} after {seconds:.0f} s",
                remedy="run `orchestrate migrate`, or read why the process that runs it failed",
            )
        time.sleep(min(SECONDS_BETWEEN_POLLS, max(0.0, until - time.monotonic())))
    echo(f"the tables in {warehouse.shown_url} are up to date")


def _keep_what_is_on(settings: "Settings", warehouse: "Warehouse") -> None:
    """Leave on what an installation had in use before names changed and domains were chosen."""
    from orchestration_project.catalog.upgrade import follow_new_names, keep_domains_in_use
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.engine.dagster_private.daemon_state import read_daemon_state
    from orchestration_project.instance.storage import open_instance

    with open_instance() as instance:
        if renamed := follow_new_names(instance, warehouse, Clock().now()):
            echo(f"switched on or stored, and renamed: {', '.join(renamed)}")
        kept_names = keep_domains_in_use(
            settings, warehouse, read_daemon_state(instance).switched_on
        )
    if kept_names:
        echo(f"in use, and so left on: {', '.join(kept_names)}")


SECONDS_BETWEEN_COUNTS = 1.0
SECONDS_BETWEEN_POLLS = 1.0


@click.command(cls=Command)
@click.option(
    "--minutes",
    type=click.FloatRange(0, 10_000),
    default=60,
    show_default=True,
    metavar="N",
    help="Time after which it returns 1, with the runs that are left.",
)
def drain(minutes: float) -> int:
    """Wait until no run is in progress, as before an upgrade.

    Stop the daemon before: it starts queued runs. They stay queued until it starts again.
    """
    import dagster as dg

    from orchestration_project.instance.storage import open_instance

    names = ("STARTING", "STARTED", "CANCELING")
    active = dg.RunsFilter(statuses=[dg.DagsterRunStatus[name] for name in names])
    until, before = time.monotonic() + minutes * 60, -1
    with open_instance() as instance:
        while count := instance.get_runs_count(active):
            if time.monotonic() >= until:
                runs = [
                    f"{run.job_name} {run.run_id}" for run in instance.get_runs(active, limit=5)
                ]
                echo(f"{count} runs are still in progress: {', '.join(runs)}")
                return 1
            if count != before:
                note(f"{count} runs in progress")
            before = count
            time.sleep(SECONDS_BETWEEN_COUNTS)
    echo("no run is in progress")
    return 0


@click.command(cls=Command, has_dry_run=True)
@click.option(
    "--to",
    required=True,
    metavar="URL",
    help="The empty database. The process list shows a password in it; PGPASSWORD and ~/.pgpass "
    "keep it out.",
)
@click.option("--to-schema", metavar="NAME", help="The DATABASE_SCHEMA of the empty database.")
def copy_database(to: str, to_schema: str | None) -> int:
    """Copy all tables of DATABASE_URL into an empty database and compare counts and hashes.

    The copy is one transaction. Stop runs before: what they load meanwhile is not copied.
    Artifacts stay where they are.
    """
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.settings import load_settings

    settings = load_settings()
    with open_warehouse(settings) as source, _open_target(to, to_schema, settings) as target:
        if OUTPUT.is_dry_run:
            _preview(source, target)
            return 0
        counts = target.fill_from(source)
        echo(_render_counts(counts))
        echo(
            f"\n{target.shown_url} holds what {source.shown_url} held: count and hash of each "
            "table are equal. Set DATABASE_URL to it, with its password"
            + (f", and DATABASE_SCHEMA={to_schema}." if to_schema else ".")
        )
    return 0


def _preview(source: "Warehouse", target: "Warehouse") -> None:
    from orchestration_project.tables.catalogue import tables

    echo(_render_counts(source.row_counts(tables(), {})))
    preview(f"these rows would be copied from {source.shown_url} to {target.shown_url}")


def _render_counts(counts: "dict[str, int]") -> str:
    return aligned([[name, f"{count:,}", "rows"] for name, count in counts.items()], numbers_from=1)


def _open_target(url: str, schema: str | None, settings: "Settings") -> "Warehouse":
    from orchestration_project.engine.environment import open_clock
    from orchestration_project.engine.warehouse import Warehouse

    try:
        target = Warehouse(url, clock=open_clock(settings), schema=schema)
        target.version()  # an error of the connection concerns the option, too
        return target
    except OrchestrationError as error:
        error.within(option="--to")  # its text names DATABASE_URL
        raise


@click.command(cls=Command, has_dry_run=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(yes: bool) -> int:
    """Delete all state: Dagster's history, captured bytes, databases, those of `stack` too.

    It deletes all or nothing. It refuses while a database or store that DATABASE_URL,
    DAGSTER_DATABASE_URL or ARTIFACTS_URL names outside of STATE_DIR has state.
    """
    from orchestration_project.cli.reset import reset as delete_state

    return delete_state(is_confirmed=yes)


@click.group(cls=Group)
def evidence() -> None:
    """Evidence: archives of a run, a session or a partition; repair of captured bytes."""


@evidence.command("verify", has_json=True)
@click.argument("file")
@click.option("--sha256", metavar="HEX", help=f"SHA-256 of {MANIFEST}, as its author sent it.")
def verify_evidence(file: str, sha256: str | None) -> int:
    """Compare every member of the archive FILE with its manifest.

    Names members that are missing, changed or extra. Needs no database, network or setting.
    With --sha256 it finds changes made on purpose.
    """
    from orchestration_project.services.evidence.verifying import verify as verify_archive

    archive = verify_archive(Path(file))
    wrong = [str(problem) for problem in archive.problems]
    if sha256 and sha256.lower() != archive.manifest_sha256:
        wrong.append(f"{MANIFEST} is not the one with SHA-256 {sha256.lower()}")
    about = ", ".join(f"{name} {value}" for name, value in archive.manifest.about.items())
    count = len(archive.manifest.members)
    emit_or(
        {
            "about": dict(archive.manifest.about),
            "member_count": count,
            "manifest_sha256": archive.manifest_sha256,
            "problems": wrong,
            "is_whole": not wrong,
        },
        f"evidence of {ascii(about)[1:-1]}",
        f"{count} members; SHA-256 of {MANIFEST}: {archive.manifest_sha256}",
        "\n".join(wrong) or "whole: every member is there as it was, and no other",
    )
    return int(bool(wrong))


@evidence.command("export", has_json=True, has_dry_run=True)
@click.option("--run", "run_id", metavar="ID", help="The run that it is about.")
@click.option("--session", metavar="ID", help="The session: runs that were started together.")
@click.option("--partition", metavar="KEY", help="The partition, e.g. 'T1|2026-10-05'; with --at.")
@click.option("--at", metavar="TIME", help="Time of the partition's state, e.g. 2026-11-01T00:00Z.")
@click.option(
    "--include-bytes", is_flag=True, help="Add the captured bytes, not only their hashes."
)
@click.option(
    "--include-inputs",
    is_flag=True,
    help="Add the other partitions that the partition's derived rows read.",
)
@click.option("--output", metavar="FILE", help="A new .zip file; default: in STATE_DIR/evidence.")
def export_evidence(
    run_id: str | None,
    session: str | None,
    partition: str | None,
    at: str | None,
    include_bytes: bool,
    include_inputs: bool,
    output: str | None,
) -> int:
    """Write an archive about a run, a session, or a partition at a time."""
    expected_names = {"run_id": run_id, "session": session, "partition": partition, "at": at}
    subjects = [name for name in ("run_id", "session", "partition") if expected_names[name]]
    if len(subjects) != 1 or bool(partition) != bool(at):
        raise click.UsageError("expected one of: --run, --session, --partition with --at")
    file = str(Path(output).resolve()) if output else None
    config = {name: value for name, value in {**expected_names, "file": file}.items() if value}
    if OUTPUT.is_dry_run:
        job = EXPORT_EVIDENCE.job
        preview(f"{job} would run with {config}", job=job, config=config)
        return 0
    included = {"include_bytes": include_bytes, "include_inputs": include_inputs}
    return _export({**config, **included})


def _export(config: dict[str, Any]) -> int:
    from orchestration_project.cli.execution import (
        execute,
        failures,
        materializations_of,
        status_of_failure,
    )
    from orchestration_project.cli.full_disk import full_disk_explained
    from orchestration_project.instance.storage import open_instance
    from orchestration_project.settings import load_settings

    with full_disk_explained(load_settings()), open_instance() as instance:
        run_config = EXPORT_EVIDENCE.run_config(config)
        result = execute(instance, EXPORT_EVIDENCE.job, config=run_config)
        for metadata in materializations_of([result]).values():
            values = {name: metadata[name] for name in ("file", "bytes", "members", "sha256")}
            values["manifest_sha256"] = metadata["manifest_sha256"]
            emit_or(
                values,
                f"{values['file']}: {values['members']} members, {values['bytes']} bytes",
                f"SHA-256 of {MANIFEST}: {values['manifest_sha256']}",
            )
    if result.success:
        return 0
    emit_or({"failures": failures([result])}, *failures([result]))
    return status_of_failure(result)


@click.group(cls=Group)
def artifacts() -> None:
    """Captured bytes, as they were received; repair of damaged ones."""


for _group in (artifacts, evidence):
    _group.add_command(repair)


@artifacts.command("list", has_json=True)
@click.option(
    "--where",
    multiple=True,
    metavar="EXPR",
    help="Only captures with COLUMN OP VALUE, e.g. 'partition_key=T1|2026-10-05'; repeatable.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="Number of captures."
)
def list_captures(where: tuple[str, ...], limit: int) -> int:
    """List captures, the latest first."""
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.services.inventory import read_capture_rows
    from orchestration_project.settings import load_settings

    with open_warehouse(load_settings()) as warehouse:
        captures = read_capture_rows(warehouse, where, limit)
    entries = [row | {"fetched_at": f"{row['fetched_at']:%Y-%m-%d %H:%M:%S}"} for row in captures]
    show_rows(captures if OUTPUT.is_json else entries, CAPTURE_HEADINGS)
    return 0


@artifacts.command("get", has_dry_run=True)
@click.argument("capture")
@click.option(
    "--output", default="-", metavar="FILE", show_default=True, help="A file; - is stdout."
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def get_capture(capture: str, output: str, force: bool) -> int:
    """Write the bytes of CAPTURE, a capture id or a SHA-256, after verifying their SHA-256."""
    from orchestration_project.engine.captures import Captures
    from orchestration_project.engine.connections.artifacts import open_store
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.services.export import open_atomic_file
    from orchestration_project.services.inventory import find_blob
    from orchestration_project.settings import load_settings

    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        blob = find_blob(warehouse, capture)
    store = Captures(open_store(settings))
    store.verify(blob)
    text = f"{blob.byte_count} bytes with SHA-256 {blob.sha256}"
    if OUTPUT.is_dry_run:
        note(f"dry run: {text} would be written to {output}")
        return 0
    with store.open(blob) as body:
        if output == "-":
            _write_to_stdout(body)
        else:
            with open_atomic_file(Path(output), replace=force) as file:
                shutil.copyfileobj(body, file)
    note(f"{text} to {output}")
    return 0


def _write_to_stdout(body: BinaryIO) -> None:
    if sys.stdout is None:  # closed before this process started
        raise _build_output_error("it is closed")
    try:
        shutil.copyfileobj(body, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise _build_output_error(str(error.strerror)) from error


def _build_output_error(found: str) -> ConfigurationError:
    return ConfigurationError(
        "standard output cannot be written", found=found, remedy="name a file: --output"
    )
