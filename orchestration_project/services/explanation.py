"""Explanation of a published number: its formula, its input rows, and where these come from."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import cached_property
from itertools import chain
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Date,
    Double,
    RowMapping,
    Table,
    Text,
    func,
    or_,
    select,
    type_coerce,
)

from orchestration_project.engine.captures import BlobError, Captures
from orchestration_project.engine.contracts.api.explanation import (
    InputRow,
    LastChange,
    LoadSignature,
    NumberExplanation,
)
from orchestration_project.engine.contracts.capture_forms import ReadRecord, find_form, read_records
from orchestration_project.engine.contracts.formulas import (
    NOT_DECLARED,
    ROW,
    Formula,
    LineRules,
    Row,
    RowSet,
    SourceRows,
    TableRules,
    Value,
    are_equal,
    build_row_set,
    evaluate,
    find_columns,
    find_shared_columns,
    find_summed_columns,
    hash_formula,
    judge_line,
    parse_rules,
    read_value,
    show_value,
)
from orchestration_project.engine.packs import Blob
from orchestration_project.errors import ConfigurationError, UnknownNameError, did_you_mean
from orchestration_project.redaction import redacted
from orchestration_project.settings import PACKAGE_FOLDER
from orchestration_project.tables.catalogue import METADATA
from orchestration_project.tables.schema import HISTORY, USD_SCALE, Quantity, key_names
from orchestration_project.tables.spine import blobs, captures, deliveries, landings, load_chain

ONE = 10**USD_SCALE
"""Millionths of a quantity."""

MAX_INPUTS = 50
"""Input rows that are named; a venue has thousands."""


RULES_FILE = PACKAGE_FOLDER / "rules.json"
"""Rules of all tables, as in archives: written from the modules of the domains, whose imports take
longer than an explanation."""


def read_rules() -> dict[str, TableRules]:
    """Return the rules of all tables, by table."""
    declared = json.loads(RULES_FILE.read_text())["tables"]
    return {name: parse_rules(rules, METADATA.tables[name]) for name, rules in declared.items()}


@dataclass(frozen=True)
class Number:
    """A number to explain.

    Attributes:
        rules: Rules of its table.
        source: Rules of the table of its input rows.
        key: Texts of its row's key, by column.
        column: Its column.
    """

    rules: TableRules
    source: TableRules
    key: Mapping[str, str]
    column: str

    @property
    def formula(self) -> Formula:
        """The formula of the column."""
        return self.rules.columns[self.column]

    @property
    def partition(self) -> str:
        """Key of its partition."""
        return "|".join(self.key[name] for name in self.rules.partition)

    @cached_property
    def wider(self) -> Sequence[Sequence[str]]:
        """The columns that rows beyond those of the key share which the formula reads.

        None where it reads records of captures.
        """
        if self.rules.rows_of is None:
            return []
        texts = set(self.of_key)
        return [names for names in find_shared_columns(self.formula) if not texts.issubset(names)]

    @cached_property
    def of_key(self) -> Sequence[str]:
        """The columns of the source that all input rows share."""
        return [name for name in self.rules.group if name in self.source.table.c]

    @property
    def shared(self) -> Sequence[str]:
        """The columns that all rows share which the formula reads."""
        return [
            name
            for name in self.of_key
            if self.is_windowed(name) or all(name in columns for columns in self.wider)
        ]

    def is_windowed(self, name: str) -> bool:
        """Whether the input rows have several days in a column."""
        return self.rules.window is not None and self.rules.window.column == name

    @property
    def reads_whole_load(self) -> bool:
        """Whether each load of the partition changes it: it reads other rows, or a derived time."""
        is_derived = self.rules.rows_of is not None
        return bool(self.wider) or (is_derived and self.formula == ["given", "loaded_at"])

    def conditions(self, table: Table, names: Sequence[str]) -> list[ColumnElement[bool]]:
        """Return the conditions that these columns of a table have the values of the key.

        Raises:
            ConfigurationError: A part of the key is not a day, or not a number.
        """
        return [table.c[name] == self.typed(name) for name in names]

    def input_conditions(self, names: Sequence[str]) -> list[ColumnElement[bool]]:
        """Return the conditions on these columns of the source, in the window if there is one."""
        window, columns = self.rules.window, self.source.table.c
        if window is None or window.column not in names:
            return self.conditions(self.source.table, names)
        day = self.typed(window.column)
        days = [day + timedelta(days=count) for count in (window.first, window.last)]
        other_names = [name for name in names if name != window.column]
        return [
            columns[window.column].between(*days),
            *self.conditions(self.source.table, other_names),
        ]

    def typed(self, name: str) -> Any:
        """Return a part of the key as its column has it.

        Raises:
            ConfigurationError: It is not a day, or not a number.
        """
        kind, text = self.rules.table.c[name].type, self.key[name]
        try:
            if isinstance(kind, Date):
                return date.fromisoformat(text)
            return int(text) if str(kind) == "BIGINT" else text
        except ValueError as error:
            raise ConfigurationError(
                f"invalid key: expected {kind} for {name}, found {text!r}",
                remedy="copy the key of an exported row, the partition first: T1|2026-10-05|AAAI",
            ) from error


def _read_absence(place: str) -> str:
    """Return why a table, or a column as table.column, has no formula."""
    return json.loads(RULES_FILE.read_text())[NOT_DECLARED].get(place, NOT_DECLARED)


def choose_number(rules: Mapping[str, TableRules], table: str, key: str, column: str) -> Number:
    """Return the number that a table, a key and a column name.

    Args:
        rules: Rules by table.
        table: One of them.
        key: Key of the row: first the partition, then the rest, as T1|2026-10-05|AAAI.
        column: Column of the table.

    Raises:
        ConfigurationError: The table or the column has no formula.
        ContractError: The key has fewer parts than the table's.
    """
    if table not in rules:
        raise UnknownNameError(
            f"invalid table {table!r}: expected one with declared formulas",
            expected=", ".join(sorted(rules)),
            found=_read_absence(table),
            remedy=did_you_mean(table, sorted(rules)),
        )
    declared = rules[table].columns
    if column not in declared:
        is_column = column in rules[table].table.c
        raise UnknownNameError(
            f"invalid column {column!r} of {table}: expected one with a declared formula",
            expected=", ".join(declared),
            found=_read_absence(f"{table}.{column}") if is_column else "no such column",
            remedy=did_you_mean(column, sorted(declared)),
        )
    chosen = rules[table]
    source = rules[chosen.source_of(column)]
    return Number(chosen, source, chosen.read_key(key), column)


def explain_number(connection: Connection, store: Captures, number: Number) -> NumberExplanation:
    """Return how a published number came about, from one state of the database.

    Raises:
        ConfigurationError: The table has no row of that key.
    """
    table, source = number.rules.table, number.source.table
    published = _read_published(connection, number)
    inputs = _read_inputs(connection, number)
    other_items = _read_others(connection, number) if number.wider else inputs
    all_count = _count_others(connection, number) if number.wider else len(inputs)
    places = list(_find_lines(connection, store, number, inputs[:MAX_INPUTS]))
    load = _find_last_load(connection, number, inputs)
    values = {**number.key, "loaded_at": read_value("", load and load.landed_at)}
    is_computed = number.rules.rows_of is not None or all(
        input_place.line for input_place in places
    )
    if number.rules.rows_of is None:
        recomputed = _read_again(places, number.formula, values)
    else:
        recomputed = evaluate(number.formula, RowSet(inputs, SourceRows(other_items), values))
    return NumberExplanation(
        table=table.name,
        key="|".join(number.key.values()),
        column=number.column,
        description=str(table.c[number.column].comment),
        formula=number.formula,
        formula_sha256=hash_formula(number.formula),
        published=show_value(published),
        recomputed=_show(table.c[number.column], recomputed),
        is_equal=is_computed and are_equal(published, recomputed),
        rows_of=source.name,
        input_count=len(inputs),
        inputs=[input_place.shown(number) for input_place in places],
        other_count=all_count - len(inputs),
        last_change=None if load is None else describe_load(connection, load),
    )


def _show(column: ColumnElement[Any], value: Value) -> Any:
    """Return a value of a column as exports have it."""
    is_whole = isinstance(column.type, Quantity) and isinstance(value, int)
    return show_value(Fraction(value) if is_whole else value)


def _read_published(connection: Connection, number: Number) -> Value:
    table = number.rules.table
    of_key = number.conditions(table, key_names(table))
    statement = select(table.c[number.column]).where(*of_key)
    row = connection.execute(statement).first()
    if row is None:
        raise ConfigurationError(
            f"invalid key of {table.name}: expected that of a row",
            expected="|".join(number.rules.group),
            found="|".join(number.key.values()),
            remedy=f"`orchestrate export {table.name}` lists its rows",
        )
    return read_value(str(table.c[number.column].type), row[0])


def _read_inputs(connection: Connection, number: Number) -> Sequence[Row]:
    """Return the rows of the key, in their order, with all that is shown of them."""
    table = number.source.table
    names = {*key_names(table), "capture_id", "known_from"}
    if number.rules.rows_of is not None:
        names |= find_columns(number.formula, table.columns.keys())
    return _read_rows(connection, table, names, number.input_conditions(number.of_key))


def _read_others(connection: Connection, number: Number) -> list[Row]:
    """Return the rows that the formula reads, with the columns alone that it reads."""
    table, shared = number.source.table, number.shared
    known_names = {name: number.key[name] for name in shared if not number.is_windowed(name)}
    names = find_columns(number.formula, table.columns.keys()) - known_names.keys()
    conditions, summed = number.input_conditions(shared), find_summed_columns(number.formula)
    if summed is None:
        rows = _read_rows(connection, table, names, conditions)
    else:
        rows = _read_sums(connection, table, names, summed, conditions)
    return [known_names | row for row in rows]


def _count_others(connection: Connection, number: Number) -> int:
    table = number.source.table
    count = select(func.count()).select_from(table)
    return connection.execute(count.where(*number.input_conditions(number.shared))).scalar_one()


HALF = 2**32
"""Sums of 64 bits are made of two halves: no database's own sum overflows then."""


