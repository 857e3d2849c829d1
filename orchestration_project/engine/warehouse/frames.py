"""Frames into tables and back, the fastest way that each database has."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date, datetime
from functools import cache
from itertools import chain
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Executable,
    FromClause,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    column,
    delete,
    func,
    insert,
    literal,
    select,
    true,
)
from sqlalchemy.exc import IntegrityError

from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.engine.contracts.key_ranges import Days, KeyRange
from orchestration_project.engine.contracts.values import (
    decode_quantities,
    derive_schema,
    derive_stored_schema,
    encode_quantities,
)
from orchestration_project.engine.warehouse.bulk import (
    MANY_ROWS,
    encode_sqlite,
    insert_into_sqlite,
    iterate_copied,
    iterate_sqlite,
    iterate_sqlite_adbc,
)
from orchestration_project.errors import ContractError
from orchestration_project.tables.schema import Query

ROWS_PER_BATCH = 20_000
"""Rows in transit at once: their copies, in Arrow and in the database's own form, stay small."""

MAX_BATCH_KEYS = 500
"""So many keys a statement names one by one, where a database has no other way."""

FEW_ROWS = 10
"""Up to so many rows, an INSERT takes a third of the time of a COPY, and not longer."""


ValueT = TypeVar("ValueT")

Scope = Mapping[str, object | Sequence[object] | Days | KeyRange]
"""Column → value, tuple of values, range of days or texts: the rows for which all of it holds."""


def iterate_chunks(values: Iterable[ValueT]) -> Iterator[list[ValueT]]:
    """Yield as many values at a time as one statement names."""
    remaining = list(values)
    for start in range(0, len(remaining), MAX_BATCH_KEYS):
        yield remaining[start : start + MAX_BATCH_KEYS]


def find_range(scope: Scope) -> Days | None:
    """Return the days that a delivery covers; None: its scope is not a range."""
    return next((value for value in scope.values() if isinstance(value, Days)), None)


def find_part(scope: Scope) -> tuple[str, frozenset[str]] | None:
    """Return the column and its values for which a delivery holds; None: it is of all of them."""
    parts = (
        (name, frozenset(map(str, value)))
        for name, value in scope.items()
        if isinstance(value, tuple)
    )
    return next(parts, None)


def share_rows(scope: Scope, other: Scope) -> bool:
    """Whether two deliveries of a partition can hold for the same rows, by parts and ranges."""
    days, others_days = find_range(scope), find_range(other)
    if days and others_days and (days.last < others_days.first or others_days.last < days.first):
        return False
    part, other_pair = find_part(scope), find_part(other)
    return (
        part is None
        or other_pair is None
        or part[0] != other_pair[0]
        or bool(part[1] & other_pair[1])
    )


def format_scope(scope: Scope) -> str:
    """Return a scope as text: ``tier=T1,week_start=2025-11-10,market=ATS``."""
    return ",".join(
        f"{name}={'+'.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value in scope.items()
    )


def match_frame_scope(scope: Scope) -> pl.Expr:
    """Return the condition that a row of a frame lies in ``scope``, as `within` does of a table."""
    return pl.all_horizontal(
        pl.lit(value=True),
        *(_match_frame_column(pl.col(name), value) for name, value in scope.items()),
    )


def _match_frame_column(column: pl.Expr, value: object) -> pl.Expr:
    if isinstance(value, Days):
        return column.is_between(value.first, value.last)
    if isinstance(value, KeyRange):
        return value.holds(column)
    return column.is_in(value if isinstance(value, tuple) else (value,))


def match_scope(table: FromClause, scope: Scope) -> ColumnElement[bool]:
    """Return the condition that a row of ``table`` lies in ``scope``."""
    return and_(true(), *(_match_column(table.c[name], value) for name, value in scope.items()))


def join_scopes(scopes: Iterable[Scope]) -> list[Scope]:
    """Return scopes that hold the same rows as ``scopes`` do.

    Those that differ by the one value of their first column become one of all these values.
    """
    alike: dict[tuple[object, ...], list[Scope]] = {}
    for scope in scopes:
        alike.setdefault((next(iter(scope)), *list(scope.items())[1:]), []).append(scope)
    return [those[0] if len(those) == 1 else _merge_scopes(those) for those in alike.values()]


