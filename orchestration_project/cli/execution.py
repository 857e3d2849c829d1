"""Run jobs in this process, show their progress and summarize their results, for the commands."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

import dagster as dg
from sqlalchemy import select

from orchestration_project.cli.console import echo
from orchestration_project.domains.operations.partition_tags import RANGE_END, RANGE_START
from orchestration_project.engine.announcements import REPORTED_LATE, UNCHANGED
from orchestration_project.engine.dagster_private import SerializableErrorInfo, load_repository
from orchestration_project.engine.runner import DID_NOT_LAND, PROGRESS
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.instance.launcher import own_run_tags
from orchestration_project.instance.logs import in_log_format
from orchestration_project.registry import RunSummary
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.tables.spine import audits, rejects

Materializations: TypeAlias = Mapping[tuple[str, str | None], Mapping[str, Any]]
"""Metadata of materializations, by asset and partition."""

DEFINITIONS = "orchestration_project.definitions"
INTERRUPTED = "DagsterExecutionInterruptedError"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
RETRIES = logging.getLogger("orchestration_project.http")

COLUMNS = {
    "dagster/row_count": "rows",
    "rows_added": "added",
    "rows_changed": "changed",
    "rows_removed": "removed",
    "rejects": "rejects",
    "audits": "audits passed/failed",
    "audits_warning": "warnings",
    "bytes": "bytes",
    "seconds": "seconds",
}
"""Metadata of a materialization, or a count of the summary, and the column that shows it."""

RESTATEMENTS_SHOWN = 20


def execute(
    instance: dg.DagsterInstance,
    job: str,
    *,
    between: tuple[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dg.JobExecutionResult:
    """Run a job, over the partitions from the first to the last of ``between`` if it has any.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; Dagster returns a failed run then.
    """
    result = dg.execute_job(
        load_repository(DEFINITIONS, "defs", PROJECT_ROOT).get_reconstructable_job(job),
        instance,
        run_config={**QUIET, **(config or {})},
        tags=own_run_tags() | dict(zip((RANGE_START, RANGE_END), between or (), strict=False)),
    )
    if any(error.cls_name == INTERRUPTED for error in _errors(result)):
        raise KeyboardInterrupt
    return result


def failures(results: Sequence[dg.JobExecutionResult]) -> list[str]:
    """Return a text for each failed step; `ProgressLine` has printed why a partition failed."""
    return [
        f"FAILED: run {result.run_id}: {_without_partitions(_description(event))}"
        for result in results
        for event in result.all_events
        if event.is_step_failure
    ]


def _without_partitions(text: str) -> str:
    first = text.partition("\n")[0]
    return f"{first} (why: see above)" if DID_NOT_LAND in first else text


def _description(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    description = data.user_failure_data.description if data.user_failure_data else None
    if description or data.error is None:
        return description or "no reason was recorded"
    error = data.error
    while error.cause is not None:  # the outer errors name the op, the innermost the reason
        error = error.cause
    return error.message.strip()


def _errors(result: dg.JobExecutionResult) -> Iterator[SerializableErrorInfo]:
    for event in result.all_events:
        error = event.step_failure_data.error if event.is_step_failure else None
        if event.event_type == dg.DagsterEventType.RUN_FAILURE:
            error = event.job_failure_data.error
        while error is not None:
            yield error
            error = error.cause


def repository() -> dg.RepositoryDefinition:
    """Return the repository of all domains."""
    return load_repository(DEFINITIONS, "defs", PROJECT_ROOT).get_definition()


def run_over(
    instance: dg.DagsterInstance,
    job: str,
    partitions: Sequence[tuple[str, str]],
    progress: "ProgressLine",
    config: Mapping[str, Any] | None = None,
) -> list[dg.JobExecutionResult]:
    """Run a job once for each range of ``partitions``, given as its first and last key.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; how many partitions are done is printed.
    """
    try:
        return [execute(instance, job, between=between, config=config) for between in partitions]
    except KeyboardInterrupt:
        echo(
            f"\n{progress.done} of {progress.of} partitions are through; what landed stays, and "
            "the same command goes on from there"
        )
        raise


class ProgressLine(logging.Handler):
    """Prints a line for each partition that is done, with the total count and an ETA.

    The second attempt of a step has a count of its own.
    """

    def __init__(self, of: int) -> None:
        super().__init__(logging.INFO)
        self.of = of
        self._ended: set[str] = set()
        self._unchanged: dict[str, bool] = {}
        self._retries = in_log_format(logging.StreamHandler())
        self._started = time.monotonic()

    def __enter__(self) -> "ProgressLine":
        PROGRESS.addHandler(self)
        PROGRESS.setLevel(logging.INFO)
        RETRIES.addHandler(self._retries)
        return self

    def __exit__(self, *_: object) -> None:
        PROGRESS.removeHandler(self)
        RETRIES.removeHandler(self._retries)

    @property
    def done(self) -> int:
        """How many partitions are done, each counted once."""
        return len(self._ended)

    @property
    def unchanged(self) -> int:
        """How many of them are unchanged, by the first load of each."""
        return sum(self._unchanged.values())

    def emit(self, record: logging.LogRecord) -> None:
        """Print the line."""
        done_item = cast(Mapping[str, Any], record.args)
        key, outcome, attempt = done_item["key"], done_item["outcome"], done_item["attempt"]
        self._ended.add(key)
        if record.levelno < logging.ERROR:
            self._unchanged.setdefault(key, str(outcome).startswith("unchanged"))
        done, of, left = done_item["done"], done_item["of"], done_item["left"]
        if not attempt:
            done, of = self.done, self.of
            left = (time.monotonic() - self._started) / done * max(of - done, 0)
        echo(f"[{done:2}/{of}] {key}: {outcome}  ({attempt}{left:.0f} s left)")


def outcome_of(
    warehouse: Warehouse, results: Sequence[dg.JobExecutionResult], summary: RunSummary
) -> str:
    """Return what the runs did: a line for each asset, and for each restated partition."""
    materializations = materializations_of(results)
    totals = _totals(materializations, summary)
    totals[summary.audited]["audits"], totals[summary.rejecting]["rejects"] = _counts(
        warehouse, [result.run_id for result in results]
    )
    return _table(totals) + _restatements(materializations)


def _counts(warehouse: Warehouse, run_ids: Sequence[str]) -> tuple[str, int]:
    """Return passed/failed blocking audits and rejects of runs; quarantined partitions count."""
    audited = warehouse.frame(select(audits).where(audits.c.run_id.in_(run_ids)), audits)
    blocking = audited.filter(severity="error")
    passed, failed = (len(blocking.filter(outcome=outcome)) for outcome in ("passed", "failed"))
    refused = warehouse.row_counts((rejects,), {"run_id": tuple(run_ids)})
    return f"{passed}/{failed}", refused[rejects.name]


def _table(totals: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the totals as text, a line for each asset."""
    lines = [["", *COLUMNS.values()]]
    lines += [
        [name, *(_shown(total.get(key)) for key in COLUMNS)] for name, total in totals.items()
    ]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n" + "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )


def materializations_of(results: Sequence[dg.JobExecutionResult]) -> Materializations:
    """Return the metadata of all materializations of runs."""
    found: dict[tuple[str, str | None], dict[str, Any]] = defaultdict(dict)
    for event in (event for result in results for event in result.all_events):
        if event.is_step_materialization:  # two for a partition whose step was retried
            materialization = event.step_materialization_data.materialization
            name = "_".join(materialization.asset_key.path)
            found[name, materialization.partition] |= {
                label: value.value for label, value in materialization.metadata.items()
            }
    return found


def _totals(materializations: Materializations, summary: RunSummary) -> dict[str, dict[str, Any]]:
    """Add up what the runs did, by asset and column; figures carried forward do not count."""
    totals: dict[str, dict[str, Any]] = {name: {} for name in summary.assets}
    for (name, _), metadata in materializations.items():
        total = totals.setdefault(name, {})
        is_carried = metadata.get("outcome") in (UNCHANGED, REPORTED_LATE)
        for column in COLUMNS.keys() & metadata.keys():
            is_of_run = column == "dagster/row_count" or not is_carried
            total[column] = total.get(column, 0) + (metadata[column] if is_of_run else 0)
    return totals


def _restatements(materializations: Materializations) -> str:
    """Return a line for each partition whose landed values were replaced by others."""
    lines = [
        metadata["change"]
        for metadata in materializations.values()
        if metadata.get("restated_rows") and metadata.get("outcome") != UNCHANGED
    ]
    if len(lines) > RESTATEMENTS_SHOWN:
        rest = f"and {len(lines) - RESTATEMENTS_SHOWN} more, which docs/recipes.md asks for by SQL"
        lines = [*lines[:RESTATEMENTS_SHOWN], rest]
    return "\n".join(["\n", *lines]) if lines else ""


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value or "")