def _read_sums(
    connection: Connection,
    table: Table,
    names: Collection[str],
    summed: Mapping[str, str],
    conditions: Sequence[ColumnElement[bool]],
) -> list[dict[str, Value]]:
    """Return sums of columns by the other columns, as formulas have them."""
    groups = [column for column in table.columns if column.key in names - summed.keys()]
    sums = [column for column in table.columns if column.key in summed]
    of_groups = map(_select_stored, groups)
    statement = select(func.count(), *of_groups, *chain.from_iterable(map(_sum_parts, sums)))
    rows = []
    for row_count, *stored in connection.execute(statement.where(*conditions).group_by(*groups)):
        parts = [stored[start : start + 3] for start in range(len(groups), len(stored), 3)]
        units = [
            _join_parts(part, row_count, is_complete=summed[column.key] == "sum_complete")
            for column, part in zip(sums, parts, strict=True)
        ]
        cells = zip((*groups, *sums), (*stored[: len(groups)], *units), strict=True)
        rows.append({column.key: _read_column(column, [cell])[0] for column, cell in cells})
    return rows


def _sum_parts(column: ColumnElement[Any]) -> tuple[ColumnElement[Any], ...]:
    """Return the number of a column's values, and sums of both halves of them."""
    units = type_coerce(column, BigInteger())
    high = units // HALF
    return func.count(column), func.sum(high), func.sum(units - high * HALF)