def _merge_scopes(scopes: Sequence[Scope]) -> Scope:
    first = next(iter(scopes[0]))
    return {**scopes[0], first: tuple(scope[first] for scope in scopes)}


def _match_column(column: ColumnElement[Any], value: object) -> ColumnElement[bool]:
    if isinstance(value, Days):
        return column.between(value.first, value.last)
    if isinstance(value, KeyRange):
        ends = [column > value.after] if value.after is not None else []
        return and_(true(), *ends, *([column <= value.until] if value.until is not None else []))
    return column.in_(value) if isinstance(value, tuple) else column == value


def encode_scope(scope: Scope) -> str:
    """Return a scope as `decode_scope` reads it, a range as an object with first and last."""

    def written(value: object) -> object:
        if isinstance(value, Days):
            return {"first": value.first.isoformat(), "last": value.last.isoformat()}
        return value

    return json.dumps({name: written(value) for name, value in scope.items()}, sort_keys=True)


def decode_scope(text: str) -> Scope:
    """Return the scope that was written so."""

    def read(value: Any) -> object:
        if isinstance(value, dict):
            return Days(*(date.fromisoformat(value[end]) for end in ("first", "last")))
        return tuple(value) if isinstance(value, list) else value

    return {name: read(value) for name, value in json.loads(text).items()}


def read_batches(
    connection: Connection, statement: Query, rows: FromClause, *, is_committed: bool = False
) -> Generator[pl.DataFrame]:
    """Yield the rows of ``statement``, whose columns are columns of ``rows``; an empty frame first.

    The database is asked for one batch after the other, so that none of them need stay.

    Args:
        connection: A transaction.
        statement: The query.
        rows: Has its columns.
        is_committed: Whether what is committed is wanted, not the state that the transaction sees:
            SQLite's rows are counted first, and many are then read by another connection.
    """
    names = [str(column.key) for column in statement.selected_columns]
    schema, stored = derive_schema(rows, names), derive_stored_schema(rows, names)
    yield pl.DataFrame(schema=schema)
    if _can_copy(connection) and len(schema) > 1:  # a single empty text would be no line at all
        batches = iterate_copied(connection, statement, stored, ROWS_PER_BATCH)
    elif connection.dialect.name != "sqlite":
        yield from _read_by_driver(connection, statement, schema)
        return
    elif is_committed and _count(connection, statement) > MANY_ROWS:
        batches = iterate_sqlite_adbc(connection, statement, stored)
    else:
        batches = iterate_sqlite(connection, statement, stored)
    with closing(batches):
        if schema == stored:
            yield from batches
        else:
            yield from (decode_quantities(batch, rows) for batch in batches)


def _read_by_driver(
    connection: Connection, statement: Query, schema: Mapping[str, pl.DataType]
) -> Generator[pl.DataFrame]:
    """Yield the rows of ``statement`` by the driver's own objects."""
    with connection.execute(statement.execution_options(yield_per=ROWS_PER_BATCH)) as result:
        for partition in result.partitions():
            yield pl.DataFrame(partition, schema, orient="row")


def _count(connection: Connection, statement: Query) -> int:
    """Return the number of rows: they are found and sorted as for themselves, and not read."""
    if isinstance(statement, Select):
        statement = statement.with_only_columns(literal(1), maintain_column_froms=True)
    return connection.execute(select(func.count()).select_from(statement.subquery())).scalar_one()


def read_frame(connection: Connection, statement: Select[Any], table: FromClause) -> pl.DataFrame:
    """Return the rows of ``statement``, whose columns are columns of ``table``.

    Batch by batch: a row of Python objects takes several times the memory of its frame.
    """
    return pl.concat(read_batches(connection, statement, table))


def read_scope(connection: Connection, table: Table, scope: Scope) -> pl.DataFrame:
    """Return all columns of the rows of ``table`` in ``scope``."""
    return read_frame(connection, select(table).where(match_scope(table, scope)), table)


