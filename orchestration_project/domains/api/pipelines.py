"""Executions of pipelines as the API tells of them."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from orchestration_project.domains.api.runs import Step

State = Literal["pending", "running", "completed", "failed", "cancelled"]


class Execution(BaseModel):
    """An execution that began."""

    execution_id: str = Field(description="Its id")
    status: Literal["started"] = Field(description="That it was asked for")
    pipeline: str = Field(description="Its pipeline")


class Failure(BaseModel):
    """Why an execution failed."""

    category: str = Field(description="What kind of failure it was")
    message: str = Field(description="What failed")


class Metrics(BaseModel):
    """What an execution did."""

    duration_seconds: float | None = Field(description="From beginning to end")
    rows_in: int = Field(description="Lines fetched")
    rows_landed: int = Field(description="Rows landed: new, changed and unchanged ones")
    rows_rejected: int = Field(description="Lines refused by the contract")
    bytes_processed: int = Field(description="Size of what was fetched, bytes")


class Executed(BaseModel):
    """How an execution is."""

    execution_id: str = Field(description="Its id")
    pipeline: str = Field(description="Its pipeline")
    status: State = Field(description="How it is")
    started_at: datetime | None = Field(description="When it began")
    completed_at: datetime | None = Field(description="When it ended")
    metrics: Metrics = Field(description="What it did")
    error: Failure | None = Field(description="Why it failed")


class ExecutionStatus(Executed):
    """How an execution and its steps are."""

    steps: list[Step] = Field(description="Its steps")


class Executions(BaseModel):
    """Executions, the latest first."""

    runs: list[Executed] = Field(description="The latest first")


class Declared(BaseModel):
    """A pipeline that can be run by name."""

    name: str = Field(description="Its name")
    job: str = Field(description="The job that it is")
    parameters: list[str] = Field(description="What it takes, all of it")


class Pipelines(BaseModel):
    """What can be run by name."""

    pipelines: list[Declared] = Field(description="By name")
