"""Plans of upgrades: what the pending versions would do to the tables, read without a write."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, inspect, literal_column, select, table, text

from orchestration_project.engine.warehouse.connecting import DATABASE_SIZE
from orchestration_project.engine.warehouse.migrating import (
    build_alembic_config,
    is_compared,
    is_current,
    is_recorded,
    read_schema_version,
    refuse_encoding,
    refuse_other_tables,
)
from orchestration_project.engine.warehouse.own_schema import find_additive_changes
from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations import NEWEST_VERSION
from orchestration_project.migrations.changes import ChangeComment, SchemaChange

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
    """A version of the tables that was not applied yet, with its title and changes in words."""

    version: str
    title: str
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
        is_recorded: Whether a hash or declaration of these tables is stored; else `migrate`
            compares them once and stores it.
    """

    version: str | None
    pending: Sequence[PendingVersion] = ()
    own_changes: Sequence[str] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    table_bytes: int | None = 0
    database_bytes: int | None = None
    additions: Sequence[str] = ()
    is_recorded: bool = True

    @property
    def is_any(self) -> bool:
        """Whether an upgrade would change anything."""
        return bool(self.pending or self.own_changes) or not self.is_recorded

    @property
    def seconds(self) -> int:
        """Estimate of the time that it takes, s: by `ROWS_PER_SECOND`."""
        copied = math.ceil(sum(self.rows.values()) / ROWS_PER_SECOND)
        return copied + SECONDS_PER_VERSION * len(self.pending)

    @property
    def additional_bytes(self) -> int | None:
        """Disk that it takes while it runs, bytes."""
        return None if self.table_bytes is None else COPIES * self.table_bytes

    def refuse_full_disk(self, free: int | None) -> None:
        """Refuse a disk on which the upgrade would fail.

        Args:
            free: Its free bytes; None: unknown.

        Raises:
            ConfigurationError: They are fewer than the upgrade takes while it runs.
        """
        needed = self.additional_bytes or 0
        if free is not None and needed > free:
            raise ConfigurationError(
                "the disk of the database is too small for the upgrade",
                expected=f"{needed:,} free bytes, for a copy of the tables and its log",
                found=f"{free:,} free bytes",
                remedy="free the space, or move the database to a larger disk",
            )


OF_EMPTY_DATABASE = UpgradePlan(
    None,
    [PendingVersion(NEWEST_VERSION, "All tables", ["make all tables of an empty database"])],
    database_bytes=0,
)
"""Plan for a database without tables."""


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
        return replace(OF_EMPTY_DATABASE, database_bytes=_measure_database(connection))
    if is_current(connection):
        pending, names = [], []
        additions = refuse_other_tables(connection)
        has_record = is_compared(connection) and is_recorded(connection)
    else:
        pending, changes = _read_pending(connection, version)
        present = set(inspect(connection).get_table_names(schema=schema))
        names = sorted({change.rows_of.format(change) for change in changes} & present)
        additions, has_record = [], True
    return UpgradePlan(
        version,
        pending,
        [change.says for change in find_additive_changes(connection, schema)],
        {name: _count_rows(connection, name) for name in names},
        _measure_tables(connection, names),
        _measure_database(connection),
        additions,
        has_record,
    )


def _read_pending(
    connection: Connection, version: str
) -> tuple[list[PendingVersion], list[SchemaChange]]:
    """Return the versions after one of the tables, and all their changes."""
    script = ScriptDirectory.from_config(build_alembic_config(connection))
    revisions = list(script.iterate_revisions("head", version))[::-1]
    changes = [list[SchemaChange](revision.module.CHANGES) for revision in revisions]
    pending = [
        PendingVersion(revision.revision, revision.doc, describe_changes(of_version))
        for revision, of_version in zip(revisions, changes, strict=True)
    ]
    return pending, [change for of_version in changes for change in of_version]


def describe_changes(changes: Iterable[SchemaChange]) -> list[str]:
    """Return changes in words, those of comments as one."""
    changes = list(changes)
    texts = [
        change.words.format(change) for change in changes if not isinstance(change, ChangeComment)
    ]
    comments = len(changes) - len(texts)
    return [*texts, f"change {comments} comments"] if comments else texts


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
    sizes: list[int | None] = [
        connection.execute(TABLE_SIZE[kind], {"name": name}).scalar() for name in names
    ]
    known = [int(size) for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _measure_database(connection: Connection) -> int | None:
    size = DATABASE_SIZE.get(connection.dialect.name)
    return None if size is None else connection.execute(size).scalar_one()
