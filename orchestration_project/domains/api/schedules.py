"""Models of the API's answers about schedules that are data."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from orchestration_project.domains.api.edits import Edited


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


class ScheduleEdited(Edited):
    """An edit of a schedule."""

    schedule: ScheduleShown | None = Field(description="The schedule after it; null: deleted")
