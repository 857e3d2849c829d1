"""Records of a document in a declared format, and the count of records apart from that."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from orchestration_project.contracts.balance import NOT_COUNTED, CountRecords, RecordCount
from orchestration_project.errors import SourceError
from orchestration_project.own.formats import (
    html_tables,
    json_documents,
    lines,
    parquet_files,
    workbooks,
    xml_documents,
)
from orchestration_project.own.formats.compressed import unpacked
from orchestration_project.own.formats.json_documents import at_path, loaded_json
from orchestration_project.own.formats.shared import (
    Record,
    decoded,
    text_of,
    unreadable,
    with_points,
)
from orchestration_project.own.reading import Reading

__all__ = ["Record", "at_path", "counter_of", "document_of", "loaded_json", "read_records"]

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


def document_of(body: bytes, reading: Reading) -> bytes:
    """Return a document without compression, its text in UTF-8.

    Raises:
        SourceError: It is damaged, or in another encoding.
    """
    document = unpacked(body, reading)
    if reading.encoding == "utf-8":
        return document
    return decoded(document, reading.encoding).encode()


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
        return _own_records(body, reading)
    found = FORMATS[reading.format].read(document_of(body, reading), reading, names)
    return map(with_points, found) if reading.decimal_comma else found


def _own_records(body: bytes, reading: Reading) -> Iterator[Record]:
    assert reading.parse is not None  # noqa: S101 - the caller has looked
    try:
        found = list(reading.parse(body))
    except Exception as error:
        raise SourceError(
            "parse= failed",
            expected="records of the document, as mappings",
            found=f"{type(error).__name__}: {error}",
            remedy="see the document among the captures, and correct parse=",
        ) from error
    for number, record in enumerate(found, 1):
        if not isinstance(record, Mapping):
            raise unreadable("parse= that yields mappings", f"{type(record).__name__}")
        yield Record(number, {str(name): text_of(value) for name, value in record.items()})


def counter_of(reading: Reading) -> CountRecords | None:
    """Return the counter of records in captured bytes; None: they cannot be counted apart."""
    if reading.parse is not None:
        return NOT_COUNTED

    def count(body: bytes) -> RecordCount:
        document = document_of(body, reading)
        records, understood = FORMATS[reading.format].count(document, reading)
        return records, len(body) - (len(document) - understood)

    return count
