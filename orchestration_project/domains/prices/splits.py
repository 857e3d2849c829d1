"""Splits that a source has applied to prices of earlier days, from its whole answer.

Yahoo's chart states prices and volumes after all splits until it answers, Alpha Vantage as they
were traded. In a file, a close that does not jump with a split is stated after it.
"""

from collections.abc import Sequence
from decimal import Decimal

import polars as pl

from orchestration_project.domains.prices.tables import NO_LATER_SPLITS
from orchestration_project.engine.contracts.values import BATCH_INDEX, parse_scaled
from orchestration_project.tables.schema import USD_SCALE

ONE = 10**USD_SCALE
NOT_A_SPLIT = ("", "1", "1.0", "1.000000")


def with_later_splits(
    days: pl.DataFrame, answers: pl.DataFrame, is_until_now: Sequence[bool]
) -> pl.DataFrame:
    """Add ``later_splits`` to days: the splits after each that its source applied to its prices.

    Args:
        days: ``day`` and `BATCH_INDEX`.
        answers: All days of the answers, by `ANSWER_SCHEMA`, with ``day`` and `BATCH_INDEX`.
        is_until_now: Whether each answer has the splits of all days until it came.

    Returns:
        Such as ``2026-10-14 4, 2026-11-02 2`` by date, `NO_LATER_SPLITS` without a split, null
        where they are unknown.
    """
    unknown = {
        *(index for index, is_known in enumerate(is_until_now) if not is_known),
        *_find_without_ratio(answers),
    }
    splits = _find_splits(answers)
    unknown.update(splits.filter(pl.col("day").is_null())[BATCH_INDEX])
    applied = splits.filter(pl.col("is_applied").fill_null(value=True)).drop_nulls("day")
    is_unknown = pl.col(BATCH_INDEX).is_in(list(unknown))
    texts = [
        f"{day} {Decimal(ratio).scaleb(-USD_SCALE).normalize():f}" if is_applied else None
        for _, day, ratio, is_applied in applied.rows()
    ]
    events = applied.select(BATCH_INDEX, split_day="day", text=pl.Series(texts, dtype=pl.String))
    later = (
        days.select(BATCH_INDEX, "day")
        .unique()
        .join(events, on=BATCH_INDEX)
        .filter(pl.col("split_day") > pl.col("day"))
        .group_by(BATCH_INDEX, "day")
        .agg(split_texts=pl.col("text").sort_by("split_day"))
    )
    listed = pl.col("split_texts")
    text = (
        pl.when(is_unknown | listed.list.eval(pl.element().is_null()).list.any())
        .then(None)
        .otherwise(pl.coalesce(listed.list.join(", "), pl.lit(NO_LATER_SPLITS)))
    )
    joined = days.join(later, on=[BATCH_INDEX, "day"], how="left", maintain_order="left")
    return joined.with_columns(later_splits=text).drop("split_texts")


def _find_splits(answers: pl.DataFrame) -> pl.DataFrame:
    """Return splits of sources that may apply them: `BATCH_INDEX`, day, ratio and is_applied.

    What cannot be read of a split is null.
    """
    is_split = ~pl.col("split_ratio").is_in(NOT_A_SPLIT) & pl.col("is_split_adjusted").fill_null(
        value=True
    )
    columns = (BATCH_INDEX, "day", "split_ratio", "is_split_adjusted")
    candidates = answers.filter(is_split)
    splits = candidates.select(*columns).with_columns(
        ratio=parse_scaled(candidates["split_ratio"], USD_SCALE)
    )
    splits = splits.filter((pl.col("ratio") != ONE).fill_null(value=True)).unique()
    if splits.filter(pl.col("is_split_adjusted").is_null()).is_empty():
        is_known = pl.when(pl.col("ratio") > 0).then("is_split_adjusted")
        return splits.select(BATCH_INDEX, "day", "ratio", is_applied=is_known)
    step = pl.col("close_before") / pl.col("close_number")
    ratio = pl.col("ratio") / ONE
    stays = step.log().abs() < (step / ratio).log().abs()
    is_applied = pl.coalesce("is_split_adjusted", stays)
    return splits.join(_find_closes(answers), on=[BATCH_INDEX, "day"], how="left").select(
        BATCH_INDEX, "day", "ratio", is_applied=pl.when(pl.col("ratio") > 0).then(is_applied)
    )


def _find_closes(answers: pl.DataFrame) -> pl.DataFrame:
    """Return the close of each day with one, beside that of the day before it."""
    number = pl.col("close").cast(pl.Float64, strict=False)
    return (
        answers.select(BATCH_INDEX, "day", close_number=number)
        .drop_nulls()
        .unique([BATCH_INDEX, "day"])
        .sort(BATCH_INDEX, "day")
        .with_columns(close_before=pl.col("close_number").shift().over(BATCH_INDEX))
    )


def _find_without_ratio(answers: pl.DataFrame) -> set[int]:
    """Return the places of files of which a day has no ratio: it may be one of a split."""
    is_blank = pl.col("split_ratio").is_null() | (pl.col("split_ratio") == "")
    without = answers.filter(pl.col("is_split_adjusted").is_null() & is_blank)
    return set(without[BATCH_INDEX])
