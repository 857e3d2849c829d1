"""A trace in the API: all that our tables have of it, as a tree."""

from datetime import datetime

from pydantic import BaseModel, Field


class TracedRequest(BaseModel):
    """A request that the audit log of access has."""

    request_id: str = Field(description="Request ID, the header X-Request-ID of the response")
    happened_at: datetime = Field(description="UTC time of the request")
    user: str | None = Field(description="User; null: unknown")
    operation: str = Field(description="A mutation's name, or method and path")
    outcome: str = Field(description="Outcome: asked (no answer yet), done, failed or refused")
    reason: str | None = Field(description="Reason of a refusal or failure")


class TracedWebhook(BaseModel):
    """A webhook delivery."""

    source: str = Field(description="Name of the source in webhooks.yaml")
    delivery_id: str = Field(description="Delivery ID of the sender")
    kind: str | None = Field(description="Event type in the sender's terms")
    state: str = Field(description="State: received, running, done, failed or dead")
    received_at: datetime = Field(description="UTC time of the receipt")
    run_id: str | None = Field(description="Run of the latest attempt")


class TracedEvent(BaseModel):
    """An event of MQTT."""

    idempotency_key: str = Field(description="Key of the event")
    kind: str = Field(description="Kind of the event")
    topic: str = Field(description="Topic of MQTT")
    received_at: datetime = Field(description="UTC time of the receipt")


class TracedStep(BaseModel):
    """A step of a run."""

    step: str = Field(description="Dagster step")
    status: str = Field(description="Status: IN_PROGRESS, SUCCESS, FAILURE, SKIPPED or CANCELED")
    started_at: datetime | None = Field(description="UTC time of its start")
    seconds: float | None = Field(description="Duration over all attempts")
    attempt_count: int = Field(description="Attempts started")
    error: str | None = Field(description="Error message")


class TracedFetch(BaseModel):
    """A capture of a delivery."""

    capture_id: str = Field(description="Capture; a text, as it may have 19 digits")
    url: str = Field(description="URL or file, without secrets")
    http_status: int | None = Field(description="HTTP status; null: a file")
    row_count: int | None = Field(description="Data lines; null: unreadable")
    fetched_at: datetime = Field(description="UTC time at which the last byte was received")
    run_id: str = Field(description="Run that fetched it; of a replay, an earlier one")


class TracedLoad(BaseModel):
    """A load: the transaction that wrote a delivery."""

    landed_at: datetime = Field(description="UTC time of the load")
    rows_added: int = Field(description="Rows with a new key")
    rows_changed: int = Field(description="Rows with other values")
    rows_removed: int = Field(description="Rows that the delivery no longer contains")
    rows_unchanged: int = Field(description="Rows without a change")
    rows_rejected: int = Field(description="Lines rejected by the contract")


class TracedPartition(BaseModel):
    """A partition or batch of a table in a run: its delivery, fetches and load."""

    table: str = Field(description="Target table")
    partition: str = Field(description="Partition key; for prices, the symbol")
    outcome: str = Field(description="Outcome: landed, held_back (quarantined), refused, derived")
    fetches: list[TracedFetch] = Field(description="Captures, in their order")
    load: TracedLoad | None = Field(description="Load; null: nothing was loaded")


class TracedRun(BaseModel):
    """A run."""

    run_id: str = Field(description="Dagster run")
    job: str = Field(description="Its job")
    status: str = Field(description="Status in Dagster")
    partition: str | None = Field(description="Partition key, or first...last")
    trigger: str = Field(description="Trigger: schedule, sensor, backfill or person")
    user: str | None = Field(description="User that launched it")
    created_at: datetime = Field(description="UTC time of its creation")
    queue_seconds: float | None = Field(description="Time from creation to start")
    started_at: datetime | None = Field(description="UTC time of its start")
    seconds: float | None = Field(description="Duration from start to end")
    retry_of: str | None = Field(description="Run that this run retries")
    error: str | None = Field(description="Error message")
    steps: list[TracedStep] = Field(description="Steps, in the order of their start")
    partitions: list[TracedPartition] = Field(description="Partitions or batches, by table and key")


class TracedAlert(BaseModel):
    """An alert about a run."""

    alert_id: str = Field(description="Alert ID")
    severity: str = Field(description="Severity: info, warning or error")
    title: str = Field(description="Title")
    state: str = Field(description="State, as operations_alerts has it")
    raised_at: datetime = Field(description="UTC time at which it was raised")


class TraceTotals(BaseModel):
    """Counts of a trace."""

    run_count: int = Field(description="Runs")
    partition_count: int = Field(description="Partitions or batches")
    fetch_count: int = Field(description="Captures")
    load_count: int = Field(description="Loads")
    rows_written: int = Field(description="Rows added, changed or removed")
    rows_rejected: int = Field(description="Lines rejected by the contract")


class Trace(BaseModel):
    """The events of a trace, from our own tables."""

    trace_id: str = Field(description="W3C trace ID, 32 hex digits")
    is_whole: bool = Field(description="Whether all rows are listed: no limit was reached")
    totals: TraceTotals = Field(description="Counts of what is listed")
    requests: list[TracedRequest] = Field(description="Requests, in order")
    webhooks: list[TracedWebhook] = Field(description="Webhook deliveries, in order")
    events: list[TracedEvent] = Field(description="Events of MQTT, in order")
    runs: list[TracedRun] = Field(description="Runs, in order of creation")
    alerts: list[TracedAlert] = Field(description="Alerts, in order")
