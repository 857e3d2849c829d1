"""The way to read the records of a document, as a declaration says it."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias, TypedDict

from orchestration_project.errors import ConfigurationError, did_you_mean

FORMATS: Sequence[str] = (
    "csv",
    "json",
    "ndjson",
    "xml",
    "html",
    "fixed_width",
    "xlsx",
    "parquet",
)

OPTIONS: Mapping[str, Sequence[str]] = {
    "records": ("json", "xml"),
    "delimiter": ("csv",),
    "quote": ("csv",),
    "columns": ("csv",),
    "decimal_comma": ("csv", "fixed_width", "html", "xml"),
    "encoding": ("csv", "fixed_width", "html"),
    "skip": ("csv", "fixed_width", "html", "xlsx"),
    "sheet": ("xlsx",),
    "table": ("html",),
    "positions": ("fixed_width",),
    "member": FORMATS,
    "max_bytes": FORMATS,
    "names": FORMATS,
    "null_values": FORMATS,
    "skip_blank": FORMATS,
    "extract": FORMATS,
    "unpivot": ("csv",),
    "zipped": FORMATS,
}
"""Formats that have an option."""

MAX_BYTES = 512 * 1024 * 1024
"""Default of the bytes of an inflated document, at most."""

Parse: TypeAlias = Callable[[bytes], Iterable[Mapping[str, Any]]]
"""Returns the records of a delivered document: values by the source's names of fields."""

Positions: TypeAlias = Mapping[str, tuple[int, int]]
"""First and last character of fields in a line, from 1, by the source's names."""

Extract: TypeAlias = Mapping[str, tuple[str, str]]
"""Field that has the text of another, and the regular expression that finds it."""


def build_config_error(
    what: str, expected: str, found: object, remedy: str = ""
) -> ConfigurationError:
    """Return the error of a wrong declaration."""
    return ConfigurationError(f"invalid {what}", expected=expected, found=str(found), remedy=remedy)


RATE = re.compile(r"([1-9][0-9]{0,3})/s")
ENVIRONMENT_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


def parse_rate(rate: str, retries: int, secrets: Iterable[str]) -> int:
    """Return the limit of a rate; make sure of a source's retries and names of secrets.

    Raises:
        ConfigurationError: One of them is wrong.
    """
    match = RATE.fullmatch(rate)
    if match is None:
        raise build_config_error("rate", "requests a second, such as 2/s", rate)
    if not 0 <= retries <= 20:
        raise build_config_error("retries", "0 to 20", retries)
    for name in secrets:
        if not ENVIRONMENT_NAME.fullmatch(name):
            raise build_config_error(
                "name of a secret",
                "an environment variable such as MY_API_KEY",
                "another text",
                "set the variable to the secret, and name it here",
            )
    return int(match[1])


