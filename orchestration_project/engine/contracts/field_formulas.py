"""Formulas of the rules that fields of all sources share; `values` has the same rules in polars."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context
from fractions import Fraction
from typing import Any

from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.engine.contracts.formulas import (
    GREATEST,
    Formula,
    build_row_set,
    evaluate,
    read_value,
)
from orchestration_project.engine.contracts.values import (
    CUSIP_SHAPE,
    MAX_TEXT_BYTES,
    TOO_FINE,
    TOO_LARGE,
)
from orchestration_project.tables.schema import USD_SCALE, Field

DIGITS, PLAIN_NUMBER = "^[0-9]+$", rf"^[0-9]+(\.[0-9]{{1,{USD_SCALE}}})?$"
Reject = tuple[str, Formula]
"""A reason code, and the formula that is true of a line which is rejected for it."""

BLANK: Formula = ["text", ""]


def replace_field(formula: Formula, name: str, reading: Formula) -> Formula:
    """Return a formula that has ``reading`` in the place of a field."""
    if isinstance(formula, list | tuple):
        return [replace_field(part, name, reading) for part in formula]
    return reading if formula == name else formula


def choose_known(*formulas: Formula) -> Formula:
    """Return the first value that is not null."""
    first, *remaining = formulas
    return ["if", ["equal", first, None], choose_known(*remaining), first] if remaining else first


def choose_text(formula: Formula, texts: Mapping[str, str], other: Formula = None) -> Formula:
    """Return a formula for the text that a table has for a value, else ``other``."""
    for value, text in reversed(list(texts.items())):
        other = ["if", ["equal", formula, ["text", value]], ["text", text], other]
    return other


def read_text(name: str) -> Formula:
    """Return the text of a field; null where it is blank."""
    return ["if", is_empty(name), None, name]


def read_whole_number(name: str) -> Formula:
    """Return the whole number of 64 bits that a text of digits is."""
    return ["if", ["matches", name, DIGITS], ["scaled", name, 0]]


def read_plain_millionths(name: str) -> Formula:
    """Return the millionths of a text of digits with at most 6 decimals."""
    return ["if", ["matches", name, PLAIN_NUMBER], ["scaled", name, USD_SCALE]]


def read_signed_number(name: str, scale: int) -> Formula:
    """Return the number of a text that may begin with a minus, times 10 to ``scale``."""
    is_negative, size = ["matches", name, "^-"], ["extract", name, "^-(.*)$"]
    return ["if", is_negative, ["subtract", 0, ["scaled", size, scale]], ["scaled", name, scale]]


def is_empty(name: str) -> Formula:
    """Return whether a field has no text."""
    return ["equal", name, BLANK]


def reject_unreadable(code: str, name: str, reading: Formula) -> Reject:
    """Reject a field that has a text which ``reading`` cannot read."""
    return code, ["and", ["not", is_empty(name)], ["equal", reading, None]]


def reject_long(name: str, max_bytes: int = MAX_TEXT_BYTES) -> Reject:
    """Reject a text that no database's key could hold."""
    return "text_too_long", ["greater", ["size", name], max_bytes]


def reject_cusip(name: str) -> list[Reject]:
    """Return the defects of a CUSIP: other characters, and another check digit."""
    has_right_digit = ["equal", ["check_digit", name], ["extract", name, "(.)$"]]
    return [
        ("not_a_cusip", ["not", ["matches", name, CUSIP_SHAPE]]),
        ("wrong_check_digit", ["not", has_right_digit]),
    ]


def reject_quantity(name: str, reading: Formula, *, is_whole: bool) -> list[Reject]:
    """Return the defects of a required number."""
    is_unread = ["equal", reading, None]
    spellings = {
        "negative_quantity": "^-[0-9]",
        "quantity_too_large": TOO_LARGE[is_whole][0],
        "fractional_quantity": TOO_FINE[is_whole][0],
        "not_a_number": "",
    }
    return [
        ("missing_quantity", is_empty(name)),
        *(
            (code, ["and", is_unread, ["matches", name, spelling]])
            for code, spelling in spellings.items()
        ),
    ]


ROW_OPERATORS = (
    *("add", "subtract", "multiply", "days_after", "greater", "equal", "not", "and", "if"),
    "text",
)
"""Operators of derived fields: their values follow from columns of the row alone."""

