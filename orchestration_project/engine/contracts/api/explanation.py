"""Models of the explanation of a published number, of the API and the command `explain`."""

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, Field


class InputRow(BaseModel):
    """A row that a number is computed from, and the line of a capture that it was read from."""

    key: str = Field(description="Key of the row, its parts with | between them")
    values: dict[str, Any] = Field(description="Columns that the formula reads")
    known_from: datetime = Field(description="UTC time of the load that wrote the row")
    capture_id: int | None = Field(
        description="Capture that the row was read from; null, and so what follows: it is derived"
    )
    sha256: str | None = Field(description="SHA-256 of the captured bytes, hex")
    line_number: int | None = Field(description="Line, from 1; null: see problem")
    byte_offset: int | None = Field(description="First byte of the line, from 0; null: see problem")
    line: str | None = Field(description="The line; null: see problem")
    problem: str | None = Field(description="Reason why the line is missing; null: it is given")
    url: str | None = Field(description="URL or file that was fetched, without secrets")
    request: dict[str, Any] | None = Field(description="Request")
    fetched_at: datetime | None = Field(description="UTC time at which the bytes were received")
    fetched_by: str | None = Field(description="Dagster run that fetched them")


class LoadSignature(BaseModel):
    """The record of a load in the chain of its table."""

    number: int = Field(description="Number of the record, from 1")
    record_sha256: str = Field(description="SHA-256 of the record, hex")
    signed_number: int = Field(description="Number of the record whose signature covers it")
    signature: str = Field(description="Ed25519 signature, Base64")
    public_key: str = Field(description="Public key of the signature, Base64")


class LastChange(BaseModel):
    """The latest load that changed a number's input rows."""

    cause: str = Field(description="Cause: first, more, source, metadata, ours or none")
    loaded_at: datetime = Field(description="UTC time of the load")
    published_on: date | None = Field(description="Publication day; null: the source has none")
    group_id: str = Field(description="Delivery that was loaded")
    run_id: str = Field(description="Dagster run that loaded it")
    signature: LoadSignature | None = Field(description="Its record; null: loaded before the chain")


class NumberExplanation(BaseModel):
    """Explanation of a published number."""

    table: str = Field(description="Table of the number")
    key: str = Field(description="Key of its row, its parts with | between them")
    column: str = Field(description="Column")
    description: str = Field(description="Meaning of the column, and unit")
    formula: Any = Field(description="Formula, as rules.json of an evidence archive has it")
    formula_sha256: str = Field(description="SHA-256 of the formula, hex")
    published: Any = Field(description="The published number")
    recomputed: Any = Field(description="The value of the formula")
    is_equal: bool = Field(description="Whether both are equal")
    rows_of: str = Field(description="Table of the input rows")
    input_count: int = Field(description="Number of input rows of the key")
    inputs: list[InputRow] = Field(description="The first of them, by key")
    other_count: int = Field(description="Number of rows of other keys that the formula reads")
    last_change: LastChange | None = Field(description="Latest change; null: not recorded")