def _join_parts(parts: Sequence[Any], row_count: int, *, is_complete: bool) -> int | None:
    """Return the sum of a column; NULL where it has no value, or must be complete and is not."""
    value_count, high, low = parts
    if value_count == 0 or (is_complete and value_count < row_count):
        return None
    return int(high) * HALF + int(low)


def _read_rows(
    connection: Connection,
    table: Table,
    names: Collection[str],
    conditions: Sequence[ColumnElement[bool]],
) -> list[dict[str, Value]]:
    """Return columns of rows as formulas have them, a column at a time: it may be a whole week."""
    columns = [column for column in table.columns if column.key in names]
    statement = select(*map(_select_stored, columns)).where(*conditions)
    ordered = statement.order_by(*(table.c[name] for name in key_names(table)))
    keys = [column.key for column in columns]
    by_column = zip(*connection.execute(ordered), strict=True)
    read = map(_read_column, columns, by_column)
    return [dict(zip(keys, values, strict=True)) for values in zip(*read, strict=True)]


def _select_stored(column: ColumnElement[Any]) -> ColumnElement[Any]:
    is_quantity = isinstance(column.type, Quantity)
    return (type_coerce(column, BigInteger()) if is_quantity else column).label(column.key)


def _read_column(column: ColumnElement[Any], stored: Sequence[Any]) -> Sequence[Value]:
    if isinstance(column.type, Quantity):
        return [None if units is None else _convert_units(units) for units in stored]
    if isinstance(column.type, BigInteger | Text | Double):
        return stored
    return [read_value("", value) for value in stored]


