"""`schema`: make and widen the tables of the sources that the project declares."""

from typing import TYPE_CHECKING

import click

from orchestration_project.cli.commands import Group
from orchestration_project.cli.console import OUTPUT, emit_or

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration_project.engine.warehouse.own_schema import Change

SAME = "the tables are as the sources declare"


@click.group(cls=Group)
def schema() -> None:
    """Tables of the sources in defs/: show how they differ, and make them as declared."""


@schema.command("diff", has_json=True)
def diff() -> int:
    """Show what `schema apply` would change, and what it would not.

    Missing tables and columns that may be NULL are made. Any other difference, such as another
    type or key, is named: it needs a new table, or a manual change.
    """
    changes, others = _differences()
    found = [{"change": change.says, "is_applied": True} for change in changes]
    found += [{"change": text, "is_applied": False} for text in others]
    lines = [f"will {change.says}" for change in changes]
    lines += [f"differs, and is not changed: {text}" for text in others]
    emit_or(found, *(lines or [SAME]))
    return 1 if others else 0


@schema.command("apply", has_json=True, has_dry_run=True)
@click.option("--sql", is_flag=True, help="Print the statements for a role with rights on tables.")
def apply(sql: bool) -> int:
    """Make missing tables, and add missing columns that may be NULL; safe to repeat."""
    from orchestration_project.engine.environment import widened_warehouse
    from orchestration_project.settings import load_settings

    changes, _ = _differences()
    if sql:
        for statement in (statement for change in changes for statement in change.sql):
            print(f"{statement};")  # noqa: T201 - the result
        return 0
    if not OUTPUT.is_dry_run:
        with widened_warehouse(load_settings()) as warehouse:
            warehouse.compare_tables()
    done = "would " if OUTPUT.is_dry_run else "did "
    said = [change.says for change in changes]
    emit_or(said, *([f"{done}{text}" for text in said] or [SAME]))
    return 0


def _differences() -> "tuple[Sequence[Change], Sequence[str]]":
    """Return the additive changes, and the other differences."""
    from orchestration_project.engine.environment import unprepared_warehouse
    from orchestration_project.settings import load_settings

    with unprepared_warehouse(load_settings()) as warehouse:
        return warehouse.own_changes(), warehouse.other_own_differences()
