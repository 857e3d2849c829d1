"""Support bundle: one archive that describes an installation, to attach to a report.

Each section is read for itself: one that cannot be read has its error instead. Secrets of the
settings are masked in all of them.
"""

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import dagster as dg
from dagster import DagsterEventType
from sqlalchemy import Connection, inspect, text

from orchestration_project.engine.connections.log_files import FOLDER
from orchestration_project.engine.contracts.log_lines import LogFilter
from orchestration_project.engine.dagster_private.automation import (
    FINISHED_TICKS,
    find_ticks,
    iterate_running_states,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.redaction import redacted
from orchestration_project.services.ended_runs import describe_error, extract_message, read_entries
from orchestration_project.services.export import open_atomic_file
from orchestration_project.services.program_logs.reading import search_lines

Section = Callable[[], object]

MAX_LINES, MAX_RUNS, TICKS_EACH = 200, 20, 3
"""Log lines and failed runs of a bundle, and ticks of each schedule and sensor."""

FAILURES = {DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE}

MEMBER_MODE = 0o600 << 16
"""Permissions of a file in the archive."""

TABLE_SIZES = text(
    "SELECT relname, reltuples::bigint, pg_total_relation_size(oid) FROM pg_class "
    "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY relname"
)


def write_bundle(file: Path, sections: Mapping[str, Section], *, replace: bool) -> list[str]:
    """Write an archive with a file of JSON for each section; return what could not be read.

    Args:
        file: The archive, which is there as a whole or not at all.
        sections: Readers of the sections by name, in the order of the archive.
        replace: Whether an existing file is replaced.

    Raises:
        ConfigurationError: The archive cannot be written.
    """
    problems: list[str] = []
    with open_atomic_file(file, replace=replace) as target, ZipFile(target, "w") as archive:
        for name, read in sections.items():
            try:
                content = read()
            except Exception as error:  # noqa: BLE001 - a defect is what a bundle is to describe
                problem = _describe_error(error)
                problems.append(redacted(f"{name}: {problem}"))
                content = {"not_read": problem}
            _add(archive, f"{name}.json", content)
        _add(archive, "problems.json", problems)
    return problems


def _describe_error(error: Exception) -> str:
    """Return an error in words; of a library's, its first line, as others quote rows."""
    if isinstance(error, OrchestrationError):
        return str(error).strip()
    first_line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"


def _add(archive: ZipFile, name: str, content: object) -> None:
    """Add a file; the same content gives the same bytes, whenever it is written."""
    member = ZipInfo(f"support-bundle/{name}")
    member.compress_type, member.external_attr = ZIP_DEFLATED, MEMBER_MODE
    shown = json.dumps(content, indent=1, ensure_ascii=False, default=str)
    archive.writestr(member, redacted(shown).encode(errors="backslashreplace"))


def read_versions(versions: Mapping[str, str]) -> Mapping[str, Any]:
    """Return versions with the system and the packages that are installed."""
    packages = {each.name: each.version for each in distributions()}
    named = sorted(packages.items(), key=lambda item: item[0].lower())
    return {**versions, "system": platform.platform(), "packages": dict(named)}


def read_errors(state_path: Path) -> Sequence[Mapping[str, Any]]:
    """Return the newest errors that programs of this host logged, the newest first."""
    wanted = LogFilter(level="ERROR")
    return [
        line.fields for line in search_lines(state_path / FOLDER, wanted, limit=MAX_LINES).lines
    ]


def read_folder_sizes(state_path: Path) -> Sequence[Mapping[str, Any]]:
    """Return number and bytes of the files in each folder of STATE_DIR; its own files singly."""
    sizes: dict[str, list[int]] = {}
    for path in state_path.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink():
                first = path.relative_to(state_path).parts[0]
                sizes.setdefault(first, []).append(path.stat().st_size)
        except FileNotFoundError:  # a program removed it meanwhile
            continue
    return [
        {"name": name, "file_count": len(sizes[name]), "byte_count": sum(sizes[name])}
        for name in sorted(sizes)
    ]


def read_table_sizes(warehouse: Warehouse) -> Mapping[str, Any]:
    """Return the version of the tables, and rows of each; in PostgreSQL estimates, with bytes."""
    with warehouse.reading() as connection:
        if connection.dialect.name == "postgresql":
            rows = connection.execute(TABLE_SIZES).all()
            sizes = [
                dict(zip(("name", "row_count", "byte_count"), row, strict=True)) for row in rows
            ]
        else:
            sizes = [_count_rows(connection, name) for name in _list_tables(connection)]
    return {"version": warehouse.version(), "tables": sizes}


def _list_tables(connection: Connection) -> Sequence[str]:
    return sorted(inspect(connection).get_table_names())


def _count_rows(connection: Connection, name: str) -> Mapping[str, Any]:
    quoted = connection.dialect.identifier_preparer.quote(name)
    counted = connection.execute(text(f"SELECT count(*) FROM {quoted}"))  # noqa: S608 - quoted
    return {"name": name, "row_count": counted.scalar_one()}


def read_ticks(instance: dg.DagsterInstance) -> Sequence[Mapping[str, Any]]:
    """Return the latest finished ticks of each schedule and sensor that is on."""
    ticks = [
        {
            "name": state.instigator_name,
            "status": tick.status.value,
            "at": _show_time(tick.timestamp),
            "run_count": len(tick.run_ids),
            "reason": tick.skip_reason,
            "error": extract_message(tick.error) if tick.error else None,
        }
        for state in iterate_running_states(instance)
        for tick in find_ticks(instance, state, limit=TICKS_EACH, statuses=FINISHED_TICKS)
    ]
    return sorted(
        sorted(ticks, key=lambda tick: tick["at"], reverse=True), key=lambda tick: tick["name"]
    )


def read_failed_runs(instance: dg.DagsterInstance) -> Sequence[Mapping[str, Any]]:
    """Return the latest failed runs with their errors, without config and without tags."""
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])
    return [
        {
            "run_id": record.dagster_run.run_id,
            "job": record.dagster_run.job_name,
            "partition": record.dagster_run.tags.get("dagster/partition"),
            "started_at": record.start_time and _show_time(record.start_time),
            "ended_at": record.end_time and _show_time(record.end_time),
            "error": _read_error(instance, record.dagster_run.run_id),
        }
        for record in instance.get_run_records(failed, limit=MAX_RUNS)
    ]


def _read_error(instance: dg.DagsterInstance, run_id: str) -> str:
    entries = read_entries(instance, run_id, FAILURES)
    return describe_error([entry.dagster_event for entry in entries if entry.dagster_event])


def _show_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
