"""The client: what the API can do, as methods with typed results."""

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
import polars as pl
from pydantic import BaseModel

from orchestration_project.client.progress import Progress
from orchestration_project.client.transport import ATTEMPTS, RunFailedError, Transport
from orchestration_project.domains.api.artifacts import Artifacts, Capture
from orchestration_project.domains.api.automation import Automation, Automations, Switched
from orchestration_project.domains.api.backfills import Asked, Backfill
from orchestration_project.domains.api.data import Described, Page, Tables
from orchestration_project.domains.api.operations import (
    Config,
    ControlTower,
    Readiness,
    Sessions,
)
from orchestration_project.domains.api.pipelines import Execution, ExecutionStatus
from orchestration_project.domains.api.presets import Preset, PresetList, Preview
from orchestration_project.domains.api.runs import (
    Ending,
    Event,
    Launched,
    Run,
    Runs,
    RunStatus,
)

PAGE_ROWS = 1000

Answer = TypeVar("Answer", bound=BaseModel)
Kind = Literal["schedule", "sensor"]


class Client:
    """A gateway at ``url``, asked as whoever ``key`` is; closed at the end of a `with`.

    Every method raises `ApiError` where the gateway says that it did not do it, and
    `httpx.TransportError` where it cannot be reached after some attempts.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_seconds: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = Transport(
            url, key, timeout_seconds=timeout_seconds, transport=transport, sleep=sleep
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.__exit__()

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
        return self._post("/runs", body, Launched, key=idempotency_key or _new_key())

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
            RunFailedError: It did not succeed, where ``check`` asks for that.
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
        return self._get(f"/runs/{_quoted(run_id)}", RunStatus)

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
        """Yield runs, the latest first, as many pages as are asked for."""
        query = {
            "job": job,
            "status": list(status),
            "partition": partition,
            "user": user,
            "since": since.isoformat() if since else None,
            "until": until.isoformat() if until else None,
        }
        cursor: str | None = None
        while True:
            page = self._get("/runs", Runs, **query, cursor=cursor)
            yield from page.runs
            cursor = page.next_cursor
            if cursor is None:
                return

    def logs(self, run_id: str) -> Iterator[Event]:
        """Yield the events and log lines of a run until it has ended.

        A connection that breaks off is taken up where it was, several times without an event.
        """
        last, failures = 0, 0
        while True:
            try:
                for event in self._streamed(run_id, last):
                    if event is None:
                        return
                    last, failures = event.id, 0
                    yield event
            except httpx.TransportError:
                failures += 1
                if failures == ATTEMPTS:
                    raise

    def _streamed(self, run_id: str, last: int) -> Iterator[Event | None]:
        """Yield what follows event ``last``, and None once the run has ended."""
        headers = {"last-event-id": str(last)} if last else {}
        kind = ""
        with self._transport.stream(f"/runs/{_quoted(run_id)}/logs", headers=headers) as lines:
            for line in lines:
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield Event.model_validate(json.loads(value)) if kind == "log" else None

    def retry(
        self,
        run_id: str,
        *,
        what: Literal["from_failure", "failed_items", "all"] = "from_failure",
        kinds: Sequence[str] | None = None,
        dry_run: bool = False,
    ) -> Launched:
        """Try a run again; `kinds` and `dry_run` are of failed items."""
        body = {"what": what, "kinds": kinds and list(kinds), "dry_run": dry_run}
        return self._post(f"/runs/{_quoted(run_id)}/retry", body, Launched)

    def retry_failed_items(
        self,
        *,
        domain: str | None = None,
        since: datetime | None = None,
        kinds: Sequence[str] | None = None,
        dry_run: bool = False,
    ) -> Launched:
        """Try failed partitions of all runs again."""
        body = {
            "domain": domain,
            "since": since.isoformat() if since else None,
            "kinds": kinds and list(kinds),
            "dry_run": dry_run,
        }
        return self._post("/runs/retry-failed-items", body, Launched, key=_new_key())

    def cancel(self, run_id: str) -> Ending:
        """End a run."""
        return self._post(f"/runs/{_quoted(run_id)}/cancel", {}, Ending)

    def backfill(
        self,
        job: str,
        first: date,
        last: date,
        *,
        part: str | None = None,
        only_missing: bool = False,
        dry_run: bool = False,
    ) -> Asked:
        """Ask for the partitions of a job from a day to another."""
        body = {
            "job": job,
            "from": first.isoformat(),
            "to": last.isoformat(),
            "part": part,
            "only_missing": only_missing,
            "dry_run": dry_run,
        }
        return self._post("/backfills", body, Asked)

    def backfill_status(self, backfill_id: str) -> Backfill:
        """Return how a backfill is."""
        return self._get(f"/backfills/{_quoted(backfill_id)}", Backfill)

    def run_pipeline(self, name: str, **parameters: str) -> Execution:
        """Run a pipeline by name, such as ``tier="T1", week_ending="2025-01-10"``."""
        return self._post(f"/pipelines/run/{_quoted(name)}", parameters, Execution, key=_new_key())

    def pipeline_status(self, execution_id: str) -> ExecutionStatus:
        """Return how an execution is."""
        return self._get(f"/pipelines/status/{_quoted(execution_id)}", ExecutionStatus)

    def tables(self) -> list[Described]:
        """Return the tables and views that can be read."""
        return self._get("/tables", Tables).tables

    def rows(
        self,
        table: str,
        *,
        columns: Sequence[str] = (),
        where: Sequence[str] = (),
        as_of: datetime | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield rows of a table or view in the order of its key, as many pages as are asked for."""
        path, query = f"/tables/{_quoted(table)}", _of_rows(columns, where, as_of)
        cursor: str | None = None
        while True:
            page = self._get(path, Page, **query, limit=PAGE_ROWS, cursor=cursor)
            yield from page.rows
            cursor = page.next_cursor
            if cursor is None:
                return

    def frame(
        self,
        table: str,
        *,
        columns: Sequence[str] = (),
        where: Sequence[str] = (),
        as_of: datetime | None = None,
    ) -> pl.DataFrame:
        """Return the rows of a table or view with their types."""
        query = _of_rows(columns, where, as_of) | {"format": "parquet"}
        answer = self._transport.ask("GET", f"/tables/{_quoted(table)}", query=query)
        return pl.read_parquet(io.BytesIO(answer.content))

    def artifacts(self, *, where: Sequence[str] = (), limit: int = 50) -> list[Capture]:
        """Return what was captured, the latest first."""
        return self._get("/artifacts", Artifacts, where=list(where), limit=limit).captures

    def download(self, artifact: str, to: Path) -> str:
        """Write captured bytes to a file, and return their SHA-256.

        Raises:
            ValueError: The bytes that came are not those that the gateway named.
        """
        answer = self._transport.ask("GET", f"/artifacts/{_quoted(artifact)}")
        found = hashlib.sha256(answer.content).hexdigest()
        if answer.headers["etag"] != f'"{found}"':
            raise ValueError(f"the bytes of {artifact} changed on their way: SHA-256 {found}")
        to.write_bytes(answer.content)
        return found

    def presets(self) -> list[Preset]:
        """Return the presets that there are, and which is in force."""
        return self._get("/presets", PresetList).presets

    def preview_preset(self, name: str) -> Preview:
        """Return what a preset would change."""
        return self._get(f"/presets/{_quoted(name)}", Preview)

    def apply_preset(self, name: str, *, why: str) -> Launched:
        """Apply a preset to later runs of its job."""
        return self._post(f"/presets/{_quoted(name)}/apply", {"why": why}, Launched, key=_new_key())

    def automations(self, kind: Kind) -> list[Automation]:
        """Return the schedules or sensors with their last ticks."""
        return self._get(f"/{kind}s", Automations).automations

    def switch(self, kind: Kind, name: str, *, on: bool) -> Switched:
        """Switch a schedule or sensor on or off."""
        return self._post(f"/{kind}s/{_quoted(name)}/{'start' if on else 'stop'}", {}, Switched)

    def readiness(self) -> Readiness:
        """Return what was last found of all that work depends on."""
        return self._get("/readiness", Readiness)

    def config(self) -> Config:
        """Return the configuration in effect, without secrets."""
        return self._get("/config", Config)

    def sessions(self, *, domain: str | None = None, state: str | None = None) -> Sessions:
        """Return what was started together, and what came of it."""
        return self._get("/sessions", Sessions, domain=domain, state=state)

    def control_tower(self) -> ControlTower:
        """Return how domains and assets stand."""
        return self._get("/control-tower", ControlTower)

    def _get(self, path: str, model: type[Answer], **query: Any) -> Answer:
        answer = self._transport.ask("GET", path, query=query)
        return model.model_validate_json(answer.content)

    def _post(
        self,
        path: str,
        body: Mapping[str, Any],
        model: type[Answer],
        *,
        key: str | None = None,
    ) -> Answer:
        said = {name: value for name, value in body.items() if value is not None}
        answer = self._transport.ask("POST", path, body=said, key=key)
        return model.model_validate_json(answer.content)


def _quoted(name: str) -> str:
    """Return a name as one part of a path."""
    return quote(name, safe="")


def _new_key() -> str:
    """Return a key of this call alone, so that it may be repeated where an answer was lost."""
    return uuid4().hex


def _of_rows(
    columns: Sequence[str], where: Sequence[str], as_of: datetime | None
) -> dict[str, Any]:
    return {
        "columns": ",".join(columns) or None,
        "where": list(where),
        "as_of": as_of.isoformat() if as_of else None,
    }
