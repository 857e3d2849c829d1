"""The types of columns in frames: of each type of a table's column, and of rejects."""

from typing import Any

import polars as pl
from sqlalchemy import BigInteger, Boolean, Date, Double, Text
from sqlalchemy.types import TypeEngine

from orchestration_project.tables.schema import USD_SCALE, Dollars, Quantity, UtcTimestamp

MOMENT = pl.Datetime("us", "UTC")
"""Timestamps in frames."""

QUANTITY = pl.Decimal(38, USD_SCALE)
"""Quantities in frames; sums of them have this type, too."""

POLARS_TYPES: dict[type[TypeEngine[Any]], pl.DataType] = {
    Date: pl.Date(),
    BigInteger: pl.Int64(),
    Boolean: pl.Boolean(),
    Double: pl.Float64(),
    UtcTimestamp: MOMENT,
    Dollars: pl.Decimal(19, USD_SCALE),
    Quantity: QUANTITY,
    Text: pl.String(),
}

REJECT_SCHEMA = {
    "part_number": pl.Int64(),
    "line_number": pl.Int64(),
    "reason_code": pl.String(),
    "reason": pl.String(),
    "byte_offset": pl.Int64(),
    "record": pl.String(),
}
"""Columns of rejects."""