def require_texts(what: str, values: object) -> None:
    """Make sure that a list has texts alone: of a text, each letter would be a value.

    Raises:
        ConfigurationError: It is another value.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise build_config_error(what, f"a list of texts, such as [{values!r}]", repr(values))
    if wrong := next((repr(value) for value in values if not isinstance(value, str)), ""):
        raise build_config_error(what, "texts", wrong)


class ReadingOptions(TypedDict, total=False):
    """The arguments of `Reading`, as `http_source` and `file_source` take them."""

    format: str
    records: str
    delimiter: str
    quote: str
    columns: Sequence[str]
    decimal_comma: bool
    encoding: str
    skip: int
    sheet: str
    table: int | str
    positions: Positions
    member: str
    max_bytes: int
    names: Mapping[str, str]
    null_values: Sequence[str]
    skip_blank: str
    extract: Extract
    unpivot: Sequence[str]
    zipped: "ReadingOptions"
    expects: str
    parse: Parse | None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The way to read the records of a document.

    A document may be compressed as gzip or zip; that is recognized by its first bytes.

    Attributes:
        format: csv, json, ndjson, xml, html, fixed_width, xlsx or parquet; empty: ``parse`` reads.
        records: Path to the records. In JSON names with dots lead to an array; empty: the document
            is the array, or one record. In XML names with slashes lead from the root to the
            elements, such as ``Envelope/Cube/Cube``; names are without their namespaces.
        delimiter: Character between fields of a CSV.
        quote: Character around fields of a CSV; empty: none has that meaning.
        columns: Names of the fields of a CSV without a header, in its order.
        decimal_comma: Whether numbers are written as 1.234,5.
        encoding: Encoding of text; UTF-8 by default.
        skip: Lines or rows above the header, or above the first record of fixed width.
        sheet: Name of a workbook's sheet; empty: its only one.
        table: A table of HTML, by number from 1, or by its caption or the heading above it.
        positions: First and last character of each field in a line of fixed width, from 1.
        member: File of a zip, by name or a pattern such as ``*.csv``; empty: its only one.
        max_bytes: Size of an inflated document, at most.
        names: What a document calls the fields, by the source's names, where they differ.
        null_values: Texts of optional fields that mean no value, such as N/A.
        skip_blank: Field without which a record is left out; it is counted as ``blank``.
        extract: For a field that is a part of another one: that one by the source's name, and a
            regular expression, whose first group is the text; blank where it does not match.
        unpivot: Two fields: the name of a column after the first, and its cell in a line. Each cell
            is a record, but for blank ones. Those of ``null_values`` that come before the first
            value of a column, or after its last one, are left out and counted as ``not_listed``.
        zipped: The way to read the file in a zip, of a source that has other documents, too: a
            mapping of such arguments. ``null_values``, ``skip_blank`` and ``extract`` are
            those around it.
        expects: What a document is, for the message that it cannot be read; its format after a
            colon. One without records is refused.
        parse: Returns the records of a document, in place of a format.
        json_names: Fields whose values are kept as JSON, by the document's names.
        reads_all: Whether records have all fields of the document, not those alone that are asked
            for.
    """

    format: str = ""
    records: str = ""
    delimiter: str = ","
    quote: str = '"'
    columns: Sequence[str] = ()
    decimal_comma: bool = False
    encoding: str = "utf-8"
    skip: int = 0
    sheet: str = ""
    table: int | str = 1
    positions: Positions | None = None
    member: str = ""
    max_bytes: int = MAX_BYTES
    names: Mapping[str, str] | None = None
    null_values: Sequence[str] = ()
    skip_blank: str = ""
    extract: Extract | None = None
    unpivot: Sequence[str] = ()
    zipped: "Reading | None" = None
    expects: str = ""
    parse: Parse | None = None
    json_names: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    reads_all: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("columns", "null_values", "unpivot"):
            require_texts(name, getattr(self, name))
        self._require_format()
        for name in self.options:
            if self.format not in OPTIONS[name]:
                expected = f"a format with {name}: {', '.join(OPTIONS[name])}"
                raise build_config_error(name, expected, self.format or "parse=")
        self._require_dialect()
        if self.zipped is not None and (self.zipped.parse or self.zipped.zipped):
            raise build_config_error(
                "zipped", "a format of the file in the zip", "parse= or zipped"
            )
        if self.unpivot and len(self.unpivot) != 2:
            raise build_config_error(
                "unpivot", "two fields: of the name and of the cell", self.unpivot
            )
        if self.format == "xml" and not all(self.records.split("/")):
            raise build_config_error(
                "records", "names of elements, such as Envelope/Cube", repr(self.records)
            )
        self._require_text()
        self._require_positions()
        self._require_extract()

    def _require_format(self) -> None:
        if self.parse is not None and self.format:
            raise build_config_error("format", "a format or parse=, not both", self.format)
        if self.parse is None and self.format not in FORMATS:
            remedy = did_you_mean(self.format, FORMATS) or "name a format, or give parse="
            raise build_config_error("format", ", ".join(FORMATS), repr(self.format), remedy)

    def _require_dialect(self) -> None:
        if len(self.delimiter.encode()) != 1:
            raise build_config_error("delimiter", "one character of ASCII", repr(self.delimiter))
        if len(self.quote.encode()) > 1 or self.quote == self.delimiter:
            raise build_config_error("quote", "one character of ASCII, or none", repr(self.quote))
        if self.columns and self.unpivot:
            raise build_config_error("unpivot", "a header with the names of columns", "columns=")

    def _require_text(self) -> None:
        try:
            "".encode(self.encoding)
        except (LookupError, ValueError):
            expected = "an encoding of text, such as cp1252"
            raise build_config_error("encoding", expected, self.encoding) from None
        if self.skip < 0:
            raise build_config_error("skip", "0 or more", self.skip)
        if self.table == "" or (isinstance(self.table, int) and self.table < 1):
            raise build_config_error("table", "a number from 1, or a heading", repr(self.table))

    def _require_positions(self) -> None:
        if self.format == "fixed_width" and not self.positions:
            raise build_config_error(
                "positions", "those of each field, such as {'name': (1, 10)}", "none"
            )
        for name, place in (self.positions or {}).items():
            if len(place) != 2 or not 1 <= place[0] <= place[1]:
                raise build_config_error(f"positions of {name!r}", "first and last, from 1", place)

    def _require_extract(self) -> None:
        for name, place in (self.extract or {}).items():
            try:
                _, pattern = place
                is_found = re.compile(pattern).groups == 1
            except (ValueError, TypeError, re.error):
                is_found = False
            if not is_found:
                expected = "a field, and a regular expression with one group"
                raise build_config_error(f"extract of {name!r}", expected, place)

    @property
    def options(self) -> Mapping[str, Any]:
        """Its arguments that are not the default ones, but for ``format`` and ``parse``."""
        values = {
            own_field.name: (getattr(self, own_field.name), own_field.default)
            for own_field in fields(self)
        }
        return {
            name: value
            for name, (value, default) in values.items()
            if name in OPTIONS and value != default
        }

    @property
    def is_plain(self) -> bool:
        """Whether captured bytes are lines or JSON out of which a record can be cut."""
        is_cut = self.format in ("csv", "json", "ndjson")
        other_names = {
            "encoding",
            "skip",
            "quote",
            "columns",
            "member",
            "names",
            "extract",
            "unpivot",
            "zipped",
        }
        return is_cut and not other_names & set(self.options)

    @property
    def quotes_records(self) -> bool:
        """Whether rejects quote records as lines of their own, as documents have other ones."""
        return self.zipped is not None or bool(self.unpivot)

    @property
    def filters(self) -> Sequence[str]:
        """Reasons for which records are left out."""
        reasons: list[str] = []
        if self.unpivot or (self.zipped and self.zipped.unpivot):
            reasons.append("not_listed")
        if self.skip_blank:
            reasons.append("blank")
        return reasons


def build_reading(given: ReadingOptions, others: Iterable[str] = ()) -> Reading:
    """Return the reading of arguments; ``others`` are arguments beside them, for a wrong name.

    Raises:
        ConfigurationError: An argument is unknown, or has a wrong value.
    """
    known_names = list(ReadingOptions.__annotations__)
    for name in given:
        if name not in known_names:
            remedy = did_you_mean(name, [*others, *known_names])
            raise build_config_error("argument", ", ".join(known_names), name, remedy)
    zipped = given.get("zipped")
    if zipped is None:
        return Reading(**given)  # pyright: ignore[reportArgumentType] - of which none is "zipped"
    return Reading(**{**given, "zipped": build_reading(zipped)})