SAMPLES: Mapping[str, Any] = {
    "integer": 1,
    "decimal": Fraction(1),
    "boolean": True,
    "date": "2026-01-05",
    "text": "a",
}
"""A value of each type, as formulas have it; timestamps and JSON are not computed with."""


def list_row_columns(formula: Formula) -> list[str]:
    """Return the columns that the formula of a derived field reads."""
    if isinstance(formula, str):
        return [formula]
    if not isinstance(formula, list | tuple) or formula[0] == "text":
        return []
    return list(dict.fromkeys(name for part in formula[1:] for name in list_row_columns(part)))


def replace_columns(formula: Formula, readings: Mapping[str, Formula]) -> Formula:
    """Return the formula of a derived field with what each column is read from."""
    if isinstance(formula, str):
        return readings[formula]
    if not isinstance(formula, list | tuple) or formula[0] == "text":
        return formula
    return [formula[0], *(replace_columns(part, readings) for part in formula[1:])]


def find_formula_problem(
    formula: Formula, kind: str, kinds: Mapping[str, str]
) -> tuple[str, str] | None:
    """Compare the formula of a derived field with its columns: expected and found; None: it fits.

    Args:
        formula: The formula.
        kind: Type of the derived field, in one word.
        kinds: Types of the columns that it may read.
    """
    if kind not in SAMPLES:
        return f"a field of the types {', '.join(SAMPLES)}", kind
    if unknown := _list_operators(formula) - {*ROW_OPERATORS}:
        return f"operators {', '.join(ROW_OPERATORS)}", ", ".join(sorted(unknown))
    names = list_row_columns(formula)
    unread = [name for name in names if kinds.get(name) not in SAMPLES]
    if unread or not names:
        readable = [name for name, column_kind in kinds.items() if column_kind in SAMPLES]
        return f"columns {', '.join(readable)}", ", ".join(unread) or "none"
    row = build_row_set({name: SAMPLES[kinds[name]] for name in names}, {})
    try:
        value = evaluate(formula, row)
    except (TypeError, ValueError) as error:
        return "operators that fit the types of their columns", str(error)
    types: Mapping[str, type] = {"boolean": bool, "text": str, "date": str}
    fits = isinstance(value, types.get(kind, int | Fraction)) and (
        kind == "boolean" or not isinstance(value, bool)
    )
    return None if value is None or fits else (f"a value of the type {kind}", repr(value))


def _list_operators(formula: Formula) -> set[str]:
    if not isinstance(formula, list | tuple) or not formula:
        return set()
    parts = formula[1:] if formula[0] != "text" else ()
    return {str(formula[0])}.union(*map(_list_operators, parts))


def compute_texts(formula: Formula, rows: pl.DataFrame, types: Mapping[str, str]) -> pl.Series:
    """Return the value of a derived field in each row, as a text; null is blank.

    ``types`` are the types of the columns of ``rows``, in SQL.
    """
    names = list_row_columns(formula)
    values = (
        evaluate(
            formula,
            build_row_set({name: read_value(types[name], row[name]) for name in names}, {}),
        )
        for row in rows.select(names).iter_rows(named=True)
    )
    return pl.Series(map(_format, values), dtype=pl.String())


def _format(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Fraction):  # of products of decimals: a decimal of at most so many digits
        digits = value.numerator.bit_length() + value.denominator.bit_length()
        return f"{Context(prec=digits + 1).divide(value.numerator, value.denominator):f}"
    return "" if value is None else str(value)


def reject_derived(formula: Formula, field: Field) -> list[Reject]:
    """Return the defects of a derived field: null though required, too large, or too fine."""
    missing = ("missing_value", ["equal", formula, None])
    large = GREATEST if field.kind == "Number" else None
    if large is not None and str(field.column.type).startswith("NUMERIC"):
        formula = ["multiply", formula, 10**USD_SCALE]
    is_small = ["not", ["greater", formula, large]], ["not", ["greater", -(large or 0), formula]]
    is_kept = ["and", *is_small, ["whole", formula]]
    unkept = ("not_an_amount", ["and", ["not", missing[1]], ["not", is_kept]])
    return [*([] if field.column.nullable else [missing]), *([unkept] if large else [])]
