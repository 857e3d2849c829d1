"""Texts of sources into numbers and days, exactly or not at all; frames, and types of columns.

Nothing is coerced: what cannot be read becomes null, and a rule names the reason. What is done to a
frame costs the same for one row as for a thousand, so the rows of deliveries are handled together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal

from sqlalchemy import FromClause, Table

from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.engine.contracts.formulas import CUSIP_ALPHABET
from orchestration_project.engine.contracts.rules import RowRule
from orchestration_project.tables.schema import (
    USD_SCALE,
    Quantity,
    key_names,
)

MAX_TEXT_BYTES = 1000
"""Ten times what occurs. PostgreSQL keeps no key of more than 2.7 kB."""

MAX_KEY_TEXT_BYTES = 800
"""Maximum bytes of a text in a key, of which a table may have three."""

CHARACTERS_SHOWN = 60

MAX_WHOLE_QUANTITY = (2**63 - 1) // 10**USD_SCALE
"""Largest whole quantity whose millionths 64 bits hold."""

TOO_LARGE = {
    True: (r"^[0-9]+$", "is above 2^63-1"),
    False: (rf"^[0-9]{{13,}}(\.[0-9]{{1,{USD_SCALE}}})?$", f"is above {MAX_WHOLE_QUANTITY}"),
}
TOO_FINE = {
    True: (r"^[0-9]+\.[0-9]+$", "is written with a fraction"),
    False: (r"^[0-9]+\.[0-9]+$", f"has more than {USD_SCALE} decimals"),
}
"""Spelling and reason of a number that a column cannot hold; True: of whole numbers."""


def parse_whole_number(name: str) -> pl.Expr:
    """Return a column of digits as 64-bit numbers; null where a text is none."""
    text = pl.col(name)
    is_unsigned = (text >= "0") & (text < ":")  # all else that a cast takes begins with a sign
    return pl.when(is_unsigned).then(text).cast(pl.Int64, strict=False)


def parse_quantities(texts: pl.Series) -> pl.Series:
    """Read shares, or par values, as exact decimals with six places; null where a text is none.

    Most are whole: only the others are read as decimals, which takes longer.
    """
    from orchestration_project.engine.contracts.frame_types import QUANTITY

    whole = pl.select(
        pl.when(texts.is_between("0", ":", closed="left")).then(texts).cast(pl.Int64, strict=False)
    ).to_series()
    read = pl.select(pl.when(whole <= MAX_WHOLE_QUANTITY).then(whole)).to_series().cast(QUANTITY)
    unread = (whole.is_null() & texts.str.contains(".", literal=True)).fill_null(value=False)
    places = unread.arg_true()
    if places.is_empty():
        return read
    plain = texts[places].set(~texts[places].str.contains(r"^[0-9]+\.[0-9]+$"), "")
    return read.scatter(places, convert_millionths(parse_scaled(plain, USD_SCALE)))


def convert_millionths(millionths: pl.Series) -> pl.Series:
    """Return whole millionths as the quantities that they mean."""
    from orchestration_project.engine.contracts.frame_types import QUANTITY

    return millionths.cast(QUANTITY) / 10**USD_SCALE


def parse_signed_quantities(texts: pl.Series) -> pl.Series:
    """Read quantities that may begin with a minus, as `quantities` does."""
    return convert_millionths(parse_signed_scaled(texts, USD_SCALE))


def parse_days(texts: pl.Series) -> pl.Series:
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


TRUTHS = {"true": True, "false": False, "1": True, "0": False}


def parse_booleans(texts: pl.Series) -> pl.Series:
    """Read true, false, 1 and 0, in whatever case; null where a text is none of them."""
    lower = texts.str.to_lowercase()
    return lower.replace_strict(TRUTHS, default=None, return_dtype=pl.Boolean)


def parse_timestamps(texts: pl.Series) -> pl.Series:
    """Read timestamps of ISO 8601 with a zone, in UTC; null where a text is none, or is finer."""
    from orchestration_project.engine.contracts.frame_types import MOMENT

    return pl.Series(texts.name, [try_parse_timestamp(text) for text in texts], MOMENT)


def is_moment(text: str) -> bool:
    """Whether a text is a timestamp of ISO 8601 with a zone."""
    return try_parse_timestamp(text) is not None


FINER_THAN_MICROSECONDS = re.compile(r"[.,][0-9]{6}[0-9]*[1-9]")


def try_parse_timestamp(text: str) -> datetime | None:
    """Return a timestamp of ISO 8601 with a zone, in UTC; None: the text is none."""
    if FINER_THAN_MICROSECONDS.search(text):
        return None  # Python would cut it
    try:
        fromisoformat = datetime.fromisoformat(text)
        return fromisoformat.astimezone(UTC) if fromisoformat.tzinfo else None
    except (ValueError, OverflowError):
        return None


def trim_texts(rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return ``rows`` without the blanks around their texts: the one rule for fields of sources.

    A blank is white space as Unicode defines it: spaces, no-break ones too, tabs and line ends.
    Those within a text stay.
    """
    has_blanks = rows.select(pl.col(names).str.contains(r"^\s|\s$").any()).row(0, named=True)
    odd = [name for name, is_odd in has_blanks.items() if is_odd]
    return rows.with_columns(pl.col(odd).str.strip_chars()) if odd else rows


