"""A declaration proposed from one document: format, fields with types, key and partitions."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import combinations
from typing import Any

from orchestration_project.engine.contracts.partitioning import try_parse_day
from orchestration_project.engine.contracts.values import is_moment
from orchestration_project.engine.own.fields import MAX_DIGITS, OUR_COLUMNS, REFUSED_NAMES
from orchestration_project.engine.own.formats.compressed import is_workbook, unpack_document
from orchestration_project.engine.own.formats.shared import BYTE_ORDER_MARK, is_json
from orchestration_project.engine.own.reading import Reading
from orchestration_project.engine.own.records import read_json, read_records
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.schema import USD_SCALE

PARQUET = b"PAR1"
"""First bytes of a Parquet file."""

DELIMITERS = (",", ";", "\t", "|")
SAMPLED = 5_000
"""Records that types and keys are proposed from, at most."""

SPARE_DIGITS = 4
"""Digits before the point that a proposed decimal has more than the sample."""

MAX_KEY_FIELDS = 4
KEY_KINDS = ("str", "int", "date", "datetime")
DAYS_IN_ADDRESS = ((re.compile(r"\d{4}-\d{2}-\d{2}"), "%Y-%m-%d"), (re.compile(r"\d{8}"), "%Y%m%d"))


@dataclass(frozen=True)
class ProposedField:
    """A proposed field.

    Attributes:
        name: Name of the column.
        source: Name in the source.
        kind: Its type, as it is written in a declaration.
        is_optional: Whether the sample lacks it in some records.
        example: A value of the sample.
    """

    name: str
    source: str
    kind: str
    is_optional: bool
    example: str


@dataclass(frozen=True)
class Proposal:
    """A proposed declaration.

    Attributes:
        address: URL or path, with a place for the partition where it had a day.
        day: The day that the address had, or the newest of the field that names partitions.
        format: csv, json or ndjson.
        records: Path to the records in JSON.
        delimiter: Character between fields of a CSV.
        fields: The fields.
        key: Names of the fields of the key.
        day_field: Name of the field that names partitions; empty: the address does.
        record_count: Records of the sample.
        paging_hint: Paging that the sample seems to have; empty: it names no next page.
    """

    address: str
    day: date
    format: str
    records: str
    delimiter: str
    fields: Sequence[ProposedField]
    key: Sequence[str]
    day_field: str
    record_count: int
    paging_hint: str = ""


def propose(body: bytes, address: str, *, today: date) -> Proposal:
    """Return a declaration for a document of an address.

    Raises:
        ConfigurationError: It has another format, or no records, or no key is found.
        SourceError: It is damaged.
    """
    template, day = _replace_day(address)
    reading = _infer_reading(body)
    names = _read_names(unpack_document(body, reading), reading)
    samples = [
        record.texts
        for record, _ in zip(read_records(body, reading, names), range(SAMPLED), strict=False)
        if record.texts is not None
    ]
    if not samples:
        raise _build_error("records", "none")
    names = list(dict.fromkeys(name for sample in samples for name in sample))
    fields = [_propose_field(name, [sample.get(name, "") for sample in samples]) for name in names]
    fields = _name_fields(fields)
    day_field = "" if day else next((field.name for field in fields if field.kind == "date"), "")
    if not day and not day_field:
        raise _build_error("a day in the address, or a field with days", f"{address}, {names[:9]}")
    of_day = next((field.source for field in fields if field.name == day_field), "")
    newest = max((sample[of_day] for sample in samples if of_day), default="")
    return Proposal(
        template,
        day or try_parse_day(newest) or today,
        reading.format,
        reading.records,
        reading.delimiter,
        fields,
        _propose_key(fields, samples, day_field),
        day_field,
        len(samples),
        _propose_paging(unpack_document(body, reading), reading.records)
        if reading.format == "json"
        else "",
    )


def _replace_day(address: str) -> tuple[str, date | None]:
    """Return an address with a place for the last day that it names, and that day."""
    for pattern, form in DAYS_IN_ADDRESS:
        for match in reversed(list(pattern.finditer(address))):
            text = match[0]
            day = try_parse_day(text if "-" in text else f"{text[:4]}-{text[4:6]}-{text[6:]}")
            if day is not None:
                placeholder = "{partition}" if form == "%Y-%m-%d" else f"{{partition:{form}}}"
                return f"{address[: match.start()]}{placeholder}{address[match.end() :]}", day
    return address, None


FOUND_FORMATS = "a CSV with a header, JSON, XLSX or Parquet"
"""Documents of which a declaration is proposed, also within gzip or zip."""


def _infer_reading(body: bytes) -> Reading:
    if is_workbook(body):
        return Reading(format="xlsx")
    document = unpack_document(body, Reading(format="csv"))
    if document.startswith(PARQUET):
        return Reading(format="parquet")
    text = document.removeprefix(BYTE_ORDER_MARK).lstrip()
    if text.startswith(b"{") and _is_lines(text):
        return Reading(format="ndjson")
    if text.startswith((b"{", b"[")):
        return Reading(format="json", records=_find_records_path(read_json(document)))
    if text.startswith(b"<"):
        raise _build_error(FOUND_FORMATS, "XML or HTML")
    line = text.partition(b"\n")[0].decode("utf-8", "replace")
    delimiter = max(DELIMITERS, key=line.count)
    if not line.count(delimiter) and len(text.split(b"\n")) < 2:
        raise _build_error(FOUND_FORMATS, line[:100])
    return Reading(format="csv", delimiter=delimiter)


def _is_lines(text: bytes) -> bool:
    """Whether each line is an object of its own."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        return len(lines) > 1 and all(isinstance(json.loads(line), dict) for line in lines[:3])
    except ValueError:
        return False


