"""The next version, written from what is declared and what the versions so far have made."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from itertools import chain
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
    changes_of,
    schema_after,
)
from orchestration_project.migrations.declared import DeclaredView, declared_schema
from orchestration_project.migrations.frozen import Schema, Table, View

STEP = "    "


def source(value: Any, indent: str = "") -> str:
    """Return ``value`` as an expression, which begins in a line of this indent."""
    if isinstance(value, str):
        return _quote_text(value)
    if isinstance(value, Mapping):
        lines = [
            f"{_quote_text(name)}: {source(item, indent + STEP)}" for name, item in value.items()
        ]
        return _render_lines("{", lines, "}", indent)
    if isinstance(value, Sequence) and all(isinstance(item, str) for item in value):
        return f"[{', '.join(map(_quote_text, value))}]"
    if isinstance(value, Sequence):
        return _render_lines("[", [source(item, indent + STEP) for item in value], "]", indent)
    if not is_dataclass(value):
        return repr(value)
    given_pairs = [
        (field.name if field.default is not MISSING else "", getattr(value, field.name))
        for field in fields(value)
        if field.default is MISSING or getattr(value, field.name) not in (field.default, [])
    ]
    parts = [
        f"{name}={source(item, indent)}" if name else source(item, indent)
        for name, item in given_pairs
    ]
    return f"{type(value).__name__}({', '.join(parts)})"


def _render_lines(opening: str, items: Sequence[str], closing: str, indent: str) -> str:
    inner = "".join(f"{indent}{STEP}{item},\n" for item in items)
    return f"{opening}\n{inner}{indent}{closing}"


def _quote_text(value: str) -> str:
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
        ConfigurationError: ``name`` is invalid, or a change must be written manually.
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
            imports=_render_imports(changes),
            revision=revision,
            down_revision=newest,
            changes=source(changes),
        ),
        encoding="utf-8",
    )
    return NextVersion(file, sorted(_list_names(before) - _list_names(after)))


def _list_names(schema: Schema) -> set[str]:
    """Return every table, and every column of one, by name."""
    tables = [item for item in schema.values() if isinstance(item, Table)]
    columns = {f"{table.name}.{column.name}" for table in tables for column in table.columns}
    return columns | {table.name for table in tables}


def changes_between(before: Schema, after: Schema) -> list[SchemaChange]:
    """Return the changes that make the schema ``after`` of the schema ``before``.

    Raises:
        ConfigurationError: A change must be written manually.
    """
    kept_tables = {
        name: (old, new)
        for name, old in before.items()
        if isinstance(old, Table) and isinstance(new := after.get(name), Table)
    }
    of_tables = {name: list(_compare_table(*pair)) for name, pair in kept_tables.items()}
    names = {
        name
        for name, changes in of_tables.items()
        if any(isinstance(each, DropColumn | RebuildTable) for each in changes)
    }
    entries = [
        each for each in before.values() if not _is_same_but_comments(each, after.get(each.name))
    ]
    views = {each.name for each in entries if isinstance(each, View)}
    views = _find_affected_views(names | views, before)
    new = [
        name for name in after if name not in before or type(before[name]) is not type(after[name])
    ]
    dropped_tables = [
        entry for entry in entries if isinstance(entry, Table) and entry.name not in kept_tables
    ]
    new_tables = [entry for name in new if isinstance(entry := after[name], Table)]
    new_views = [view for view in _select_views(after.values()) if view.name in {*views, *new}]
    return [
        *(
            DropView(view)
            for view in _select_views(reversed(before.values()))
            if view.name in views
        ),
        *map(DropTable, dropped_tables),
        *map(CreateTable, new_tables),
        *chain.from_iterable(of_tables.values()),
        *map(CreateView, new_views),
        *_compare_kept_views(before, after, views),
    ]


def _compare_kept_views(
    before: Schema, after: Schema, recreated: Collection[str]
) -> Iterator[SchemaChange]:
    """Yield the changes of comments of views that are not created again."""
    for old in _select_views(before.values()):
        new = None if old.name in recreated else after[old.name]
        if isinstance(new, View):
            former = {None: old.comment, **old.columns}
            for column, comment in {None: new.comment, **new.columns}.items():
                if comment != former[column]:
                    yield ChangeComment(new.name, column, former[column], comment, is_view=True)


def _is_same_but_comments(before: Table | View, after: Table | View | None) -> bool:
    """Return whether only comments differ; of tables, whether nothing does."""
    if isinstance(before, View) and isinstance(after, View):
        silent = [replace(view, comment="", columns={}) for view in (before, after)]
        return silent[0] == silent[1] and list(before.columns) == list(after.columns)
    return before == after


def _select_views(found: Any) -> Iterator[View]:
    return (each for each in found if isinstance(each, View))


def _find_affected_views(names: set[str], schema: Schema) -> set[str]:
    """Return the views among ``names``, and those that select from what is named."""
    texts, wider = set[str](), names
    while texts != wider:
        texts = wider
        wider = texts | {
            view.name
            for view in _select_views(schema.values())
            if any(re.search(rf"\b{name}\b", view.sql) for name in texts)
        }
    return {name for name in texts if isinstance(schema[name], View)}


def _compare_table(before: Table, after: Table) -> Iterator[SchemaChange]:
    """Yield the changes of a table; new columns are its last, as columns are read by name."""
    old = {column.name: column for column in before.columns}
    new = {column.name: column for column in after.columns}
    _refuse_unsafe(before, after)
    names = [column.name for column in after.columns if column.name in old]
    if any(replace(old[name], comment="") != replace(new[name], comment="") for name in names):
        yield RebuildTable(before, after)
        return
    indexes = {index.name: index for index in after.indexes}
    kept_indexes = [index for index in before.indexes if indexes.get(index.name) == index]
    yield from (
        DropIndex(after.name, index) for index in before.indexes if index not in kept_indexes
    )
    yield from (AddColumn(after.name, column) for column in after.columns if column.name not in old)
    dropped = [column for column in before.columns if column.name not in new]
    yield from (DropColumn(after.name, column) for column in reversed(dropped))
    if before.comment != after.comment:
        yield ChangeComment(after.name, None, before.comment, after.comment)
    for name in names:
        if old[name].comment != new[name].comment:
            yield ChangeComment(after.name, name, old[name].comment, new[name].comment)
    yield from (
        CreateIndex(after.name, index) for index in after.indexes if index not in kept_indexes
    )


def _refuse_unsafe(before: Table, after: Table) -> None:
    """Refuse changes that depend on the rows of a table."""
    old = {column.name: column for column in before.columns}
    names = [
        f"{after.name}.{column.name} would change from {old[column.name].type} to {column.type}"
        for column in after.columns
        if column.name in old and old[column.name].type != column.type
    ]
    names += [
        f"{after.name}.{column.name} would be required, and has no default for rows without it"
        for column in after.columns
        if not column.optional and column.default is None
        if column.name not in old or old[column.name].optional
    ]
    if before.key != after.key:
        names.append(
            f"{after.name} would have the key ({', '.join(after.key)}) "
            f"instead of ({', '.join(before.key)})"
        )
    if names:
        raise ConfigurationError(
            "this change depends on existing rows: write this step manually",
            expected="new columns that are optional or have a default; the same types and keys",
            found="; ".join(names),
            remedy="write the version manually (docs/explanation/architecture.md), or change the "
            "declaration",
        )


def _render_imports(changes: Sequence[SchemaChange]) -> str:
    """Return the lines that import what the changes are made of, and what makes them."""
    modules: dict[str, set[str]] = {SchemaChange.__module__: {"downgrade_by", "upgrade_by"}}
    for model in _collect_classes(changes):
        modules.setdefault(model.__module__, set()).add(model.__name__)
    return "".join(
        _import(module, sorted(names, key=lambda name: (name.islower(), name)))
        for module, names in sorted(modules.items())
    )


def _import(module: str, names: Sequence[str]) -> str:
    line = f"from {module} import {', '.join(names)}\n"
    if len(line) <= 101:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")\n"


def _collect_classes(value: Any) -> Iterator[type]:
    if is_dataclass(value):
        yield type(value)
        for field in fields(value):
            yield from _collect_classes(getattr(value, field.name))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _collect_classes(item)