def is_blank(name: str) -> pl.Expr:
    """Whether a text has nothing to be seen."""
    return ~pl.col(name).str.contains(r"\S")


def may_be_blank(name: str) -> pl.Expr:
    """Whether a text does not begin with printable ASCII: so do all blank ones, and few others."""
    return (pl.col(name) < "!") | (pl.col(name) > "~")


def replace_blank(name: str) -> pl.Expr:
    """Return a text, null where it is blank."""
    return pl.when(~is_blank(name)).then(pl.col(name))


def replace_blank_texts(rows: pl.DataFrame, names: Sequence[str]) -> dict[str, pl.Expr]:
    """Return each text of ``rows`` by its name, null where it is blank.

    Most columns have no blank but the empty text, which is found much faster.
    """
    is_odd = rows.select((may_be_blank(name) & (pl.col(name) != "")).any() for name in names)
    return {
        name: replace_blank(name) if odd else pl.when(pl.col(name) != "").then(pl.col(name))
        for name, odd in is_odd.row(0, named=True).items()
    }


def quote_text(name: str) -> pl.Expr:
    """Return how a text is quoted in a reason."""
    return pl.col(name).str.slice(0, CHARACTERS_SHOWN)


def build_quantity_rules(name: str, parsed: str, *, is_whole: bool) -> list[RowRule]:
    """Return the defect of a required number; ``parsed`` is its parsed column."""
    value, bad = pl.col(name), pl.col(parsed).is_null()
    spellings = {
        "negative_quantity": (r"^-[0-9]", "is negative"),
        "quantity_too_large": (*TOO_LARGE[is_whole],),
        "fractional_quantity": (*TOO_FINE[is_whole],),
        "not_a_number": ("", "is not a number"),
    }
    return [
        RowRule("missing_quantity", value == "", pl.lit(f"{name} is blank"), only_if=bad),
        *(
            RowRule(
                code,
                bad & value.str.contains(spelling),
                pl.format(f"{name} {text}: {{}}", quote_text(name)),
                only_if=bad,
            )
            for code, (spelling, text) in spellings.items()
        ),
    ]


def build_parse_rule(code: str, name: str, parsed: str, what: str) -> RowRule:
    """A field that may be blank, and is not, and cannot be read."""
    bad = (pl.col(name) != "") & pl.col(parsed).is_null()
    return RowRule(code, bad, pl.format(f"{name} is {what}: {{}}", quote_text(name)))


def build_length_rule(name: str, most_bytes: int = MAX_TEXT_BYTES) -> RowRule:
    """A text that no database's key could hold."""
    length = pl.col(name).str.len_bytes()
    reason = pl.format(f"{name} has {{}} bytes, more than {most_bytes}", length)
    return RowRule("text_too_long", length > most_bytes, reason)


CUSIP_SHAPE = r"^[0-9A-Z*@#]{8}[0-9]$"
_DIGIT_SUMS = [
    {mark: sum(divmod(value * factor, 10)) for value, mark in enumerate(CUSIP_ALPHABET)}
    for factor in (1, 2)
]
"""Checksum weight of a character at an odd place and at an even one."""


def has_cusip_shape(name: str) -> pl.Expr:
    """Whether a text has the nine characters that a CUSIP may have."""
    return pl.col(name).str.contains(CUSIP_SHAPE)


def check_digit(name: str) -> pl.Expr:
    """Return the check digit that the first eight characters ask for; null where they are none."""
    added = (
        pl.col(name)
        .str.slice(position, 1)
        .replace_strict(_DIGIT_SUMS[position % 2], default=None, return_dtype=pl.Int64)
        for position in range(8)
    )
    return (10 - sum(added, start=pl.lit(0, pl.Int64)) % 10) % 10