def _convert_units(units: int) -> Fraction | int:
    """Return the quantity of millionths, as an integer where it is one: sums of these are fast."""
    shares, number = divmod(units, ONE)
    return Fraction(units, ONE) if number else shares


NO_CAPTURE: Mapping[str, Any] = {
    **dict.fromkeys(("capture_id", "sha256", "url", "fetched_at", "run_id")),
    "request": "null",
}
"""Capture of a row that is derived of other rows."""


@dataclass(frozen=True)
class InputPlace:
    """An input row, its capture, and its record there; None: ``problem`` says why."""

    row: Row
    capture: RowMapping | None
    line: ReadRecord | None
    problem: str | None
    fields: RowSet | None = None

    def shown(self, number: Number) -> InputRow:
        """Return the fields that are shown."""
        keys, capture = key_names(number.source.table), self.capture or NO_CAPTURE
        text = None if self.line is None else self.line.content.decode(errors="replace")
        return InputRow(
            key="|".join(str(self.row[name]) for name in number.source.group),
            values={
                name: _show(number.source.table.c[name], value)
                for name, value in self.row.items()
                if name not in keys and name not in ("capture_id", "known_from")
            },
            known_from=self.row["known_from"],
            capture_id=capture["capture_id"],
            sha256=capture["sha256"],
            line_number=self.line and self.line.number,
            byte_offset=None if self.line is None else self.line.offset,
            line=None if text is None else redacted(text),
            problem=self.problem,
            url=capture["url"],
            request=json.loads(capture["request"]),
            fetched_at=capture["fetched_at"],
            fetched_by=capture["run_id"],
        )


def _find_lines(
    connection: Connection, store: Captures, number: Number, rows: Sequence[Row]
) -> Iterator[InputPlace]:
    """Yield each row with its capture, and the line of it; each capture is read once."""
    if number.source.rows_of is not None:
        for row in rows:
            yield InputPlace(row, None, None, f"derived of {number.source.rows_of}: explain it")
        return
    lines = number.source.lines
    entries = {row["capture_id"] for row in rows}
    statement = (
        select(captures, *(blobs.c[name].label(f"blob_{name}") for name in Blob._fields))
        .join(blobs, blobs.c.sha256 == captures.c.sha256)
        .where(captures.c.capture_id.in_(entries))
    )
    fetched = {row["capture_id"]: row for row in connection.execute(statement).mappings()}
    contents = {name: _read_content(store, capture) for name, capture in fetched.items()}
    for row in rows:
        capture, content = fetched[row["capture_id"]], contents[row["capture_id"]]
        if isinstance(content, BlobError):
            yield InputPlace(row, capture, None, f"{content.what}: {content.found}")
        elif lines is None:
            yield InputPlace(row, capture, None, "captures whose form is not declared")
        else:
            yield _find_record(number.source, lines, content, capture, row)


def _read_content(store: Captures, capture: RowMapping) -> bytes | BlobError:
    try:
        return store.read(Blob(*(capture[f"blob_{name}"] for name in Blob._fields)))
    except BlobError as error:
        return error


def _merge_request(capture: RowMapping, row: Row) -> dict[str, Value]:
    return {**json.loads(capture["request"]), **row}


def _find_record(
    rules: TableRules, lines: LineRules, content: bytes, capture: RowMapping, row: Row
) -> InputPlace:
    """Return the place of the record of a capture that a row was read from."""
    form = find_form(content, lines.forms)
    if form is None or form.unreadable:
        problem = form.unreadable if form else "the capture has no declared form"
        return InputPlace(row, capture, None, problem)
    texts = [row[name] for name in rules.group if isinstance(rules.columns[name], str)]
    keys = {name: rules.columns[name] for name in rules.group}
    values = {"source": capture["source"], **_merge_request(capture, row)}
    records = list(read_records(content, form, texts))
    other_source_rows = SourceRows([record.fields for record in records])
    for record in records:
        fields = build_row_set(record.fields, {**record.fields, **values}, other_source_rows)
        has_key = record.fields and all(
            evaluate(formula, fields) == row[name] for name, formula in keys.items()
        )
        if has_key and judge_line(fields, lines) == ROW:
            return InputPlace(row, capture, record, None, fields)
    return InputPlace(row, capture, None, "no line of the capture has the key of the row")


