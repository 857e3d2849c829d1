"""Declaration of a source of one's own: a dataset with its key, fields, partitions and source.

A value says all that there is to know of a dataset; nothing here fetches or loads. What is wrong
in a declaration is an error when it is made, with the place in the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestration_project.engine.contracts.contract import Claim
from orchestration_project.engine.contracts.partitioning import has_day_placeholder
from orchestration_project.engine.own.dlt_source import DltSource
from orchestration_project.engine.own.fields import NAME, Field, Type, require_fields
from orchestration_project.engine.own.partitions import Partitions
from orchestration_project.engine.own.reading import build_config_error, require_texts
from orchestration_project.engine.own.sources import FileSource, HttpSource
from orchestration_project.errors import did_you_mean

OTHER_FIELDS = "other_fields"
"""Column that collects what the source has besides the declared fields."""

NAMING_FORMATS = ("csv", "json", "ndjson", "html", "xlsx", "parquet", "")
"""Formats whose records name all their fields; empty: parse=."""

HEADER_FORMATS = ("csv", "html", "xlsx", "parquet")
"""Formats that name their fields once, above the records."""

KEY_TYPES: Sequence[Type] = ("text", "integer", "date", "timestamp")
"""Types that a key's fields may have."""

GROWING_TYPES: Sequence[Type] = ("integer", "date", "timestamp")
"""Types that a field may have whose greatest value a source is asked for."""


@dataclass(frozen=True)
class RowCount:
    """A check of a delivery: how many rows it has; another number quarantines it."""

    min: int = 1
    max: int | None = None


def row_count(min: int = 1, max: int | None = None) -> RowCount:
    """Return the check that a delivery has from ``min`` to ``max`` rows."""
    if min < 0 or (max is not None and max < min):
        raise build_config_error("row_count", "0 <= min <= max", f"min {min}, max {max}")
    return RowCount(min, max)


@dataclass(frozen=True)
class UsualSize:
    """A check of a delivery: its rows and keys, compared with those that are loaded."""

    min_ratio: float


def usual_size(min_ratio: float) -> UsualSize:
    """Return the check that a delivery has this share of the loaded keys, and of usual rows.

    ``min_ratio`` is from 0 to 1; a first delivery is compared with partitions around it.
    """
    if not 0 < min_ratio <= 1:
        raise build_config_error("usual_size", "a ratio above 0, at most 1", min_ratio)
    return UsualSize(min_ratio)


