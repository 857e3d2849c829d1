"""Explanation of a value of a derived table: its query or function, and the loads of its inputs."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Table, func, select

from orchestration_project.engine.contracts.api.explanation import InputRow, NumberExplanation
from orchestration_project.engine.contracts.formulas import hash_formula
from orchestration_project.engine.derived import DerivedTable
from orchestration_project.engine.own_derived import WHOLE, DerivedDeclaration
from orchestration_project.engine.warehouse.fencing import read_derived_versions
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.services.explanation import MAX_INPUTS, describe_load
from orchestration_project.services.own_explanation import format_value, read_row, require_field
from orchestration_project.tables.schema import key_names
from orchestration_project.tables.spine import landings

Rederive = Callable[[str], pl.DataFrame]
"""Returns the rows that the query or function makes of a partition now."""


def explain_derived(
    connection: Connection,
    declared: DerivedDeclaration,
    made: DerivedTable[Any],
    rederive: Rederive,
    number: tuple[str, str],
) -> NumberExplanation:
    """Return how a value of a derived table came about, and its value by the present inputs.

    Each input row of the explanation is a load that wrote rows which the partition is made of.

    Args:
        connection: Reads.
        declared: The table.
        made: The same, as the engine of derived tables has it.
        rederive: Derives a partition again.
        number: Key of the row, and column.

    Raises:
        ConfigurationError: The table has no such column or row.
    """
    table, derived, (key, column) = declared.table, declared.derived, number
    require_field(table, column, [field.name for field in derived.fields])
    row = read_row(connection, table, key)
    partition = str(row[derived.partition_by]) if derived.partition_by else WHOLE
    loads = [
        load
        for input_table in declared.inputs
        for load in _find_loads(connection, declared, input_table, partition)
    ]
    formula = _describe_formula(connection, declared, made, partition, row["known_from"])
    of_row = {name: row[name] for name in key_names(table)}
    recomputed, formula[2]["problem"] = _derive_row(rederive, partition, of_row)
    return NumberExplanation(
        table=table.name,
        key=key,
        column=column,
        description=str(table.c[column].comment),
        formula=formula,
        formula_sha256=hash_formula(formula),
        published=format_value(row[column]),
        recomputed=None if recomputed is None else format_value(recomputed[column]),
        is_equal=recomputed is not None and recomputed[column] == row[column],
        rows_of=", ".join(input_table.name for input_table in declared.inputs),
        input_count=len(loads),
        inputs=loads[:MAX_INPUTS],
        other_count=0,
        last_change=None,
    )


def require_query(declared: DerivedDeclaration) -> None:
    """Refuse a function of the project in a process that serves others: nothing ends it.

    Raises:
        ConfigurationError: It is one.
    """
    if declared.derived.function is not None:
        raise ConfigurationError(
            f"invalid table {declared.table.name}: expected one that a query derives",
            expected="a query, which the database ends after a time",
            found="a function of the project, which the gateway does not execute",
            remedy=f"`orchestrate explain {declared.table.name} KEY COLUMN` executes it",
        )


def _describe_formula(
    connection: Connection,
    declared: DerivedDeclaration,
    made: DerivedTable[Any],
    partition: str,
    written_at: datetime,
) -> list[Any]:
    """Return the query or function of a table as data, and what the partition was made of."""
    derived = declared.derived
    version = read_derived_versions(connection, declared.table).get(partition)
    loaded = made.inputs.read_loaded(connection, partition)
    values = {
        "declared_in": declared.file,
        "partition": partition,
        "partition_by": derived.partition_by,
        "made_of": version,
        "is_current": partition in loaded and version == made.reach.version(partition, loaded),
        "written_at": written_at.astimezone(UTC).isoformat(),
    }
    if derived.function is not None:
        return ["function", derived.function.__name__, values]
    return ["sql", derived.sql.strip(), values]


def _derive_row(
    rederive: Rederive, partition: str, key: Mapping[str, Any]
) -> tuple[Mapping[str, Any] | None, str | None]:
    """Return the row that the query or function makes now of a key, or why there is none."""
    try:
        rows = rederive(partition).to_dicts()
    except (ConfigurationError, ContractError) as error:
        return None, str(error)
    values = next((row for row in rows if all(row[name] == key[name] for name in key)), None)
    return values, None if values else f"it makes no row of this key now, of {len(rows)} rows"


def _find_loads(
    connection: Connection, declared: DerivedDeclaration, table: Table, partition: str
) -> Sequence[InputRow]:
    """Return the loads that wrote the rows of an input which a partition is made of."""
    column = declared.partition_columns[table.name]
    of_partition = [table.c[column] == declared.value_of(partition)] if column else []
    since = table.c["known_from"]
    counted = select(since, func.count()).where(*of_partition).group_by(since).order_by(since)
    return [
        row
        for known_from, row_count in connection.execute(counted).all()
        for row in _find_loads_at(connection, table, partition, known_from, row_count)
    ]


def _find_loads_at(
    connection: Connection,
    table: Table,
    partition: str,
    known_from: datetime | None,
    row_count: int,
) -> Sequence[InputRow]:
    """Return the loads of a time; of a table that is derived, too, what it was made of."""
    if known_from is None:
        return [_build_input(table.name, {"rows": row_count}, None)]
    at = (landings.c.table_name == table.name, landings.c.landed_at == known_from)
    records = connection.execute(select(landings).where(*at)).mappings().all()
    loads = [load for load in records if load["partition_key"] == partition] or records
    if not loads:
        made_of = read_derived_versions(connection, table)
        version = made_of.get(partition, made_of.get(WHOLE))
        return [_build_input(table.name, {"rows": row_count, "made_of": version}, known_from)]
    rows: list[InputRow] = []
    for load in loads:
        change = describe_load(connection, load)
        values = {
            "rows": row_count if len(loads) == 1 else None,
            "delivery": change.group_id,
            "cause": change.cause,
            "run": change.run_id,
            "record": change.signature.number if change.signature else None,
            "record_sha256": change.signature.record_sha256 if change.signature else None,
        }
        rows.append(_build_input(f"{table.name} {load['partition_key']}", values, known_from))
    return rows


def _build_input(key: str, values: Mapping[str, Any], known_from: datetime | None) -> InputRow:
    return InputRow(
        key=key,
        values=dict(values),
        known_from=(known_from or datetime.fromtimestamp(0, UTC)).astimezone(UTC),
        capture_id=None,
        sha256=None,
        line_number=None,
        byte_offset=None,
        line=None,
        problem=f"`orchestrate explain {key.partition(' ')[0]} KEY COLUMN` explains one row",
        url=None,
        request=None,
        fetched_at=None,
        fetched_by=None,
    )
