"""Fields of a declared dataset: their names, types and checks."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from orchestration_project.engine.contracts.field_formulas import (
    find_formula_problem,
    list_row_columns,
)
from orchestration_project.engine.own.reading import build_config_error, require_texts
from orchestration_project.tables.schema import QUANTITY_SUFFIX, USD_SCALE, FieldCheck

REFUSED_NAMES = ("nothing", "returning")
"""Words that SQLite reads as SQL where a name stands, and SQLAlchemy does not quote."""

NAME = re.compile(rf"(?!(?:{'|'.join(REFUSED_NAMES)})$)[a-z][a-z0-9_]{{0,47}}")
"""Shape of the name of a table or column."""

OUR_COLUMNS = ("capture_id", "known_from", "known_to", "change_cause", "rule_version")
"""Columns that each table has besides the declared ones."""

MAX_DIGITS = 18
"""Most digits of an exact decimal: 64 bits keep them."""

Type: TypeAlias = Literal["text", "integer", "boolean", "date", "timestamp", "json", "decimal"]

TYPE_NAMES: Sequence[Type] = ("text", "integer", "boolean", "date", "timestamp", "json")
"""Types by the names that a declaration may use; decimals besides."""

TYPES: Mapping[object, Type] = {
    str: "text",
    int: "integer",
    bool: "boolean",
    date: "date",
    datetime: "timestamp",
    **{name: name for name in TYPE_NAMES},
}
"""The type of a field, by what a declaration may name it by."""


@dataclass(frozen=True)
class ExactDecimal:
    """Type of exact decimals with at most ``digits`` digits, ``places`` of them decimals."""

    digits: int
    places: int

    def __post_init__(self) -> None:
        if not 1 <= self.digits <= MAX_DIGITS or not 0 <= self.places <= USD_SCALE:
            raise build_config_error(
                "decimal",
                f"1 to {MAX_DIGITS} digits, 0 to {USD_SCALE} of them decimals",
                f"decimal({self.digits}, {self.places})",
            )
        if not 0 <= self.digits - self.places <= MAX_DIGITS - USD_SCALE:
            expected = f"0 to {MAX_DIGITS - USD_SCALE} digits before the point"
            raise build_config_error("decimal", expected, f"decimal({self.digits}, {self.places})")

    @property
    def limit(self) -> Decimal:
        """The number that all values are below, whatever their sign."""
        return Decimal(10) ** (self.digits - self.places)


def decimal(digits: int, places: int) -> ExactDecimal:
    """Return the type of exact decimals, such as ``decimal(12, 6)`` for 161.070000."""
    return ExactDecimal(digits, places)


def between(least: Any, most: Any) -> FieldCheck:
    """Return the check that rejects a row whose value is below ``least`` or above ``most``."""
    return FieldCheck("out_of_range", "between", (least, most), f"from {least} to {most}")


def one_of(*values: str) -> FieldCheck:
    """Return the check that rejects a row whose text is none of ``values``."""
    require_texts("one_of", values)
    return FieldCheck("unknown_value", "one_of", values, f"one of {', '.join(values)}")


def matches(pattern: str) -> FieldCheck:
    """Return the check that rejects a row whose text does not match a regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise build_config_error("pattern", "a regular expression", f"{pattern}: {error}") from None
    return FieldCheck("wrong_form", "matches", (pattern,), f"as {pattern}")


positive = FieldCheck("not_positive", "above", (0,), "above 0")
"""The check that rejects a row whose number is not above 0."""


