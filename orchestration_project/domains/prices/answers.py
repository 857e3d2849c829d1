"""What a source's answer says of each day, as exact text: nothing coerced, nothing dropped.

Alpha Vantage's JSON, Yahoo's chart, CSV and Parquet, told apart by what they are. What the numbers
mean is as the source has it: a chart's prices are those after all later splits, Alpha Vantage's are
those of the day.
"""

import polars as pl

from orchestration_project.contracts import Part, SourceName

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
"""What is read of each day, all as text; null where a format has none or says null."""

ANSWER_SCHEMA = {
    "part_number": pl.Int64(),
    "line_number": pl.Int64(),
    "symbol": pl.String(),
    **dict.fromkeys(VALUES, pl.String()),
}
"""``line_number`` counts the days of an answer from 1, in its order; of CSV the lines, the header
included. ``symbol`` is the vendor's spelling where the answer says whose prices they are, else null."""


def read_answer(source: SourceName, part: Part) -> pl.DataFrame:
    """Return one row for each day that the answer speaks of, by `ANSWER_SCHEMA`.

    A ``split_ratio`` is new shares for each old one, "1" without a split; a ``dividend`` is dollars
    a share, "0" without one. Of a chart, whose numbers are binary fractions (189.83999633789062),
    the digits are those that stand there; digits beyond a price's scale are noise of that format.

    Raises:
        SourceError: It is no such answer: a refusal, a web page, broken or contradictory.
    """
    raise NotImplementedError(f"{source} {part.part_number}")


def with_records(rejects: pl.DataFrame) -> pl.DataFrame:
    """Add ``byte_offset`` (0: days are no lines) and ``record``, the day as JSON, to some rows."""
    record = pl.struct("symbol", *VALUES).struct.json_encode()
    return rejects.with_columns(byte_offset=pl.lit(0, pl.Int64), record=record)
