"""Makes the tables that a project derives, now and as of a time.

A version names the state of the inputs' rows: how many there are, and when the newest was written.
So a load, an erasure and a manual correction all make what is derived of these rows out of date.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlalchemy import Connection, Table, exc, func, select, union_all

from orchestration_project.engine.derived import (
    DerivedLoad,
    DerivedPart,
    DerivedTable,
    Inputs,
    LoadedVersions,
    PendingDerivation,
    Reach,
    find_outdated,
)
from orchestration_project.engine.own.reading import build_config_error
from orchestration_project.engine.own.results import (
    Result,
    convert_frame,
    convert_result,
    map_result_names,
)
from orchestration_project.engine.own_derived import (
    WHOLE,
    DerivedDeclaration,
    load_derivations,
    locate_query,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.as_of import (
    AsOf,
    DerivedAsOf,
    LeftOut,
    StateAsOf,
    build_absent_error,
)
from orchestration_project.engine.warehouse.fencing import read_derived_versions
from orchestration_project.engine.warehouse.frames import Scope, read_frame
from orchestration_project.engine.warehouse.target import KNOWN_FROM
from orchestration_project.errors import ConfigurationError, ContractError, OrchestrationError
from orchestration_project.settings.project import own_domain
from orchestration_project.tables.conditions import write_condition
from orchestration_project.tables.queries.relations import Part, Relation
from orchestration_project.tables.schema import HISTORY, PUBLICATION, Query, asset_of_table
from orchestration_project.tables.spine import fences

if TYPE_CHECKING:
    from orchestration_project.engine.contracts.api.explanation import NumberExplanation

NOTHING = "0 rows"


@dataclass(frozen=True)
class _ByState(Reach):
    """A partition is made of the inputs' rows with its value, and of inputs that are read whole."""

    rule_version: str

    def version(self, key: str, loaded: LoadedVersions) -> str:
        """Return the version of the declaration, and the states of the inputs."""
        return f"{self.rule_version}: {loaded[key]}"


def derived_table_of(declaration: DerivedDeclaration) -> DerivedTable[Result]:
    """Return a declared table as the engine of derived tables has it."""
    return DerivedTable(
        table=declaration.table,
        inputs=Inputs(
            read_loaded=partial(_read_states, declaration),
            read=partial(_read_pending, declaration),
            job=f"{own_domain()}_{declaration.derived.name}",
            expected="an input has rows of it",
        ),
        reach=_ByState(declaration.rule_version),
        scope=declaration.scope_of,
        make=partial(_make, declaration),
    )


def _read_states(
    declaration: DerivedDeclaration, connection: Connection, key: str | None
) -> LoadedVersions:
    """Return the state of the inputs of each partition, or of one; without rows there is none.

    A partition that was derived before has one, so that its rows go when those of its inputs did.
    """
    columns = declaration.partition_columns
    values = {} if key is None else {name: declaration.scope_of(key) for name in columns}
    states: dict[str, dict[str, str]] = {}
    shared: dict[str, str] = {}
    for table in declaration.inputs:
        column = columns[table.name]
        if not column:
            shared[table.name] = _read_state(connection, table)
            continue
        for value, state in _read_value_states(connection, table, column, values):
            states.setdefault(str(value), {})[table.name] = state
    known_names = set(read_derived_versions(connection, declaration.table))
    if not declaration.derived.partition_by and (set(shared.values()) != {NOTHING} or known_names):
        states[WHOLE] = {}
    for earlier in known_names if key is None else known_names & {key}:
        states.setdefault(earlier, {})
    return {
        each: "; ".join(
            f"{table.name} {(shared | names).get(table.name, NOTHING)}"
            for table in declaration.inputs
        )
        for each, names in states.items()
    }


def _read_state(connection: Connection, table: Table) -> str:
    statement = select(func.count(), func.max(table.c[KNOWN_FROM]))
    return _describe_state(*connection.execute(statement).one())


def _read_value_states(
    connection: Connection, table: Table, name: str, values: Mapping[str, Scope]
) -> Sequence[tuple[Any, str]]:
    column = table.c[name]
    statement = select(column, func.count(), func.max(table.c[KNOWN_FROM])).group_by(column)
    for scope in values.get(table.name, {}).values():
        statement = statement.where(column == scope)
    rows = connection.execute(statement)
    return [(value, _describe_state(row_count, newest)) for value, row_count, newest in rows]


def _describe_state(count: int, newest: datetime | None) -> str:
    if not count:
        return NOTHING
    return f"{count} rows{f', newest {newest.isoformat()}' if newest else ''}"


Choose = Callable[[Table], Relation]
"""Returns the rows of an input: the present ones, or those of a time."""


def _choose_present(table: Table) -> Relation:
    return Relation(table, [Part(table)])


def _read_pending(
    declaration: DerivedDeclaration, connection: Connection, due: Sequence[PendingDerivation]
) -> Result:
    [pending] = due
    return read_result(declaration, connection, pending.key)


