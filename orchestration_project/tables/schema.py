"""The column kinds that every table shares, and the metadata that collects the tables.

No table is declared here. A kind fixes the SQL type on each database, so that the same values
come back from all of them: text compares byte by byte, timestamps are UTC with microseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import (
    TEXT,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    CompoundSelect,
    Date,
    DateTime,
    Double,
    Index,
    MetaData,
    Numeric,
    Select,
    Table,
    Text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

METADATA = MetaData()

Query = Select[Any] | CompoundSelect[Any]
"""Query of a database: a select, or a union of several."""

HISTORY = "history"
"""Under this name a table's `info` has its history, if it has one."""

PUBLICATION = "publication"
"""Under this name a table's `info` has the columns with the days on which the source first
published a row, and last changed it, if the source says so."""

ENDED_ON, IS_LOAD_DAY = "ended_on", "is_load_day"
"""Columns of a history with the day on which the source ended a row, and whether it is ours."""

ASSET = "asset"
"""Under this name a table's `info` has the asset that it is, if their names differ."""

INTERNAL = "internal"
"""Under this name a table's `info` says that it is for this project's own work alone."""

OWN = "own"
"""Under this name a table's `info` says that the project's files declare it, not the package."""

RECORDED = "recorded"
"""Under this name a table's `info` has the record that declared it: another project's files do."""

COPY_OF = "copy_of"
"""Under this name a table's `info` has the table of which it is a copy, made before a change."""

HIDDEN = "hidden"
"""Under this name a column's `info` says that it is made of a secret: it is never exported."""

FROM_SENDERS = "from_senders"
"""Under this name a column's `info` says that its text is written by whoever sends us something."""

PERSONAL = "personal"
"""Under this name a column's `info` says that its values are about a person: few may read them."""

SUBJECT = "subject"
"""Under this name a column's `info` has the kind of person or thing that its text identifies."""

CAPTURED = "captured"
"""Under this name a subject's column has where captured bytes have the records of the subject."""

VALUES = "values"
"""Under this name a column's `info` has all values that it can have, if they are few and known."""

USD_SCALE = 6
"""A table's `_usd` holds US dollars times 10 to this power, so that it is exact everywhere."""

QUANTITY_SUFFIX = "_micros"
"""Ends the name that the database has for a quantity: it holds whole millionths."""

SCALE = "scale"
"""Under this name the `info` of a column of exact decimals has how many places it keeps."""

SQLITE_TIMESTAMP = "%Y-%m-%d %H:%M:%S%.6f"
"""How a timestamp is written where the database has no type for it (chrono's notation)."""


class UtcTimestamp(TypeDecorator[datetime]):
    """A moment in UTC with microseconds; aware in Python, refused when naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that keeps microseconds on ``dialect``."""
        return dialect.type_descriptor(DateTime(timezone=dialect.name == "postgresql"))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware moment into what ``dialect`` stores."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a timestamp needs a time zone, got {value!r}")
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the stored moment, aware and in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Dollars(TypeDecorator[Decimal]):
    """US dollars of a view, exact: NUMERIC, or on SQLite, which has no such type, their text."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that keeps every digit on ``dialect``."""
        exact = Text() if dialect.name == "sqlite" else Numeric(19, USD_SCALE)
        return dialect.type_descriptor(exact)

    def process_result_value(self, value: Decimal | str | None, dialect: Dialect) -> Decimal | None:
        """Return the amount, with all its places."""
        return None if value is None else Decimal(value)


def as_quantity(millionths: int) -> Decimal:
    """Return whole millionths as the decimal that they mean, with all its places."""
    return Decimal(f"{millionths}e-{USD_SCALE}")


def as_number(quantity: Decimal | int) -> float:
    """Return a quantity as the number that JSON and charts take: whole where it is."""
    return float(quantity) if quantity % 1 else int(quantity)


class Quantity(TypeDecorator[Decimal]):
    """Shares, or a par value: an exact decimal with six places, stored as whole millionths."""

    impl = BigInteger
    cache_ok = True

    def __str__(self) -> str:
        """Return the type that it has for all that reads it, wherever it is stored."""
        return f"NUMERIC(38, {USD_SCALE})"

    def process_bind_param(self, value: Decimal | int | None, dialect: Dialect) -> int | None:
        """Return the millionths of a quantity.

        Raises:
            ValueError: It has more than six places.
        """
        if value is None:
            return None
        millionths = Decimal(value).scaleb(USD_SCALE)
        if millionths != int(millionths):
            raise ValueError(f"a quantity has at most {USD_SCALE} places, got {value!r}")
        return int(millionths)

    def process_result_value(self, value: Decimal | int | None, dialect: Dialect) -> Decimal | None:
        """Return the quantity of its millionths, with all its places."""
        return None if value is None else as_quantity(int(value))