def _find_records_path(document: Any) -> str:
    """Return the path to the nearest array of objects; empty: the document is that, or a record."""
    level: list[tuple[str, Any]] = [("", document)]
    while level:
        deeper: list[tuple[str, Any]] = []
        for path, value in level:
            if isinstance(value, list) and any(isinstance(item, dict) for item in value):
                return path
            if isinstance(value, dict):
                deeper += [(f"{path}.{name}".lstrip("."), inner) for name, inner in value.items()]
        level = deeper
    return ""


NEXT = re.compile(r"next|cursor", re.IGNORECASE)
"""Name of a member that may lead to the next page."""


def _propose_paging(document: bytes, records: str) -> str:
    """Return paging by the first member outside the records that may lead to the next page."""
    content = read_json(document)
    for path, value in _walk_paths(content, "") if records and isinstance(content, Mapping) else ():
        if path != records and NEXT.search(path.rpartition(".")[2]) and isinstance(value, str):
            is_address = value.startswith(("http://", "https://", "/", "?"))
            return f'next_url("{path}")' if is_address else f'cursor("…", path="{path}")'
    return ""


def _read_names(body: bytes, reading: Reading) -> Sequence[str]:
    """Return the names of the fields of a document."""
    if reading.format in ("xlsx", "parquet"):
        first = next(read_records(body, replace(reading, reads_all=True), []), None)
        return [name for name in (first and first.texts) or () if name.strip()]
    if reading.format == "csv":
        text = body.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace")
        header = next(csv.reader(io.StringIO(text), delimiter=reading.delimiter), [])
        return [name.strip() for name in header if name.strip()]
    return list(dict.fromkeys(_find_leaves(body, reading)))


def _find_leaves(body: bytes, reading: Reading) -> Iterator[str]:
    """Yield the paths to values in the records of JSON: members of nested objects count alone."""
    if reading.format == "ndjson":
        elements = [read_json(line) for line in body.splitlines() if line.strip()]
    else:
        content = read_json(body)
        for name in filter(None, reading.records.split(".")):
            content = content[name]
        elements = content if isinstance(content, list) else [content]
    for element in elements[:SAMPLED]:
        if isinstance(element, Mapping):
            yield from (path for path, _ in _walk_paths(element, ""))


def _walk_paths(value: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    """Yield the values within nested objects with their paths."""
    for name, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _walk_paths(inner, f"{above}{name}.")
        else:
            yield f"{above}{name}", inner


def _propose_field(name: str, texts: Sequence[str]) -> ProposedField:
    filled = [text for text in texts if text]
    example = filled[0] if filled else ""
    return ProposedField(name, name, _infer_kind(filled), len(filled) < len(texts), example)


def _infer_kind(texts: Sequence[str]) -> str:
    """Return the narrowest type that all texts have."""
    if not texts:
        return "str"
    if all(try_parse_day(text) and "-" in text for text in texts):
        return "date"
    if all(map(is_moment, texts)):
        return "datetime"
    if all(text.lower() in ("true", "false") for text in texts):
        return "bool"
    if all(text.startswith(("{", "[")) and is_json(text) for text in texts):
        return '"json"'
    return _infer_number_kind(texts)


NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?")


def _infer_number_kind(texts: Sequence[str]) -> str:
    if not all(NUMBER.fullmatch(text) for text in texts):
        return "str"  # also numbers with leading zeros: they are codes
    places = max(len(text.partition(".")[2]) for text in texts)
    digits = max(len(text.partition(".")[0].lstrip("-")) for text in texts)
    if places == 0:
        return "int" if digits <= MAX_DIGITS else "str"
    name = MAX_DIGITS - USD_SCALE
    if places > USD_SCALE or digits > name:
        return "str"
    return f"decimal({min(digits + SPARE_DIGITS, name) + places}, {places})"


def _name_fields(fields: Sequence[ProposedField]) -> list[ProposedField]:
    """Return the fields with names that columns may have, each once."""
    proposed_fields: list[ProposedField] = []
    names = {*OUR_COLUMNS, *REFUSED_NAMES}
    for field in fields:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", field.source)
        base = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:44] or "field"
        base = base if base[0].isalpha() else f"field_{base}"
        name, number = base, 2
        while name in names:
            name, number = f"{base}_{number}", number + 1
        names.add(name)
        proposed_fields.append(replace(field, name=name))
    return proposed_fields


def _propose_key(
    fields: Sequence[ProposedField], samples: Sequence[Mapping[str, str]], day_field: str
) -> list[str]:
    """Return the fewest fields, the first ones before others, in which all records differ."""
    of_day = [field.source for field in fields if field.name == day_field]
    able = [field for field in fields if field.kind in KEY_KINDS and not field.is_optional]
    able = [proposed_field for proposed_field in able if proposed_field.name != day_field]
    able.sort(key=lambda each: KEY_KINDS.index(each.kind))
    for size in range(1, MAX_KEY_FIELDS + 1):
        for chosen in combinations(able, size):
            names = [*of_day, *(proposed_field.source for proposed_field in chosen)]
            if len({tuple(map(sample.get, names)) for sample in samples}) == len(samples):
                return [
                    *([day_field] if day_field else []),
                    *(proposed_field.name for proposed_field in chosen),
                ]
    raise _build_error("fields that differ between all records", "records that are equal")


def _build_error(expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        "no declaration can be proposed",
        expected=expected,
        found=found,
        remedy="write defs/<name>/source.py yourself; docs/how-to/add-a-source.md shows how",
    )