@dataclass(frozen=True)
class Dataset:
    """A dataset of one's own: from its source to a table with captures, checks and history.

    Attributes:
        name: Name of its table, and of its asset within the project.
        key: Columns that identify a row; the column of the partition need not be named.
        partitions: Which partitions it has: `Daily`, `Weekly` or `Monthly`.
        fields: Its fields, in the order of the columns.
        source: Where it comes from: `http_source`, `file_source` or `dlt_source`.
        checks: Checks of a whole delivery, which quarantine it: `row_count`, `usual_size`.
        description: What one row is.
        max_reject_ratio: Rejected share of records (0-1) above which a delivery is quarantined.
        licence: Terms under which it is available.
        owners: Dagster's owners, such as ``team:market``.
        grace_hours: Hours after publication until a partition counts as late.
        new_fields: What becomes of fields that the source has and this names not: they are ignored,
            refuse the delivery, or are collected as JSON in the column other_fields.
        missing_fields: What a header without an optional field does: it refuses the delivery, or
            is ignored, so that the column is NULL. Members of JSON and XML may always be left out.
        rule_version: Version of its rules, in place of a hash of the declaration; raise it with
            each change that makes other rows of the same bytes.
    """

    name: str
    key: Sequence[str]
    partitions: Partitions
    fields: Sequence[Field]
    source: HttpSource | FileSource | DltSource
    checks: Sequence[RowCount | UsualSize | Claim] = ()
    description: str = ""
    max_reject_ratio: float = 0.0
    licence: str = "not stated"
    owners: Sequence[str] = field(default=("team:data",))
    grace_hours: int = 12
    new_fields: Literal["ignore", "refuse", "collect"] = "ignore"
    missing_fields: Literal["refuse", "ignore"] = "refuse"
    rule_version: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            expected = "a name of small letters, digits and _, such as rates_daily"
            raise build_config_error(f"dataset {self.name!r}", expected, self.name)
        what = f"dataset {self.name!r}"
        self._require_parts(what)
        self._require_fields(what)
        self._require_changes_of_fields(what)
        self._require_key(what)
        self._require_partition(what)
        self._require_growing_field(what)
        if not 0 <= self.max_reject_ratio <= 1:
            raise build_config_error(f"max_reject_ratio of {what}", "0 to 1", self.max_reject_ratio)
        for check in self.checks:
            if not isinstance(check, RowCount | UsualSize | Claim):
                raise build_config_error(
                    f"checks of {what}", "row_count(…) or usual_size(…)", repr(check)
                )

    def _require_parts(self, what: str) -> None:
        """Make sure that each part is of its type, as Python does not."""
        require_texts(f"key of {what}", self.key)
        require_texts(f"owners of {what}", self.owners)
        if not isinstance(self.partitions, Partitions):
            expected = "Daily(…), Weekly(…) or Monthly(…)"
            raise build_config_error(f"partitions of {what}", expected, repr(self.partitions))
        if not isinstance(self.source, HttpSource | FileSource | DltSource):
            expected = "http_source(…), file_source(…) or dlt_source(…)"
            raise build_config_error(f"source of {what}", expected, repr(self.source))

    def _require_fields(self, what: str) -> None:
        require_fields(what, self.fields, [self.partitions.column])
        subjects = [own_field for own_field in self.fields if own_field.subject]
        reading = self.source.reading
        if subjects and not reading.is_plain:
            raise build_config_error(
                f"subject of field {subjects[0].name!r}",
                "a source with a format of lines or JSON, as records are cut out of captured bytes",
                ", ".join([reading.format or "parse=", *reading.options]),
                "leave subject out: the field is outside erasure then",
            )
        for own_field in self.source_fields if reading.positions else ():
            if own_field.source_name not in (reading.positions or {}):
                raise build_config_error(
                    f"positions of {what}", "those of each field", f"no {own_field.name}"
                )

    def _require_changes_of_fields(self, what: str) -> None:
        """Make sure that the decisions on new and missing fields fit the format."""
        decisions = {
            "new_fields": (self.new_fields, ("ignore", "refuse", "collect"), NAMING_FORMATS),
            "missing_fields": (self.missing_fields, ("refuse", "ignore"), HEADER_FORMATS),
        }
        text = self.source.reading.format
        for name, (value, values, formats) in decisions.items():
            if value not in values:
                remedy = did_you_mean(str(value), values)
                raise build_config_error(f"{name} of {what}", ", ".join(values), value, remedy)
            if value != values[0] and text not in formats:
                expected = f"one of the formats {', '.join(filter(None, formats))}"
                raise build_config_error(f"{name} of {what}", expected, text or "parse=")
        if any(own_field.name == OTHER_FIELDS for own_field in self.fields if self.collects):
            raise build_config_error(
                f"fields of {what}", f"none called {OTHER_FIELDS}", OTHER_FIELDS
            )

    @property
    def collects(self) -> bool:
        """Whether fields that are not declared are collected."""
        return self.new_fields == "collect"

    @property
    def source_fields(self) -> Sequence[Field]:
        """The fields that the source has: those that are not computed from others."""
        return [own_field for own_field in self.fields if own_field.formula is None]

    @property
    def stored_fields(self) -> Sequence[Field]:
        """Its fields, and the one that collects others, if it does."""
        other_own_field = Field(
            OTHER_FIELDS, "json", "fields of the source that are not declared", optional=True
        )
        return [*self.fields, *([other_own_field] if self.collects else [])]

    def _require_key(self, what: str) -> None:
        if not self.key:
            raise build_config_error(f"key of {what}", "at least one field", "none")
        by_name = {own_field.name: own_field for own_field in self.source_fields}
        for name in self.key:
            field = by_name.get(name)
            if field is None and name != self.partitions.column:
                remedy = did_you_mean(name, by_name)
                raise build_config_error(f"key of {what}", "names of its fields", name, remedy)
            if field is not None and (field.kind not in KEY_TYPES or field.optional):
                expected = f"required fields of the types {', '.join(KEY_TYPES)}"
                raise build_config_error(f"key of {what}", expected, name)

    def _require_partition(self, what: str) -> None:
        """Make sure that the records of a partition differ from those of others."""
        column, value_column = self.partitions.column, self.partitions.value_column
        texts = [own_field.name for own_field in self.source_fields if own_field.kind == "text"]
        if value_column and value_column not in texts:
            remedy = did_you_mean(value_column, texts)
            raise build_config_error(
                f"value_column of {what}", "a field that is a text", value_column, remedy
            )
        if not value_column and "{value}" in repr(self._templates):
            expected = "partitions with value_column and values"
            raise build_config_error(f"template of {what}", expected, "{value}")
        documents = self.source.documents if isinstance(self.source, HttpSource) else ()
        if value_column and (self.is_incremental or documents):
            expected = "a source without documents and incremental"
            raise build_config_error(f"value_column of {what}", expected, value_column)
        field = next((own_field for own_field in self.fields if own_field.name == column), None)
        if field is not None and (field.kind != "date" or field.formula is not None):
            raise build_config_error(
                f"field {column!r}", "a date, as it names partitions", field.kind
            )
        if self.is_incremental and field is not None:
            raise build_config_error(
                f"partitions of {what}",
                "a column that is not a field, as a partition has the rows that were new then",
                column,
                "name another column by column= of the partitions",
            )
        if field is None and isinstance(self.source, DltSource) and not self._names_partition:
            raise build_config_error(
                f"source of {what}",
                "a function with the parameter day, incremental=True, or a field with the day",
                "the same rows for all partitions",
                "let the function take the day, or name the field by column= of the partitions",
            )
        if field is None and not self._names_partition:
            raise build_config_error(
                f"source of {what}",
                "an address with {partition}, or a field with the day",
                "the same address for all partitions",
                "write {partition} into it, or name the field by column= of the partitions",
            )

    @property
    def is_incremental(self) -> bool:
        """Whether a partition has what is new since the one before."""
        if isinstance(self.source, DltSource):
            return self.source.is_incremental
        return isinstance(self.source, HttpSource) and self.source.incremental is not None

    @property
    def growing_field(self) -> Field | None:
        """The field that says which records of an HTTP source are new."""
        incremental = self.source.incremental if isinstance(self.source, HttpSource) else None
        return next(
            (
                own_field
                for own_field in self.source_fields
                if incremental and own_field.name == incremental.field
            ),
            None,
        )

    def _require_growing_field(self, what: str) -> None:
        field = self.growing_field
        is_missing = field is None or field.kind not in GROWING_TYPES or field.optional
        if isinstance(self.source, HttpSource) and self.source.incremental and is_missing:
            expected = f"a required field of the types {', '.join(GROWING_TYPES)}"
            raise build_config_error(
                f"incremental of {what}", expected, self.source.incremental.field
            )

    @property
    def _names_partition(self) -> bool:
        if self.is_incremental:
            return True
        if isinstance(self.source, DltSource):
            return self.source.takes_day
        return any(map(has_day_placeholder, self._templates))

    @property
    def _templates(self) -> Sequence[Any]:
        """Templates of a request, or of the path of a file."""
        if isinstance(self.source, HttpSource):
            return [self.source.url, *self.source.query.values(), self.source.json_query]
        return [self.source.path] if isinstance(self.source, FileSource) else ()

    @property
    def has_day_field(self) -> bool:
        """Whether its records have the day of their partition."""
        return any(own_field.name == self.partitions.column for own_field in self.source_fields)

    @property
    def key_columns(self) -> Sequence[str]:
        """The columns of its key, with that of the partition."""
        named = (self.partitions.column, self.partitions.value_column)
        added = [name for name in named if name and name not in self.key]
        return (*added, *self.key)

    @property
    def has_total(self) -> bool:
        """Whether its source says how many records a partition has."""
        return isinstance(self.source, HttpSource) and self.source.json_query is not None
