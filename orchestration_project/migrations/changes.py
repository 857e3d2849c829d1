"""The changes that versions are made of: each is data, and can be made and undone.

A change is also made to a `Schema`: so the newest one is known without a database.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Protocol

import sqlalchemy as sa
from alembic import op

from orchestration_project.migrations.frozen import Column, Index, Schema, Table, View, escaped


class SchemaChange(Protocol):
    """One change of a schema."""

    def apply(self) -> None:
        """Make it in the database of the migration that runs."""
        ...

    def reversed(self) -> "SchemaChange":
        """Return the change that undoes it."""
        ...

    def record(self, schema: Schema) -> None:
        """Make it in ``schema``."""
        ...


@dataclass(frozen=True)
class CreateTable:
    """A new table, with its indexes."""

    table: Table

    def apply(self) -> None:
        """Create it."""
        _create(self.table, self.table.name)
        for index in self.table.indexes:
            CreateIndex(self.table.name, index).apply()

    def reversed(self) -> "DropTable":
        """Return its removal."""
        return DropTable(self.table)

    def record(self, schema: Schema) -> None:
        """Add it."""
        schema[self.table.name] = self.table


@dataclass(frozen=True)
class DropTable:
    """A table that goes, with its rows."""

    table: Table

    def apply(self) -> None:
        """Drop it."""
        op.drop_table(self.table.name)

    def reversed(self) -> CreateTable:
        """Return its creation; the rows stay lost."""
        return CreateTable(self.table)

    def record(self, schema: Schema) -> None:
        """Remove it."""
        del schema[self.table.name]


@dataclass(frozen=True)
class CreateView:
    """A new view."""

    view: View

    def apply(self) -> None:
        """Create it; PostgreSQL also keeps the comments."""
        name, dialect = self.view.name, op.get_context().dialect.name
        op.execute(escaped(f"CREATE VIEW {name} AS {self.view.select_on(dialect)}"))
        if dialect == "postgresql":
            comments: dict[str | None, str] = {None: self.view.comment, **self.view.columns}
            for column, text in comments.items():
                op.execute(escaped(_render_comment("VIEW", name, column, text)))

    def reversed(self) -> "DropView":
        """Return its removal."""
        return DropView(self.view)

    def record(self, schema: Schema) -> None:
        """Add it."""
        schema[self.view.name] = self.view


@dataclass(frozen=True)
class DropView:
    """A view that goes."""

    view: View

    def apply(self) -> None:
        """Drop it."""
        op.execute(f"DROP VIEW {self.view.name}")

    def reversed(self) -> CreateView:
        """Return its creation."""
        return CreateView(self.view)

    def record(self, schema: Schema) -> None:
        """Remove it."""
        del schema[self.view.name]


@dataclass(frozen=True)
class CreateIndex:
    """A new index of a table."""

    table: str
    index: Index

    def apply(self) -> None:
        """Create it."""
        op.create_index(
            self.index.name, self.table, list(self.index.columns), unique=self.index.unique
        )

    def reversed(self) -> "DropIndex":
        """Return its removal."""
        return DropIndex(self.table, self.index)

    def record(self, schema: Schema) -> None:
        """Add it."""
        table = _find_table(schema, self.table)
        schema[self.table] = replace(table, indexes=[*table.indexes, self.index])


@dataclass(frozen=True)
class DropIndex:
    """An index of a table that goes."""

    table: str
    index: Index

    def apply(self) -> None:
        """Drop it."""
        op.drop_index(self.index.name, self.table)

    def reversed(self) -> CreateIndex:
        """Return its creation."""
        return CreateIndex(self.table, self.index)

    def record(self, schema: Schema) -> None:
        """Remove it."""
        table = _find_table(schema, self.table)
        left = [index for index in table.indexes if index.name != self.index.name]
        schema[self.table] = replace(table, indexes=left)


@dataclass(frozen=True)
class AddColumn:
    """A new last column of a table."""

    table: str
    column: Column

    def apply(self) -> None:
        """Add it."""
        op.add_column(self.table, self.column.built())

    def reversed(self) -> "DropColumn":
        """Return its removal."""
        return DropColumn(self.table, self.column)

    def record(self, schema: Schema) -> None:
        """Add it."""
        table = _find_table(schema, self.table)
        schema[self.table] = replace(table, columns=[*table.columns, self.column])


@dataclass(frozen=True)
class DropColumn:
    """The last column of a table, which goes with what it holds."""

    table: str
    column: Column

    def apply(self) -> None:
        """Drop it."""
        op.drop_column(self.table, self.column.name)

    def reversed(self) -> AddColumn:
        """Return its creation; what it held stays lost."""
        return AddColumn(self.table, self.column)

    def record(self, schema: Schema) -> None:
        """Remove it."""
        table = _find_table(schema, self.table)
        left = [column for column in table.columns if column.name != self.column.name]
        schema[self.table] = replace(table, columns=left)


@dataclass(frozen=True)
class RenameColumn:
    """Another name of a column of a table, which keeps its values, type and comment."""

    table: str
    before: str
    after: str

    def apply(self) -> None:
        """Rename it in place."""
        names = f'"{self.before}" TO "{self.after}"'
        op.execute(escaped(f'ALTER TABLE "{self.table}" RENAME COLUMN {names}'))

    def reversed(self) -> "RenameColumn":
        """Return the change back."""
        return RenameColumn(self.table, self.after, self.before)

    def record(self, schema: Schema) -> None:
        """Rename it."""
        table = _find_table(schema, self.table)
        columns = [
            replace(column, name=self.after) if column.name == self.before else column
            for column in table.columns
        ]
        schema[self.table] = replace(table, columns=columns)


@dataclass(frozen=True)
class ChangeComment:
    """Another comment of a table or view, or of its ``column``."""

    table: str
    column: str | None
    before: str
    after: str
    is_view: bool = False

    def apply(self) -> None:
        """Change it, where the database keeps comments; those of views only PostgreSQL keeps."""
        dialect = op.get_context().dialect
        if dialect.name == "postgresql":
            op.execute(escaped(self.statement()))
        elif not dialect.supports_comments or self.is_view:
            return
        elif self.column is None:
            op.create_table_comment(self.table, self.after, existing_comment=self.before)
        else:
            op.alter_column(
                self.table, self.column, comment=self.after, existing_comment=self.before
            )

    def statement(self) -> str:
        """Return the statement of PostgreSQL that changes it."""
        kind = "VIEW" if self.is_view else "TABLE"
        return _render_comment(kind, self.table, self.column, self.after)

    def reversed(self) -> "ChangeComment":
        """Return the change back."""
        return replace(self, before=self.after, after=self.before)

    def record(self, schema: Schema) -> None:
        """Change it."""
        found = schema[self.table]
        if self.column is None:
            schema[self.table] = replace(found, comment=self.after)
        elif isinstance(found, View):
            columns = {**found.columns, self.column: self.after}
            schema[self.table] = replace(found, columns=columns)
        else:
            columns = [
                replace(column, comment=self.after) if column.name == self.column else column
                for column in found.columns
            ]
            schema[self.table] = replace(found, columns=columns)


@dataclass(frozen=True)
class RebuildTable:
    """A table whose columns change in a way that no database does in place: its rows are copied.

    Columns that are new have their default, or NULL. Views of it must be dropped before.
    """

    before: Table
    after: Table

    def apply(self) -> None:
        """Copy the rows to a new table that takes the old one's name."""
        name, new = self.after.name, f"{self.after.name}_new"
        _create(self.after, new)
        copied = {
            column.name: _fill_column(self.before, column)
            for column in self.after.columns
            if any(column.name == each.name for each in self.before.columns)
        }
        op.execute(
            sa.insert(_build_table(new, *copied)).from_select(
                list(copied), sa.select(*copied.values()).select_from(_build_table(name))
            )
        )
        op.drop_table(name)
        op.rename_table(new, name)
        if op.get_context().dialect.name == "postgresql":
            op.execute(f"ALTER INDEX {new}_pkey RENAME TO {name}_pkey")
        for index in self.after.indexes:
            CreateIndex(name, index).apply()

    def reversed(self) -> "RebuildTable":
        """Return the change back."""
        return RebuildTable(self.after, self.before)

    def record(self, schema: Schema) -> None:
        """Replace it."""
        schema[self.after.name] = self.after


