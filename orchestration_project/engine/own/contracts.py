"""A declared dataset in the words of the engine: its table, contract, partitions and parser."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from typing import Any, NamedTuple

import polars as pl
from sqlalchemy import Column, Table

from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.contract import Claim, Contract, validate
from orchestration_project.engine.contracts.delimited import PLACE, REJECT, Parsed
from orchestration_project.engine.contracts.partitioning import (
    Partition,
    Partitioning,
    fill_template,
    try_parse_day,
)
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.contracts.values import try_parse_timestamp
from orchestration_project.engine.own.declarations import OTHER_FIELDS, Dataset, RowCount
from orchestration_project.engine.own.dlt_source import DltSource
from orchestration_project.engine.own.fields import ExactDecimal, Field
from orchestration_project.engine.own.formats.compressed import is_compressed
from orchestration_project.engine.own.formats.shared import build_read_error, is_json
from orchestration_project.engine.own.records import (
    Record,
    decode_document,
    expect_document,
    read_records,
)
from orchestration_project.engine.own.sources import Document, FileSource, HttpSource
from orchestration_project.errors import SourceError
from orchestration_project.tables.schema import (
    CAPTURED,
    HISTORY,
    OWN,
    PERSONAL,
    SUBJECT,
    USD_SCALE,
    FieldCheck,
    count,
    dataset_table,
    day,
    flag,
    list_source_fields,
    moment,
    quantity,
    text,
)
from orchestration_project.tables.schema import Field as TableField

MIDNIGHTS = ("T00:00:00", "T00:00:00.000", "T00:00:00.000000", "T00:00:00.000000000")
"""Ends of moments that are days, as formats without days write them."""

DAY_FIELD = "day of the partition"
"""Name of the field of a day that records do not have; no source has such a name."""


_DECLARED: dict[str, tuple[Dataset, Table, Sequence[TableField]]] = {}
"""Datasets whose tables were declared in this process, by name."""


def declare_table(dataset: Dataset, domain: str) -> tuple[Table, Sequence[TableField]]:
    """Return the table of a dataset, and the fields that fill it; it is declared once."""
    declared = _DECLARED.get(dataset.name)
    if declared is not None and declared[0] is dataset:
        return declared[1:]
    fields = [_build_table_field(field, dataset) for field in dataset.stored_fields]
    if not dataset.has_day_field:
        column = day(dataset.partitions.column, "Day of the partition", key=True)
        fields.insert(0, TableField(DAY_FIELD, column))
    key = list(dataset.key_columns)
    fields.sort(
        key=lambda each: _find_place_in_key(each, key)
    )  # the key's columns come first, in order
    comment = dataset.description or f"One row per {', '.join(key)}."
    table = dataset_table(dataset.name, comment, *fields, asset=f"{domain}/{dataset.name}")
    for item in (table, table.info[HISTORY]):
        item.info[OWN] = True
    _DECLARED[dataset.name] = (dataset, table, fields)
    return table, fields


def _find_place_in_key(field: TableField, key: Sequence[str]) -> int:
    return key.index(field.column.key) if field.column.key in key else len(key)


def _build_table_field(field: Field, dataset: Dataset) -> TableField:
    """Return a field with its column."""
    is_number = field.kind in ("integer", "decimal")
    column = make_column(field, is_key=field.name in dataset.key_columns)
    if field.subject:
        column.info[CAPTURED] = _locate_records(field, dataset)
    return TableField(
        field.source_name,
        column,
        scale=USD_SCALE if field.kind == "decimal" else 0,
        is_signed=is_number,
        checks=[*list_size_checks(field), *field.checks],
        formula=field.formula,
    )


def _locate_records(field: Field, dataset: Dataset) -> Mapping[str, Any]:
    """Return where captured bytes have the records of a subject, as JSON can have it."""
    reading = dataset.source.reading
    kinds = {HttpSource: "http", FileSource: "files", DltSource: "dlt"}
    source = kinds[type(dataset.source)]
    names = {"source": source, "dataset": dataset.name}
    if reading.format == "csv":
        return {**names, "delimiter": reading.delimiter, "field": field.source_name}
    records = [name for name in reading.records.split(".") if name]
    return {**names, "records": records, "path": field.source_name.split(".")}


def make_column(field: Field, *, is_key: bool) -> Column[Any]:
    """Return the column that a declared field becomes."""
    column = _build_column(field, is_key=is_key)
    column.info |= {SUBJECT: field.subject} if field.subject else {}
    column.info |= {PERSONAL: True} if field.personal else {}
    return column


def _build_column(field: Field, *, is_key: bool) -> Column[Any]:
    description, is_optional = field.description, field.optional
    match field.kind:
        case "integer":
            return count(field.name, description, key=is_key, optional=is_optional)
        case "date":
            return day(field.name, description, key=is_key, optional=is_optional)
        case "timestamp":
            return moment(field.name, description, key=is_key, optional=is_optional)
        case "boolean":
            return flag(field.name, description, optional=is_optional)
        case "decimal":
            return quantity(field.name, description, optional=is_optional)
        case _:
            return text(
                field.name, description, key=is_key, optional=is_optional, from_senders=True
            )


def list_size_checks(field: Field) -> Sequence[FieldCheck]:
    """Return the checks that a decimal has no more digits than declared."""
    if not isinstance(field.type, ExactDecimal):
        return ()
    digits, places = field.type.digits, field.type.places
    says = f"a number with up to {places} decimals, below {field.type.limit:f}"
    return (
        FieldCheck("too_many_decimals", "places", (places,), says),
        FieldCheck("too_many_digits", "below", (field.type.limit,), f"{says}, of {digits} digits"),
    )


def build_partitioning(dataset: Dataset) -> Partitioning:
    """Return the partitions of a dataset."""
    declared = dataset.partitions
    return Partitioning(
        dataset.name,
        declared.calendar,
        day_column=declared.column,
        value_column=declared.value_column,
        values=declared.values,
        row_day=declared.row_day,
    )


def build_contract(
    dataset: Dataset, table: Table, fields: Sequence[TableField], code: bytes
) -> Contract:
    """Return the contract of a delivery; ``code`` is the file that declares the dataset."""
    counted = next((check for check in dataset.checks if isinstance(check, RowCount)), None)
    return Contract(
        table,
        list_source_fields(fields),
        derived=[
            replace(field, scale=0, is_signed=True) for field in fields if field.formula is not None
        ],
        partition_fields=[find_day_field(dataset), *find_value_fields(dataset)],
        claims=tuple(check for check in dataset.checks if isinstance(check, Claim)),
        rule_version=dataset.rule_version or hash_rules(dataset, code),
        has_record_total=dataset.has_total,
        row_limits=None if counted is None else (counted.min, counted.max),
    )


def hash_rules(dataset: Dataset, code: bytes) -> str:
    """Return a hash of all that could make other rows of the same bytes.

    With a function of the project that is the whole file, as it may call others.
    """
    rows = [
        (
            *(field.name, field.kind, str(field.type), field.source_name, field.optional),
            *(field.checks, *([] if field.formula is None else [json.dumps(field.formula)])),
        )
        for field in dataset.stored_fields
    ]
    reading = dataset.source.reading
    read = (reading.format, sorted(reading.options.items()))
    further = dataset.source.code if isinstance(dataset.source, DltSource) else b""
    rules = repr((dataset.key_columns, rows, read, code + further if reading.parse else b""))
    return sha256(rules.encode()).hexdigest()[:12]


def find_day_field(dataset: Dataset) -> str:
    """Return the field of records that has the day of their partition."""
    column = dataset.partitions.column
    return next(
        (field.source_name for field in dataset.source_fields if field.name == column), DAY_FIELD
    )


def find_value_fields(dataset: Dataset) -> Sequence[str]:
    """Return the field of records that has the other value of their partition, if there is one."""
    column = dataset.partitions.value_column
    return [field.source_name for field in dataset.source_fields if field.name == column]


def iterate_records(dataset: Dataset, body: bytes) -> Iterator[Record]:
    """Yield the records of a document.

    Raises:
        SourceError: The document cannot be read.
    """
    records = _read_declared(dataset, body)
    if isinstance(dataset.source, HttpSource) and dataset.source.documents:
        records = _check_one_document(records, find_day_field(dataset), dataset.source.documents)
    expects = dataset.source.reading.expects
    return expect_document(records, expects) if expects else records


def _check_one_document(
    records: Iterator[Record], name: str, documents: Sequence[Document]
) -> Iterator[Record]:
    """Yield the records of a document that has several partitions.

    Raises:
        SourceError: One has no day, or a day of another document, as their names say.
    """
    fitting: set[tuple[str, str]] | None = None
    known_name = ""
    for record in records:
        text = find_day_text(record, name)
        if not record.left_out and text != known_name:
            day = try_parse_day(text)
            if day is None:
                raise build_read_error("records that have a day, yyyy-mm-dd", ascii(text[:200]))
            of_day = {(document.name, fill_template(document.name, day)) for document in documents}
            fitting = of_day if fitting is None else fitting & of_day
            if not fitting:
                raise build_read_error("days of one document", f"{known_name} and {text}")
            known_name = text
        yield record


def find_day_text(record: Record, name: str) -> str:
    """Return the day of a record as it is written; a line of too many fields may begin with it."""
    return (dict([record.first]) if record.texts is None else record.texts).get(name, "")


def _read_declared(dataset: Dataset, body: bytes) -> Iterator[Record]:
    may_lack = dataset.missing_fields == "ignore"
    reads_all = may_lack or dataset.new_fields != "ignore"
    json_names = [field.source_name for field in dataset.source_fields if field.kind == "json"]
    places = dataset.source.reading.names or {}
    reading = replace(
        dataset.source.reading,
        reads_all=reads_all,
        json_names=frozenset(places.get(name, name) for name in json_names),
    )
    required = [field for field in dataset.source_fields if not (may_lack and field.optional)]
    names = [own_field.source_name for own_field in required]
    subject = next((field.name for field in dataset.source_fields if field.subject), "")
    if subject and is_compressed(body):
        raise build_read_error(f"bytes out of which records of {subject} can be cut", "gzip or zip")
    days = [field.source_name for field in dataset.source_fields if field.kind == "date"]
    for record in read_records(body, reading, names):
        with_others = record if dataset.new_fields == "ignore" else _collect_others(dataset, record)
        checked = _check_json(with_others, json_names) if json_names else with_others
        yield _trim_midnights(checked, days) if days else checked


def _check_json(record: Record, names: Sequence[str]) -> Record:
    """Return a record that is a reject if one of its fields of JSON is not JSON."""
    texts = {} if record.left_out else record.texts or {}
    wrong = next((name for name in names if texts.get(name) and not is_json(texts[name])), None)
    if wrong is None:
        return record
    reason = f"{wrong} is not JSON: {texts[wrong][:MAX_SHOWN_CHARACTERS]}"
    return record._replace(texts=None, problem=("not_json", reason))


def _collect_others(dataset: Dataset, record: Record) -> Record:
    """Return a record in which the fields that are not declared are one, as JSON.

    Raises:
        SourceError: There are such fields, and the dataset refuses them.
    """
    names = {field.source_name for field in dataset.source_fields}
    other_names = {name: text for name, text in (record.texts or {}).items() if name not in names}
    if other_names and not dataset.collects:
        raise SourceError(
            "the source has fields that the declaration does not name",
            expected=", ".join(sorted(names)),
            found=", ".join(sorted(other_names)[:20]),
            remedy='declare them, or choose new_fields="ignore" or "collect"',
        )
    if record.texts is None or not other_names:
        return record
    collected = json.dumps(other_names, sort_keys=True, ensure_ascii=False)
    return record._replace(texts={**record.texts, OTHER_FIELDS: collected})


def _trim_midnights(record: Record, names: Sequence[str]) -> Record:
    """Return a record in which a midnight without zone is the day, for fields that are days."""
    texts = record.texts or {}
    if not any(texts.get(name, "").endswith(MIDNIGHTS) for name in names):
        return record
    values = {
        name: texts[name][: -len(midnight)]
        for name in names
        for midnight in MIDNIGHTS
        if texts.get(name, "").endswith(midnight)
    }
    return record._replace(texts={**texts, **values})


def build_partition_filter(dataset: Dataset, partition: Partition) -> Callable[[Record], bool]:
    """Return whether a record belongs to a partition.

    One whose day cannot be read belongs to each: it is rejected, not left out.
    """
    name = find_day_field(dataset) if dataset.has_day_field else ""
    expected_day = dataset.partitions.row_day(partition.day)
    text, values = expected_day.isoformat(), find_value_fields(dataset)

    def is_own(record: Record) -> bool:
        texts = record.texts
        if record.left_out or (
            texts and any(texts.get(value) != partition.value for value in values)
        ):
            return False
        if not name:
            return True
        day = find_day_text(record, name)
        return day == text or try_parse_day(day) in (None, expected_day)

    return is_own


MAX_SHOWN_CHARACTERS = 100

LOADED_BEFORE = "loaded_before"
"""Why records of an incremental source are left out that the partition before has."""


class Progress(NamedTuple):
    """The greatest value of the field that grows, and the keys of the records that have it."""

    value: str
    keys: Sequence[str] = ()


def exclude_known(
    dataset: Dataset, records: Iterable[Record], before: Progress | None
) -> Iterator[Record]:
    """Yield records, those left out that the partition before has.

    Raises:
        SourceError: A record is older than what was requested, or does not say how old it is.
    """
    field = dataset.growing_field
    if field is None or before is None:
        yield from records
        return
    known_names, start = set(before.keys), _parse_comparable(field, before.value)
    for record in records:
        if record.texts is None or record.left_out:
            yield record
            continue
        comparable = _parse_comparable(field, record.texts.get(field.source_name, ""))
        if comparable < start:
            raise SourceError(
                "the source sent a record that is older than what was requested",
                expected=f"{field.source_name} from {before.value} on",
                found=record.texts[field.source_name],
                remedy="see the answer among the captures; correct the parameter of incremental",
            )
        is_known = comparable == start and _hash_key(dataset, record) in known_names
        yield record._replace(left_out=LOADED_BEFORE) if is_known else record


def compute_progress(dataset: Dataset, bodies: Sequence[bytes], before: Progress) -> Progress:
    """Return the greatest value of documents and of those before, with the keys that have it."""
    field = dataset.growing_field
    assert field is not None  # noqa: S101 - of an incremental source alone
    greatest, keys = before, set(before.keys)
    for body in bodies:
        for record in iterate_records(dataset, body):
            text = (record.texts or {}).get(field.source_name, "")
            if record.texts is None or record.left_out:
                continue
            comparable, earlier = (
                _parse_comparable(field, text),
                _parse_comparable(field, greatest.value),
            )
            if comparable > earlier:
                greatest, keys = Progress(text), set()
            if comparable >= earlier:
                keys.add(_hash_key(dataset, record))
    return Progress(greatest.value, sorted(keys))


def _parse_comparable(field: Field, text: str) -> Any:
    """Return a value of the field that grows, in a form that orders it.

    Raises:
        SourceError: It is none.
    """
    readers = {"integer": int, "date": date.fromisoformat, "timestamp": try_parse_timestamp}
    try:
        comparable = readers[field.kind](text)
    except ValueError:
        comparable = None
    if comparable is None:
        raise build_read_error(
            f"{field.source_name}: a value of the type {field.kind}", ascii(text[:200])
        )
    return comparable


def _hash_key(dataset: Dataset, record: Record) -> str:
    """Return a short hash of a record's key, but for the day of the partition."""
    texts = record.texts or {}
    key = [
        texts.get(field.source_name, "")
        for field in dataset.source_fields
        if field.name in dataset.key
    ]
    return sha256(json.dumps(key).encode()).hexdigest()[:16]


