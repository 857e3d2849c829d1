"""Models that the API's answers about edits of schedules and flags share."""

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