BYTEWISE_TEXT = Text().with_variant(TEXT(collation="C"), "postgresql")


def text(
    name: str,
    comment: str,
    *,
    key: bool = False,
    optional: bool = False,
    secret: bool = False,
    from_senders: bool = False,
    values: Sequence[str] = (),
) -> Column[str]:
    """Return a column of exact text, compared byte by byte; ``values``: all that it can have."""
    info = {HIDDEN: secret, FROM_SENDERS: from_senders, VALUES: values}
    return Column(
        name, BYTEWISE_TEXT, primary_key=key, nullable=optional, comment=comment, info=info
    )


def trace_id() -> Column[str]:
    """Return the column of the trace that a row belongs to."""
    return text("trace_id", "W3C trace ID, 32 hex digits; NULL: no trace", optional=True)


def day(name: str, comment: str, *, key: bool = False, optional: bool = False) -> Column[Any]:
    """Return a column of calendar days."""
    return Column(name, Date(), primary_key=key, nullable=optional, comment=comment)


def count(name: str, comment: str, *, key: bool = False, optional: bool = False) -> Column[int]:
    """Return a column of 64-bit integers; the comment says the unit."""
    return Column(
        name,
        BigInteger(),
        primary_key=key,
        nullable=optional,
        comment=comment,
        autoincrement=False,
    )


def scaled(name: str, comment: str, *, optional: bool = False) -> Column[int]:
    """Return a column of exact decimals: integers, 10^`USD_SCALE` times what they mean."""
    return Column(
        name,
        BigInteger(),
        nullable=optional,
        comment=comment,
        autoincrement=False,
        info={SCALE: USD_SCALE},
    )


def quantity(name: str, comment: str, *, optional: bool = False) -> Column[Decimal]:
    """Return a column of exact decimals with six places: shares, or a par value.

    All that reads it knows it as ``name``. In the database its name ends with `QUANTITY_SUFFIX`, so
    that a query that takes its whole millionths for shares fails.
    """
    stored_name = f"{name}{QUANTITY_SUFFIX}"
    return Column(
        stored_name,
        Quantity(),
        key=name,
        nullable=optional,
        comment=f"{comment}; 6 decimals, in SQL {stored_name}, x 10^6",
        autoincrement=False,
    )


def ratio(name: str, comment: str, *, optional: bool = False) -> Column[float]:
    """Return a column of double precision numbers."""
    return Column(name, Double(), nullable=optional, comment=comment)


def flag(name: str, comment: str, *, optional: bool = False) -> Column[bool]:
    """Return a column of true or false."""
    return Column(name, Boolean(), nullable=optional, comment=comment)


def moment(name: str, comment: str, *, key: bool = False, optional: bool = False) -> Column[Any]:
    """Return a column of UTC timestamps with microseconds."""
    return Column(name, UtcTimestamp(), primary_key=key, nullable=optional, comment=comment)


def table(
    name: str,
    comment: str,
    *columns: Column[Any],
    internal: bool = False,
    metadata: MetaData = METADATA,
) -> Table:
    """Declare a table; on SQLite it is clustered by its key, which halves it and its load time."""
    return Table(
        name,
        metadata,
        *columns,
        comment=comment,
        info={INTERNAL: internal},
        sqlite_with_rowid=False,
    )


def history_of(current: Table) -> Table:
    """Declare ``<current>_history``: rows that were replaced or removed, and until when they held.

    Its key is the current table's key and ``known_from``. Where the source dates its rows, it also
    has the day on which the source ended a row.
    """
    copies = [
        Column(
            column.name,
            column.type,
            key=column.key,
            primary_key=column.primary_key or column.name == "known_from",
            nullable=column.nullable,
            comment=column.comment,
            autoincrement=False,
            info=dict(column.info),
        )
        for column in current.columns
    ]
    history = table(
        f"{current.name}_history",
        f"One row per earlier state of a row of {current.name}, valid from known_from to known_to.",
        *copies,
        moment("known_to", "UTC time at which the row was replaced or removed (system time)"),
        text(
            "change_cause",
            "Cause: source (other values), metadata (other dates only) or ours (new rules)",
        ),
        text("rule_version", "Version of the rules that produced the next row"),
        *(_build_endings() if PUBLICATION in current.info else []),
    )
    current.info[HISTORY] = history
    return history