def _make(declaration: DerivedDeclaration, due: PendingDerivation, read: Result) -> DerivedPart:
    return DerivedPart(
        conform(declaration, due.key, read).with_columns(
            pl.lit(None, pl.Datetime("us", "UTC")).alias(KNOWN_FROM)
        )
    )


def conform(declaration: DerivedDeclaration, key: str, result: Result) -> pl.DataFrame:
    """Return a result as rows of the table, but for ``known_from``.

    Raises:
        ContractError: It is not as declared.
    """
    try:
        return convert_result(declaration.derived, result, declaration.scope_of(key))
    except ContractError as error:
        raise error.within(file=declaration.file, partition=key) from None


def read_result(
    declaration: DerivedDeclaration,
    connection: Connection,
    key: str,
    choose: Choose = _choose_present,
) -> Result:
    """Return the rows that the query or function makes of a partition.

    Args:
        declaration: The table.
        connection: Reads.
        key: The partition.
        choose: Returns the rows of an input.

    Raises:
        ConfigurationError: The database refuses the query, or the function fails.
    """
    values = declaration.scope_of(key).values()
    rows = {
        table: _select_rows(choose(table), declaration.partition_columns[table.name], [*values])
        for table in declaration.inputs
    }
    if declaration.derived.sql:
        is_restricted = bool(values) or choose is not _choose_present
        return _execute_query(declaration, connection, rows if is_restricted else {})
    return _call(declaration, connection, rows)


def _select_rows(relation: Relation, column: str, values: Sequence[Any]) -> Query:
    """Return the rows of a relation, those with a value of the column if there is one."""
    wheres = [
        select(*(part.rows.c[name.key].label(name.name) for name in relation.table.columns)).where(
            *part.conditions, *(part.rows.c[column] == value for value in values if column)
        )
        for part in relation.parts
    ]
    return union_all(*wheres) if len(wheres) > 1 else wheres[0]


def _execute_query(
    declaration: DerivedDeclaration,
    connection: Connection,
    rows: Mapping[Table, Query],
    ending: str = "",
) -> Result:
    """Execute the query of a declaration, in which each table of ``rows`` has these rows alone."""
    tables = [
        f"{table.name} AS ({_render_query(connection, value)})" for table, value in rows.items()
    ]
    text = f"SELECT * FROM (\n{declaration.derived.sql.strip().rstrip(';')}\n) AS result{ending}"  # noqa: S608 - the declared query, which only reads
    if tables:
        text = f"WITH {', '.join(tables)}\n{text}"
    try:
        exec_driver_sql = connection.exec_driver_sql(
            text, execution_options={"no_parameters": True}
        )
        return Result(
            list(exec_driver_sql.keys()), [tuple(row) for row in exec_driver_sql], is_sql=True
        )
    except exc.DBAPIError as error:
        if error.connection_invalidated:
            raise
        raise ConfigurationError(
            f"{declaration.derived.name} is not derived: the database refuses its query",
            expected=f"a query of {connection.dialect.name}",
            found=str(error.orig).partition("\n")[0],
            remedy="correct the query",
            file=locate_query(declaration.derived, declaration.file),
        ) from None


def plan_query(declaration: DerivedDeclaration, connection: Connection) -> Result:
    """Return the columns of a query, without rows.

    Raises:
        ConfigurationError: The database refuses it.
    """
    return _execute_query(declaration, connection, {}, " LIMIT 0")


def _render_query(connection: Connection, statement: Query) -> str:
    """Return a query with its values, for a text in which no parameter is replaced."""
    make_dialect: Any = type(connection.dialect)
    dialect = make_dialect(paramstyle="named")  # in which a % stays one
    schema = {None: "main"} if dialect.name == "sqlite" else None
    return str(
        statement.compile(
            dialect=dialect,
            schema_translate_map=schema,
            render_schema_translate=schema is not None,
            compile_kwargs={"literal_binds": True},
        )
    )


def _call(
    declaration: DerivedDeclaration, connection: Connection, rows: Mapping[Table, Query]
) -> Result:
    """Call the function of a declaration with the rows of its inputs."""
    function = declaration.derived.function
    assert function is not None  # noqa: S101 - a declaration has a query or a function
    by_name = {
        table.name: read_frame(connection, _label_by_key(table, row), table)
        for table, row in rows.items()
    }
    frames = [by_name[name] for name in declaration.derived.inputs]
    try:
        return convert_frame(declaration.derived, function(*frames))
    except OrchestrationError as error:
        raise error.within(file=declaration.file) from None
    except Exception as error:
        raise ConfigurationError(
            f"{declaration.derived.name} is not derived: its function fails",
            expected="a frame with its fields",
            found=f"{type(error).__name__}: {error}",
            remedy="correct the function",
            file=declaration.file,
        ) from error


def _label_by_key(table: Table, rows: Query) -> Any:
    """Return rows under the names by which all but the database know the columns."""
    query = rows.subquery()
    return select(*(query.c[column.name].label(column.key) for column in table.columns))


