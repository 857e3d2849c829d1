"""Models of the API's answers about schedules that are data."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class ScheduleShown(BaseModel):
    """A schedule in effect."""

    name: str = Field(description="Name of the schedule")
    version: int = Field(description="Version, from 1; an edit names it as expected_version")
    schedule: dict[str, Any] = Field(description="Its fields")
    next_runs: list[datetime] = Field(description="Next due times; empty: it is not enabled")
    disabled_reason: str | None = Field(description="Why it was disabled; null: it was not")
    edited_by: str = Field(description="User of the latest version")
    edited_at: datetime = Field(description="Time of the latest version")


class ScheduleList(BaseModel):
    """The schedules in effect."""

    schedules: list[ScheduleShown] = Field(description="By name")


class ScheduleChange(BaseModel):
    """A field that an edit changes."""

    field: str = Field(description="Name of the field")
    before: str = Field(description="Value before, JSON; empty: no schedule")
    after: str = Field(description="Value after, JSON; empty: no schedule")


class ScheduleEdited(BaseModel):
    """An edit that was made, or of a dry run one that would be."""

    dry_run: bool = Field(description="Whether nothing was written")
    version: int = Field(description="Version that the edit makes")
    changes: list[ScheduleChange] = Field(description="Fields that change")
    schedule: ScheduleShown | None = Field(description="The schedule after it; null: deleted")
