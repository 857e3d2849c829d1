"""Fields of a source and the columns that they fill, and tables that are declared by them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import BigInteger, Column, Date, Table, Text

from orchestration_project.tables.schema import (
    ASSET,
    count,
    history_of,
    moment,
    table,
)

TYPE_NAMES: Mapping[type, str] = {Date: "Date", Text: "String", BigInteger: "Number"}
"""What a source's list of fields calls the type of a field that fills a column."""


@dataclass(frozen=True)
class Field:
    """A field of a dataset, and the column that it fills, from which its type follows.

    Attributes:
        name: In the source's words.
        column: Where it goes; what may be NULL may be blank.
        scale: Of a decimal number: it is kept times 10 to this power. 0: a whole number.
        may_be_blank: Of a text that is required: blank means something.
        form: How a text is written, where that can be checked.
        pattern: A regular expression that a text matches; blank: any text.
        is_signed: Whether a number may be negative.
    """

    name: str
    column: Column[Any]
    scale: int = 0
    may_be_blank: bool = False
    form: Literal["", "cusip"] = ""
    pattern: str = ""
    is_signed: bool = False

    @property
    def kind(self) -> str:
        """Its type: Date, String or Number."""
        return TYPE_NAMES[type(self.column.type)]


def dataset_table(name: str, comment: str, *fields: Field, asset: str = "") -> Table:
    """Declare a dataset's table and its history.

    Args:
        name: The table's name, such as finra_treasury_weekly.
        comment: What one row is.
        fields: The fields that fill its columns, in their order.
        asset: The name of its asset, such as finra/treasury_weekly, if it does not follow from
            the table's.
    """
    declared = table(
        name,
        comment,
        *(each.column for each in fields),
        count("capture_id", "The capture that the row was read from"),
        moment("known_from", "UTC time from which we knew the row"),
    )
    if asset:
        declared.info[ASSET] = asset
    history_of(declared)
    return declared