def derive_as_of(declaration: DerivedDeclaration, state: StateAsOf, key: str) -> DerivedAsOf:
    """Return a partition made of the rows that its inputs had in a state.

    Raises:
        ConfigurationError: An input has no such state, or no rows in it.
    """
    name, scope = declaration.derived.name, declaration.scope_of(key)
    _require_states(declaration, state)
    left_out, row_counts = LeftOut(), []
    for table in declaration.inputs:
        column = declaration.partition_columns[table.name]
        wheres = [write_condition(column, str(value)) for value in scope.values() if column]
        if state.day and PUBLICATION in table.info:
            left_out += state.left_out(table, wheres)
        if column or not scope:
            rows = _select_rows(state.relation_of(table), column, [*scope.values()]).subquery()
            counted = select(func.count()).select_from(rows)
            row_counts.append(state.connection.execute(counted).scalar_one())
    if not any(row_counts):
        raise build_absent_error(name, key, [table.name for table in declaration.inputs])
    result = read_result(declaration, state.connection, key, state.relation_of)
    return DerivedAsOf(declaration.table, conform(declaration, key, result), left_out)


def _require_states(declaration: DerivedDeclaration, state: StateAsOf) -> None:
    """Make sure that the inputs have a history; by publication, that one is dated by its source."""
    for table in declaration.inputs:
        if table.info.get(HISTORY) is None:
            raise build_config_error(
                f"input of {declaration.derived.name}", "tables with history", table.name
            )
    if not any(PUBLICATION in table.info for table in declaration.inputs):
        state.refuse_day(declaration.inputs[0])
    derived = {derivation.table for derivation in load_derivations()}
    if state.day and (
        names := [input_table.name for input_table in declaration.inputs if input_table in derived]
    ):
        expected = "tables that are loaded, for a day of publication"
        raise build_config_error(f"input of {declaration.derived.name}", expected, names[0])


@dataclass(frozen=True)
class DerivedFigures:
    """Partitions that were derived, the rows of those, and the rows of the table."""

    partition_count: int
    rows_written: int
    row_count: int
    seconds: float


def outdated_versions(warehouse: Warehouse, declaration: DerivedDeclaration) -> Mapping[str, str]:
    """Return the partitions that are out of date, each with what it would be derived of now."""
    derived = derived_table_of(declaration)
    loaded, due = find_outdated(warehouse, [derived])
    return {key: derived.reach.version(key, loaded) for key in due}


def loads_state(warehouse: Warehouse) -> str:
    """Return a text that is another one after each load, derivation or erasure."""
    state = select(func.count(), func.sum(fences.c.token), func.max(fences.c.known_from))
    with warehouse.reading() as connection:
        return " ".join(map(str, connection.execute(state).one()))


def derive_outdated(
    warehouse: Warehouse, declaration: DerivedDeclaration, run_id: str
) -> DerivedFigures:
    """Bring a table up to date, each partition in a transaction of its own.

    A partition that cannot be derived stays as it was, and the others are derived.

    Raises:
        OrchestrationError: A partition could not be derived: the first one of these.
    """
    table = declaration.table
    load = DerivedLoad(
        [derived_table_of(declaration)],
        warehouse,
        where={"asset": asset_of_table(table)},
        run_id=run_id,
    )
    written, seconds = dict[str, int](), 0.0
    failed: list[OrchestrationError] = []
    for key in outdated_versions(warehouse, declaration):
        try:
            result = load.derive(key)
        except (ConfigurationError, ContractError) as error:
            failed.append(error.within(partition=key))
            continue
        written |= result.tables[table.name].recomputed
        seconds += result.seconds
    if failed:
        raise failed[0].within(failed_partitions=len(failed), derived_partitions=len(written))
    counts = warehouse.row_counts([table], {})
    return DerivedFigures(len(written), sum(written.values()), counts[table.name], seconds)


def explain_value(
    declaration: DerivedDeclaration, connection: Connection, key: str, column: str
) -> "NumberExplanation":
    """Return how a value came about, as `explain_derived`.

    Raises:
        ConfigurationError: The table has no such column or row.
    """
    from orchestration_project.services.own_derived_explanation import explain_derived

    def rederive(partition: str) -> pl.DataFrame:
        return conform(declaration, partition, read_result(declaration, connection, partition))

    derived_table = derived_table_of(declaration)
    return explain_derived(connection, declaration, derived_table, rederive, (key, column))


def expected_columns(declaration: DerivedDeclaration) -> Sequence[str]:
    """Return the names that the result of a query must have."""
    return list(map_result_names(declaration.derived, is_sql=True).values())


def __getattr__(name: str) -> AsOf:
    """Return `AS_OF`, the derived tables, each with what derives a partition as of a time.

    Importing this module reads no declaration, so a wrong one does not fail it.
    """
    if name != "AS_OF":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return {
        derivation.table.name: partial(derive_as_of, derivation)
        for derivation in load_derivations()
    }
