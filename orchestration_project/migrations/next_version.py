"""The next version, written from what is declared and what the versions so far have made."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.script import ScriptDirectory

from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations.changes import (
    AddColumn,
    ChangeComment,
    CreateIndex,
    CreateTable,
    CreateView,
    DropColumn,
    DropIndex,
    DropTable,
    DropView,
    RebuildTable,
    SchemaChange,
    schema_after,
)
from orchestration_project.migrations.declared import DeclaredView, declared_schema
from orchestration_project.migrations.frozen import Schema, Table, View
from orchestration_project.migrations.scripts import changes_of

STEP = "    "


def source(value: Any, indent: str = "") -> str:
    """Return ``value`` as an expression, which begins in a line of this indent."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        lines = [f"{_text(name)}: {source(each, indent + STEP)}" for name, each in value.items()]
        return _lines("{", lines, "}", indent)
    if isinstance(value, Sequence) and all(isinstance(each, str) for each in value):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, Sequence):
        return _lines("[", [source(each, indent + STEP) for each in value], "]", indent)
    if not is_dataclass(value):
        return repr(value)
    given = [
        (each.name if each.default is not MISSING else "", getattr(value, each.name))
        for each in fields(value)
        if each.default is MISSING or getattr(value, each.name) not in (each.default, [])
    ]
    parts = [f"{name}=" * bool(name) + source(each, indent) for name, each in given]
    return f"{type(value).__name__}({', '.join(parts)})"


def _lines(opening: str, items: Sequence[str], closing: str, indent: str) -> str:
    inner = "".join(f"{indent}{STEP}{each},\n" for each in items)
    return f"{opening}\n{inner}{indent}{closing}"


def _text(value: str) -> str:
    escapes = value.replace("\\", "\\\\")
    if "\n" in value:
        return '"""' + escapes.replace('"', '\\"') + '"""'
    if '"' in value and "'" not in value:
        return f"'{escapes}'"
    return '"' + escapes.replace('"', '\\"') + '"'


NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")

VERSION = '''\
"""{title}."""

{imports}
revision = "{revision}"
down_revision = "{down_revision}"

# fmt: off
CHANGES = {changes}
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
'''


@dataclass(frozen=True)
class NextVersion:
    """The version that was written, and the tables and columns whose values it drops."""

    file: Path
    dropped: Sequence[str]


def write_next_version(
    name: str,
    script: ScriptDirectory,
    folder: Path,
    metadata: sa.MetaData,
    views: Mapping[str, DeclaredView],
) -> NextVersion | None:
    """Write into ``folder`` the version that makes what is declared; None if nothing changed.

    Raises:
        ConfigurationError: ``name`` is invalid, or a change must be written by hand.
    """
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            f"invalid NAME {name!r}" if name else "NAME is missing",
            expected="lower-case letters, digits and _, e.g. make migration NAME=add_weather",
        )
    before, after = schema_after(changes_of(script)), declared_schema(metadata, views)
    changes = changes_between(before, after)
    if not changes:
        return None
    newest = str(script.get_current_head())
    revision = f"{int(newest) + 1:04}"
    file = folder / f"v{revision}_{name}.py"
    file.write_text(
        VERSION.format(
            title=name.replace("_", " ").capitalize(),
            imports=_imports(changes),
            revision=revision,
            down_revision=newest,
            changes=source(changes),
        ),
        encoding="utf-8",
    )
    return NextVersion(file, sorted(_values(before) - _values(after)))


def _values(schema: Schema) -> set[str]:
    """Return every table, and every column of one, by name."""
    tables = [each for each in schema.values() if isinstance(each, Table)]
    columns = {f"{table.name}.{column.name}" for table in tables for column in table.columns}
    return columns | {table.name for table in tables}


def changes_between(before: Schema, after: Schema) -> list[SchemaChange]:
    """Return the changes that make the schema ``after`` of the schema ``before``.

    Raises:
        ConfigurationError: A change must be written by hand.
    """
    kept = {
        name: (old, new)
        for name, old in before.items()
        if isinstance(old, Table) and isinstance(new := after.get(name), Table)
    }
    of_tables = {name: list(_changes_of_table(*both)) for name, both in kept.items()}
    moved = {
        name
        for name, changes in of_tables.items()
        if any(isinstance(each, DropColumn | RebuildTable) for each in changes)
    }
    gone = [each for each in before.values() if not _same_but_comments(each, after.get(each.name))]
    views = {each.name for each in gone if isinstance(each, View)}
    views = _with_their_views(moved | views, before)
    new = [
        name for name in after if name not in before or type(before[name]) is not type(after[name])
    ]
    return [
        *(DropView(each) for each in _views(reversed(before.values())) if each.name in views),
        *(DropTable(each) for each in gone if isinstance(each, Table) and each.name not in kept),
        *(CreateTable(each) for name in new if isinstance(each := after[name], Table)),
        *(change for changes in of_tables.values() for change in changes),
        *(CreateView(each) for each in _views(after.values()) if each.name in {*views, *new}),
        *(
            change
            for each in _views(before.values())
            if each.name not in views and isinstance(now := after[each.name], View)
            for change in _changes_of_comments(each, now)
        ),
    ]


