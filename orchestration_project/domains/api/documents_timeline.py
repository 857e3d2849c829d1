"""Timeline of a document in the API."""

from datetime import datetime

from pydantic import BaseModel, Field


class DocumentEvent(BaseModel):
    """Event of a document."""

    happened_at: datetime | None = Field(description="UTC time; null: not recorded")
    kind: str = Field(description="Kind of the event, e.g. captured")
    text: str = Field(description="Event, for people")
    run_id: str | None = Field(description="Dagster run; null: none")
    run_url: str | None = Field(description="Address of the run in the UI; null: no run")
    reason_code: str | None = Field(description="Reason code; null: no remark")
    remedy: str | None = Field(description="Remedy; null: nothing is left to do")


class DocumentTimeline(BaseModel):
    """Events of a document, in order of time; those without a time are last."""

    document_id: str | None = Field(description="SHA-256 of its bytes; null: it is erased")
    paths: list[str] = Field(description="Paths of its files")
    state: str = Field(description="State: loaded, empty, needs_ocr, encrypted, refused or erased")
    events: list[DocumentEvent] = Field(description="Events")
