"""Changes of declared tables that are not additive: planned, copied before, applied, recorded.

A change first copies a table with its history into the same database, in its own transaction. So
the copy has exactly the rows before the change, erasure and clean-up reach it as any other table,
and the chain of loads is compared with it. A backup in a file would have none of this.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    Table,
    exc,
    func,
    insert,
    inspect,
    literal_column,
    select,
    text,
)
from sqlalchemy import column as named_column
from sqlalchemy import table as named_table
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable, SetColumnComment

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse.chain_amending import record_column_change
from orchestration_project.engine.warehouse.connecting import find_sql_state
from orchestration_project.engine.warehouse.declared_tables import (
    WORDS,
    declare_described,
    describe,
)
from orchestration_project.engine.warehouse.migrating import (
    INSUFFICIENT_PRIVILEGE,
    LOCK,
    compare_changed,
    list_own_tables,
    record_own_tables,
)
from orchestration_project.engine.warehouse.own_schema import (
    LOCK_TIMEOUT,
    Change,
    find_additive_changes,
)
from orchestration_project.engine.warehouse.own_schema import apply_changes as apply_additive
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.catalogue import METADATA
from orchestration_project.tables.schema import HISTORY, USD_SCALE, asset_of_table, key_names
from orchestration_project.tables.spine import declared_tables

INVALID_VALUE = "22"
"""Begins the SQLSTATEs of values that a conversion cannot take."""

ONE = 10**USD_SCALE


class Conversion(NamedTuple):
    """SQL that converts a column's values, and that finds values which it would change.

    ``{}`` stands for the column, and ``{text}`` for the database's type of texts.
    """

    sql: str
    lost: str = ""


CONVERSIONS: Mapping[str, Mapping[tuple[str, str], Conversion]] = {
    "postgresql": {
        ("text", "integer"): Conversion(
            "CAST({} AS BIGINT)", "CAST(CAST({} AS BIGINT) AS TEXT) <> {}"
        ),
        ("text", "date"): Conversion(
            "CAST({} AS DATE)", "to_char(CAST({} AS DATE), 'YYYY-MM-DD') <> {}"
        ),
        ("integer", "text"): Conversion("CAST({} AS TEXT)"),
        ("date", "text"): Conversion("to_char({}, 'YYYY-MM-DD')"),
        ("date", "timestamp"): Conversion("CAST({} AS TIMESTAMP) AT TIME ZONE 'UTC'"),
    },
    "sqlite": {
        ("text", "integer"): Conversion(
            "CAST({} AS INTEGER)", "CAST(CAST({} AS INTEGER) AS TEXT) <> {}"
        ),
        ("text", "date"): Conversion("{}", "date({}) IS NOT {}"),
        ("integer", "text"): Conversion("CAST({} AS TEXT)"),
        ("date", "text"): Conversion("CAST({} AS TEXT)"),
        ("date", "timestamp"): Conversion("{} || ' 00:00:00.000000'"),
    },
}
"""Conversions that keep values, by database, and by type before and after."""

OF_NUMBERS: Mapping[tuple[str, str], Conversion] = {
    ("integer", "decimal"): Conversion(f"{{}} * {ONE}", f"abs({{}}) >= {10**12}"),
    ("decimal", "integer"): Conversion(f"{{}} / {ONE}", f"{{}} % {ONE} <> 0"),
}
"""The same in all databases."""


class _Step(NamedTuple):
    """A declared column, and the stored one that has its values; None: it is new."""

    column: Column[Any]
    stored: Column[Any] | None
    conversion: Conversion | None = None

    def sql(self, quote: Any) -> str:
        """Return the expression of its values."""
        if self.stored is None:
            return "NULL"
        name = quote(self.stored.name)
        return name if self.conversion is None else self.conversion.sql.format(name, name)


@dataclass
class _Part:
    """A table, or its history, before and after a change.

    Attributes:
        declared: As it is declared.
        stored: As it is recorded, under the name of its copy.
        steps: Its columns.
        dropped: Stored columns that go.
    """

    declared: Table
    stored: Table
    steps: list[_Step] = field(default_factory=list[_Step])
    dropped: list[Column[Any]] = field(default_factory=list[Column[Any]])


@dataclass
class TableChange:
    """A change of a declared table and of its history that is not additive.

    Attributes:
        parts: The table and its history.
        says: What changes.
        refusals: What is refused, and why.
        is_made: Whether the database has the columns already, as an owner has run the SQL.
    """

    parts: Sequence[_Part]
    says: list[str] = field(default_factory=list[str])
    refusals: list[str] = field(default_factory=list[str])
    is_made: bool = False

    @property
    def table(self) -> Table:
        """The declared table."""
        return self.parts[0].declared

    @property
    def copy(self) -> Table:
        """Its copy."""
        return self.parts[0].stored

    @property
    def is_of_values(self) -> bool:
        """Whether values or names of columns change, and not only whether they may be NULL."""
        part = self.parts[0]
        return bool(part.dropped) or any(
            step.stored is None or step.conversion is not None or step.stored.key != step.column.key
            for step in part.steps
        )


Renames = Mapping[str, Mapping[str, str]]
"""New names of columns by their old ones, by table."""

NO_RENAMES: Renames = {}


def plan_changes(
    connection: Connection,
    schema: str | None,
    dropped: Collection[str] = (),
    renames: Renames = NO_RENAMES,
) -> Sequence[TableChange]:
    """Return the changes that are not additive, of each table that the project declares.

    Args:
        connection: Reads the database.
        schema: Schema of the tables; None: that of the connection.
        dropped: Columns that may lose their values, as ``table.column``.
        renames: Columns that have another name.
    """
    if not inspect(connection).has_table(declared_tables.name):
        return []  # a database without tables: all of them are additions
    rows = connection.execute(select(declared_tables.c.table_name, declared_tables.c.declaration))
    recorded = {row.table_name: row.declaration for row in rows}
    changes: list[TableChange] = []
    for table in list_own_tables():
        history: Table | None = table.info.get(HISTORY)
        if history is None or table.name not in recorded or history.name not in recorded:
            continue
        if json.loads(recorded[table.name])["columns"] == json.loads(describe(table))["columns"]:
            continue
        copy = _find_made_copy(recorded, table)
        is_made = bool(copy) and _is_as_declared(connection, schema, table, history)
        change = _change(
            table, history, recorded, copy if is_made else _name_next_copy(recorded, table)
        )
        change.is_made = is_made
        _plan(change, dropped, renames.get(table.name, {}), connection)
        if change.says or change.refusals:
            changes.append(change)
    return changes


def _is_as_declared(
    connection: Connection, schema: str | None, table: Table, history: Table
) -> bool:
    """Whether a table and its history have the declared columns, and no others."""
    from orchestration_project.engine.warehouse.comparing import compare_schema  # with dialects

    compared = compare_schema(
        connection, schema, {each.name: each for each in (table, history)}, {}
    )
    stored = inspect(connection).get_columns(table.name, schema=schema)
    names = {column["name"] for column in stored}
    return not compared.differences and names == {column.name for column in table.columns}


def _find_made_copy(recorded: Mapping[str, str], table: Table) -> str:
    """Return the newest copy of a table if it has the recorded columns; blank: it has not."""
    name = _copy_name(table, _find_newest_copy(recorded, table))
    columns = json.loads(recorded[table.name])["columns"]
    is_made = name in recorded and json.loads(recorded[name])["columns"] == columns
    return name if is_made else ""


def _name_next_copy(recorded: Mapping[str, str], table: Table) -> str:
    """Return the name that the next copy of a table has."""
    return _copy_name(table, _find_newest_copy({*recorded, *METADATA.tables}, table) + 1)


def _find_newest_copy(names: Iterable[str], table: Table) -> int:
    """Return the number of the newest copy of a table; 0: there is none. Old ones go first."""
    form = re.compile(re.escape(table.name) + r"_old(\d+)")
    return max((int(match[1]) for name in names if (match := form.fullmatch(name))), default=0)


def _copy_name(table: Table, number: int) -> str:
    return f"{table.name}_old{number}"


def _change(
    table: Table, history: Table, recorded: Mapping[str, str], copy_name: str
) -> TableChange:
    """Return the change of a table without its steps; the copies belong to no metadata of ours."""
    metadata = MetaData()
    domain = asset_of_table(table).partition("/")[0]
    tables: list[Table] = []
    for item, name in ((history, f"{copy_name}_history"), (table, copy_name)):
        described = json.loads(recorded[item.name])
        described |= {"indexes": {}, "copy_of": table.name}
        described["comment"] = f"One row per row of {item.name} before its columns changed."
        if item is table:
            described |= {"asset": f"{domain}/{copy_name}", "history": f"{copy_name}_history"}
        declaration = json.dumps(described, sort_keys=True)
        tables.append(declare_described(name, declaration, metadata))
    tables[1].info[HISTORY] = tables[0]
    return TableChange([_Part(table, tables[1]), _Part(history, tables[0])])


def _plan(
    change: TableChange,
    dropped: Collection[str],
    renamed: Mapping[str, str],
    connection: Connection,
) -> None:
    """Fill in the steps of a change, what it says, and what is refused."""
    table, copy = change.parts[0].declared, change.parts[0].stored
    if key_names(table) != [renamed.get(name, name) for name in key_names(copy)]:
        key = f"({', '.join(key_names(copy))}), not ({', '.join(key_names(table))})"
        change.refusals.append(
            f"key of {table.name} is {key}: history is kept by key; declare a table of another "
            "name, and load it"
        )
    added: list[str] = []
    for part in change.parts:
        added += _plan_part(change, part, dropped, renamed, connection)
    change.says = list(dict.fromkeys([*change.says, *(added if change.says else [])]))
    change.refusals = list(dict.fromkeys(change.refusals))


def _plan_part(
    change: TableChange,
    part: _Part,
    dropped: Collection[str],
    renamed: Mapping[str, str],
    connection: Connection,
) -> Sequence[str]:
    """Fill in the steps of a table, or of its history; return the columns that may be added."""
    title, former = change.table.name, {new: old for old, new in renamed.items()}
    stored = {column.key: column for column in part.stored.columns}
    for column in part.declared.columns:
        before = stored.pop(former.get(column.key, column.key), None)
        step = _plan_step(change, part, column, before, dropped, connection)
        part.steps.append(step)
        _plan_optionality(change, part, step, connection)
    for key, column in stored.items():
        if f"{title}.{key}" in dropped and not column.primary_key:
            change.says.append(f"drop column {title}.{key}")
        else:
            change.refusals.append(
                f"drop column {title}.{key}: its values would be lost; name it by "
                f"--drop {title}.{key}, or rename it by `orchestrate rename column`"
            )
        part.dropped.append(column)
    if not change.refusals:
        change.refusals += _find_lost_values(connection, change, part)
    new = [step.column for step in part.steps if step.stored is None and step.column.nullable]
    return [f"add column {title}.{column.key}" for column in new]


def _plan_step(
    change: TableChange,
    part: _Part,
    column: Column[Any],
    before: Column[Any] | None,
    dropped: Collection[str],
    connection: Connection,
) -> _Step:
    """Return the step of a declared column; describe its change, or its refusal."""
    if before is None:
        return _Step(column, None)
    title = change.table.name
    if before.key != column.key:
        change.says.append(f"rename column {title}.{before.key} to {column.key}")
    types = (WORDS[type(before.type)], WORDS[type(column.type)])
    if types[0] == types[1]:
        return _Step(column, before)
    says = f"column {title}.{column.key} from {types[0]} to {types[1]}"
    conversion = OF_NUMBERS.get(types) or CONVERSIONS.get(connection.dialect.name, {}).get(types)
    if conversion is not None and not column.primary_key:
        change.says.append(f"convert {says}")
        return _Step(column, before, conversion)
    if f"{title}.{column.key}" in dropped and column.nullable:
        change.says.append(f"drop the values of {says}; a replay reads them again")
        part.dropped.append(before)
        return _Step(column, None)
    how = f"make it optional and name it by --drop {title}.{column.key}, then replay"
    change.refusals.append(f"convert {says}: no conversion keeps all values; {how}")
    return _Step(column, before)


def _plan_optionality(
    change: TableChange, part: _Part, step: _Step, connection: Connection
) -> None:
    """Describe the change of a column's optionality, or its refusal."""
    column, before = step.column, step.stored
    name = f"column {change.table.name}.{column.key}"
    if before is None and not column.nullable:
        if _count(connection, _get_current_name(change, part)):
            change.refusals.append(f"add {name}: rows have no value for it; make it optional")
        else:
            change.says.append(f"add {name}")
    elif before is not None and before.nullable != column.nullable:
        change.says.append(f"let {name} be NULL" if column.nullable else f"require {name}")


