"""Backfills as the API tells of them."""

from datetime import datetime

from pydantic import BaseModel, Field


class Asked(BaseModel):
    """A backfill that was asked for, or would be."""

    backfill_id: str | None = Field(description="Its id; null: nothing was launched")
    job: str = Field(description="Its job")
    partitions: list[str] = Field(description="The keys of its partitions")
    is_repeated: bool = Field(
        description="Whether it was asked for before, by a request with the same Idempotency-Key"
    )


class Backfill(BaseModel):
    """How a backfill is."""

    backfill_id: str = Field(description="Its id")
    status: str = Field(description="In Dagster's words")
    title: str | None = Field(description="What it is called")
    created_at: datetime = Field(description="When it was asked for")
    ended_at: datetime | None = Field(description="When it ended")
    partition_count: int | None = Field(description="How many partitions it is of")
    partitions: list[str] = Field(description="The keys of its partitions, where they are few")
    error: str | None = Field(description="Why it failed")