def has_right_digit(name: str) -> pl.Expr:
    """Whether the last character is the check digit; null where that is not a digit."""
    return pl.col(name).str.slice(8).cast(pl.Int64, strict=False) == check_digit(name)


JAVA_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?")
EXACT = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX)


def parse_scaled(texts: pl.Series, scale: int) -> pl.Series:
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
        _scale_text(text, scale) if is_odd else None
        for text, is_odd in zip(texts, odd, strict=True)
    ]
    return pl.select(pl.coalesce(frame["scaled"], pl.Series(slow, dtype=pl.Int64))).to_series()


def parse_signed_scaled(texts: pl.Series, scale: int) -> pl.Series:
    """Return decimal ``texts``, which may begin with a minus, as `parse_scaled` does."""
    is_negative = texts.str.starts_with("-")
    amounts = parse_scaled(texts.str.strip_prefix("-"), scale)
    return pl.select(pl.when(is_negative).then(-amounts).otherwise(amounts)).to_series()


def format_decimals(amounts: pl.Series, scale: int) -> pl.Series:
    """Return exact integers, 10^``scale`` times what they mean, as decimals such as 1.088530."""
    texts = [
        None if amount is None else f"{Decimal(amount).scaleb(-scale, EXACT):f}"
        for amount in amounts
    ]
    return pl.Series(amounts.name, texts, dtype=pl.String)


def _scale_text(text: str, scale: int) -> int | None:
    """The rare spellings: exponents as Java writes them, and zeros beyond the scale."""
    if JAVA_NUMBER.fullmatch(text) is None:
        return None
    scaled = Decimal(text).scaleb(scale, EXACT)
    return int(scaled) if scaled < 2**63 and scaled % 1 == 0 else None


BATCH_INDEX = "place"
"""The column that says to which delivery a row belongs, counted from 0."""


def combine_batches(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
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
    values = {}
    if not frame.is_empty():
        values = frame.partition_by(BATCH_INDEX, as_dict=True, include_key=False)
    return [values.get((position,), nothing) for position in range(of)]


def count_by_batch(frame: pl.DataFrame, of: int) -> list[int]:
    """Return how many rows each of ``of`` places has."""
    import numpy as np

    return np.bincount(frame[BATCH_INDEX].to_numpy(), minlength=of).tolist()


def derive_schema(
    declared: FromClause, names: Sequence[str] | None = None
) -> dict[str, pl.DataType]:
    """Return the polars type of each column of ``declared`` (of just ``names``, if given)."""
    from orchestration_project.engine.contracts.frame_types import POLARS_TYPES

    chosen = names or declared.columns.keys()
    return {name: POLARS_TYPES[type(declared.c[name].type)] for name in chosen}


def derive_stored_schema(
    declared: FromClause, names: Sequence[str] | None = None
) -> dict[str, pl.DataType]:
    """Return the same as a database stores them: quantities as whole millionths."""
    return {
        name: pl.Int64() if _is_quantity(declared, name) else kind
        for name, kind in derive_schema(declared, names).items()
    }


def decode_quantities(stored: pl.DataFrame, declared: FromClause) -> pl.DataFrame:
    """Return columns as `derive_schema` has them, of such as `derive_stored_schema` has."""
    from orchestration_project.engine.contracts.frame_types import QUANTITY

    return stored.with_columns(
        pl.col(name).cast(QUANTITY) / 10**USD_SCALE
        for name in stored.columns
        if _is_quantity(declared, name)
    )


def encode_quantities(rows: pl.DataFrame, declared: FromClause) -> pl.DataFrame:
    """Return ``rows`` with the names and numbers that the database has for quantities."""
    return rows.select(
        pl.col(name).to_physical().cast(pl.Int64).alias(declared.c[name].name)
        if _is_quantity(declared, name)
        else name
        for name in rows.columns
    )


def _is_quantity(declared: FromClause, name: str) -> bool:
    return isinstance(declared.c[name].type, Quantity)


def fit_to_table(rows: pl.DataFrame, declared: Table) -> pl.DataFrame:
    """Return ``rows`` with the columns and types of ``declared``, in the order of its key."""
    schema = derive_schema(declared)
    return rows.select(list(schema)).cast(pl.Schema(schema)).sort(key_names(declared))
