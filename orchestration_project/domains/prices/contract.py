"""The contract of daily prices: a source's texts into the rows of `prices_daily`, or rejects.

Only days of the asked range count: a source sends as many others as it likes. What a session that
is not over yet looks like is outside of every range.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from orchestration_project.domains.prices.answers import read_answer, with_records
from orchestration_project.domains.prices.counts import count_days
from orchestration_project.domains.prices.splits import with_later_splits
from orchestration_project.domains.prices.tables import PRICES
from orchestration_project.engine.contracts.balance import Balance, RecordCount, build_balances
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.contracts.rules import RowRule, apply_rules
from orchestration_project.engine.contracts.values import (
    BATCH_INDEX,
    MAX_WHOLE_QUANTITY,
    combine_batches,
    count_by_batch,
    parse_quantities,
    parse_scaled,
)
from orchestration_project.tables.schema import USD_SCALE

if TYPE_CHECKING:
    import numpy as np

RULE_VERSION = "4"
"""To be raised with every change of rule that could make other rows of the same bytes."""

DECIMALS = (*PRICES, "adjusted_close", "dividend", "split_ratio")
ONE = 10**USD_SCALE

FROM_A_FLOAT = rf"^[0-9]+\.[0-9]{{{USD_SCALE},}}[1-9]$"
"""More places than a price has: digits that only a binary fraction writes."""

FINER = rf"^([0-9]+\.[0-9]{{{USD_SCALE}}})([0-9])[0-9]*$"
"""More places than a price has: those that it has, and the digit after them."""

CENTS_BELOW = 2.0**16
"""Numbers whose 32-bit fractions are less than half a cent apart."""

MAX_EXACT_PARTS = 2.0**53
"""Whole numbers up to here are exact in 64 bits."""

UNKNOWN = -1
"""No price has these parts."""


@dataclass(frozen=True)
class AnswerCount:
    """Days of an answer, counted apart from its parser.

    Attributes:
        received_byte_count: Bytes that came.
        counted: Days that were counted in them, and the bytes up to the end of the last one.
        filtered: What the parser counted as no day of its own, by the name of the filter.
    """

    received_byte_count: int
    counted: RecordCount
    filtered: Mapping[str, int]

    def balances(self, went_to: Mapping[str, int]) -> list[Balance]:
        """Return the equations of bytes and records, by where the days went."""
        return build_balances(self.received_byte_count, self.counted, went_to)


@dataclass(frozen=True)
class RequestedRange:
    """Data of a source for a symbol, and the valid days, ``first`` and ``last`` included.

    ``answer`` has a row for each day, by `ANSWER_SCHEMA`; ``spelled`` is how the source spells
    ``symbol``. ``said_on`` is the day on which it answered. ``is_until_now`` says whether the
    answer holds the splits of all days until then. ``count`` is None where the days of the answer
    are not loaded, but compared.
    """

    answer: pl.DataFrame
    symbol: str
    spelled: str
    source: str
    first: date
    last: date
    said_on: date = date.max
    is_until_now: bool = True
    count: AnswerCount | None = None


@dataclass(frozen=True)
class PriceRows:
    """Ranges of answers, sorted out; all frames have `BATCH_INDEX`, that of the answer.

    Attributes:
        requested: The ranges, by place.
        rows: `prices_daily` without capture_id and known_from, with ``part_number``; by place and
            day.
        rejects: place, record, ``reason_code`` and ``reason``.
        foreign_rows: place and symbol of days that are another symbol's.
        received_counts: days that came within each range.
        filtered_counts: days that came before and after each range, by the name of the filter.
        actions: symbol, ``trade_date``, ``dividend`` and ``split_ratio`` of days with a dividend or
            split, of rejected ones too: the vendor adjusts for these as well.
        newest: the newest day of which each answer has a price, whatever the range; None: of none.
            Days that were yet to come do not count.
    """

    requested: Sequence[RequestedRange]
    rows: pl.DataFrame
    rejects: pl.DataFrame
    foreign_rows: pl.DataFrame
    received_counts: Sequence[int]
    filtered_counts: Sequence[Mapping[str, int]]
    actions: pl.DataFrame
    newest: Sequence[date | None]


def read_prices(source: str, parts: Sequence[Part]) -> pl.DataFrame:
    """Read a source's answer: one row for each day, by `ANSWER_SCHEMA`.

    Raises:
        SourceError: It is another answer.
    """
    return pl.concat(read_answer(source, part) for part in parts)


def read_counted(
    source: str, parts: Sequence[Part], received_byte_count: int
) -> tuple[pl.DataFrame, AnswerCount]:
    """Read a source's answer, and count its contents independently.

    Raises:
        SourceError: It is another answer.
    """
    filtered = Counter[str]()
    days = pl.concat(read_answer(source, part, filtered) for part in parts)
    counts = [count_days(source, part.body) for part in parts]
    counted = (sum(number for number, _ in counts), sum(read for _, read in counts))
    return days, AnswerCount(received_byte_count, counted, filtered)


def check_prices(requested: Sequence[RequestedRange]) -> PriceRows:
    """Sort the days of each range, one at least, into rows and rejects."""
    shaped = pl.col("trade_date").str.contains(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
    day = pl.when(shaped).then("trade_date").str.to_date("%Y-%m-%d", strict=False)
    frame = combine_batches([requested_range.answer for requested_range in requested]).with_columns(
        day=day
    )
    is_there = ~pl.all_horizontal(_is_blank(name) for name in PRICES) & (
        pl.col("day")
        <= _select_by_place([requested_range.said_on for requested_range in requested])
    )
    newest = dict(frame.filter(is_there).group_by(BATCH_INDEX).agg(pl.col("day").max()).rows())
    is_within = pl.col("day").is_between(
        _select_by_place([requested_range.first for requested_range in requested]),
        _select_by_place([requested_range.last for requested_range in requested]),
    )
    filtered = _count_others(frame, requested)
    days = frame.filter(is_within | pl.col("day").is_null()).with_columns(
        spelled=_select_by_place([requested_range.spelled for requested_range in requested]),
    )
    exacts = exact(pl.concat([days[name] for name in DECIMALS]))  # at once: half of it is calls
    days = days.with_columns(
        exacts.slice(index * len(days), len(days)).alias(f"{name}_exact")
        for index, name in enumerate(DECIMALS)
    )
    days = days.with_columns(volume_number=parse_quantities(days["volume"]))
    adjusted = rounded(days["adjusted_close"], days["adjusted_close_exact"])
    days = with_later_splits(
        days.with_columns(adjusted_close_exact=adjusted),
        frame,
        [requested_range.is_until_now for requested_range in requested],
    )
    good, broken = apply_rules(days, RULES)
    rejects = with_records(broken).select(
        *(pl.col(name).cast(kind) for name, kind in REJECT_SCHEMA.items()), BATCH_INDEX
    )
    foreign_rows = days.filter(pl.col("symbol") != pl.col("spelled"))
    return PriceRows(
        requested=requested,
        rows=_build_rows(good, requested),
        rejects=rejects,
        foreign_rows=foreign_rows.select(
            "part_number", "line_number", "symbol", "trade_date", BATCH_INDEX
        ),
        received_counts=count_by_batch(days, len(requested)),
        filtered_counts=filtered,
        actions=_select_actions(days, requested),
        newest=[newest.get(index) for index in range(len(requested))],
    )


def _count_others(
    said: pl.DataFrame, requested: Sequence[RequestedRange]
) -> list[Mapping[str, int]]:
    """Count the days before and after each range; a session that is not over is after it."""
    is_before = pl.col("day") < _select_by_place(
        [requested_range.first for requested_range in requested]
    )
    is_after = pl.col("day") > _select_by_place(
        [requested_range.last for requested_range in requested]
    )
    before, after = (
        count_by_batch(said.filter(expression), len(requested))
        for expression in (is_before, is_after)
    )
    merged = [
        requested_range.count.filtered if requested_range.count else {}
        for requested_range in requested
    ]
    return [
        {"before_range": early, "after_range": late, **counts}
        for early, late, counts in zip(before, after, merged, strict=True)
    ]


def _select_by_place(values: Sequence[str] | Sequence[date]) -> pl.Expr:
    """Return the value of each row's place."""
    if len(values) == 1:
        return pl.lit(values[0])
    return pl.lit(pl.Series(values)).gather(pl.col(BATCH_INDEX))


