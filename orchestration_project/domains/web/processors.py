"""Processors of texts: clean text, exact prices and quantities, integers, dates; masks."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple

from orchestration_project.domains.web.units import converted, currency_of, is_currency
from orchestration_project.redaction import MASK

Process = Literal["text", "price", "money", "quantity", "integer", "date"]
Processed = str | int | Mapping[str, str]

MAX_VALUE_LENGTH = 100_000
"""Characters of a value; a longer one is rejected."""


class Notation(NamedTuple):
    """Characters between digits of a number, and digits of its groups before the last one."""

    group: str
    decimal: str
    group_digits: int = 3


NOTATIONS: Mapping[str, Notation] = {
    "1,234.56": Notation(",", "."),
    "1.234,56": Notation(".", ","),
    "1 234,56": Notation(" ", ","),
    "1'234.56": Notation("'", "."),
    "1,23,456.78": Notation(",", ".", 2),
}
"""How numbers are written, by example."""

SPACES = re.compile(r"[\s\u200b\ufeff]+")
PRICE = re.compile(r"([^\d+-]{0,8}?)([+-]?)(\d[\d.,' ]*)(?:(?<=[.,])[-\u2013\u2014])?([^\d]{0,8})")
"""Currency, sign, number, a dash in place of its decimals, and currency."""

QUANTITY = re.compile(r"([+-]?\d[\d.,' ]*?) ?([^\d\s.,'][^\s]{0,11})?")
INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)


class ValueProblemError(ValueError):
    """A text is not what its field declares; the message has what was expected and found."""


def clean(text: str) -> str:
    """Return a text with single spaces, and none at its ends."""
    return SPACES.sub(" ", text).strip()


def price(text: str, notation: str) -> str:
    """Return a price as an exact decimal with its places, e.g. ``1234.50``; never a float.

    Args:
        text: The number, perhaps with a currency before or after it.
        notation: A key of `NOTATIONS`: a text in another one is refused, not guessed.

    Raises:
        ValueProblemError: It is not a number in that notation, or has more than a currency beside
            it.
    """
    match = PRICE.fullmatch(clean(text).replace("\u2019", "'"))
    group, decimal, group_digits = NOTATIONS[notation]
    if match is not None and _has_one_currency(match[1].strip(), match[4].strip()):
        sign, digits = match[2], match[3].strip()
        if digits.endswith((".", ",")) and match[0] != match[3]:
            digits = digits[:-1]
        whole, _, places = digits.partition(decimal)
        mark = re.escape(group)
        grouped = rf"\d{{1,{group_digits}}}({mark}\d{{{group_digits}}})*{mark}\d{{3}}"
        is_number = re.fullmatch(rf"{grouped}|\d+", whole, re.ASCII)
        if is_number and ((places.isascii() and places.isdigit()) or digits == whole):
            exact = f"{sign}{whole.replace(group, '')}{'.' if places else ''}{places}"
            if len(exact) <= 30:
                return f"{Decimal(exact):f}"
    raise ValueProblemError(
        f"expected a price such as {notation}, alone or with a currency, found {text[:60]!a}"
    )


def _has_one_currency(before: str, after: str) -> bool:
    """Whether at most one currency, and nothing else, stands beside a number."""
    beside = before or after
    return not (before and after) and (not beside or is_currency(beside))


def integer(text: str) -> int:
    """Return a whole number of up to 18 digits.

    Raises:
        ValueProblemError: It is none.
    """
    value = clean(text)
    if not INTEGER.fullmatch(value):
        raise ValueProblemError(f"expected a whole number such as 12, found {text[:60]!a}")
    return int(value)


def date(text: str, form: str) -> str:
    """Return a date, or a time if ``form`` has one, in ISO 8601.

    Raises:
        ValueProblemError: It is not written in that form.
    """
    value = clean(text)
    try:
        strptime = datetime.strptime(value, form)  # noqa: DTZ007 - the form says if there is a zone
    except ValueError:
        raise ValueProblemError(
            f"expected a date in the form {form}, found {text[:60]!a}"
        ) from None
    return strptime.isoformat() if "%H" in form or "%I" in form else strptime.date().isoformat()


def money(text: str, notation: str, currency: str | None) -> Mapping[str, str]:
    """Return ``amount`` as an exact decimal, and ``currency`` as a code of ISO 4217.

    Args:
        text: A number with its currency before or after it.
        notation: A key of `NOTATIONS`.
        currency: The declared currency, which a text with another breaks; None: it is in the text.

    Raises:
        ValueProblemError: The number or its currency is missing, ambiguous or another.
    """
    amount = price(text, notation)
    try:
        return {"amount": amount, "currency": currency_of(clean(text), currency)}
    except ValueError as error:
        raise ValueProblemError(str(error)) from None


def quantity(text: str, notation: str, unit: str) -> str:
    """Return a quantity in a unit, as an exact decimal, e.g. ``1500`` of ``1.5 kg`` in g.

    Args:
        text: A number and its unit; without a unit it is in ``unit``.
        notation: A key of `NOTATIONS`.
        unit: A key of `units.UNITS`.

    Raises:
        ValueProblemError: It is not a number, of another quantity, or not exact in that unit.
    """
    match = QUANTITY.fullmatch(clean(text))
    if match is None:
        raise ValueProblemError(f"expected a quantity such as 1.5 {unit}, found {text[:60]!a}")
    try:
        return converted(price(match[1], notation), match[2] or unit, unit)
    except ValueProblemError:
        raise
    except ValueError as error:
        raise ValueProblemError(f"{error}, found {text[:60]!a}") from None


def masked(text: str, key: bytes) -> str:
    """Return the mask that is stored in place of a personal text, which it does not reveal.

    Equal texts have equal masks under one key, so that changes are seen.

    Args:
        text: The value.
        key: A secret; empty: all masks are the same.
    """
    if not key:
        return MASK
    return f"{MASK}{hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:16]}"


def processed(
    text: str,
    process: Process,
    *,
    notation: str,
    form: str | None,
    unit: str | None = None,
    currency: str | None = None,
) -> Processed:
    """Return a text as its field declares it.

    Raises:
        ValueProblemError: It is not what the field declares, or too long.
    """
    if len(text) > MAX_VALUE_LENGTH:
        raise ValueProblemError(f"expected up to {MAX_VALUE_LENGTH} characters, found {len(text)}")
    match process:
        case "price":
            return price(text, notation)
        case "money":
            return money(text, notation, currency)
        case "quantity":
            return quantity(text, notation, str(unit))
        case "integer":
            return integer(text)
        case "date":
            return date(text, str(form))
        case _:
            return clean(text)
