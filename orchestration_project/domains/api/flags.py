"""Models of the API's answers about flags."""

from datetime import datetime

from pydantic import BaseModel, Field

from orchestration_project.domains.api.edits import Edited


class FlagShown(BaseModel):
    """A flag in effect."""

    name: str = Field(description="Name of the flag")
    version: int = Field(description="Version, from 1; an edit names it as expected_version")
    share: float = Field(description="Share of keys that it holds for, 0 to 1")
    listed_keys: list[str] = Field(description="Keys that it always holds for")
    owner: str = Field(description="Person or team that answers for it")
    expires_at: datetime | None = Field(description="Time from which it is off; null: never")
    is_expired: bool = Field(description="Whether it has expired, and is off")
    used_by: list[str] = Field(description="What uses it")
    edited_by: str = Field(description="User of the latest version")
    edited_at: datetime = Field(description="Time of the latest version")


class FlagList(BaseModel):
    """The flags in effect."""

    flags: list[FlagShown] = Field(description="By name")
    problems: list[str] = Field(description="Expired, unused and missing flags")


class FlagEdited(Edited):
    """An edit of a flag."""

    flag: FlagShown | None = Field(description="The flag after it; null: deleted")
