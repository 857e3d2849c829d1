"""Schedules and sensors as the API tells of them."""

from datetime import datetime

from pydantic import BaseModel, Field


class Tick(BaseModel):
    """A time at which it was asked what to run."""

    at: datetime = Field(description="When")
    status: str = Field(description="STARTED, SKIPPED, SUCCESS or FAILURE")
    run_ids: list[str] = Field(description="The runs that it launched")
    said: str | None = Field(description="Why it launched nothing, or what failed")


class Automation(BaseModel):
    """A schedule or sensor."""

    name: str = Field(description="Its name")
    description: str | None = Field(description="What it does")
    jobs: list[str] = Field(description="What it launches")
    is_on: bool = Field(description="Whether it runs")
    cron: str | None = Field(description="Of a schedule: when")
    timezone: str | None = Field(description="Of a schedule: by which time")
    interval_seconds: int | None = Field(description="Of a sensor: how often at most")
    ticks: list[Tick] = Field(description="Its last ticks, the latest first")


class Automations(BaseModel):
    """Schedules or sensors."""

    automations: list[Automation] = Field(description="By name")


class Switched(BaseModel):
    """A schedule or sensor that was switched."""

    name: str = Field(description="Its name")
    is_on: bool = Field(description="Whether it runs now")