def _read_again(
    places: Sequence[InputPlace], formula: Formula, given: Mapping[str, Value]
) -> Value:
    """Return a column of the row as its record has it; None: its record is missing."""
    [place] = places
    if place.fields is None:
        return None
    return evaluate(formula, replace(place.fields, given={**place.fields.given, **given}))


def _find_last_load(
    connection: Connection, number: Number, inputs: Sequence[Row]
) -> RowMapping | None:
    """Return the latest load that changed the input rows, or the others that the formula reads."""
    if number.source.rows_of is not None:
        return _load_of_derived(connection, inputs)
    table = number.source.table
    conditions = [landings.c.table_name == table.name, _is_of_partition(number, inputs)]
    has_changes = or_(
        landings.c.rows_added > 0, landings.c.rows_changed > 0, landings.c.rows_removed > 0
    )
    statement = (
        select(landings).where(*conditions, has_changes).order_by(landings.c.landed_at.desc())
    )
    loads = connection.execute(statement).mappings().all()
    moments = {row["known_from"] for row in inputs}
    history: Table | None = table.info.get(HISTORY)
    if history is not None:
        names = [name for name in number.rules.group if name in history.c]
        ended = select(func.max(history.c.known_to)).where(*number.conditions(history, names))
        moments.add(read_value("", connection.execute(ended).scalar_one()))
    of_rows = (load for load in loads if read_value("", load.landed_at) in moments)
    return next(iter(loads), None) if number.reads_whole_load else next(of_rows, None)


def _is_of_partition(number: Number, inputs: Sequence[Row]) -> ColumnElement[bool]:
    """Return the condition on loads that they are of the partition of these rows."""
    if number.rules.partition:
        return landings.c.partition_key == number.partition
    of_capture = select(deliveries.c.partition_key).join(
        captures, captures.c.group_id == deliveries.c.group_id
    )
    entries = {row["capture_id"] for row in inputs}
    return landings.c.partition_key.in_(of_capture.where(captures.c.capture_id.in_(entries)))


def _load_of_derived(connection: Connection, inputs: Sequence[Row]) -> RowMapping | None:
    """Return the latest load that derived rows are known from."""
    latest = max(row["known_from"] for row in inputs)
    of_time = select(landings).where(landings.c.landed_at == datetime.fromisoformat(latest))
    return connection.execute(of_time).mappings().first()


def describe_load(connection: Connection, load: RowMapping) -> LastChange:
    """Return a load of a table as the explanation has it."""
    published_on = connection.execute(
        select(deliveries.c.published_on).where(
            deliveries.c.group_id == load.group_id, deliveries.c.table_name == load.table_name
        )
    ).scalar()
    return LastChange(
        cause=load.change_cause,
        loaded_at=load.landed_at,
        published_on=published_on,
        group_id=load.group_id,
        run_id=load.run_id,
        signature=_find_signature(connection, load),
    )


def _find_signature(connection: Connection, load: RowMapping) -> LoadSignature | None:
    """Return the record of a load in the chain; the last one of its transaction is signed."""
    chain = load_chain.c
    of_table = chain.table_name == load.table_name
    record = connection.execute(
        select(chain.number, chain.record_sha256)
        .where(of_table, chain.group_id == load.group_id, chain.kind == "load")
        .order_by(chain.number.desc())
        .limit(1)
    ).first()
    if record is None:
        return None
    signed = connection.execute(
        select(chain.number, chain.signature, chain.public_key)
        .where(of_table, chain.number >= record.number, chain.signature.is_not(None))
        .order_by(chain.number)
        .limit(1)
    ).one()
    return LoadSignature(
        number=record.number,
        record_sha256=record.record_sha256,
        signed_number=signed.number,
        signature=signed.signature,
        public_key=signed.public_key,
    )
