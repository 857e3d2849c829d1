"""Models of the API's answers about entries that need a person."""

from datetime import datetime

from pydantic import BaseModel, Field


class AttentionExpectation(BaseModel):
    """A rule that does not hold."""

    name: str = Field(description="Audit, job, item or kind of the alert")
    expected: str = Field(description="Value that it expects")
    found: str = Field(description="Value that was found")


class AttentionMark(BaseModel):
    """Note of a person on an entry."""

    state: str = Field(description="ignored or acknowledged")
    reason: str = Field(description="Reason in words")
    marked_by: str = Field(description="User")
    marked_at: datetime = Field(description="Time of the mark")
    until: datetime | None = Field(description="End of the mark; null: with the problem")


class AttentionPreview(BaseModel):
    """A table of what an acceptance would change."""

    title: str = Field(description="Title")
    headings: list[str] = Field(description="Headings of the columns")
    rows: list[list[str]] = Field(description="Rows")


class AttentionEntry(BaseModel):
    """One thing that needs a person."""

    entry_id: str = Field(description="Id; the same as long as its unit needs a person")
    kind: str = Field(description="Kind")
    domain: str = Field(description="Domain")
    title: str = Field(description="Partition, run, topic or title")
    since: datetime = Field(description="First time at which it was like this; replays keep it")
    latest_at: datetime = Field(description="Latest time at which it was found so")
    count: int = Field(description="Items, letters, partitions or alerts that it stands for")
    expectations: list[AttentionExpectation] = Field(description="Rules that do not hold")
    category: str = Field(description="Category of the error; empty: none")
    advice: str = Field(description="Whether a retry can help, and what does")
    can_retry_help: bool | None = Field(
        description="Whether a retry can help without a change; null: it is not known"
    )
    asset: str = Field(description="Asset; empty: none")
    partition: str = Field(description="Partition of the asset; empty: none")
    run_id: str = Field(description="Run of the latest attempt; empty: none")
    group_id: str = Field(description="Delivery; empty: none")
    sha256: str = Field(description="SHA-256 of the delivery that may be accepted; empty: none")
    alert_id: str = Field(description="Alert; empty: none")
    mark: AttentionMark | None = Field(description="Mark in effect; null: none")
    actions: list[str] = Field(description="Actions that the caller's role has")
    preview: list[AttentionPreview] = Field(description="Changes that an acceptance makes")


class AttentionEntries(BaseModel):
    """Entries that need a person, the most important and newest first."""

    entries: list[AttentionEntry] = Field(description="A page of entries")
    count: int = Field(description="Number of entries that the filter selects")
    by_kind: dict[str, int] = Field(description="Entries of each kind, in the same domain")
    by_domain: dict[str, int] = Field(description="Entries of each domain, of the same kind")
    cut_kinds: list[str] = Field(description="Kinds that have more entries than were read")


class AttentionResult(BaseModel):
    """Result of an action."""

    action: str = Field(description="Action")
    entry_ids: list[str] = Field(description="Entries that it was for")
    run_ids: list[str] = Field(description="Runs that it launched")


class ReceivedAlerts(BaseModel):
    """Outcomes of the alerts of a notification."""

    raised_count: int = Field(description="Alerts that became entries")
    recovered_count: int = Field(description="Alerts that ended an entry")
    known_count: int = Field(description="Alerts that were received before, or are open already")
    covered_count: int = Field(description="Alerts on a fault that the project reports by itself")
    truncated_count: int = Field(description="Alerts that Alertmanager left out")
