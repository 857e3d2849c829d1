"""Frames: several deliveries as one, each row with the place of its delivery; exact decimals.

What is done to a frame costs the same for one row as for a thousand.
"""

import re
from collections.abc import Sequence
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal

import numpy as np
import polars as pl

JAVA_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?")
EXACT = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX)


def exact_scaled(texts: pl.Series, scale: int) -> pl.Series:
    """Return decimal ``texts`` times 10^``scale`` as exact integers.

    Null where a text is blank, no plain non-negative number, finer than the scale, or too large.
    """
    fraction = rf"(\.[0-9]{{1,{scale}}})?" if scale else ""
    plain = texts.str.contains(rf"^[0-9]{{1,{18 - scale}}}{fraction}$")
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


def signed_scaled(texts: pl.Series, scale: int) -> pl.Series:
    """Return decimal ``texts``, which may begin with a minus, as `exact_scaled` does."""
    is_negative = texts.str.starts_with("-")
    amounts = exact_scaled(texts.str.strip_prefix("-"), scale)
    return pl.select(pl.when(is_negative).then(-amounts).otherwise(amounts)).to_series()


def decimal_texts(amounts: pl.Series, scale: int) -> pl.Series:
    """Return exact integers, 10^``scale`` times what they mean, as decimals such as 1.088530."""
    texts = [
        None if each is None else f"{Decimal(each).scaleb(-scale, EXACT):f}" for each in amounts
    ]
    return pl.Series(amounts.name, texts, dtype=pl.String)


def _scaled_or_none(text: str, scale: int) -> int | None:
    """The rare spellings: exponents as Java writes them, and zeros beyond the scale."""
    if JAVA_NUMBER.fullmatch(text) is None:
        return None
    scaled = Decimal(text).scaleb(scale, EXACT)
    return int(scaled) if scaled < 2**63 and scaled % 1 == 0 else None


BATCH_INDEX = "place"
"""The column that says to which delivery a row belongs, counted from 0."""


def concat_batches(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return ``frames``, one at least, of the same columns, as one with `BATCH_INDEX`."""
    if len(frames) == 1:
        return frames[0].with_columns(pl.lit(0, pl.Int64).alias(BATCH_INDEX))
    # not by numpy: for a series of its arrays polars imports masked ones, too, in 40 ms
    lengths = pl.Series([len(frame) for frame in frames], dtype=pl.Int64)
    places = pl.select(pl.int_range(len(frames)).repeat_by(lengths).explode().drop_nulls())
    together = pl.concat(frames, rechunk=True)
    return together.with_columns(places.to_series().alias(BATCH_INDEX))


def split_batches(frame: pl.DataFrame, of: int) -> list[pl.DataFrame]:
    """Return the rows of each of ``of`` places, in their order, without `BATCH_INDEX`."""
    if of == 1:
        return [frame.drop(BATCH_INDEX)]
    nothing = frame.clear().drop(BATCH_INDEX)
    found = {}
    if not frame.is_empty():
        found = frame.partition_by(BATCH_INDEX, as_dict=True, include_key=False)
    return [found.get((place,), nothing) for place in range(of)]


def counted(frame: pl.DataFrame, of: int) -> list[int]:
    """Return how many rows each of ``of`` places has."""
    return np.bincount(frame[BATCH_INDEX].to_numpy(), minlength=of).tolist()
