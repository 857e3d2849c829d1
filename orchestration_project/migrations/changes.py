"""The changes that versions are made of: each is data, and can be made and undone.

A change is also made to a `Schema`: so the newest one is known without a database.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import sqlalchemy as sa
from alembic import op
from alembic.config import Config
from alembic.script import ScriptDirectory

from orchestration_project.migrations import FOLDER
from orchestration_project.migrations.frozen import Column, Index, Schema, Table, View, escaped


class SchemaChange(Protocol):
    """One change of a schema.

    Attributes:
        words: What it does, a format string over the change.
        rows_of: Name of the table whose rows it reads or copies, such a string; empty: none.
    """

    words: ClassVar[str]
    rows_of: ClassVar[str]

    def apply(self) -> None:
        """Make it in the database of the migration that runs."""

    def reversed(self) -> "SchemaChange":
        """Return the change that undoes it."""
        ...

    def record(self, schema: Schema) -> None:
        """Make it in ``schema``."""


@dataclass(frozen=True)
class CreateTable:
    """A new table, with its indexes."""

    words: ClassVar[str] = "create table {0.table.name}"
    rows_of: ClassVar[str] = ""
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

    words: ClassVar[str] = "drop table {0.table.name}, with its rows"
    rows_of: ClassVar[str] = ""
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

    words: ClassVar[str] = "create view {0.view.name}"
    rows_of: ClassVar[str] = ""
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

    words: ClassVar[str] = "drop view {0.view.name}"
    rows_of: ClassVar[str] = ""
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

    words: ClassVar[str] = "create index {0.index.name} of {0.table}"
    rows_of: ClassVar[str] = "{0.table}"
    table: str
    index: Index

    def apply(self) -> None:
        """Create it."""
        index = self.index
        op.create_index(index.name, self.table, list(index.columns), unique=index.unique)

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

    words: ClassVar[str] = "drop index {0.index.name} of {0.table}"
    rows_of: ClassVar[str] = ""
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

    words: ClassVar[str] = "add column {0.table}.{0.column.name}"
    rows_of: ClassVar[str] = ""
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
    """A column of a table, which goes with what it holds."""

    words: ClassVar[str] = "drop column {0.table}.{0.column.name}"
    rows_of: ClassVar[str] = "{0.table}"
    table: str
    column: Column

    def apply(self) -> None:
        """Drop it."""
        op.drop_column(self.table, self.column.name)

    def reversed(self) -> AddColumn:
        """Return its creation as the last one; what it held stays lost."""
        return AddColumn(self.table, self.column)

    def record(self, schema: Schema) -> None:
        """Remove it."""
        table = _find_table(schema, self.table)
        left = [column for column in table.columns if column.name != self.column.name]
        schema[self.table] = replace(table, columns=left)


@dataclass(frozen=True)
class ChangeComment:
    """Another comment of a table or view, or of its ``column``."""

    words: ClassVar[str] = "change a comment of {0.table}"
    rows_of: ClassVar[str] = ""
    table: str
    column: str | None
    before: str
    after: str
    is_view: bool = False

    def apply(self) -> None:
        """Change it, where the database keeps comments; those of views only PostgreSQL keeps."""
        dialect = op.get_context().dialect
        if dialect.name == "postgresql":
            kind = "VIEW" if self.is_view else "TABLE"
            op.execute(escaped(_render_comment(kind, self.table, self.column, self.after)))
        elif not dialect.supports_comments or self.is_view:
            return
        elif self.column is None:
            op.create_table_comment(self.table, self.after, existing_comment=self.before)
        else:
            op.alter_column(
                self.table, self.column, comment=self.after, existing_comment=self.before
            )

    def reversed(self) -> "ChangeComment":
        """Return the change back."""
        return replace(self, before=self.after, after=self.before)

    def record(self, schema: Schema) -> None:
        """Change it."""
        entry, name = schema[self.table], self.column
        if name is None:
            schema[self.table] = replace(entry, comment=self.after)
        elif isinstance(entry, View):
            schema[self.table] = replace(entry, columns={**entry.columns, name: self.after})
        else:
            columns = {column.name: column for column in entry.columns}
            columns[name] = replace(columns[name], comment=self.after)
            schema[self.table] = replace(entry, columns=[*columns.values()])


@dataclass(frozen=True)
class RebuildTable:
    """A table whose columns change in a way that no database does in place: its rows are copied.

    Columns that are new have their default, or NULL. Views of it must be dropped before.
    """

    words: ClassVar[str] = "copy table {0.after.name} to one with other columns"
    rows_of: ClassVar[str] = "{0.before.name}"
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
        rows = sa.select(*copied.values()).select_from(sa.table(name))
        target = sa.table(new, *map(sa.column, copied))
        op.execute(sa.insert(target).from_select(list(copied), rows))
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


def alembic_config() -> Config:
    """Return Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


def changes_of(script: ScriptDirectory) -> Sequence[SchemaChange]:
    """Return the changes of all versions, in their order."""
    versions = reversed(list(script.walk_revisions()))
    return [change for version in versions for change in version.module.CHANGES]


def upgrade_by(changes: Sequence[SchemaChange]) -> None:
    """Make these changes in the database of the migration that runs."""
    for change in changes:
        change.apply()


def downgrade_by(changes: Sequence[SchemaChange]) -> None:
    """Undo these changes in the database of the migration that runs."""
    upgrade_by([change.reversed() for change in reversed(changes)])


def schema_after(changes: Iterable[SchemaChange]) -> Schema:
    """Return the tables and views that there are after these changes of an empty database."""
    schema: Schema = {}
    for change in changes:
        change.record(schema)
    return schema


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


def _fill_column(before: Table, column: Column) -> sa.ColumnElement[object]:
    """Return the value that fills a column: NULL becomes the default where it must not stay."""
    [was] = [each for each in before.columns if each.name == column.name]
    value: sa.ColumnElement[object] = sa.column(column.name)
    if was.optional and not column.optional and column.default is not None:
        return sa.func.coalesce(value, sa.text(escaped(column.default)))
    return value