def compute_version(
    dataset: Dataset,
    bodies: Sequence[bytes],
    partition: Partition,
    before: Progress | None = None,
) -> str | None:
    """Return the state of a partition in documents, as a hash of its records; None: it has none.

    ``before`` is what an incremental source had at the partition before.

    Raises:
        SourceError: A document cannot be read.
    """
    is_own = build_partition_filter(dataset, partition)
    names = [
        json.dumps(record.texts, sort_keys=True) + record.problem[0]
        for body in bodies
        for record in exclude_known(dataset, iterate_records(dataset, body), before)
        if is_own(record)
    ]
    if not names:
        return None
    digest = sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]
    return f"{len(names)} records, {digest}"


def parse_delivery(
    dataset: Dataset,
    parts: Sequence[Part],
    partition: Partition,
    before: Progress | None = None,
) -> Parsed:
    """Return the records of a partition as texts, in a row for each.

    ``before`` is what an incremental source had at the partition before.

    Where `Reading.quotes_records`, lines of the partition are quoted below a header.

    Raises:
        SourceError: A part cannot be read.
    """
    names = [field.source_name for field in dataset.stored_fields if field.formula is None]
    rows: list[tuple[Any, ...]] = []
    rejects: list[tuple[Any, ...]] = []
    reading = dataset.source.reading
    has_others = dataset.has_day_field or dataset.partitions.value_column
    filtered = Counter[str](other_days=0) if has_others else Counter[str]()
    filtered.update(dict.fromkeys(reading.filters, 0))
    filtered.update({LOADED_BEFORE: 0} if dataset.growing_field else {})
    quoted: list[Part] = []
    is_own = build_partition_filter(dataset, partition)
    for part in parts:
        lines = [",".join(names)] if reading.quotes_records else []
        for record in exclude_known(dataset, iterate_records(dataset, part.body), before):
            is_of_day = is_own(record)
            if not reading.quotes_records:
                lines += [""] * (record.line_number - 1 - len(lines))
                lines.append(json.dumps(record.texts or record.problem[1], sort_keys=True))
            elif is_of_day:
                lines.append(_join_values(record, names))
            number = len(lines) if reading.quotes_records else record.line_number
            pair = (part.part_number, number)
            if not is_of_day:
                filtered[record.left_out or "other_days"] += 1
            elif record.texts is None:
                rejects.append((*pair, *record.problem))
            else:
                rows.append((*pair, *(record.texts.get(name, "") for name in names)))
        quoted.append(Part(part.part_number, _quote_records(dataset, part.body, lines)))
    frame = pl.DataFrame(rows, PLACE | dict.fromkeys(names, pl.String()), orient="row")
    frame = frame.with_columns(
        pl.when(pl.col(field.source_name).is_in(reading.null_values))
        .then(pl.lit(""))
        .otherwise(field.source_name)
        .alias(field.source_name)
        for field in dataset.source_fields
        if field.optional and reading.null_values
    )
    if not dataset.has_day_field:
        expected_day = dataset.partitions.row_day(partition.day)
        frame = frame.with_columns(pl.lit(expected_day.isoformat()).alias(DAY_FIELD))
    return Parsed(
        frame,
        pl.DataFrame(rejects, REJECT, orient="row"),
        parts=quoted,
        filtered=filtered,
    )


