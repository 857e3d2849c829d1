"""Explanation of a value of a declared table: its field, the raw record, and what both make."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
from sqlalchemy import BigInteger, Connection, Date, RowMapping, Select, Table, select

from orchestration_project.engine.captures import BlobError, Captures
from orchestration_project.engine.contracts.api.explanation import (
    InputRow,
    LastChange,
    NumberExplanation,
)
from orchestration_project.engine.contracts.contract import split_rows
from orchestration_project.engine.contracts.delimited import REJECT, Parsed
from orchestration_project.engine.contracts.field_formulas import list_row_columns
from orchestration_project.engine.contracts.formulas import hash_formula
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.dlt_deliveries import parse_recorded
from orchestration_project.engine.own.contracts import build_contract, build_partitioning
from orchestration_project.engine.own.dlt_source import DltSource
from orchestration_project.engine.own.fields import Field
from orchestration_project.engine.own_sources import Declaration, load_declarations
from orchestration_project.engine.packs import Blob
from orchestration_project.errors import (
    ConfigurationError,
    SourceError,
    UnknownNameError,
    did_you_mean,
)
from orchestration_project.redaction import redacted
from orchestration_project.services.explanation import describe_load
from orchestration_project.tables.schema import UtcTimestamp, key_names
from orchestration_project.tables.spine import blobs, captures, landings


def find_own(table: str) -> Declaration | None:
    """Return the declaration of a table that the project declares; None: it declares none."""
    return next(
        (declaration for declaration in load_declarations() if declaration.dataset.name == table),
        None,
    )


def explain_own(
    connection: Connection, store: Captures, declared: Declaration, key: str, column: str
) -> NumberExplanation:
    """Return how a value came about: the declared field, and the record of the capture.

    Raises:
        ConfigurationError: The table has no such column or row.
    """
    table, dataset = declared.table, declared.dataset
    fields = {field.name: field for field in dataset.stored_fields}
    if column not in table.c or column != dataset.partitions.column:
        require_field(table, column, fields)
    row = read_row(connection, table, key)
    capture, record = _read_record(connection, store, declared, row)
    field = fields.get(column)
    formula = _describe_formula(declared, field)
    read = [column] if field is None or field.formula is None else list_row_columns(field.formula)
    names = [fields[name].source_name for name in read if name in fields]
    recomputed = record.values.get(column) if record.values else None
    return NumberExplanation(
        table=table.name,
        key=key,
        column=column,
        description=str(table.c[column].comment),
        formula=formula,
        formula_sha256=hash_formula(formula),
        published=format_value(row[column]),
        recomputed=format_value(recomputed),
        is_equal=record.values is not None and recomputed == row[column],
        rows_of=table.name,
        input_count=1,
        inputs=[record.shown(key, row, capture, names)],
        other_count=0,
        last_change=_find_last_change(connection, declared, row),
    )


class _Record:
    """The record of a capture that a row was read from, or why it is missing.

    Attributes:
        values: Values that it makes, by column; None: it is missing.
        texts: Its texts, by the source's names.
        line: Number of its line, from 1.
        content: Its line.
        problem: Why it is missing.
    """

    def __init__(self, problem: str | None = None) -> None:
        self.problem = problem
        self.values: Mapping[str, Any] | None = None
        self.texts: Mapping[str, Any] = {}
        self.line: int | None = None
        self.content: str | None = None

    def shown(
        self, key: str, row: RowMapping, capture: RowMapping, names: Sequence[str]
    ) -> InputRow:
        """Return the record as an input row; its values are the texts of these fields."""
        return InputRow(
            key=key,
            values={name: redacted(str(self.texts[name])) for name in names if name in self.texts},
            known_from=row["known_from"].astimezone(UTC),
            capture_id=capture["capture_id"],
            sha256=capture["sha256"],
            line_number=self.line,
            byte_offset=None,
            line=None if self.content is None else redacted(self.content),
            problem=self.problem,
            url=capture["url"],
            request=json.loads(capture["request"]),
            fetched_at=capture["fetched_at"],
            fetched_by=capture["run_id"],
        )


def _describe_formula(declared: Declaration, field: Field | None) -> list[Any]:
    """Return the declaration of a field as data; None: the day of the partition."""
    reading = declared.dataset.source.reading
    read = {"declared_in": declared.file, "format": reading.format or "parse="}
    if field is None:
        return ["partition", read]
    kind = str(field.type) if field.kind == "decimal" else field.kind
    values = {"type": kind, "checks": [check.says for check in field.checks]}
    if field.formula is not None:
        return ["derived", field.formula, {**values, "is_optional": field.optional}]
    return ["field", field.source_name, {**read, **values, "is_optional": field.optional}]


def require_field(table: Table, column: str, fields: Collection[str]) -> None:
    """Make sure that a column of a table is one of its declared fields.

    Raises:
        UnknownNameError: It is not.
    """
    if column not in fields:
        raise UnknownNameError(
            f"invalid column {column!r} of {table.name}: expected a declared field",
            expected=", ".join(fields),
            found=column,
            remedy=did_you_mean(column, list(fields)),
        )


def format_value(value: Any) -> Any:
    """Return a value as JSON has it: a decimal, day or time as text."""
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def read_row(connection: Connection, table: Table, key: str) -> RowMapping:
    """Return the row of a key.

    Raises:
        ConfigurationError: There is none.
    """
    names = key_names(table)
    parts = key.split("|", len(names) - 1)
    row = None
    try:
        if len(parts) == len(names):
            typed = {
                name: _parse_part(table, name, text)
                for name, text in zip(names, parts, strict=True)
            }
            conditions = [table.c[name] == value for name, value in typed.items()]
            row = connection.execute(_select_columns(table).where(*conditions)).mappings().first()
    except ValueError:  # of a part that is neither day nor number
        pass
    if row is None:
        raise ConfigurationError(
            f"invalid key of {table.name}: expected that of a row",
            expected="|".join(names),
            found=key,
            remedy=f"`orchestrate export {table.name}` lists its rows",
        )
    return row


def _select_columns(table: Table) -> Select[Any]:
    return select(*(column.label(column.key) for column in table.columns))


def _parse_part(table: Table, name: str, text: str) -> Any:
    """Return a part of a key as its column has it."""
    kind = table.c[name].type
    if isinstance(kind, Date):
        return date.fromisoformat(text)
    if isinstance(kind, UtcTimestamp):
        return datetime.fromisoformat(text)
    return int(text) if isinstance(kind, BigInteger) else text


def _read_record(
    connection: Connection, store: Captures, declared: Declaration, row: RowMapping
) -> tuple[RowMapping, _Record]:
    """Return the capture of a row, and its record there."""
    names = [blobs.c[name].label(f"blob_{name}") for name in Blob._fields]
    query = select(captures, *names).join(blobs, blobs.c.sha256 == captures.c.sha256)
    statement = query.where(captures.c.capture_id == row["capture_id"])
    capture = connection.execute(statement).mappings().one()
    of_group = [capture]
    source = declared.dataset.source
    if isinstance(source, DltSource) and source.captures_answers:  # which ask one after the other
        group = captures.c.group_id == capture["group_id"]
        ordered = query.where(group).order_by(captures.c.part_number)
        of_group = connection.execute(ordered).mappings().all()
    try:
        parts = [_read_part(store, item) for item in of_group]
        parsed = parse_recorded(declared.dataset, parts, _read_partition(declared, row))
    except (BlobError, SourceError) as error:
        return capture, _Record(str(error))
    return capture, _find_record(declared, parsed, parts, row, capture["part_number"])


def _read_part(store: Captures, capture: RowMapping) -> Part:
    """Return a capture as a part of its delivery.

    Raises:
        BlobError: The store does not have the bytes.
    """
    return Part(
        capture["part_number"],
        store.read(Blob(*(capture[f"blob_{name}"] for name in Blob._fields))),
        url=capture["url"],
        request=json.loads(capture["request"]),
        response_headers=json.loads(capture["response_headers"]),
        http_status=capture["http_status"],
    )


def _read_partition(declared: Declaration, row: RowMapping) -> Partition:
    partitioning = build_partitioning(declared.dataset)
    day, *value = (row[name] for name in partitioning.columns)
    return Partition(partitioning.day_of_rows(day) or day, *value)


def _find_record(
    declared: Declaration,
    parsed: Parsed,
    parts: Sequence[Part],
    row: RowMapping,
    part_number: int,
) -> _Record:
    """Return the record that makes a row of the same key."""
    keys = key_names(declared.table)
    contract = build_contract(declared.dataset, declared.table, declared.fields, declared.code)
    texts = build_partitioning(declared.dataset).texts_of(_read_partition(declared, row))
    candidates = parsed.rows.filter(pl.col("part_number") == part_number)
    for field in declared.fields:
        if field.column.key in keys and isinstance(row[field.column.key], str):
            name = pl.col(field.name).str.strip_chars()
            candidates = candidates.filter(name == row[field.column.key])
    for iter_slice in candidates.iter_slices(1):
        alone = Parsed(iter_slice, pl.DataFrame(schema=REJECT), parts=parsed.parts)
        entries = split_rows(contract, alone, parts, partition_texts=texts).rows.to_dicts()
        if entries and all(entries[0][name] == row[name] for name in keys):
            return _build_record(declared, entries[0], iter_slice.to_dicts()[0], parsed)
    return _Record("no record of the capture makes a row of this key by the present declaration")


def _build_record(
    declared: Declaration, values: Mapping[str, Any], texts: Mapping[str, Any], parsed: Parsed
) -> _Record:
    record = _Record()
    record.values, record.texts = values, texts
    record.line = number = int(texts["line_number"])
    body = next(part.body for part in parsed.parts if part.part_number == texts["part_number"])
    reading = declared.dataset.source.reading
    is_as_it_is = reading.format == "csv" and not reading.quotes_records
    lines = body.decode(reading.encoding if is_as_it_is else "utf-8", errors="replace")
    record.content = lines.splitlines()[number - 1]
    return record


def _find_last_change(
    connection: Connection, declared: Declaration, row: RowMapping
) -> LastChange | None:
    """Return the load that wrote a row; None: it is not recorded."""
    key = build_partitioning(declared.dataset).key_of(_read_partition(declared, row))
    load = (
        connection.execute(
            select(landings).where(
                landings.c.table_name == declared.table.name,
                landings.c.partition_key == key,
                landings.c.landed_at == row["known_from"],
            )
        )
        .mappings()
        .first()
    )
    return None if load is None else describe_load(connection, load)
