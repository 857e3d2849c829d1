"""Rename of a declared table: planned, made in one transaction with all that names it, recorded.

The table and its history get the new name, and so do the records of its loads, its copies and its
pauses. A delivery keeps its ID, as records of loads are signed with it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Connection,
    MetaData,
    Table,
    delete,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.schema import DropTable, SetTableComment

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse.chain_amending import record_table_rename
from orchestration_project.engine.warehouse.declared_tables import declare_described, describe
from orchestration_project.engine.warehouse.migrating import (
    LOCK,
    compare_changed,
    list_own_tables,
    list_packaged_tables,
    record_own_tables,
    refuse_former_names,
)
from orchestration_project.engine.warehouse.own_changes import explain_missing_rights
from orchestration_project.engine.warehouse.own_schema import LOCK_TIMEOUT
from orchestration_project.errors import ConfigurationError, UnknownNameError, did_you_mean
from orchestration_project.tables.catalogue import asset_of
from orchestration_project.tables.operations_edits import operations_pauses
from orchestration_project.tables.schema import ASSET, HISTORY
from orchestration_project.tables.spine import (
    captures,
    declared_tables,
    deliveries,
    fences,
    table_renames,
)

COMPARED = ("name", "key", "type", "is_in_key", "is_optional")
"""Parts of a column that a rename may not change."""


@dataclass(frozen=True)
class TableRename:
    """A rename of a declared table.

    Attributes:
        before: The table as it is recorded, with its history.
        table: The table as it is declared now, with its history.
        has_empty: Whether tables of the new name exist; they are empty, and go.
        is_made: Whether the tables have the new names already, as an owner has run the SQL.
        statements: The SQL of the tables.
    """

    before: Table
    table: Table
    has_empty: bool
    is_made: bool
    statements: Sequence[str]

    @property
    def says(self) -> str:
        """The rename in words."""
        return f"rename table {self.before.name} to {self.table.name}"


def plan_rename(
    connection: Connection, schema: str | None, old: str, new: str
) -> TableRename | None:
    """Return the rename of a declared table; None: it was renamed before.

    Raises:
        ConfigurationError: The declaration does not have the new name, or has other changes, or a
            table of the new name has rows or loads.
    """
    recorded = _read_recorded(connection)
    tables = {table.name: table for table in list_own_tables()}
    if new in tables and old not in recorded and _is_renamed(connection, old, new):
        return None
    table = tables.get(new)
    if old not in recorded:
        raise UnknownNameError(
            f"table {old} cannot be renamed to {new}",
            expected="a table that the project declared, and whose rows the database has",
            found=old,
            remedy=did_you_mean(old, recorded) or "`orchestrate tables` lists the tables",
        )
    if table is None or old in tables or HISTORY not in table.info:
        raise _build_refusal(
            old,
            new,
            f"a source or derived table that declares {new}, and none that declares {old}",
            "declared: "
            f"{', '.join(name for name in tables if HISTORY in tables[name].info) or 'none'}",
            f'rename it in its file first, as Dataset("{new}", …) or name: {new}',
        )
    before = _declare_old_table(recorded, old)
    if not _is_renamed(connection, new, old):
        refuse_former_names(connection, [new])
    history: Table = table.info[HISTORY]
    if _extract_columns(describe(table)) != _extract_columns(recorded[old]):
        remedy = f"declare {old} again, run `orchestrate schema apply --all`, then rename it"
        raise _build_refusal(old, new, "the same columns, types and key", "others", remedy)
    names = set(inspect(connection).get_table_names(schema=schema))
    is_made = old not in names and new in names
    has_empty = not is_made and new in names
    if has_empty:
        _require_unused(connection, old, [table, history])
    statements = list(_render_renames(connection, before, table, has_empty=has_empty))
    return TableRename(before, table, has_empty, is_made, [] if is_made else statements)


def _read_recorded(connection: Connection) -> dict[str, str]:
    """Return the recorded declarations by table; a database without tables has none."""
    if not inspect(connection).has_table(declared_tables.name):
        return {}
    columns = (declared_tables.c.table_name, declared_tables.c.declaration)
    return {row.table_name: row.declaration for row in connection.execute(select(*columns))}


def _is_renamed(connection: Connection, old: str, new: str) -> bool:
    """Whether a table had an old name, and has the new one now."""
    is_it = (table_renames.c.old_name == old, table_renames.c.table_name == new)
    statement = select(func.count()).select_from(table_renames).where(*is_it)
    return connection.execute(statement).scalar_one() > 0


def read_old_asset(connection: Connection, old: str, new: str) -> str:
    """Return the asset that a renamed table was before."""
    is_it = (table_renames.c.old_name == old, table_renames.c.table_name == new)
    latest = table_renames.c.renamed_at.desc()
    statement = select(table_renames.c.old_asset).where(*is_it).order_by(latest).limit(1)
    return connection.execute(statement).scalar_one()


def _declare_old_table(recorded: dict[str, str], name: str) -> Table:
    """Return a recorded table with its history; they belong to no metadata of ours."""
    metadata = MetaData()
    history_name = json.loads(recorded[name])["history"]
    history = declare_described(history_name, recorded[history_name], metadata)
    table = declare_described(name, recorded[name], metadata)
    table.info[HISTORY] = history
    return table


def _extract_columns(declaration: str) -> list[list[object]]:
    columns = json.loads(declaration)["columns"]
    return [[column[name] for name in COMPARED] for column in columns]


def _require_unused(connection: Connection, old: str, tables: Sequence[Table]) -> None:
    """Make sure that tables of the new name have no rows, and no record of a load.

    Raises:
        ConfigurationError: They have.
    """
    new = tables[0].name
    counted = [(table.name, select(func.count()).select_from(table)) for table in tables]
    counted += [
        (each.name, select(func.count()).select_from(each).where(each.c.table_name == new))
        for each in (deliveries, fences)
    ]
    for name, statement in counted:
        if count := connection.execute(statement).scalar_one():
            remedy = "rename to another name, which is declared and was never loaded"
            raise _build_refusal(
                old, new, f"{new} without loads", f"{count} rows of {name}", remedy
            )


def _build_refusal(
    old: str, new: str, expected: str, found: str, remedy: str
) -> ConfigurationError:
    return ConfigurationError(
        f"table {old} cannot be renamed to {new}", expected=expected, found=found, remedy=remedy
    )


def _render_renames(
    connection: Connection, before: Table, table: Table, *, has_empty: bool
) -> Iterator[str]:
    """Yield the SQL that gives a table and its history their new names."""
    dialect = connection.dialect
    quote = dialect.identifier_preparer.quote
    pairs = [(before, table), (before.info[HISTORY], table.info[HISTORY])]
    for old, new in pairs:
        if has_empty:
            yield str(DropTable(new).compile(dialect=dialect)).strip()
        yield f"ALTER TABLE {quote(old.name)} RENAME TO {quote(new.name)}"
        if dialect.supports_comments and not dialect.inline_comments:
            yield str(SetTableComment(new).compile(dialect=dialect)).strip()


def rename_sql(
    connection: Connection, schema: str | None, rename: TableRename | None
) -> Iterator[str]:
    """Yield the statements for an owner of the tables; they keep rights of other roles."""
    if rename is None or rename.is_made:
        return
    is_postgresql = connection.dialect.name == "postgresql"
    yield "BEGIN" if is_postgresql else "BEGIN IMMEDIATE"
    if is_postgresql:
        yield f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"
    if is_postgresql and schema is not None:
        yield f'SET LOCAL search_path TO "{schema}"'
    yield from (statement.replace("%%", "%") for statement in rename.statements)
    yield "COMMIT"


def apply_rename(
    connection: Connection, schema: str | None, clock: Clock, old: str, new: str
) -> str | None:
    """Rename a declared table, and return it in words; None: it was renamed before.

    ``connection`` is in a write transaction, which on SQLite is the lock.

    Raises:
        ConfigurationError: As `plan_rename`, or the role may not change tables.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    rename = plan_rename(connection, schema, old, new)
    if rename is None:
        return None
    with explain_missing_rights():
        for statement in rename.statements:
            connection.exec_driver_sql(statement)
    at = clock.now()
    before, table = rename.before, rename.table

    def give_records_the_name() -> None:
        _rename_records(connection, before, table)

    record_table_rename(connection, table, before, give_records_the_name, at)
    names = [item.name for item in (before, before.info[HISTORY])]
    connection.execute(delete(declared_tables).where(declared_tables.c.table_name.in_(names)))
    _rename_copies(connection, before.name, table.name)
    asset = str(before.info.get(ASSET, before.name))
    row = {"old_name": old, "renamed_at": at, "table_name": new, "old_asset": asset}
    connection.execute(insert(table_renames), row)
    record_own_tables(connection, clock)
    compare_changed(connection)
    return rename.says


