"""Records of a document in a declared format, and the count of records apart from that."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from orchestration_project.engine.contracts.balance import NOT_COUNTED, CountRecords, RecordCount
from orchestration_project.engine.own.formats import (
    html_tables,
    json_documents,
    lines,
    parquet_files,
    workbooks,
    xml_documents,
)
from orchestration_project.engine.own.formats.compressed import find_end, is_zip, unpack_document
from orchestration_project.engine.own.formats.json_documents import find_member, read_json
from orchestration_project.engine.own.formats.shared import (
    Record,
    build_read_error,
    decode_text,
    format_value,
    replace_commas,
)
from orchestration_project.engine.own.reading import Reading
from orchestration_project.errors import SourceError

__all__ = [
    "Record",
    "build_counter",
    "decode_document",
    "expect_document",
    "find_member",
    "read_json",
    "read_records",
]

Read: TypeAlias = Callable[[bytes, Reading, Sequence[str]], Iterator[Record]]
Count: TypeAlias = Callable[[bytes, Reading], RecordCount]


@dataclass(frozen=True)
class Format:
    """Functions of a format: one reads records, one counts them apart from that."""

    read: Read
    count: Count


FORMATS: Mapping[str, Format] = {
    "csv": Format(lines.read_csv, lines.count_csv),
    "fixed_width": Format(lines.read_fixed, lines.count_fixed),
    "html": Format(html_tables.read, html_tables.count),
    "json": Format(json_documents.read, json_documents.count),
    "ndjson": Format(json_documents.read_lines, json_documents.count_lines),
    "parquet": Format(parquet_files.read, parquet_files.count),
    "xlsx": Format(workbooks.read, workbooks.count),
    "xml": Format(xml_documents.read, xml_documents.count),
}


def decode_document(body: bytes, reading: Reading) -> bytes:
    """Return a document without compression, its text in UTF-8.

    Raises:
        SourceError: It is damaged, or in another encoding.
    """
    document = unpack_document(body, reading)
    if reading.encoding == "utf-8":
        return document
    return decode_text(document, reading.encoding).encode()


def read_records(body: bytes, reading: Reading, names: Sequence[str]) -> Iterator[Record]:
    """Yield the records of a document.

    Args:
        body: The document, as it was captured.
        reading: How it is read.
        names: What the source calls the fields.

    Raises:
        SourceError: It is not in the format, or lacks a field.
    """
    if reading.parse is not None:
        return _parse_records(body, reading)
    form = _choose_form(body, reading)
    return _read(body, form, names)


def _choose_form(body: bytes, reading: Reading) -> Reading:
    """Return the way to read a document, of those that a declaration has."""
    if reading.zipped is None or not is_zip(body):
        return reading
    return replace(
        reading.zipped,
        null_values=reading.null_values,
        skip_blank=reading.skip_blank,
        extract=reading.extract,
    )


def _read(body: bytes, reading: Reading, names: Sequence[str]) -> Iterator[Record]:
    extract = reading.extract or {}
    whole = [*names, *(name for name, _ in extract.values())]
    read = [name for name in dict.fromkeys(whole) if name not in extract]
    places = {name: (reading.names or {}).get(name, name) for name in read}
    records = FORMATS[reading.format].read(
        decode_document(body, reading), reading, list(places.values())
    )
    if reading.decimal_comma:
        records = map(replace_commas, records)
    if reading.names:
        records = (_rename_fields(record, places) for record in records)
    if extract:
        patterns = {name: (field, re.compile(form)) for name, (field, form) in extract.items()}
        records = (_extract_fields(record, patterns) for record in records)
    return (
        (_exclude_blank(record, reading.skip_blank) for record in records)
        if reading.skip_blank
        else records
    )


def _rename_fields(record: Record, places: Mapping[str, str]) -> Record:
    """Return a record under the names in ``places``, whose values are those of the document."""
    if record.left_out:
        return record
    if record.texts is None:
        name = next((name for name, place in places.items() if place == record.first[0]), "")
        return record._replace(first=(name, record.first[1]))
    get = record.texts.get
    texts = {name: get(place, "") for name, place in places.items()}
    return Record(record.line_number, texts, record.problem)


def _extract_fields(record: Record, patterns: Mapping[str, tuple[str, re.Pattern[str]]]) -> Record:
    """Return a record with the fields that are parts of others."""
    if record.texts is None:
        return record
    texts = dict(record.texts)
    for name, (field, pattern) in patterns.items():
        match = pattern.search(texts.get(field, ""))
        texts[name] = (match[1] or "").strip() if match else ""
    return record._replace(texts=texts)


def _exclude_blank(record: Record, name: str) -> Record:
    is_blank = record.texts is not None and not record.left_out and not record.texts.get(name)
    return record._replace(left_out="blank") if is_blank else record


def expect_document(records: Iterator[Record], expects: str) -> Iterator[Record]:
    """Yield the records of a document.

    Raises:
        SourceError: It is not what the declaration ``expects``.
    """
    document, _, form = expects.partition(": ")
    is_empty = True
    try:
        for record in records:
            is_empty = False
            yield record
        if is_empty:
            raise build_read_error("at least one record", "none")
    except SourceError as error:
        raise SourceError(
            f"the answer is not {document}",
            expected=form or error.expected,
            found=error.found,
            remedy=error.remedy,
        ) from error


def _parse_records(body: bytes, reading: Reading) -> Iterator[Record]:
    assert reading.parse is not None  # noqa: S101 - the caller has looked
    try:
        entries = list(reading.parse(body))
    except Exception as error:
        raise SourceError(
            "parse= failed",
            expected="records of the document, as mappings",
            found=f"{type(error).__name__}: {error}",
            remedy="see the document among the captures, and correct parse=",
        ) from error
    for number, record in enumerate(entries, 1):
        if not isinstance(record, Mapping):
            raise build_read_error("parse= that yields mappings", f"{type(record).__name__}")
        yield Record(number, {str(name): format_value(value) for name, value in record.items()})


def build_counter(reading: Reading) -> CountRecords | None:
    """Return the counter of records in captured bytes; None: they cannot be counted apart."""
    if reading.parse is not None:
        return NOT_COUNTED

    def count(body: bytes) -> RecordCount:
        form = _choose_form(body, reading)
        try:
            document = decode_document(body, form)
        except SourceError:
            return 0, 0
        records, understood = FORMATS[form.format].count(document, form)
        return records, find_end(body) - (len(document) - understood)

    return count
