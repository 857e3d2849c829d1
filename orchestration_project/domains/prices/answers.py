"""What a source's answer says of each day, as exact text: nothing coerced, nothing dropped.

What the numbers mean is as the source has it: a chart's prices are those after all later splits,
Alpha Vantage's are those of the day, a file's are its owner's.
"""

import polars as pl

from orchestration_project.contracts.rules import Part
from orchestration_project.domains.prices.alpha_vantage import read_series
from orchestration_project.domains.prices.chart import read_chart
from orchestration_project.domains.prices.days import VALUES
from orchestration_project.domains.prices.tabular import PARQUET, read_csv, read_parquet

CHART = b'"chart"'


def read_answer(source: str, part: Part) -> pl.DataFrame:
    """Return one row for each day that the answer speaks of, by `ANSWER_SCHEMA`, in its order.

    A ``split_ratio`` is new shares for each old one, "1" without a split; a ``dividend`` is dollars
    a share, "0" without one. Of a chart, whose numbers are binary fractions (189.83999633789062),
    the digits are those that stand there; what digits beyond a price's scale mean, `exact` knows.

    Raises:
        SourceError: It is no such answer: a refusal, a web page, broken or contradictory.
    """
    body = part.body
    if source == "files":
        days = read_parquet(body) if body.startswith(PARQUET) else read_csv(body)
    else:  # the demo speaks as either vendor
        days = read_chart(body) if CHART in body[:200] else read_series(body)
    part_numbers = pl.Series("part_number", [part.part_number] * len(days), pl.Int64)
    return days.insert_column(0, part_numbers)


def with_records(rejects: pl.DataFrame) -> pl.DataFrame:
    """Add ``byte_offset`` (0: days are no lines) and ``record``, the day as JSON, to some rows."""
    record = pl.struct("symbol", *VALUES).struct.json_encode()
    return rejects.with_columns(byte_offset=pl.lit(0, pl.Int64), record=record)