def index_loads(current: Table, *partition: str) -> None:
    """Index a table and its history by the loads of each partition.

    Where partitions only grow, the change feed then reads the rows of a load, and not all others.

    Args:
        current: A table with history.
        partition: Columns of the partition.
    """
    for rows, times in (
        (current, ["known_from"]),
        (current.info[HISTORY], ["known_from", "known_to"]),
    ):
        for time in times:
            columns = [rows.c[name] for name in (*partition, time)]
            Index(f"{rows.name}_by_{time}", *columns)


def _build_endings() -> list[Column[Any]]:
    """Return the columns that say when a source ended a row."""
    return [
        day(
            ENDED_ON,
            "Publication day of the delivery that replaced or removed the row; NULL: unknown",
            optional=True,
        ),
        flag(
            IS_LOAD_DAY,
            "Whether ended_on is the day of the load, as the source dates no later change",
            optional=True,
        ),
    ]


def asset_of_table(declared: Table) -> str:
    """Return the asset that a table is: ``finra_otc_weekly`` is ``finra/otc_weekly``."""
    return declared.info.get(ASSET, usual_asset(declared.name))


def usual_asset(table_name: str) -> str:
    """Return the asset that a table is unless its declaration names another one."""
    return table_name.replace("_", "/", 1)


def key_names(declared: Table) -> list[str]:
    """Return the names of the key's columns, in key order."""
    return [column.key for column in declared.primary_key.columns]


def is_personal(column: ColumnElement[Any]) -> bool:
    """Whether the values of a column are about a person."""
    return bool(getattr(column, "info", {}).get(PERSONAL))


def personal_columns(table: Table) -> list[str]:
    """Return the names of the columns whose values are about a person."""
    return [column.key for column in table.columns if is_personal(column)]


TYPE_NAMES: Mapping[type, str] = {
    Date: "Date",
    Text: "String",
    BigInteger: "Number",
    Quantity: "Number",
    Boolean: "Boolean",
    UtcTimestamp: "Timestamp",
}
"""Names of field types in a source's list of fields, by column type."""


@dataclass(frozen=True)
class FieldCheck:
    """A condition on a value; a row whose value breaks it is rejected.

    Attributes:
        code: Reason code of the reject.
        operator: How a value is compared with ``operands``: it is above the number; below it,
            whatever its sign; between both; one of them; matched by the pattern as a whole; or it
            has that number of decimals at most.
        operands: Numbers, days or texts.
        says: What is expected, in words.
    """

    code: str
    operator: Literal["above", "below", "between", "one_of", "matches", "places"]
    operands: tuple[Any, ...]
    says: str


@dataclass(frozen=True)
class Field:
    """A field of a dataset, and the column that it fills, from which its type follows.

    Attributes:
        name: In the source's words.
        column: Where it goes; what may be NULL may be blank.
        scale: Of a decimal number: it is kept times 10 to this power. 0: a whole number. Of a
            quantity, that it may be written with an exponent.
        may_be_blank: Of a text that is required: blank means something.
        form: How a text is written, where that can be checked.
        pattern: A regular expression that a text matches; blank: any text.
        is_signed: Whether a number may be negative.
        checks: What else holds for its values.
        formula: Of a derived field, which no source has: how it is computed from columns of its
            row, such as ``["subtract", "advance_count", "decline_count"]``.
    """

    name: str
    column: Column[Any]
    scale: int = 0
    may_be_blank: bool = False
    form: Literal["", "cusip"] = ""
    pattern: str = ""
    is_signed: bool = False
    checks: Sequence[FieldCheck] = ()
    formula: Any = None

    @property
    def kind(self) -> str:
        """Its type: Date, String, Number, Boolean or Timestamp."""
        return TYPE_NAMES[type(self.column.type)]


def list_source_fields(fields: Sequence[Field]) -> Sequence[Field]:
    """Return the fields that a source has, without derived ones."""
    return [field for field in fields if field.formula is None]


def dataset_table(name: str, comment: str, *fields: Field, asset: str = "") -> Table:
    """Declare a dataset's table and its history.

    Args:
        name: The table's name, such as finra_treasury_weekly.
        comment: What one row is.
        fields: The fields that fill its columns, in their order.
        asset: The name of its asset, such as finra/treasury_weekly, if it does not follow from
            the table's.
    """
    declared = table(
        name,
        comment,
        *(field.column for field in fields),
        count("capture_id", "Capture that the row was read from"),
        moment("known_from", "UTC time from which the row is valid (system time)"),
    )
    if asset:
        declared.info[ASSET] = asset
    history_of(declared)
    return declared
