"""Texts of sources into numbers and days, exactly or not at all, and what to say if not.

Nothing is coerced: what cannot be read becomes null, and a rule names the reason.
"""

from collections.abc import Sequence

import polars as pl

from orchestration_project.contracts.rules import RowRule

LONGEST_TEXT_BYTES = 1000
"""Ten times what occurs. PostgreSQL keeps no key of more than 2.7 kB."""

LONGEST_KEY_TEXT_BYTES = 800
"""Of a text in the key of a table that may have three of them."""

CHARACTERS_SHOWN = 60


def whole_number(name: str) -> pl.Expr:
    """Return a column of digits as 64-bit numbers; null where a text is none."""
    text = pl.col(name)
    is_unsigned = (text >= "0") & (text < ":")  # all else that a cast takes begins with a sign
    return pl.when(is_unsigned).then(text).cast(pl.Int64, strict=False)


def days(texts: pl.Series) -> pl.Series:
    """Read days; null where a text is none. A week names few: each is read once."""
    text = pl.col("text")
    is_shaped = text.str.contains(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
    has_year = ~text.str.starts_with("0000")  # which neither Python nor SQL has
    shaped = pl.when(is_shaped & has_year).then(text)
    read = pl.DataFrame({"text": texts.unique()}).with_columns(
        day=shaped.str.to_date("%Y-%m-%d", strict=False)
    )
    if len(read) <= 1:  # as in most columns of most weeks
        return read["day"].gather(pl.zeros(len(texts), pl.UInt32, eager=True))
    return texts.replace_strict(read["text"], read["day"], return_dtype=pl.Date)


def is_blank(name: str) -> pl.Expr:
    """Whether a text has nothing to be seen."""
    return ~pl.col(name).str.contains(r"\S")


def may_be_blank(name: str) -> pl.Expr:
    """Whether a text does not begin with printable ASCII: so do all blank ones, and few others."""
    return (pl.col(name) < "!") | (pl.col(name) > "~")


def text_or_null(name: str) -> pl.Expr:
    """Return a text, null where it is blank."""
    return pl.when(~is_blank(name)).then(pl.col(name))


def texts_or_null(rows: pl.DataFrame, names: Sequence[str]) -> dict[str, pl.Expr]:
    """Return each text of ``rows`` by its name, null where it is blank.

    Most columns have no blank but the empty text, which is found much faster.
    """
    is_odd = rows.select((may_be_blank(name) & (pl.col(name) != "")).any() for name in names)
    return {
        name: text_or_null(name) if odd else pl.when(pl.col(name) != "").then(pl.col(name))
        for name, odd in is_odd.row(0, named=True).items()
    }


def shown(name: str) -> pl.Expr:
    """Return how a text is quoted in a reason."""
    return pl.col(name).str.slice(0, CHARACTERS_SHOWN)


def quantity_rules(name: str, parsed: str) -> list[RowRule]:
    """What is wrong with a whole number that is required, ``parsed`` being the column it gave."""
    value, bad = pl.col(name), pl.col(parsed).is_null()
    spellings = {
        "negative_quantity": (r"^-[0-9]", "is negative"),
        "fractional_quantity": (r"^[0-9]+\.[0-9]+$", "is written with a fraction"),
        "quantity_too_large": (r"^[0-9]+$", "is above 2^63-1"),
        "not_a_number": ("", "is not a number"),
    }
    return [
        RowRule("missing_quantity", value == "", pl.lit(f"{name} is blank"), only_if=bad),
        *(
            RowRule(
                code,
                bad & value.str.contains(spelling),
                pl.format(f"{name} {text}: {{}}", shown(name)),
                only_if=bad,
            )
            for code, (spelling, text) in spellings.items()
        ),
    ]


def unreadable(code: str, name: str, parsed: str, what: str) -> RowRule:
    """A field that may be blank, and is not, and cannot be read."""
    bad = (pl.col(name) != "") & pl.col(parsed).is_null()
    return RowRule(code, bad, pl.format(f"{name} is {what}: {{}}", shown(name)))


def too_long(name: str, most_bytes: int = LONGEST_TEXT_BYTES) -> RowRule:
    """A text that no database's key could hold."""
    length = pl.col(name).str.len_bytes()
    reason = pl.format(f"{name} has {{}} bytes, more than {most_bytes}", length)
    return RowRule("text_too_long", length > most_bytes, reason)


CUSIP_SHAPE = r"^[0-9A-Z*@#]{8}[0-9]$"
CUSIP_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*@#"
_DIGIT_SUMS = [
    {mark: sum(divmod(value * factor, 10)) for value, mark in enumerate(CUSIP_ALPHABET)}
    for factor in (1, 2)
]
"""What a character adds, in an odd place and in an even one."""


def has_cusip_shape(name: str) -> pl.Expr:
    """Whether a text has the nine characters that a CUSIP may have."""
    return pl.col(name).str.contains(CUSIP_SHAPE)


def check_digit(name: str) -> pl.Expr:
    """Return the check digit that the first eight characters ask for; null where they are none."""
    added = (
        pl.col(name)
        .str.slice(place, 1)
        .replace_strict(_DIGIT_SUMS[place % 2], default=None, return_dtype=pl.Int64)
        for place in range(8)
    )
    return (10 - sum(added, start=pl.lit(0, pl.Int64)) % 10) % 10


def has_right_digit(name: str) -> pl.Expr:
    """Whether the last character is the check digit; null where that is not a digit."""
    return pl.col(name).str.slice(8).cast(pl.Int64, strict=False) == check_digit(name)
