"""`schema` and `rename`: change the tables of the sources that the project declares."""

import re
from typing import TYPE_CHECKING

import click

from orchestration_project.cli.commands import Group
from orchestration_project.cli.console import OUTPUT, emit_or
from orchestration_project.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from orchestration_project.engine.warehouse import Warehouse
    from orchestration_project.engine.warehouse.own_changes import TableChange
    from orchestration_project.engine.warehouse.own_schema import Change

SAME = "the tables are as the sources declare"
SQL = click.option(
    "--sql", is_flag=True, help="Print the statements for a role with rights on tables."
)


@click.group(cls=Group)
def schema() -> None:
    """Tables of the sources in defs/: show how they differ, and make them as declared."""


@schema.command("diff", has_json=True)
@click.option("--drop", "dropped", multiple=True, metavar="TABLE.COLUMN", help="As of apply.")
def diff(dropped: "Sequence[str]") -> int:
    """Show the changes of `schema apply`, those that need --all, and those that are refused.

    Missing tables and columns that may be NULL are made. The exit status is 1 where anything else
    differs.
    """
    with _open_database() as warehouse:
        planned = warehouse.plan_own(dropped)
        changes = _select_additive(planned, warehouse.own_changes())
        other_names = [
            text for text in warehouse.other_own_differences() if not _is_of(planned, text)
        ]
    other_names += [refusal for change in planned for refusal in change.refusals]
    further = [says for change in planned for says in change.says]
    entries = [{"change": change.says, "is_applied": True} for change in changes]
    entries += [{"change": says, "is_applied": False, "needs": "--all"} for says in further]
    entries += [{"change": text, "is_applied": False} for text in other_names]
    lines = [f"will {change.says}" for change in changes]
    lines += [f"with --all: {says}" for says in further]
    lines += [f"refused: {text}" for text in other_names]
    emit_or(entries, *(lines or [SAME]))
    return 1 if other_names or further else 0


@schema.command("apply", has_json=True, has_dry_run=True)
@SQL
@click.option("--all", "is_all", is_flag=True, help="Also make changes that are not additive.")
@click.option(
    "--drop",
    "dropped",
    multiple=True,
    metavar="TABLE.COLUMN",
    help="Column that may lose its values, with --all; several by repeating it.",
)
def apply(sql: bool, is_all: bool, dropped: "Sequence[str]") -> int:
    """Make missing tables, and add missing columns that may be NULL; safe to repeat.

    With --all, columns are converted, required or dropped, too. Such a table is copied with its
    history first, as TABLE_old1; a clean-up removes the copy after 90 days.
    """
    if dropped and not is_all:
        raise ConfigurationError("--drop needs --all", remedy="add --all")
    with _open_database() as warehouse:
        needs_all = is_all and warehouse.plan_own(dropped)
        changes = warehouse.own_changes()
    if needs_all:
        return _change(dropped, {}, is_sql=sql)
    from orchestration_project.engine.environment import open_widened_warehouse
    from orchestration_project.settings import load_settings

    if sql:
        _print(statement for change in changes for statement in change.sql)
        return 0
    if not OUTPUT.is_dry_run:
        with open_widened_warehouse(load_settings()) as warehouse:
            warehouse.compare_tables()
    _report([change.says for change in changes])
    return 0


@click.group(cls=Group)
def rename() -> None:
    """Rename sources, tables and columns of defs/, with their history and load records."""


@rename.command("table", has_json=True, has_dry_run=True)
@click.argument("old")
@click.argument("new")
@SQL
def rename_table(old: str, new: str, sql: bool) -> int:
    """Rename table OLD to NEW, after the declaration has NEW.

    History, captures, load records and pauses keep. Dagster's asset gets the new name, too: its
    partitions are reported as loaded, and link to the events of the old asset. Safe to repeat.
    """
    return _rename(old, new, is_sql=sql)


@rename.command("source", has_json=True, has_dry_run=True)
@click.argument("old")
@click.argument("new")
@SQL
def rename_source(old: str, new: str, sql: bool) -> int:
    """Rename the table of source OLD to NEW as `rename table`, and move defs/OLD to defs/NEW.

    The declaration has NEW before. Samples and other files move with the folder.
    """
    return _rename(old, new, is_sql=sql, moves_folder=True)


@rename.command("column", has_json=True, has_dry_run=True)
@click.argument("table")
@click.argument("old")
@click.argument("new")
@SQL
def rename_column(table: str, old: str, new: str, sql: bool) -> int:
    """Rename column OLD of TABLE to NEW, after the declaration has NEW.

    Declare the field as Field("NEW", ..., source="OLD") first, so that the source's name stays.
    History, captures and load records keep; the table is copied first, as by `schema apply --all`.
    """
    return _change([], {table: {old: new}}, is_sql=sql)


def _rename(old: str, new: str, *, is_sql: bool, moves_folder: bool = False) -> int:
    """Rename a table in the database and in Dagster, and perhaps its folder."""
    with _open_database() as warehouse:
        planned = warehouse.plan_rename(old, new)
        folders = _find_folders(old, new) if moves_folder else None
        if is_sql:
            _print(warehouse.rename_sql(planned))
            return 0
        names = [] if planned is None else [planned.says]
        names += (
            []
            if folders is None
            else [f"move {_trim_path(folders[0])} to {_trim_path(folders[1])}"]
        )
        if OUTPUT.is_dry_run:
            _report(names)
            return 0
        warehouse.rename_own(old, new, _build_recorder(warehouse, "rename table"))
        names += _report_events(warehouse, old, new)
    if folders is not None:
        folders[0].rename(folders[1])
    _report(names)
    return 0