def _get_current_name(change: TableChange, part: _Part) -> str:
    """Return the table that has the rows before the change."""
    return part.stored.name if change.is_made else part.declared.name


def _count(connection: Connection, name: str, condition: str = "") -> int:
    statement = select(func.count()).select_from(named_table(name))
    if condition:
        statement = statement.where(text(condition))
    return connection.execute(statement).scalar_one()


def _find_lost_values(connection: Connection, change: TableChange, part: _Part) -> Iterator[str]:
    """Yield the steps that stored values do not allow."""
    quote = connection.dialect.identifier_preparer.quote
    rows = _get_current_name(change, part)
    for step in part.steps:
        if step.stored is None:
            continue
        name, title = quote(step.stored.name), f"column {change.table.name}.{step.column.key}"
        is_required = step.stored.nullable and not step.column.nullable
        if is_required and (count := _count(connection, rows, f"{name} IS NULL")):
            yield f"require {title}: {count} rows of {part.declared.name} have no value"
        if step.conversion is not None and step.conversion.lost:
            lost = step.conversion.lost.format(name, name)
            if unconvertible := _count_unconvertible(connection, rows, lost):
                lost_values = f"values of {part.declared.name} would be lost: {unconvertible}"
                yield f"convert {title}: {lost_values}"


def _count_unconvertible(connection: Connection, rows: str, condition: str) -> str:
    """Return how many values a conversion would change, or one that it cannot take; blank: none."""
    try:
        with connection.begin_nested():
            count = _count(connection, rows, condition)
    except exc.DBAPIError as error:
        if not str(find_sql_state(error.orig) or "").startswith(INVALID_VALUE):
            raise
        return str(error.orig).splitlines()[0]
    return f"{count} rows" if count else ""