def _same_but_comments(before: Table | View, after: Table | View | None) -> bool:
    """Return whether only comments differ; of tables, whether nothing does."""
    if isinstance(before, View) and isinstance(after, View):
        silent = [replace(each, comment="", columns={}) for each in (before, after)]
        return silent[0] == silent[1] and list(before.columns) == list(after.columns)
    return before == after


def _changes_of_comments(before: View, after: View) -> Iterator[ChangeComment]:
    if before.comment != after.comment:
        yield ChangeComment(after.name, None, before.comment, after.comment, is_view=True)
    for name, comment in after.columns.items():
        if before.columns[name] != comment:
            yield ChangeComment(after.name, name, before.columns[name], comment, is_view=True)


def _views(found: Any) -> Iterator[View]:
    return (each for each in found if isinstance(each, View))


def _with_their_views(names: set[str], schema: Schema) -> set[str]:
    """Return the views among ``names``, and those that select from what is named."""
    found, wider = set[str](), names
    while found != wider:
        found = wider
        wider = found | {
            each.name
            for each in _views(schema.values())
            if any(re.search(rf"\b{name}\b", each.sql) for name in found)
        }
    return {name for name in found if isinstance(schema[name], View)}


def _changes_of_table(before: Table, after: Table) -> Iterator[SchemaChange]:
    old = {each.name: each for each in before.columns}
    new = {each.name: each for each in after.columns}
    _refuse_unsafe(before, after)
    rest = [each.name for each in after.columns if each.name in old]
    appended = [*old, *(name for name in new if name not in old)] == list(new)
    cut = [*new, *(name for name in old if name not in new)] == list(old)
    same = all(replace(old[name], comment="") == replace(new[name], comment="") for name in rest)
    if not (same and (appended or cut)):
        yield RebuildTable(before, after)
        return
    indexes = {each.name: each for each in after.indexes}
    kept = [each for each in before.indexes if indexes.get(each.name) == each]
    yield from (DropIndex(after.name, each) for each in before.indexes if each not in kept)
    yield from (AddColumn(after.name, each) for each in after.columns if each.name not in old)
    dropped = [each for each in before.columns if each.name not in new]
    yield from (DropColumn(after.name, each) for each in reversed(dropped))
    if before.comment != after.comment:
        yield ChangeComment(after.name, None, before.comment, after.comment)
    for name in rest:
        if old[name].comment != new[name].comment:
            yield ChangeComment(after.name, name, old[name].comment, new[name].comment)
    yield from (CreateIndex(after.name, each) for each in after.indexes if each not in kept)


def _refuse_unsafe(before: Table, after: Table) -> None:
    """Refuse what depends on the rows that a table has."""
    old = {each.name: each for each in before.columns}
    found = [
        f"{after.name}.{each.name} would change from {old[each.name].type} to {each.type}"
        for each in after.columns
        if each.name in old and old[each.name].type != each.type
    ]
    found += [
        f"{after.name}.{each.name} would be required, and has no default for rows without it"
        for each in after.columns
        if not each.optional and each.default is None
        if each.name not in old or old[each.name].optional
    ]
    if before.key != after.key:
        found.append(
            f"{after.name} would have the key ({', '.join(after.key)}) "
            f"instead of ({', '.join(before.key)})"
        )
    if found:
        raise ConfigurationError(
            "this change depends on existing rows: write this step manually",
            expected="new columns that are optional or have a default; the same types and keys",
            found="; ".join(found),
            remedy="write the version manually (docs/explanation/architecture.md), or change the "
            "declaration",
        )


def _imports(changes: Sequence[SchemaChange]) -> str:
    """Return the lines that import what the changes are made of, and what makes them."""
    modules: dict[str, set[str]] = {}
    for each in _classes(changes):
        modules.setdefault(each.__module__, set()).add(each.__name__)
    modules.setdefault(SchemaChange.__module__, set()).update(("downgrade_by", "upgrade_by"))
    return "".join(
        _import(module, sorted(modules[module], key=_import_order)) for module in sorted(modules)
    )


def _import_order(name: str) -> tuple[bool, str]:
    return name.islower(), name


def _import(module: str, names: Sequence[str]) -> str:
    line = f"from {module} import {', '.join(names)}\n"
    if len(line) <= 101:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")\n"


def _classes(value: Any) -> Iterator[type]:
    if is_dataclass(value):
        yield type(value)
        for each in fields(value):
            yield from _classes(getattr(value, each.name))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            yield from _classes(each)