def exact(texts: pl.Series) -> pl.Series:
    """Return prices times 10^6 as exact integers; null where a text is none.

    A chart writes 32-bit binary fractions with all their digits: 189.83999633789062 stands for
    189.84, the shortest decimal that makes the same fraction; one of more than six places, as below
    a dollar, is rounded. Nothing else is.
    """
    is_float = texts.str.contains(FROM_A_FLOAT).fill_null(value=False)
    if not is_float.any():
        return parse_scaled(texts, USD_SCALE)
    scaled = pl.repeat(None, len(texts), dtype=pl.Int64, eager=True)
    scaled.scatter((~is_float).arg_true(), parse_scaled(texts.filter(~is_float), USD_SCALE))
    number = texts.filter(is_float).cast(pl.Float64, strict=False)
    return scaled.scatter(is_float.arg_true(), _convert_single(number.to_numpy()))


def rounded(texts: pl.Series, scaled: pl.Series) -> pl.Series:
    """Return ``scaled``, what is `exact` of ``texts``, with finer numbers rounded, half a part up.

    No market made these: a vendor computes adjusted prices, with as many places as it likes.
    """
    unread = (scaled.is_null() & texts.is_not_null()).arg_true()
    if unread.is_empty():
        return scaled
    finer = texts[unread].str.extract_groups(FINER).struct
    parts = parse_scaled(finer.field("1"), USD_SCALE)
    return scaled.scatter(unread, parts + (finer.field("2") >= "5").cast(pl.Int64))


