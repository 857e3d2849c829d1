"""Executions of pipelines in the API."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from orchestration_project.engine.contracts.api.runs import OUTCOME_FIELD, Step
from orchestration_project.engine.contracts.partitioning import LoadOutcome

State = Literal["pending", "running", "completed", "failed", "cancelled"]


class Execution(BaseModel):
    """An execution that began."""

    execution_id: str = Field(description="Its id")
    status: Literal["started"] = Field(description="Always true: the request was accepted")
    pipeline: str = Field(description="Its pipeline")


class Failure(BaseModel):
    """Why an execution failed."""

    category: str = Field(description="Failure category")
    message: str = Field(description="Error text")


class Metrics(BaseModel):
    """Totals of an execution."""

    duration_seconds: float | None = Field(description="Duration, seconds")
    rows_in: int = Field(description="Lines fetched")
    rows_landed: int = Field(description="Rows landed: new, changed and unchanged ones")
    rows_rejected: int = Field(description="Lines rejected by the contract")
    bytes_processed: int = Field(description="Fetched bytes")


class Executed(BaseModel):
    """How an execution is."""

    execution_id: str = Field(description="Its id")
    pipeline: str = Field(description="Its pipeline")
    status: State = Field(description="Status")
    started_at: datetime | None = Field(description="Start time")
    completed_at: datetime | None = Field(description="End time")
    metrics: Metrics = Field(description="Totals")
    error: Failure | None = Field(description="Error")


class ExecutionStatus(Executed):
    """How an execution and its steps are."""

    outcome: LoadOutcome | None = Field(description=OUTCOME_FIELD)
    steps: list[Step] = Field(description="Its steps")


class Executions(BaseModel):
    """Executions, the latest first."""

    runs: list[Executed] = Field(description="The latest first")


class Declared(BaseModel):
    """A pipeline that can be run by name."""

    name: str = Field(description="Its name")
    job: str = Field(description="Job")
    parameters: list[str] = Field(description="Required parameters")


class Pipelines(BaseModel):
    """Pipelines that can be run by name."""

    pipelines: list[Declared] = Field(description="By name")