def _join_values(record: Record, names: Sequence[str]) -> str:
    """Return the values of a record as one line."""
    texts = record.texts or {}
    return " ".join(",".join(texts.get(name, "") for name in names).splitlines())


def _quote_records(dataset: Dataset, body: bytes, records: Sequence[str]) -> bytes:
    """Return the text that the line numbers of records are counted in."""
    reading = dataset.source.reading
    is_as_it_is = reading.format == "csv" and not reading.quotes_records
    return decode_document(body, reading) if is_as_it_is else "\n".join(records).encode()


def validate_documents(
    dataset: Dataset,
    contract: Contract,
    bodies: Sequence[bytes],
    partition: Partition,
    before: Progress | None = None,
) -> Validated:
    """Return the rows, rejects and audits of documents, as a load of the partition has them.

    Raises:
        SourceError: A document cannot be read.
    """
    parts = [Part(number, body) for number, body in enumerate(bodies, 1)]
    parsed = parse_delivery(dataset, parts, partition, before)
    return validate(
        contract,
        parsed,
        parts,
        partition_texts=build_partitioning(dataset).texts_of(partition),
        record_total=None,
        max_reject_ratio=dataset.max_reject_ratio,
    )


@dataclass(frozen=True)
class RowDifference:
    """Rows by what a load would do with them."""

    added: int
    changed: int
    removed: int
    unchanged: int

    def __str__(self) -> str:
        return (
            f"{self.added} rows added, {self.changed} changed, {self.removed} removed, "
            f"{self.unchanged} unchanged"
        )