def _convert_single(number: "np.ndarray") -> pl.Series:
    """Return the parts of each number that is a 32-bit fraction; null for the others.

    Up to `CENTS_BELOW` such fractions lie closer together than cents: so at most one decimal of
    two places makes the same fraction, and of more places the nearest is the shortest. Arithmetic
    finds it; to write the fractions as text would take several times as long.
    """
    import numpy as np

    single = number.astype(np.float32)
    is_single = (single == number) & (number < MAX_EXACT_PARTS / ONE)
    parts = np.full(len(number), UNKNOWN)
    left = np.flatnonzero(is_single & (number < CENTS_BELOW))
    for places in range(2, USD_SCALE + 1):
        cut = np.rint(number[left] * 10**places)
        is_same = (cut / 10**places).astype(np.float32) == single[left]
        parts[left[is_same]] = cut[is_same].astype(np.int64) * 10 ** (USD_SCALE - places)
        left = left[~is_same]
    remaining_numbers = np.flatnonzero(is_single & (parts == UNKNOWN))
    shortest = pl.Series(single[remaining_numbers]).cast(pl.String).cast(pl.Float64, strict=False)
    parts[remaining_numbers] = (shortest * ONE).round().cast(pl.Int64).to_numpy()
    return pl.Series(parts).replace(UNKNOWN, None)


def _is_blank(name: str) -> pl.Expr:
    return pl.col(name).is_null() | (pl.col(name) == "")


def _cut_value(name: str) -> pl.Expr:
    return pl.col(name).str.slice(0, 60)


def _reject_unreadable(name: str) -> RowRule:
    reason = (
        f"{name} is not a decimal number that 64 bits keep exactly with {USD_SCALE} places: {{}}"
    )
    return RowRule(
        "not_a_decimal",
        ~_is_blank(name) & pl.col(f"{name}_exact").is_null(),
        pl.format(reason, _cut_value(name)),
        only_if=pl.col(name).is_not_null() & _is_unread(name),
    )


