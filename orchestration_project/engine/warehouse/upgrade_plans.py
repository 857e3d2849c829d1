"""Plans of upgrades: what the pending versions would do to the tables, read without a write."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, inspect, literal_column, select, table, text

from orchestration_project.engine.warehouse.connecting import DATABASE_SIZE
from orchestration_project.engine.warehouse.migrating import (
    build_alembic_config,
    is_current,
    read_schema_version,
    refuse_encoding,
    refuse_other_tables,
)
from orchestration_project.engine.warehouse.own_schema import find_additive_changes
from orchestration_project.migrations import NEWEST_VERSION
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
)

DESCRIPTIONS: Mapping[type, str] = {
    CreateTable: "create table {0.table.name}",
    DropTable: "drop table {0.table.name}, with its rows",
    CreateView: "create view {0.view.name}",
    DropView: "drop view {0.view.name}",
    CreateIndex: "create index {0.index.name} of {0.table}",
    DropIndex: "drop index {0.index.name} of {0.table}",
    AddColumn: "add column {0.table}.{0.column.name}",
    DropColumn: "drop column {0.table}.{0.column.name}",
    RebuildTable: "copy table {0.after.name} to one with other columns",
}
"""Words for a change, by its class; comments are counted."""

ROWS_PER_SECOND = 100_000
"""Rows of 14 to 20 columns that are copied in a second, at least.

Measured on two cores: 160,000 by PostgreSQL 15, 540,000 by SQLite.
"""

SECONDS_PER_VERSION = 1

COPIES = 2
"""A rebuilt table is written again to the database, and to the log of its transaction."""

TABLE_SIZE = {
    "postgresql": text("SELECT pg_total_relation_size(to_regclass(:name))"),
    "sqlite": text(
        "SELECT sum(pgsize) FROM dbstat "
        "WHERE name IN (SELECT name FROM sqlite_master WHERE tbl_name = :name)"
    ),
}
"""Size of a table and its indexes, bytes."""

HAS_TABLE_SIZES = text("SELECT sqlite_compileoption_used('ENABLE_DBSTAT_VTAB')")


@dataclass(frozen=True)
class PendingVersion:
    """A version of the tables that was not applied yet, and its changes in words."""

    version: str
    changes: Sequence[str]


@dataclass(frozen=True)
class UpgradePlan:
    """Effect of an upgrade of the tables.

    Attributes:
        version: Their version; None: the database is empty.
        pending: The versions that would be applied, in order.
        own_changes: Changes of tables that the project declares, in words.
        rows: Numbers of rows of the tables that would be copied or indexed, by name.
        table_bytes: Size of these tables; None: unknown for this kind of database.
        database_bytes: Size of the database; None: unknown.
        additions: Tables, columns and indexes of others, which stay.
    """

    version: str | None
    pending: Sequence[PendingVersion] = ()
    own_changes: Sequence[str] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    table_bytes: int | None = 0
    database_bytes: int | None = None
    additions: Sequence[str] = ()

    @property
    def is_any(self) -> bool:
        """Whether an upgrade would change anything."""
        return bool(self.pending or self.own_changes)

    @property
    def seconds(self) -> int:
        """Estimate of the time that it takes, at most, s: by `ROWS_PER_SECOND`."""
        copied = math.ceil(sum(self.rows.values()) / ROWS_PER_SECOND)
        return copied + SECONDS_PER_VERSION * len(self.pending)

    @property
    def additional_bytes(self) -> int | None:
        """Disk that it takes while it runs, bytes."""
        return None if self.table_bytes is None else COPIES * self.table_bytes


def plan_upgrade(connection: Connection, schema: str | None) -> UpgradePlan:
    """Return the effect of `migrate` on these tables; nothing is written.

    Raises:
        ConfigurationError: `migrate` would refuse them by version or encoding, or no version is
            pending and columns, types, keys or indexes are not the declared ones.
    """
    if connection.dialect.name == "postgresql":
        refuse_encoding(connection)
    version = read_schema_version(connection)
    if version is None:
        return UpgradePlan(None, [plan_making()], database_bytes=_measure_database(connection))
    if is_current(connection):
        pending, names = [], []
        additions = refuse_other_tables(connection)
    else:
        pending, changes = _read_pending(connection, version)
        present = set(inspect(connection).get_table_names(schema=schema))
        names = sorted({*map(_find_read_table, changes)} & present)
        additions = []
    return UpgradePlan(
        version,
        pending,
        [change.says for change in find_additive_changes(connection, schema)],
        {name: _count_rows(connection, name) for name in names},
        _measure_tables(connection, names),
        _measure_database(connection),
        additions,
    )


def plan_making() -> PendingVersion:
    """Return the making of all tables in an empty database."""
    return PendingVersion(NEWEST_VERSION, ["make all tables of an empty database"])


def _read_pending(
    connection: Connection, version: str
) -> tuple[list[PendingVersion], list[SchemaChange]]:
    """Return the versions after one of the tables, and all their changes."""
    script = ScriptDirectory.from_config(build_alembic_config(connection))
    revisions = list(script.iterate_revisions("head", version))[::-1]
    changes = [list[SchemaChange](revision.module.CHANGES) for revision in revisions]
    pending = [
        PendingVersion(revision.revision, describe_changes(of_version))
        for revision, of_version in zip(revisions, changes, strict=True)
    ]
    return pending, [change for of_version in changes for change in of_version]


def describe_changes(changes: Iterable[SchemaChange]) -> list[str]:
    """Return changes in words, those of comments as one."""
    texts: list[str] = []
    comments = 0
    for change in changes:
        comments += isinstance(change, ChangeComment)
        if (description := DESCRIPTIONS.get(type(change))) is not None:
            texts.append(description.format(change))
    return [*texts, f"change {comments} comments"] if comments else texts


def _find_read_table(change: SchemaChange) -> str:
    """Return the table whose rows a change reads or copies; empty: it reads none."""
    match change:
        case RebuildTable(before, _):
            return before.name
        case CreateIndex(name, _) | DropColumn(name, _):
            return name
        case _:
            return ""


def _count_rows(connection: Connection, name: str) -> int:
    counted = select(func.count(literal_column("*"))).select_from(table(name))
    return connection.execute(counted).scalar_one()


def _measure_tables(connection: Connection, names: Sequence[str]) -> int | None:
    """Return the size of tables, bytes; of a SQLite without dbstat, that of the database."""
    kind = connection.dialect.name
    if not names:
        return 0
    if kind == "sqlite" and not connection.execute(HAS_TABLE_SIZES).scalar():
        return _measure_database(connection)
    if kind not in TABLE_SIZE:
        return None
    sizes = [connection.execute(TABLE_SIZE[kind], {"name": name}).scalar() for name in names]
    return sum(int(size or 0) for size in sizes)


def _measure_database(connection: Connection) -> int | None:
    size = DATABASE_SIZE.get(connection.dialect.name)
    return None if size is None else connection.execute(size).scalar_one()
