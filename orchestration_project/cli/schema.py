"""`schema` and `rename`: change the tables of the sources that the project declares."""

import re
from typing import TYPE_CHECKING

import click

from orchestration_project.cli.commands import Group
from orchestration_project.cli.console import OUTPUT, emit_or
from orchestration_project.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
    with _opened() as warehouse:
        planned = warehouse.plan_own(dropped)
        changes = _outside(planned, warehouse.own_changes())
        others = [text for text in warehouse.other_own_differences() if not _is_of(planned, text)]
    others += [refusal for change in planned for refusal in change.refusals]
    further = [says for change in planned for says in change.says]
    found = [{"change": change.says, "is_applied": True} for change in changes]
    found += [{"change": says, "is_applied": False, "needs": "--all"} for says in further]
    found += [{"change": text, "is_applied": False} for text in others]
    lines = [f"will {change.says}" for change in changes]
    lines += [f"with --all: {says}" for says in further]
    lines += [f"refused: {text}" for text in others]
    emit_or(found, *(lines or [SAME]))
    return 1 if others or further else 0


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
    with _opened() as warehouse:
        needs_all = is_all and warehouse.plan_own(dropped)
        changes = warehouse.own_changes()
    if needs_all:
        return _change(dropped, {}, is_sql=sql)
    from orchestration_project.engine.environment import widened_warehouse
    from orchestration_project.settings import load_settings

    if sql:
        _print(statement for change in changes for statement in change.sql)
        return 0
    if not OUTPUT.is_dry_run:
        with widened_warehouse(load_settings()) as warehouse:
            warehouse.compare_tables()
    _report([change.says for change in changes])
    return 0


@click.group(cls=Group)
def rename() -> None:
    """Rename columns of the sources in defs/, with their history and load records."""


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


def _change(
    dropped: "Sequence[str]", renames: "Mapping[str, Mapping[str, str]]", *, is_sql: bool
) -> int:
    """Make changes that are not additive, or print their statements."""
    with _opened() as warehouse:
        planned = warehouse.plan_own(dropped, renames)
        _require_renamed(planned, renames)
        if is_sql:
            changes = [change for change in planned if not change.refusals]
            additive = _outside(planned, warehouse.own_changes())
            _print(warehouse.own_sql(changes) if changes else [])
            _print(statement for change in additive for statement in change.sql)
            return 0
        if OUTPUT.is_dry_run:
            refused = [f"be refused: {text}" for change in planned for text in change.refusals]
            additive = _outside(planned, warehouse.own_changes())
            said = [says for change in planned for says in change.says]
            _report([*said, *(change.says for change in additive), *refused])
            return int(bool(refused))
        _report(warehouse.change_own(dropped, renames))
    return 0


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
            others = [text for change in planned for text in (*change.says, *change.refusals)]
            raise ConfigurationError(
                f"column {old} of {table} cannot be renamed to {new}",
                expected=f"a table with the column {old} whose source declares {new} instead, "
                "with no other change",
                found="; ".join(others) or "no such change of the declaration",
                remedy=f'rename the field in its source.py, as Field("{new}", ..., source="{old}")',
            )


def _opened() -> "Warehouse":
    """Return the database as it is, perhaps without tables."""
    from orchestration_project.engine.environment import unprepared_warehouse
    from orchestration_project.settings import load_settings

    return unprepared_warehouse(load_settings())


def _outside(planned: "Sequence[TableChange]", changes: "Sequence[Change]") -> "Sequence[Change]":
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
    done = "would " if OUTPUT.is_dry_run else "did "
    emit_or(list(said), *([f"{done}{text}" for text in said] or [SAME]))
