"""Formulas of the rules that fields of all sources share; `values` has the same rules in polars."""

from collections.abc import Mapping

from orchestration_project.engine.contracts.formulas import Formula
from orchestration_project.engine.contracts.values import (
    CUSIP_SHAPE,
    MAX_TEXT_BYTES,
    TOO_FINE,
    TOO_LARGE,
)
from orchestration_project.tables.schema import USD_SCALE

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
