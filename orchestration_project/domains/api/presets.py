"""Presets as the API tells of them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class InForce(BaseModel):
    """What was applied last to a job."""

    preset: str = Field(description="The preset")
    number: int = Field(description="Counts what was applied to the job")
    user: str = Field(description="Who applied it")
    reason: str = Field(description="Why")
    applied_at: datetime = Field(description="When")


class Preset(BaseModel):
    """A preset as its file says."""

    name: str = Field(description="Its name")
    job: str = Field(description="The job that it is for; empty where the file cannot be read")
    description: str = Field(description="What it does")
    values: dict[str, Any] = Field(description="What it sets")
    in_force: InForce | None = Field(description="What its job goes by now")
    problem: str | None = Field(description="Why it cannot be used")


class PresetList(BaseModel):
    """The presets that there are."""

    presets: list[Preset] = Field(description="By name")


class Change(BaseModel):
    """A value before and after a preset is applied."""

    field: str = Field(description="What is set")
    now: str = Field(description="What holds now")
    then: str = Field(description="What would hold")
    is_changed: bool = Field(description="Whether that differs")


class Preview(BaseModel):
    """What a preset would change for later runs of its job."""

    preset: Preset = Field(description="The preset")
    changes: list[Change] = Field(description="Each value that it or the present one sets")