def _report_events(warehouse: "Warehouse", old: str, new: str) -> "Sequence[str]":
    """Report the loaded partitions of a renamed table to Dagster; return what was done."""
    from orchestration_project.engine.warehouse.own_renames import read_old_asset
    from orchestration_project.instance.renamed_assets import report_renamed
    from orchestration_project.instance.storage import open_instance
    from orchestration_project.tables.catalogue import asset_of

    with warehouse.reading() as connection:
        old_asset = read_old_asset(connection, old, new)
    with open_instance() as instance:
        count = report_renamed(instance, old_asset, asset_of(new))
    return [f"report {count} loads of {old_asset} as {asset_of(new)} to Dagster"] if count else []


def _find_folders(old: str, new: str) -> "tuple[Path, Path] | None":
    """Return the folder of a source and the one that it moves to; None: it has moved.

    Raises:
        ConfigurationError: The source lies in another folder, or the new one exists.
    """
    from orchestration_project.engine.own_sources import load_declared_values
    from orchestration_project.settings import project_folder

    [file] = [file for value, file in load_declared_values() if value.name == new]
    folder = (project_folder() / file).parent
    if folder.name == new:
        return None
    if folder.name == old and not folder.with_name(new).exists():
        return folder, folder.with_name(new)
    raise ConfigurationError(
        f"source {old} cannot be renamed to {new}",
        expected=f"its file in a folder {old}, and no folder {new} beside it",
        found=file if folder.name != old else _trim_path(folder.with_name(new)),
        remedy="use `orchestrate rename table`, which moves no folder",
    )


def _trim_path(folder: "Path") -> str:
    """Return a folder below the project folder."""
    from orchestration_project.settings import project_folder

    return str(folder.relative_to(project_folder()))


def _change(
    dropped: "Sequence[str]", renames: "Mapping[str, Mapping[str, str]]", *, is_sql: bool
) -> int:
    """Make changes that are not additive, or print their statements."""
    with _open_database() as warehouse:
        planned = warehouse.plan_own(dropped, renames)
        _require_renamed(planned, renames)
        if is_sql:
            changes = [change for change in planned if not change.refusals]
            additive = _select_additive(planned, warehouse.own_changes())
            _print(warehouse.own_sql(changes) if changes else [])
            _print(statement for change in additive for statement in change.sql)
            return 0
        if OUTPUT.is_dry_run:
            refused = [f"be refused: {text}" for change in planned for text in change.refusals]
            additive = _select_additive(planned, warehouse.own_changes())
            names = [says for change in planned for says in change.says]
            _report([*names, *(change.says for change in additive), *refused])
            return int(bool(refused))
        operation = "rename column" if renames else "schema apply --all"
        _report(warehouse.change_own(dropped, renames, _build_recorder(warehouse, operation)))
    return 0


def _build_recorder(
    warehouse: "Warehouse", operation: str
) -> "Callable[[Connection, Sequence[str]], None]":
    """Return a function that adds changes of tables to the audit log, in their transaction."""
    from orchestration_project.engine.environment import open_clock
    from orchestration_project.services.access.review import record_in_shell
    from orchestration_project.settings import load_settings

    clock = open_clock(load_settings())

    def record(connection: "Connection", changes: "Sequence[str]") -> None:
        for change in changes:
            record_in_shell(warehouse, clock, operation, change, connection)

    return record


def _require_renamed(
    planned: "Sequence[TableChange]", renames: "Mapping[str, Mapping[str, str]]"
) -> None:
    """Make sure that a rename is the only change of its table.

    Raises:
        ConfigurationError: The declaration has another name, or other changes.
    """
    for table, names in renames.items():
        says = [says for change in planned if change.table.name == table for says in change.says]
        [(old, new)] = names.items()
        if says != [f"rename column {table}.{old} to {new}"]:
            other_names = [text for change in planned for text in (*change.says, *change.refusals)]
            raise ConfigurationError(
                f"column {old} of {table} cannot be renamed to {new}",
                expected=f"a table with the column {old} whose source declares {new} instead, "
                "with no other change",
                found="; ".join(other_names) or "no such change of the declaration",
                remedy=f'rename the field in its source.py, as Field("{new}", ..., source="{old}")',
            )


def _open_database() -> "Warehouse":
    """Return the database as it is, perhaps without tables.

    Raises:
        ConfigurationError: No project folder is declared, so no table can be compared.
    """
    from orchestration_project.engine.environment import open_unprepared_warehouse
    from orchestration_project.settings import load_settings, require_project_folder

    require_project_folder()
    return open_unprepared_warehouse(load_settings())


def _select_additive(
    planned: "Sequence[TableChange]", changes: "Sequence[Change]"
) -> "Sequence[Change]":
    """Return the additive changes of tables that have no other changes."""
    return [change for change in changes if not _is_of(planned, change.difference)]


def _is_of(planned: "Sequence[TableChange]", text: str) -> bool:
    """Whether a difference is of a table with planned changes, or of its history."""
    names = "|".join(re.escape(change.table.name) for change in planned)
    return bool(names) and re.search(rf"\b({names})(_history)?\b", text) is not None


def _print(statements: "Iterable[str]") -> None:
    for statement in statements:
        print(f"{statement};")  # noqa: T201 - the result


def _report(said: "Sequence[str]") -> None:
    name = "would " if OUTPUT.is_dry_run else "did "
    emit_or(list(said), *([f"{name}{text}" for text in said] or [SAME]))
