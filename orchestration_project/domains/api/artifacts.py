"""Captured bytes and evidence as the API tells of them."""

from pydantic import AwareDatetime, BaseModel, Field

from orchestration_project.domains.api.runs import Launched


class Capture(BaseModel):
    """Something that was fetched."""

    capture_id: str = Field(description="Its id, digits")
    partition: str = Field(description="What it was fetched for")
    part_number: int = Field(description="Which part of the delivery it is")
    fetched_at: AwareDatetime = Field(description="When")
    rows: int | None = Field(description="Data lines; null: it is no such lines")
    bytes: int = Field(description="Its size as it was received, bytes")
    sha256: str = Field(description="Of the bytes, hex")
    run_id: str = Field(description="The run that fetched it")
    url: str = Field(description="Where it was fetched")


class Artifacts(BaseModel):
    """What was captured."""

    captures: list[Capture] = Field(description="The latest first")


class Archive(BaseModel):
    """An archive of evidence."""

    file: str = Field(description="Its name")
    bytes: int = Field(description="Its size, bytes")


class Export(Launched):
    """A run that writes an archive."""

    file: str = Field(description="Its name once the run has succeeded: GET /evidence/{file}")


class Archives(BaseModel):
    """The archives that there are."""

    archives: list[Archive] = Field(description="By name")
