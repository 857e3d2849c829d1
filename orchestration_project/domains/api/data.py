"""Tables and their rows as the API tells of them."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class Column(BaseModel):
    """A column of a table or view."""

    name: str = Field(description="Its name")
    type: str = Field(description="Its type in SQL")
    is_nullable: bool = Field(description="Whether a row may have none")
    is_key: bool = Field(description="Whether it is part of the key")
    description: str = Field(description="What it says, and its unit")


class Described(BaseModel):
    """A table or view."""

    name: str = Field(description="Its name")
    kind: Literal["table", "view"] = Field(description="What it is")
    description: str = Field(description="What a row is")
    has_history: bool = Field(description="Whether it can be asked for as of a time")
    columns: list[Column] = Field(description="Its columns, in order")


class Tables(BaseModel):
    """What can be read."""

    tables: list[Described] = Field(description="By name")


class Page(BaseModel):
    """A page of rows. Days and times are ISO text, dollars text with all their places."""

    table: str = Field(description="The table or view")
    rows: list[dict[str, Any]] = Field(description="In the order of the key")
    next_cursor: str | None = Field(description="For the next page; null: this is the last")