def read_keys(
    connection: Connection, table: Table, rows: pl.DataFrame, *, first: int | None = None
) -> pl.DataFrame:
    """Return all columns of the rows of ``table`` that have the keys of ``rows``.

    Each is looked up by its key, so that the size of the table does not matter.

    Args:
        connection: Reads.
        table: The table.
        rows: Keys, perhaps among other columns.
        first: Number of the key's first columns by which rows are looked up; None: all.
    """
    key = list(table.primary_key.columns)[:first]
    keys = rows.select(column.name for column in key)
    if keys.is_empty():
        return pl.DataFrame(schema=derive_schema(table))
    if connection.dialect.name == "postgresql":
        columns = _unpack_arrays(keys, table)
    elif connection.dialect.name == "sqlite":
        columns = _unpack_json(keys)
    else:
        scopes = (read_scope(connection, table, scope) for scope in _iterate_scopes(keys))
        return pl.concat(scopes).join(keys, on=keys.columns, how="semi")
    is_wanted = and_(*(column == values for column, values in zip(key, columns, strict=True)))
    return read_frame(connection, select(table).where(is_wanted), table)


def _iterate_scopes(keys: pl.DataFrame) -> Iterable[Scope]:
    """Yield conditions that rows with the keys meet, and few others, as any database reads them."""
    for some in keys.sort(keys.columns).iter_slices(MAX_BATCH_KEYS):
        yield {name: tuple(some[name].unique().to_list()) for name in keys.columns}


def _unpack_arrays(keys: pl.DataFrame, table: Table) -> Sequence[ColumnElement[Any]]:
    """Return the keys as columns that PostgreSQL makes of an array each; a reader may do so too."""
    from sqlalchemy.dialects import postgresql

    types = (table.c[name].type for name in keys.columns)
    arrays = (
        literal(keys[name].to_list(), postgresql.ARRAY(Text() if isinstance(kind, Text) else kind))
        for name, kind in zip(keys.columns, types, strict=True)
    )
    expected_values = (
        func.unnest(*arrays).table_valued(*keys.columns, name="wanted").render_derived()
    )
    return [expected_values.c[name] for name in keys.columns]


def _unpack_json(keys: pl.DataFrame) -> Sequence[ColumnElement[Any]]:
    """Return the keys as columns that SQLite reads out of one JSON text."""
    text = json.dumps(encode_sqlite(keys).rows(), ensure_ascii=False)
    expected_values = func.json_each(text).table_valued("value", name="wanted")
    return [
        func.json_extract(expected_values.c.value, f"$[{position}]")
        for position in range(keys.width)
    ]


