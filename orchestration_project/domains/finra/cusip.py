"""CUSIPs: nine characters that name a security, the last of which checks the others.

The check digit is that of modulus 10 double-add-double: letters count from A (10) to Z (35), then
`*` `@` `#`; every second value is doubled, and the digits of all are added up.
"""

import polars as pl

SHAPE = r"^[0-9A-Z*@#]{8}[0-9]$"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*@#"
_DIGIT_SUMS = [
    {mark: sum(divmod(value * factor, 10)) for value, mark in enumerate(ALPHABET)}
    for factor in (1, 2)
]
"""What a character adds, in an odd place and in an even one."""


def has_shape(name: str) -> pl.Expr:
    """Whether a text has the nine characters that a CUSIP may have."""
    return pl.col(name).str.contains(SHAPE)


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
    """Whether the last character is the check digit; null where it is no digit."""
    return pl.col(name).str.slice(8).cast(pl.Int64, strict=False) == check_digit(name)