def compare_rows(validated: Validated, loaded: pl.DataFrame, key: Sequence[str]) -> RowDifference:
    """Return the difference of a delivery from the loaded rows of its partition."""
    return compare_frames(validated.rows.drop("part_number"), loaded, key)


def compare_frames(rows: pl.DataFrame, loaded: pl.DataFrame, key: Sequence[str]) -> RowDifference:
    """Return the difference of rows from the loaded ones."""
    names = [name for name in rows.columns if name not in key]
    now, before = rows, loaded.select(rows.columns).cast(rows.schema)
    frame = now.join(before, on=list(key), how="inner", suffix=" before")
    same = frame.filter(
        pl.all_horizontal(
            pl.lit(value=True),
            *(pl.col(name).eq_missing(pl.col(f"{name} before")) for name in names),
        )
    )
    return RowDifference(
        added=len(now) - len(frame),
        changed=len(frame) - len(same),
        removed=len(before) - len(frame),
        unchanged=len(same),
    )


class Judged(NamedTuple):
    """Rows and rejects that a load would make of documents.

    Attributes:
        rows: The rows, by column.
        rejects: Reason code and reason of each record that is rejected.
        failed: Names of the checks of the delivery that fail; one of them quarantines it.
    """

    rows: Sequence[Mapping[str, Any]]
    rejects: Sequence[tuple[str, str]]
    failed: Sequence[str]