def _rename_records(connection: Connection, before: Table, table: Table) -> None:
    """Give all records of a table its new name, but for the IDs of its deliveries."""
    old, new = before.name, table.name
    earlier = func.coalesce(fences.c.delivery_table, old)
    own_fences = (fences.c.table_name == old, fences.c.token > 0)
    connection.execute(update(fences).where(*own_fences).values(delivery_table=earlier))
    groups = select(deliveries.c.group_id).where(deliveries.c.table_name == old)
    for item, is_own in (
        (captures, captures.c.group_id.in_(groups)),
        (deliveries, deliveries.c.table_name == old),
    ):
        is_named = item.c.dataset == old
        connection.execute(update(item).where(is_own, is_named).values(dataset=new))
    for packaged_table in list_packaged_tables().values():
        if "table_name" in packaged_table.c and packaged_table is not declared_tables:
            is_own = packaged_table.c.table_name == old
            connection.execute(update(packaged_table).where(is_own).values(table_name=new))
    subject = operations_pauses.c.subject
    asset = before.info.get(ASSET)
    paused = update(operations_pauses).where(subject == asset)
    connection.execute(paused.values(subject=asset_of(new)))


def _rename_copies(connection: Connection, old: str, new: str) -> None:
    """Let the copies of a table say which table they are of."""
    for name, declaration in _read_recorded(connection).items():
        described = json.loads(declaration)
        if described.get("copy_of") == old:
            changed = json.dumps(described | {"copy_of": new}, sort_keys=True)
            is_it = declared_tables.c.table_name == name
            connection.execute(update(declared_tables).where(is_it).values(declaration=changed))