def change_statements(connection: Connection, change: TableChange) -> list[str]:
    """Return the SQL of a change: lock, copies, and columns as they are declared."""
    is_sqlite = connection.dialect.name == "sqlite"
    quote = connection.dialect.identifier_preparer.quote
    statements: list[str] = []
    if not is_sqlite:
        names = ", ".join(quote(part.declared.name) for part in change.parts)
        statements.append(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
    for part in change.parts:
        names = [column.name for column in part.stored.columns]
        statements.append(_render_ddl(connection, CreateTable(part.stored)))
        rows = {name: quote(name) for name in names}
        statements.append(_insert(connection, part.stored.name, part.declared.name, rows))
    render_part = _render_rebuild if is_sqlite else _render_alter
    for part in change.parts:
        statements += render_part(connection, part)
    return statements


def _render_ddl(connection: Connection, statement: Any) -> str:
    return str(statement.compile(dialect=connection.dialect)).strip()


def _insert(connection: Connection, into: str, source: str, values: Mapping[str, str]) -> str:
    """Return the statement that fills a table from another by an expression for each column."""
    chosen = select(*map(literal_column, values.values())).select_from(named_table(source))
    target = named_table(into, *map(named_column, values))
    return _render_ddl(connection, insert(target).from_select(list(values), chosen))


def _render_rebuild(connection: Connection, part: _Part) -> Iterator[str]:
    """Yield the statements that make a table again from its copy, as SQLite alters few columns."""
    quote = connection.dialect.identifier_preparer.quote
    table = part.declared
    values = {step.column.name: step.sql(quote) for step in part.steps}
    yield _render_ddl(connection, DropTable(table))
    yield _render_ddl(connection, CreateTable(table))
    yield _insert(connection, table.name, part.stored.name, values)
    for index in table.indexes:
        yield _render_ddl(connection, CreateIndex(index))


def _render_alter(connection: Connection, part: _Part) -> Iterator[str]:
    """Yield the statements that alter the columns of a table, which keep its grants and views."""
    quote = connection.dialect.identifier_preparer.quote
    alter = f"ALTER TABLE {quote(part.declared.name)}"
    for column in part.dropped:
        yield f"{alter} DROP COLUMN {quote(column.name)}"
    for step in part.steps:
        name, kind = quote(step.column.name), step.column.type.compile(connection.dialect)
        if step.stored is None:
            required = "" if step.column.nullable else " NOT NULL"
            yield f"{alter} ADD COLUMN {name} {kind}{required}"
        else:
            stored = quote(step.stored.name)
            if step.conversion is not None:
                yield f"{alter} ALTER COLUMN {stored} TYPE {kind} USING {step.sql(quote)}"
            if step.column.nullable != step.stored.nullable:
                verb = "DROP" if step.column.nullable else "SET"
                yield f"{alter} ALTER COLUMN {stored} {verb} NOT NULL"
            if name != stored:
                yield f"{alter} RENAME COLUMN {stored} TO {name}"
        if step.stored is None or step.stored.comment != step.column.comment:
            yield _render_ddl(connection, SetColumnComment(step.column))


def change_sql(
    connection: Connection, schema: str | None, changes: Sequence[TableChange], at: datetime
) -> Iterator[str]:
    """Yield the statements for a role with rights on tables.

    They record the copies, too, and let the role of the connection use them.
    """
    is_postgresql = connection.dialect.name == "postgresql"
    yield "BEGIN" if is_postgresql else "BEGIN IMMEDIATE"
    if is_postgresql:
        yield f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"
    role = connection.scalar(text("SELECT current_user")) if is_postgresql else None
    if is_postgresql and schema is not None:
        yield f'SET LOCAL search_path TO "{schema}"'
    for change in changes:
        if change.is_made:
            continue
        for statement in change_statements(connection, change):
            yield _render_script(connection, statement)
        for part in change.parts:
            row = insert(declared_tables).values(_copy_row(part.stored, at))
            literal = {"literal_binds": True}
            compiled = row.compile(dialect=connection.dialect, compile_kwargs=literal)
            yield _render_script(connection, str(compiled))
            if role is not None:
                copy = connection.dialect.identifier_preparer.quote(part.stored.name)
                yield f'GRANT SELECT, INSERT, UPDATE, DELETE ON {copy} TO "{role}"'
    yield "COMMIT"


def _render_script(connection: Connection, statement: str) -> str:
    """Return a statement as a person runs it; for a driver with such parameters, ``%`` is twice."""
    is_doubled = connection.dialect.paramstyle in ("format", "pyformat")
    return statement.replace("%%", "%") if is_doubled else statement


def _copy_row(copy: Table, at: datetime) -> dict[str, object]:
    return {"table_name": copy.name, "declaration": describe(copy), "recorded_at": at}


def apply_plan(
    connection: Connection,
    schema: str | None,
    clock: Clock,
    dropped: Collection[str] = (),
    renames: Renames = NO_RENAMES,
) -> Sequence[str]:
    """Apply all changes of declared tables; return them in words.

    ``connection`` is in a write transaction, which on SQLite is the lock.

    Raises:
        ConfigurationError: A change would lose values, or the role may not change tables.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    changes = plan_changes(connection, schema, dropped, renames)
    if refusals := [refusal for change in changes for refusal in change.refusals]:
        raise ConfigurationError(
            "tables cannot be changed as the project's sources declare",
            expected="changes that keep all values, or that --drop names",
            found="; ".join(refusals),
            remedy="nothing was changed; `orchestrate schema diff` shows all changes",
        )
    at = clock.now()
    table_changes = [change for change in changes if not change.is_made]
    additive = _execute(connection, schema, table_changes)
    copies = [_copy_row(part.stored, at) for change in table_changes for part in change.parts]
    if copies:
        connection.execute(insert(declared_tables), copies)
    record_own_tables(connection, clock)
    compare_changed(connection)
    for change in changes:
        reason = "; ".join(change.says)
        if change.is_of_values:
            record_column_change(connection, change.table, change.copy, reason, at)
    names = [f"{says}, copy in {change.copy.name}" for change in changes for says in change.says]
    return [*names, *(change.says for change in additive)]


def _execute(
    connection: Connection, schema: str | None, changes: Sequence[TableChange]
) -> Sequence[Change]:
    """Execute changes, and then the additive ones, which are returned.

    Raises:
        ConfigurationError: The role may not change tables.
    """
    with explain_missing_rights():
        for change in changes:
            for statement in change_statements(connection, change):
                connection.exec_driver_sql(statement)
        additive = find_additive_changes(connection, schema)
        apply_additive(connection, additive)
    return additive


@contextmanager
def explain_missing_rights() -> Iterator[None]:
    """Explain the remedy where the role may not change the tables.

    Raises:
        ConfigurationError: It may not.
    """
    try:
        yield
    except exc.DBAPIError as error:
        if find_sql_state(error.orig) != INSUFFICIENT_PRIVILEGE:
            raise
        raise ConfigurationError(
            "this role may not change the tables",
            expected="a role that owns them",
            found=str(error.orig).strip(),
            remedy="have an owner run what the same command prints with --sql, then repeat it "
            "without, which records the change",
        ) from error
