"""Models of the API's answers about schedules that are data and flags, and about their edits."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class FieldChange(BaseModel):
    """A field that an edit changes."""

    field: str = Field(description="Name of the field")
    before: str = Field(description="Value before, JSON; empty: it did not exist")
    after: str = Field(description="Value after, JSON; empty: it is deleted")


class Edited(BaseModel):
    """An edit that was made, or of a dry run one that would be."""

    dry_run: bool = Field(description="Whether nothing was written")
    version: int = Field(description="Version that the edit makes")
    changes: list[FieldChange] = Field(description="Fields that change")


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


class PauseShown(BaseModel):
    """A pause."""

    subject: str = Field(description="all, a domain, an asset or source:<name>")
    reason: str = Field(description="Reason in words")
    paused_by: str = Field(description="User who paused it")
    paused_at: datetime = Field(description="Time from which no run of it starts")
    until: datetime | None = Field(description="End; null: until it is resumed")


class PauseList(BaseModel):
    """The pauses in effect."""

    pauses: list[PauseShown] = Field(description="By subject")


class ApprovalShown(BaseModel):
    """A request of an action that needs a second person."""

    approval_id: str = Field(description="ID of the request, hex")
    action: str = Field(description="erase, accept or grant")
    parameters: dict[str, Any] = Field(description="Exact parameters of the action")
    sha256: str = Field(description="SHA-256 of action, parameters and reason, hex")
    reason: str = Field(description="Reason in words; empty: none was given")
    state: str = Field(description="unclaimed, requested, confirmed, refused, used or expired")
    requested_by: str | None = Field(description="User who requested it; null: unclaimed")
    requested_at: datetime = Field(description="Time of the request")
    expires_at: datetime = Field(description="Time from which it is invalid")
    decided_by: str | None = Field(description="User of the decision; null: no decision")
    decided_at: datetime | None = Field(description="Time of the decision; null: no decision")
    decision_reason: str | None = Field(description="Reason of a refusal; null: not refused")
    used_by: str | None = Field(description="Run, backfill or erasure that used it; null: none")
    used_at: datetime | None = Field(description="Time of the use; null: not used")


class ApprovalList(BaseModel):
    """The requests of actions that need a second person."""

    approvals: list[ApprovalShown] = Field(description="The newest first")