@dataclass(frozen=True)
class Field:
    """A field of a dataset, which becomes a column of its table.

    Attributes:
        name: Name of the column.
        type: `str`, `int`, `bool`, `date`, `datetime` (a timestamp with zone), ``"json"``, or what
            `decimal` returns; also by the names text, integer, boolean, date, timestamp.
        description: What it is, in which unit.
        source: What the source calls it; a path with dots leads into nested JSON. Default: `name`.
        optional: Whether it may be blank: the column is NULL then.
        check: Rejects a row, as `positive`, `between`, `matches` or `one_of`; also several.
        subject: Kind of person or thing that it identifies, one word, for erasure.
        personal: Whether it is about a person: only admins of the gateway read its values, and
            exports leave it out unless they name it.
        formula: Of a field that the source does not have: how it is computed from other fields of
            the row, such as ``["multiply", "close", "volume"]``.
    """

    name: str
    type: Any
    description: str
    source: str = ""
    optional: bool = False
    check: FieldCheck | Sequence[FieldCheck] = ()
    subject: str = ""
    personal: bool = False
    formula: Any = None

    def __post_init__(self) -> None:
        what = f"field {self.name!r}"
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise build_config_error(
                what, "a name of small letters, digits and _, such as trade_date", self.name
            )
        if self.name in OUR_COLUMNS:
            raise build_config_error(
                what, "a name that no column of ours has", self.name, "rename it"
            )
        if not isinstance(self.type, ExactDecimal) and self.type not in TYPES:
            known_name = (
                "str, int, bool, date, datetime, 'json', decimal(12, 6) or a name such as text"
            )
            raise build_config_error(f"type of {what}", known_name, repr(self.type))
        if not self.description:
            raise build_config_error(
                f"description of {what}", "what it is, in which unit", "nothing"
            )
        if self.subject and (self.kind != "text" or not NAME.fullmatch(self.subject)):
            expected = "one word such as customer, of a field that is a text"
            raise build_config_error(
                f"subject of {what}", expected, f"{self.subject!r} of {self.kind}"
            )
        for check in self.checks:
            if not isinstance(check, FieldCheck):
                raise build_config_error(
                    f"check of {what}", "positive, between, matches or one_of", repr(check)
                )
            self._require_fitting(check)

    def _require_fitting(self, check: FieldCheck) -> None:
        """Make sure that a check can be applied to values of the type."""
        of_text = check.operator in ("matches", "one_of")
        fitting = ("text",) if of_text else ("integer", "decimal", "date")
        if self.kind not in fitting or (check.operator == "above" and self.kind == "date"):
            raise build_config_error(
                f"check of field {self.name!r}",
                f"a check of the type {self.kind}",
                f"one of {' or '.join(fitting)}: {check.says}",
            )

    @property
    def kind(self) -> Type:
        """Its type in one word."""
        return "decimal" if isinstance(self.type, ExactDecimal) else TYPES[self.type]

    @property
    def stored_name(self) -> str:
        """The name of its column in SQL."""
        return f"{self.name}{QUANTITY_SUFFIX}" if self.kind == "decimal" else self.name

    @property
    def checks(self) -> Sequence[Any]:
        """Its checks, and whatever else was given as one."""
        check = self.check
        return tuple(check) if isinstance(check, list | tuple) else (check,)

    @property
    def source_name(self) -> str:
        """Its name in the source."""
        return self.source or self.name


def require_fields(what: str, fields: Sequence[Field], columns: Sequence[str] = ()) -> None:
    """Make sure of the type of each field, and that each column of the table has its own name.

    Args:
        what: The dataset or derived table, for the error.
        fields: Its fields.
        columns: Names of its further columns, which may be those of fields.

    Raises:
        ConfigurationError: The list is empty, has another value, or two columns have one name.
    """
    if not isinstance(fields, list | tuple) or not fields:
        text = "none" if isinstance(fields, list | tuple) else repr(fields)
        raise build_config_error(f"fields of {what}", "at least one", text)
    if wrong := next((field for field in fields if not isinstance(field, Field)), None):
        raise build_config_error(
            f"fields of {what}", 'such as Field("rate", int, "cents")', repr(wrong)
        )
    names = [field.name for field in fields]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise build_config_error(f"fields of {what}", "each name once", f"{twice} twice")
    _require_formulas(fields)
    for field in fields:
        if field.kind == "decimal" and field.stored_name in {*names, *columns}:
            expected = f"no column {field.stored_name}, which the decimal {field.name} has in SQL"
            raise build_config_error(
                f"fields of {what}", expected, field.stored_name, "rename one of them"
            )


def _require_formulas(fields: Sequence[Field]) -> None:
    """Make sure that derived fields are computed from fields of the source, personal ones too."""
    read = {field.name: field for field in fields if field.formula is None}
    sources = {field.source_name for field in read.values()}
    for field in fields:
        if field.formula is None:
            continue
        what = f"formula of field {field.name!r}"
        if field.source or field.subject or field.name in sources:
            expected = "a field without source and subject, whose name the source does not have"
            raise build_config_error(what, expected, f"field {field.name}")
        kinds = {name: own_field.kind for name, own_field in read.items()}
        if problem := find_formula_problem(field.formula, field.kind, kinds):
            raise build_config_error(what, *problem)
        names = [name for name in list_row_columns(field.formula) if read[name].personal]
        if names and not field.personal:
            raise build_config_error(
                what, "personal=True, as it is computed from personal fields", ", ".join(names)
            )