def upgrade_by(changes: Sequence[SchemaChange]) -> None:
    """Make these changes in the database of the migration that runs."""
    _apply(changes)


def downgrade_by(changes: Sequence[SchemaChange]) -> None:
    """Undo these changes in the database of the migration that runs."""
    _apply([change.reversed() for change in reversed(changes)])


def schema_after(changes: Iterable[SchemaChange]) -> Schema:
    """Return the tables and views that there are after these changes of an empty database."""
    schema: Schema = {}
    for change in changes:
        change.record(schema)
    return schema


def _apply(changes: Sequence[SchemaChange]) -> None:
    """Make changes in their order; what a database makes at once much faster, at once."""
    dialect = op.get_context().dialect.name
    for kind, item in groupby(changes, type):
        if kind is ChangeComment and dialect == "postgresql":
            _change_comments([change for change in item if isinstance(change, ChangeComment)])
        elif kind is RenameColumn and dialect == "sqlite":
            _rename([change for change in item if isinstance(change, RenameColumn)])
        else:
            for change in item:
                change.apply()


def _change_comments(changes: Sequence[ChangeComment]) -> None:
    """Change comments by one statement."""
    op.execute(escaped(";\n".join(change.statement() for change in changes)))


def _rename(changes: Sequence[RenameColumn]) -> None:
    """Rename columns on SQLite, which reads its whole schema again for each renamed column.

    A table without rows is made again in the place of that, as all are in a new database.
    """
    for name, item in groupby(changes, lambda change: change.table):
        renames = list(item)
        names = {change.before: change.after for change in renames}
        is_chained = len(names) < len(renames) or not names.keys().isdisjoint(names.values())
        if is_chained or op.get_context().as_sql or _has_rows(name):
            for change in renames:
                change.apply()
        else:
            _make_again(name, names)


