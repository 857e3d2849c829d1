"""Runs, backfills and pipelines: launched, followed, retried, ended."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

from orchestration_project.client.asking import Requests, frame_of_models, new_key, quoted
from orchestration_project.client.transport import RunFailedError
from orchestration_project.engine.contracts.api.models import Asked, Backfill
from orchestration_project.engine.contracts.api.pipelines import (
    Declared,
    Executed,
    Execution,
    Executions,
    ExecutionStatus,
    Pipelines,
    State,
)
from orchestration_project.engine.contracts.api.runs import (
    Ending,
    Event,
    Events,
    Launched,
    RetryLaunched,
    Run,
    Runs,
    RunStatus,
)

if TYPE_CHECKING:
    import pandas as pd

PRINTED_EVENT_TYPES = frozenset(
    {
        "RUN_ENQUEUED",
        "RUN_START",
        "RUN_SUCCESS",
        "RUN_FAILURE",
        "RUN_CANCELING",
        "RUN_CANCELED",
        "STEP_START",
        "STEP_SUCCESS",
        "STEP_FAILURE",
        "STEP_UP_FOR_RETRY",
        "STEP_RESTARTED",
        "STEP_SKIPPED",
        "ASSET_MATERIALIZATION",
    }
)
PRINTED_LEVELS = frozenset({"INFO", "WARNING", "ERROR", "CRITICAL"})
MAX_LINE_LENGTH = 160


class Progress:
    """Writes a line for each event of a run that is worth one."""

    def __init__(self, output: TextIO | None = None) -> None:
        self._output = output or sys.stderr
        self._began: datetime | None = None

    def show(self, event: Event) -> None:
        """Write the line of an event, if it has one."""
        self._began = self._began or event.at
        line = line_of(event, (event.at - self._began).total_seconds())
        if line:
            self._output.write(f"{line}\n")
            self._output.flush()


def line_of(event: Event, seconds: float) -> str:
    """Return an event in a line, ``seconds`` after the first; empty if it is not worth one."""
    if event.type == "LOG":
        text = event.message.partition("\n")[0] if event.level in PRINTED_LEVELS else ""
    elif event.type in PRINTED_EVENT_TYPES:
        where = event.asset or event.step or ""
        what = event.type.lower().replace("_", " ")
        text = " ".join(name for name in (what, where, event.partition or "") if name)
    else:
        text = ""
    return f"{seconds:8.1f} s  {text}"[:MAX_LINE_LENGTH] if text else ""


class RunMethods(Requests):
    """The part of the client that is about what runs."""

    def launch(
        self,
        job: str,
        *,
        partition: str | None = None,
        preset: str | None = None,
        config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        force: bool = False,
        idempotency_key: str | None = None,
    ) -> Launched:
        """Launch a job or partition; without a key of the caller's, once for each call."""
        body = {
            "job": job,
            "partition": partition,
            "preset": preset,
            "config": config,
            "tags": dict(tags or {}),
            "force": force,
        }
        return self._post("/runs", body, Launched, key=idempotency_key or new_key())

    def run_and_wait(
        self,
        job: str,
        *,
        partition: str | None = None,
        preset: str | None = None,
        config: Mapping[str, Any] | None = None,
        progress: bool = False,
        check: bool = True,
    ) -> RunStatus:
        """Launch a job or partition, and wait until it has ended.

        Args:
            job: The job.
            partition: The key of a partition of it.
            preset: A preset whose config the run gets.
            config: A config of its own.
            progress: Write what it does to standard error.
            check: Raise RunFailedError where it did not succeed.
        """
        launched = self.launch(job, partition=partition, preset=preset, config=config)
        return self.wait(launched.run_id, progress=progress, check=check)

    def wait(self, run_id: str, *, progress: bool = False, check: bool = True) -> RunStatus:
        """Wait until a run has ended.

        Raises:
            RunFailedError: It did not succeed, where ``check`` requests that.
        """
        display = Progress() if progress else None
        for event in self.logs(run_id):
            if display:
                display.show(event)
        status = self.status(run_id)
        if check and status.status != "SUCCESS":
            raise RunFailedError(status)
        return status

    def status(self, run_id: str) -> RunStatus:
        """Return how a run and its steps are."""
        return self._get(f"/runs/{quoted(run_id)}", RunStatus)

    def runs(
        self,
        *,
        job: str | None = None,
        status: Sequence[str] = (),
        partition: str | None = None,
        user: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[Run]:
        """Yield runs, the latest first, as many pages as are requested."""
        query = {
            "job": job,
            "status": status,
            "partition": partition,
            "user": user,
            "since": since,
            "until": until,
        }
        for page in self._pages("/runs", Runs, **query):
            yield from page.runs

    def runs_frame(
        self,
        *,
        job: str | None = None,
        status: Sequence[str] = (),
        partition: str | None = None,
        user: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> "pd.DataFrame":
        """Return the same runs as rows, with the fields of `Run` as columns."""
        runs = self.runs(
            job=job, status=status, partition=partition, user=user, since=since, until=until
        )
        return frame_of_models(Run, runs)

    def events(self, run_id: str, *, after: int = 0) -> Iterator[Event]:
        """Yield the events of a run until now, without its log, after the event ``after``."""
        following: int | None = after
        while following is not None:
            page = self._get(f"/runs/{quoted(run_id)}/events", Events, after=following)
            yield from page.events
            following = page.next

    def logs(self, run_id: str) -> Iterator[Event]:
        """Yield the events and log lines of a run until it has ended.

        A connection that breaks off, or a gateway that restarts, is retried for a minute, and the
        log goes on where it was.

        Raises:
            ApiError: The gateway did not give it.
            httpx.TransportError: For a minute it could not be reached, or said nothing.
        """
        for sent in self._transport.follow(f"/runs/{quoted(run_id)}/logs"):
            if sent.type == "end":
                return
            if sent.data:
                yield Event.model_validate_json(sent.data)

    def retry(
        self,
        run_id: str,
        *,
        what: Literal["from_failure", "failed_items", "all"] = "from_failure",
        kinds: Sequence[str] | None = None,
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> Launched:
        """Try a run again; `kinds` and `dry_run` are of failed items."""
        body = {"what": what, "kinds": kinds, "dry_run": dry_run}
        key = idempotency_key or new_key()
        return self._post(f"/runs/{quoted(run_id)}/retry", body, Launched, key=key)

    def retry_failed_items(
        self,
        *,
        domain: str | None = None,
        since: datetime | None = None,
        kinds: Sequence[str] | None = None,
        topics: Sequence[str] = (),
        item_keys: Sequence[str] = (),
        reason_codes: Sequence[str] = (),
        include_permanent: bool = False,
        include_items: bool = True,
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> RetryLaunched:
        """Retry failed partitions and work items of all runs.

        Args:
            domain: Of this domain; None: of all.
            since: What failed after this time; None: at any time.
            kinds: Kinds of failure of partitions; None: those that may pass.
            topics: Only work items of these topics, and no partitions.
            item_keys: Only work items with these keys, and no partitions.
            reason_codes: Only work items that failed by these reasons, and no partitions.
            include_permanent: Retry also work items with a permanent failure.
            include_items: Retry work items besides partitions.
            dry_run: List them, and change nothing.
            idempotency_key: Makes the call safe to repeat; None: a new key.

        Returns:
            The run, and the work items when the request came.
        """
        body = {
            "domain": domain,
            "since": since,
            "kinds": kinds,
            "topics": topics,
            "item_keys": item_keys,
            "reason_codes": reason_codes,
            "include_permanent": include_permanent,
            "include_items": include_items,
            "dry_run": dry_run,
        }
        key = idempotency_key or new_key()
        return self._post("/runs/retry-failed-items", body, RetryLaunched, key=key)

    def cancel(self, run_id: str) -> Ending:
        """End a run."""
        return self._post(f"/runs/{quoted(run_id)}/cancel", {}, Ending)

    def backfill(
        self,
        job: str,
        first: date,
        last: date,
        *,
        part: str | None = None,
        only_missing: bool = False,
        clip: bool = False,
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> Asked:
        """Request the partitions of a job from a day to another.

        Args:
            job: The job.
            first: The first day.
            last: The last day, included.
            part: Another part of the keys, such as a tier; None: any.
            only_missing: Only partitions that are not loaded.
            clip: Load only the known partitions of a range that exceeds them.
            dry_run: Return the partitions, and launch nothing.
            idempotency_key: Makes the call safe to repeat; None: a new key.

        Raises:
            ApiError: The range is invalid, or exceeds the known partitions without ``clip``.
        """
        body = {
            "job": job,
            "from": first,
            "to": last,
            "part": part,
            "only_missing": only_missing,
            "clip": clip,
            "dry_run": dry_run,
        }
        return self._post("/backfills", body, Asked, key=idempotency_key or new_key())

    def backfill_status(self, backfill_id: str) -> Backfill:
        """Return how a backfill is."""
        return self._get(f"/backfills/{quoted(backfill_id)}", Backfill)

    def cancel_backfill(self, backfill_id: str) -> Backfill:
        """End a backfill, and the runs that it launched."""
        return self._post(f"/backfills/{quoted(backfill_id)}/cancel", {}, Backfill)

    def pipelines(self) -> list[Declared]:
        """Return the pipelines that can be run by name, with their parameters."""
        return self._get("/pipelines", Pipelines).pipelines

    def run_pipeline(self, name: str, **parameters: str) -> Execution:
        """Run a pipeline by name, such as ``tier="T1", week_ending="2025-01-10"``."""
        return self._post(f"/pipelines/run/{quoted(name)}", parameters, Execution, key=new_key())

    def pipeline_status(self, execution_id: str) -> ExecutionStatus:
        """Return how an execution is."""
        return self._get(f"/pipelines/status/{quoted(execution_id)}", ExecutionStatus)

    def history(self, *, status: State | None = None, limit: int = 50) -> list[Executed]:
        """Return executions, the latest first."""
        return self._get("/history/runs", Executions, status=status, limit=limit).runs

    def history_frame(self, *, status: State | None = None, limit: int = 50) -> "pd.DataFrame":
        """Return the same executions as rows, with the fields of `Executed` as columns."""
        return frame_of_models(Executed, self.history(status=status, limit=limit))