def _reject_missing(name: str) -> RowRule:
    reason = pl.lit(f"{name} is not given")
    return RowRule("missing_price", _is_blank(name), reason, only_if=_is_unread(name))


def _is_unread(name: str) -> pl.Expr:
    """Say where a text is blank or no decimal: to compare numbers is faster than texts."""
    return pl.col(f"{name}_exact").is_null()


def _reject_zero(name: str) -> RowRule:
    return RowRule(
        "not_positive",
        (pl.col(f"{name}_exact") <= 0).fill_null(value=False),
        pl.format(f"{name} is not above zero: {{}}", _cut_value(name)),
    )


HIGHEST = pl.max_horizontal(f"{name}_exact" for name in PRICES)
LOWEST = pl.min_horizontal(f"{name}_exact" for name in PRICES)

RULES = [
    RowRule(
        "impossible_date",
        pl.col("day").is_null(),
        pl.format("trade_date is not a date: {}", _cut_value("trade_date").fill_null("nothing")),
    ),
    RowRule(
        "no_price",
        pl.all_horizontal(_is_blank(name) for name in PRICES),
        pl.lit("no price of the day is given"),
        only_if=pl.all_horizontal(_is_unread(name) for name in PRICES),
    ),
    *(_reject_missing(name) for name in PRICES),
    *(_reject_unreadable(name) for name in DECIMALS),
    *(_reject_zero(name) for name in (*PRICES, "adjusted_close", "split_ratio")),
    RowRule(
        "missing_volume",
        _is_blank("volume"),
        pl.lit("volume is not given"),
        only_if=pl.col("volume_number").is_null(),
    ),
    RowRule(
        "not_a_volume",
        pl.col("volume_number").is_null(),
        pl.format(
            f"volume is not a number from 0 to {MAX_WHOLE_QUANTITY} with at most {USD_SCALE} "
            "decimals: {}",
            _cut_value("volume"),
        ),
    ),
    RowRule(
        "high_is_not_highest",
        (pl.col("high_exact") < HIGHEST).fill_null(value=False),
        pl.format("high {} is below another price of the day", _cut_value("high")),
    ),
    RowRule(
        "low_is_not_lowest",
        (pl.col("low_exact") > LOWEST).fill_null(value=False),
        pl.format("low {} is above another price of the day", _cut_value("low")),
    ),
]

IMPLAUSIBLE_REASONS = ("not_positive", "high_is_not_highest", "low_is_not_lowest")
"""Reasons of rejects that no market makes, each a doubt about the rest of the answer."""


def _build_rows(good: pl.DataFrame, requested: Sequence[RequestedRange]) -> pl.DataFrame:
    return good.select(
        _select_by_place([requested_range.symbol for requested_range in requested]).alias("symbol"),
        pl.col("day").alias("trade_date"),
        *(pl.col(f"{name}_exact").alias(name) for name in (*PRICES, "adjusted_close")),
        pl.col("volume_number").alias("volume"),
        *(pl.col(f"{name}_exact").alias(name) for name in ("dividend", "split_ratio")),
        "later_splits",
        _select_by_place([requested_range.source for requested_range in requested]).alias("source"),
        "part_number",
        BATCH_INDEX,
    ).sort(BATCH_INDEX, "trade_date", "part_number")


def _select_actions(days: pl.DataFrame, requested: Sequence[RequestedRange]) -> pl.DataFrame:
    """Return the days on which a dividend or split took effect, good or rejected."""
    reported = days.select(
        _select_by_place([requested_range.symbol for requested_range in requested]).alias("symbol"),
        pl.col("day").alias("trade_date"),
        *(pl.col(f"{name}_exact").alias(name) for name in ("dividend", "split_ratio")),
    )
    took_effect = (pl.col("dividend") > 0) | (pl.col("split_ratio") != ONE)
    return reported.filter(took_effect).drop_nulls("trade_date")