def _has_rows(name: str) -> bool:
    query = sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)
    return op.get_bind().execute(query).first() is not None


def _make_again(name: str, names: Mapping[str, str]) -> None:
    """Make a table without rows, its indexes and triggers again, with other names of columns."""
    schema = sa.table("sqlite_master", *map(sa.column, ("type", "tbl_name", "sql")))
    is_other = schema.c.type != "table"
    of_table = sa.select(schema.c.sql).where(schema.c.tbl_name == name, schema.c.sql.is_not(None))
    statements = op.get_bind().execute(of_table.order_by(is_other)).scalars().all()
    op.drop_table(name)
    for statement in statements:
        op.execute(escaped(WORD.sub(partial(_rename_word, names), statement)))


WORD = re.compile(r"""'(?:[^']|'')*'|"(?P<quoted>[^"]+)"|(?P<plain>\w+)""")
"""A literal or a name in SQL."""


def _rename_word(names: Mapping[str, str], found: re.Match[str]) -> str:
    name = found["quoted"] or found["plain"]
    return f'"{names[name]}"' if name in names else found[0]


def _create(table: Table, name: str) -> None:
    op.create_table(
        name,
        *(column.built() for column in table.columns),
        sa.PrimaryKeyConstraint(*table.key),
        comment=table.comment,
        sqlite_with_rowid=False,
    )


def _render_comment(kind: str, table: str, column: str | None, comment: str) -> str:
    """Return the statement of PostgreSQL that sets the comment of a table, view or column."""
    text = f'{kind} "{table}"' if column is None else f'COLUMN "{table}"."{column}"'
    quoted = comment.replace("'", "''")
    return f"COMMENT ON {text} IS '{quoted}'"


def _find_table(schema: Schema, name: str) -> Table:
    table = schema[name]
    if not isinstance(table, Table):
        raise TypeError(f"{name} is a view")
    return table


def _build_table(name: str, *columns: str) -> sa.TableClause:
    return sa.table(name, *map(sa.column, columns))


def _fill_column(before: Table, column: Column) -> sa.ColumnElement[object]:
    """Return the value that fills a column: NULL becomes the default where it must not stay."""
    [was] = [each for each in before.columns if each.name == column.name]
    value: sa.ColumnElement[object] = sa.column(column.name)
    if was.optional and not column.optional and column.default is not None:
        return sa.func.coalesce(value, sa.text(escaped(column.default)))
    return value