def insert_frame(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    """Insert ``frame``, which must have exactly the columns and types of ``table``.

    Raises:
        ContractError: A column or a type differs, or a required value is null.
    """
    validate_frame(frame, table)
    if frame.is_empty():
        return
    if _can_copy(connection) and len(frame) > FEW_ROWS:
        _copy(connection, table, encode_quantities(frame, table))
    elif connection.dialect.name == "sqlite":
        insert_into_sqlite(connection, table, encode_quantities(frame, table), ROWS_PER_BATCH)
    else:
        for batch in frame.iter_slices(ROWS_PER_BATCH):
            connection.execute(insert(table), batch.to_dicts())


def _can_copy(connection: Connection) -> bool:
    return (connection.dialect.name, connection.dialect.driver) == ("postgresql", "psycopg")


def delete_rows(
    connection: Connection, table: Table, rows: pl.DataFrame, *, first: int | None = None
) -> None:
    """Delete the rows of ``table`` that have the keys of ``rows``.

    Args:
        connection: Writes.
        table: The table.
        rows: Keys, perhaps among other columns.
        first: Number of the key's first columns that are compared; None: all.
    """
    if rows.is_empty():
        return
    key = list(table.primary_key.columns)[:first]
    condition = and_(*(column == bindparam(f"key_{column.name}") for column in key))
    keys = rows.select(pl.col(column.name).alias(f"key_{column.name}") for column in key)
    connection.execute(delete(table).where(condition), keys.to_dicts())


def validate_frame(frame: pl.DataFrame, table: Table) -> None:
    """Refuse a frame that is not what ``table`` declares.

    Raises:
        ContractError: A column or a type differs, or a required value is null.
    """
    declared = derive_schema(table)
    if dict(frame.schema) != declared:
        differing = sorted(set(frame.schema.items()) ^ set(declared.items()), key=str)
        raise ContractError(
            f"a batch does not have the columns of {table.name}", found=f"differing: {differing}"
        )
    required = [column.key for column in table.columns if not column.nullable]
    holes = [name for name in required if frame[name].null_count()]
    if holes:
        raise ContractError(
            f"a batch for {table.name} lacks required values", found=f"nulls in {', '.join(holes)}"
        )


def _copy(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    """Binary COPY of a row or more, inside the connection's transaction."""
    from pgpq import ArrowToPostgresBinaryEncoder

    pieces = (
        piece
        for batch in frame.iter_slices(ROWS_PER_BATCH)
        for piece in batch.to_arrow(compat_level=pl.CompatLevel.oldest()).to_batches()
    )
    first = next(pieces)
    encoder = ArrowToPostgresBinaryEncoder(first.schema)
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(name) for name in frame.columns)
    statement = f"COPY {quote(table.name)} ({columns}) FROM STDIN WITH (FORMAT BINARY)"
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(encoder.write_header())
        for piece in chain([first], pieces):
            copy.write(encoder.write_batch(piece))
        copy.write(encoder.finish())


def insert_absent(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]
) -> set[tuple[Any, ...]]:
    """Insert the rows whose key is not there yet; in key order, so that no two deadlock.

    Returns:
        The keys that were inserted, as tuples in the order of the primary key's columns.
    """
    if not rows:
        return set()
    key = [column.name for column in table.primary_key.columns]
    ordered = sorted(rows, key=lambda row: str([row[name] for name in key]))
    if connection.dialect.name == "postgresql":
        statement = _insert_json(table, tuple(ordered[0]))
        inserted = connection.execute(statement, {"rows": _serialize_rows(ordered)})
    elif connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        statement = sqlite.insert(table).on_conflict_do_nothing()
        inserted = connection.execute(statement.returning(*table.primary_key.columns), ordered)
    else:
        return {
            tuple(row[name] for name in key) for row in ordered if _insert(connection, table, row)
        }
    return {tuple(row) for row in inserted}


@cache
def _insert_json(table: Table, names: tuple[str, ...]) -> Executable:
    """Return the statement that inserts rows from one parameter, a JSON array of objects.

    Its text is the same for any number of rows, so that drivers and server read it once; and
    psycopg writes arrays of text slowly, by a regular expression for each element.
    """
    from sqlalchemy.dialects import postgresql

    columns = [column(name, table.c[name].type) for name in names]
    given_cast = cast(bindparam("rows", type_=Text()), JSON)
    rows = func.json_to_recordset(given_cast).table_valued(*columns)
    return (
        postgresql.insert(table)
        .from_select(names, select(rows.render_derived(with_types=True)))
        .on_conflict_do_nothing()
        .returning(*table.primary_key.columns)
    )


def _serialize_rows(rows: Sequence[Mapping[str, object]]) -> str:
    return json.dumps(rows, default=_serialize_value, ensure_ascii=False)


def _serialize_value(value: object) -> str:
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError(f"a timestamp needs a time zone, got {value!r}")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a column of {type(value).__name__} is not inserted this way")


def _insert(connection: Connection, table: Table, row: Mapping[str, object]) -> bool:
    """Insert a row; return whether its key was not there."""
    try:
        with connection.begin_nested():
            connection.execute(insert(table), row)
    except IntegrityError:
        return False
    return True


def build_frame(rows: Sequence[Mapping[str, object]], table: Table) -> pl.DataFrame:
    """Return dictionaries as a frame with the columns of ``table``."""
    schema = derive_schema(table)
    return pl.DataFrame([[row[name] for name in schema] for row in rows], schema, orient="row")


def clean_text(text: str) -> str:
    """Return ``text`` without what PostgreSQL refuses: NUL, and halves of characters."""
    return text.replace("\0", "").encode(errors="backslashreplace").decode()
