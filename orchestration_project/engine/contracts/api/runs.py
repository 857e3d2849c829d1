"""Runs in the API."""

from datetime import datetime

from pydantic import BaseModel, Field

from orchestration_project.engine.contracts.partitioning import OUTCOME_TEXT, LoadOutcome

OUTCOME_FIELD = (
    f"Outcome of a load, in the words of the command's exit status. {OUTCOME_TEXT}; null: it has "
    "not ended, loads nothing, or its events are deleted"
)


class Launched(BaseModel):
    """A run that was asked for."""

    run_id: str = Field(description="Its id")
    job: str = Field(description="Its job")
    status: str = Field(description="Its status, in Dagster's words")
    is_repeated: bool = Field(
        description="Whether an earlier request with the same Idempotency-Key launched it"
    )


class ItemTopic(BaseModel):
    """The failed and dead work items of a topic."""

    topic: str = Field(description="The topic, such as webhooks/github")
    due_count: int = Field(description="Number of items that are retried")
    left_out_count: int = Field(description="Number of items whose failure is permanent")


class FailedItem(BaseModel):
    """A failed or dead work item."""

    topic: str = Field(description="Its topic")
    item_key: str = Field(description="Its key in the topic")
    state: str = Field(description="failed or dead")
    attempt_count: int = Field(description="Number of attempts that ended, in all runs")
    reason_code: str | None = Field(description="Kind of the latest failure")
    reason: str | None = Field(description="The latest failure, and what to do about it")
    run_id: str | None = Field(description="The run of the latest attempt")
    left_out_because: str = Field(description="Condition for a retry; empty: it is retried")


class FailedItems(BaseModel):
    """Failed and dead work items, when the request came."""

    topics: list[ItemTopic] = Field(description="Counts by topic")
    first: list[FailedItem] = Field(
        description="At most 100 items, those first that are retried, by topic and key"
    )
    missing_keys: list[str] = Field(description="Requested keys without a failed or dead item")


class RetryLaunched(Launched):
    """A run that retries what failed, and the work items that it finds."""

    items: FailedItems = Field(description="Work items that it retries or omits")


class Run(BaseModel):
    """A run, in Dagster's words."""

    run_id: str = Field(description="Its id")
    job: str = Field(description="Its job")
    status: str = Field(description="QUEUED, STARTED, SUCCESS, FAILURE, CANCELED or another")
    partition: str | None = Field(description="Its partition, or first...last of its range")
    created_at: datetime = Field(description="Creation time")
    started_at: datetime | None = Field(description="Start time")
    ended_at: datetime | None = Field(description="End time")
    duration_seconds: float | None = Field(description="Duration, seconds")
    trigger_kind: str = Field(description="Trigger: schedule, sensor, backfill or person")
    trigger_name: str | None = Field(
        description="Name of the schedule or sensor, or ID of the backfill"
    )
    user: str | None = Field(description="User who launched it")
    retry_of: str | None = Field(description="Parent run that it retries")


class Step(BaseModel):
    """A step of a run."""

    name: str = Field(description="Its key")
    status: str = Field(description="IN_PROGRESS, SUCCESS, FAILURE, SKIPPED or CANCELED")
    assets: str = Field(description="Asset keys, a JSON list")
    started_at: datetime | None = Field(description="Start time")
    ended_at: datetime | None = Field(description="End time")
    duration_seconds: float | None = Field(description="Duration, seconds")
    attempts: int = Field(description="Number of attempts")
    rows: int = Field(description="Rows landed: new, changed and unchanged ones")
    rows_in: int = Field(description="Lines fetched")
    rows_rejected: int = Field(description="Lines rejected by the contract")
    quality_passed: bool | None = Field(description="Whether its checks passed; null: it has none")
    error_category: str | None = Field(description="Failure category")
    error: str | None = Field(description="Error text")


class RunStatus(Run):
    """A run, its steps, and what came of it."""

    rows: int = Field(description="Rows landed: new, changed and unchanged ones")
    rows_in: int = Field(description="Lines fetched")
    rows_rejected: int = Field(description="Lines rejected by the contract")
    bytes_in: int = Field(description="Fetched bytes")
    error_category: str | None = Field(description="Failure category")
    error: str | None = Field(description="Error text")
    outcome: LoadOutcome | None = Field(description=OUTCOME_FIELD)
    steps: list[Step] = Field(description="Its steps")


class Runs(BaseModel):
    """A page of runs."""

    runs: list[Run] = Field(description="The latest first")
    next_cursor: str | None = Field(
        description="Cursor of the next page; null: this is the last page"
    )


class Ending(BaseModel):
    """A run that was asked to end."""

    run_id: str = Field(description="Its id")
    status: str = Field(description="Its status now")


class Event(BaseModel):
    """Something that happened in a run, or a line of its log."""

    id: int = Field(description="Sequence number")
    at: datetime = Field(description="When")
    type: str = Field(description="Type of Dagster's event; LOG for a log line")
    level: str = Field(description="DEBUG, INFO, WARNING, ERROR or CRITICAL")
    step: str | None = Field(description="The step")
    asset: str | None = Field(description="The asset")
    partition: str | None = Field(description="Its partition")
    message: str = Field(description="Message")


class Events(BaseModel):
    """A page of events."""

    events: list[Event] = Field(description="Events in order")
    next: int | None = Field(description="Cursor of the next page; null: no more events yet")
    is_finished: bool = Field(description="Whether the run has ended")
