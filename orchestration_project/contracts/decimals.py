"""Decimal texts as exact integers of parts: no number passes through a binary fraction."""

import re
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal

import polars as pl

JAVA_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?")
EXACT = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX)


def exact_scaled(texts: pl.Series, scale: int) -> pl.Series:
    """Return decimal ``texts`` times 10^``scale`` as exact integers.

    Null where a text is blank, no plain non-negative number, finer than the scale, or too large.
    """
    plain = texts.str.contains(rf"^[0-9]{{1,{18 - scale}}}(\.[0-9]{{1,{scale}}})?$")
    decimals = texts.cast(pl.Decimal(18, scale), strict=False)  # exact, as what is plain fits
    frame = pl.DataFrame({"scaled": decimals.to_physical().cast(pl.Int64), "plain": plain})
    frame = frame.select(scaled=pl.when("plain").then("scaled"))
    odd = ~plain & (texts != "")
    if not odd.any():
        return frame["scaled"]
    slow = [
        _scaled_or_none(text, scale) if is_odd else None
        for text, is_odd in zip(texts, odd, strict=True)
    ]
    return pl.select(pl.coalesce(frame["scaled"], pl.Series(slow, dtype=pl.Int64))).to_series()


def _scaled_or_none(text: str, scale: int) -> int | None:
    """The rare spellings: exponents as Java writes them, and zeros beyond the scale."""
    if JAVA_NUMBER.fullmatch(text) is None:
        return None
    scaled = Decimal(text).scaleb(scale, EXACT)
    return int(scaled) if scaled < 2**63 and scaled % 1 == 0 else None
