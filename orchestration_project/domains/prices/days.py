"""The shape of what is read of an answer, and the refusal of one that cannot be read."""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NoReturn

import polars as pl

from orchestration_project.engine.contracts.rules import escape_bytes
from orchestration_project.errors import SourceError

VALUES = (
    "trade_date",
    "open",
    "high",
    "low",
    "close",
    "adjusted_close",
    "volume",
    "dividend",
    "split_ratio",
)
"""Columns of each day, all as text; null where a format has none or null."""

ANSWER_SCHEMA = {
    "part_number": pl.Int64(),
    "line_number": pl.Int64(),
    "symbol": pl.String(),
    **dict.fromkeys(VALUES, pl.String()),
    "is_split_adjusted": pl.Boolean(),
}
"""``line_number`` counts the days of an answer from 1, in its order; of CSV the lines, with the
header. ``symbol`` is the vendor's spelling where the answer says whose prices they are; or null.
``is_split_adjusted`` says whether prices and volume are stated after all later splits; null: it is
not stated."""

EXPONENT = re.compile(r"-?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]{1,2}", re.ASCII)
"""A number with an exponent; a larger one is left as it is: no price, and a flood of zeros."""


def answer_of(
    values: Mapping[str, Sequence[str | None] | pl.Series],
    *,
    symbol: str | None,
    first_line: int = 1,
) -> pl.DataFrame:
    """Return columns of equal length as the days of one symbol; those not given are null.

    Blanks around a text are dropped. Only an exponent is written out, as 1e-05 is 0.00001 to
    the last digit. A column that is a
    series already holds texts without any.

    Raises:
        TypeError, ValueError: A value is not a text, or the lengths differ.
    """
    if not isinstance(symbol, str | None):
        raise TypeError(f"a symbol that is not text: {symbol!r}")
    texts = {name: _clean_texts(name, column) for name, column in values.items()}
    length = max(map(len, texts.values()), default=0)
    return pl.DataFrame(  # each column as it comes: expressions would cost more than a few days do
        [
            pl.Series("line_number", range(first_line, first_line + length), pl.Int64),
            pl.Series("symbol", [symbol] * length, pl.String),
            *(
                texts[name] if name in texts else pl.Series(name, [None] * length, pl.String)
                for name in VALUES
            ),
        ]
    )


def _clean_texts(name: str, column: Sequence[str | None] | pl.Series) -> pl.Series:
    if isinstance(column, pl.Series):
        return column.str.strip_chars().alias(name)
    together = "".join(filter(None, column))  # asked once, as hardly any has blank or exponent
    if together.split() not in ([], [together]):
        column = [text and text.strip() for text in column]
    texts = pl.Series(name, column, pl.String, strict=True)
    if "e" not in together and "E" not in together:
        return texts
    return pl.Series(name, [text and _expand_exponent(text) for text in column], pl.String)


def _expand_exponent(text: str) -> str:
    return f"{Decimal(text):f}" if EXPONENT.fullmatch(text) else text


def json_of(body: bytes) -> Any:
    """Return the JSON in ``body``, numbers as the text that stands there.

    Raises:
        SourceError: It is none.
    """
    try:
        return json.loads(body, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        refuse(body, "JSON", f"{error}")


def refuse(body: bytes, expected: str, found: str) -> NoReturn:
    """Raise the error of an answer that cannot be used.

    Raises:
        SourceError: Always.
    """
    raise SourceError(
        "an answer holds no daily prices",
        expected=expected,
        found=f"{found}; it begins {escape_bytes(body, 200)}",
        remedy="ask again later; if it stays so, the source has changed its format, or something "
        "between here and there answers in its place",
    )
