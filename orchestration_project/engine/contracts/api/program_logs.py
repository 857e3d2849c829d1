"""Log lines of programs in the API."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

TEXTS = (
    *("time", "level", "service", "host", "release", "logger", "message", "event", "run_id"),
    *(
        "job",
        "domain",
        "step",
        "asset",
        "partition",
        "trace_id",
        "span_id",
        "request_id",
        "exception",
    ),
    *("user", "address", "method", "path"),
)


class LogLine(BaseModel):
    """A log line of a program; a field without a value is null."""

    model_config = ConfigDict(extra="ignore")

    position: int = Field(description="Position in the log of the service, bytes")
    time: str | None = Field(None, description="ISO 8601 timestamp, UTC")
    level: str | None = Field(None, description="DEBUG, INFO, WARNING, ERROR or CRITICAL")
    service: str | None = Field(None, description="Program, such as gateway or run")
    host: str | None = Field(None, description="Name of the machine")
    release: str | None = Field(None, description="Version of the project")
    logger: str | None = Field(None, description="Name of the Python logger")
    message: str | None = Field(None, description="Text")
    event: str | None = Field(None, description="Name of the log event")
    run_id: str | None = Field(None, description="Dagster run")
    job: str | None = Field(None, description="Job of the run")
    domain: str | None = Field(None, description="Domain of the run")
    step: str | None = Field(None, description="Step of the run")
    asset: str | None = Field(None, description="Asset key")
    partition: str | None = Field(None, description="Partition key")
    trace_id: str | None = Field(None, description="W3C trace ID, 32 hex digits")
    span_id: str | None = Field(None, description="Span of the trace, 16 hex digits")
    request_id: str | None = Field(None, description="ID of the gateway's request")
    exception: str | None = Field(None, description="Traceback")
    user: str | None = Field(None, description="User of the request")
    address: str | None = Field(None, description="Address of the request's client")
    method: str | None = Field(None, description="HTTP method of the request")
    path: str | None = Field(None, description="Path of the request")
    status: int | None = Field(None, description="HTTP status of the response")
    seconds: float | None = Field(None, description="Duration of the request, seconds")

    @field_validator(*TEXTS, mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> str | None:
        return value if value is None or isinstance(value, str) else str(value)

    @field_validator("status", "seconds", mode="before")
    @classmethod
    def _as_number(cls, value: Any) -> float | None:
        is_number = isinstance(value, int | float) and abs(value) < 2**53
        return value if is_number and not isinstance(value, bool) else None


class LogLines(BaseModel):
    """A page of log lines, the newest first. A page may be short, or empty, before the end."""

    lines: list[LogLine] = Field(description="Lines")
    next_cursor: str | None = Field(
        description="Cursor of the next page; null: this is the last page"
    )
