"""How an installation is, as the API tells of it."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class Finding(BaseModel):
    """What was last found of a dependency."""

    dependency: str = Field(description="Such as database, finra or disk")
    outcome: str = Field(description="passed, failed or not_applicable")
    tried: str = Field(description="What was done to find out")
    got: str = Field(description="What came of it")
    remedy: str = Field(description="What to do; empty where nothing is")
    seconds: float = Field(description="How long it took")
    checked_at: datetime = Field(description="When")


class Readiness(BaseModel):
    """Whether all that work depends on was found ready on this machine; runs look anew."""

    is_ready: bool = Field(description="Whether it was looked at, and nothing failed")
    findings: list[Finding] = Field(description="By dependency")


class ConfigEntry(BaseModel):
    """A value in effect."""

    name: str = Field(description="Of a setting, or of a field of a preset")
    value: str = Field(description="Without secrets")
    origin: str = Field(description="default, file, environment or a preset")


class Config(BaseModel):
    """The configuration in effect."""

    config_hash: str = Field(description="The hash that runs have as a tag")
    entries: list[ConfigEntry] = Field(description="By name")


class Sessions(BaseModel):
    """What was started together, how far it is, and what came of it."""

    sessions: list[dict[str, Any]] = Field(
        description="Rows of operations_sessions; GET /tables describes the columns"
    )


class ControlTower(BaseModel):
    """How each domain and asset stands, by windows of time."""

    rows: list[dict[str, Any]] = Field(
        description="Rows of operations_control_tower, as of the last look"
    )
