"""Runs jobs in this process, as `dagster job execute` does, and shows progress and results."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple, TypeAlias, cast

import dagster as dg
from sqlalchemy import select

from orchestration_project.cli import console
from orchestration_project.cli.console import OUTPUT, aligned
from orchestration_project.cli.exit_statuses import ExitStatus
from orchestration_project.engine.announcements import REPORTED_LATE, UNCHANGED
from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.contracts.partition_tags import PARTITION, RANGE_END, RANGE_START
from orchestration_project.engine.contracts.partitioning import LoadOutcome, load_outcome
from orchestration_project.engine.dagster_private.definitions import load_repository
from orchestration_project.engine.dagster_private.storage import SerializableErrorInfo
from orchestration_project.engine.dataset import NOT_REQUESTED
from orchestration_project.engine.replay_plans import RunSummary
from orchestration_project.engine.runner import DID_NOT_LOAD, PROGRESS
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import UnknownNameError
from orchestration_project.instance.logs import in_log_format
from orchestration_project.services.delivery_evidence import read_balances
from orchestration_project.services.ended_runs import find_unpublished
from orchestration_project.settings import project_folder
from orchestration_project.settings.project import DEFINITIONS
from orchestration_project.tables.spine import audits, rejects

Materializations: TypeAlias = Mapping[tuple[str, str | None], Mapping[str, Any]]
"""Metadata of materializations, by asset and partition."""

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

INTERRUPTED = "DagsterExecutionInterruptedError"

RETRIES = logging.getLogger("orchestration_project.http")

Range = tuple[str, str]
"""The first and the last partition of a run."""


class PartitionOutcome(NamedTuple):
    """How a partition ended, by its latest attempt."""

    partition: str
    outcome: str
    is_loaded: bool


def execute(
    instance: dg.DagsterInstance,
    job: str,
    *,
    between: tuple[str, str] | None = None,
    partition: str | None = None,
    config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    assets: Sequence[dg.AssetKey] | None = None,
) -> dg.JobExecutionResult:
    """Run a job, over the partitions from the first to the last of ``between`` if it has any.

    Args:
        instance: Dagster's instance.
        job: Name of the job.
        between: First and last partition of a job whose runs take a range.
        partition: Partition of a job whose runs take one.
        config: Run config.
        tags: Further tags of the run.
        assets: The assets that it makes; None: all of the job.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; Dagster returns a failed run then.
    """
    from orchestration_project.instance.launcher import own_run_tags

    result = dg.execute_job(
        load_repository(DEFINITIONS, "defs", project_folder()).get_reconstructable_job(job),
        instance,
        run_config={**_log_config(), **(config or {})},
        tags=own_run_tags()
        | dict(zip((RANGE_START, RANGE_END), between or (), strict=False))
        | ({PARTITION: partition} if partition else {})
        | {**(tags or {})},
        asset_selection=assets,
    )
    if any(error.cls_name == INTERRUPTED for error in _yield_errors(result)):
        raise KeyboardInterrupt
    return result


def _log_config() -> Mapping[str, Any]:
    """Return how much of Dagster's own log goes to standard error."""
    level = "INFO" if OUTPUT.is_verbose else "CRITICAL"
    return {"loggers": {"console": {"config": {"log_level": level}}}}


def failures(results: Sequence[dg.JobExecutionResult]) -> list[str]:
    """Return a text for each failed step, or why a run failed before its first step.

    The progress has why a partition failed.
    """
    return [
        f"FAILED: run {result.run_id}: {reason}"
        for result in results
        for reason in _list_reasons(result)
    ]


def _list_reasons(result: dg.JobExecutionResult) -> list[str]:
    of_steps = [
        _trim_partitions(_describe_failure(event))
        for event in result.all_events
        if event.is_step_failure
    ]
    return of_steps or [error.message.strip() for error in [*_yield_errors(result)][-1:]]


def _trim_partitions(text: str) -> str:
    first = text.partition("\n")[0]
    return f"{first} (why: see above)" if DID_NOT_LOAD in first else text


def _describe_failure(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    description = data.user_failure_data.description if data.user_failure_data else None
    if description or data.error is None:
        return description or "no reason was recorded"
    error = data.error
    while error.cause is not None:  # the outer errors name the op, the innermost the reason
        error = error.cause
    return error.message.strip()


def _yield_errors(result: dg.JobExecutionResult) -> Iterator[SerializableErrorInfo]:
    for event in result.all_events:
        error = event.step_failure_data.error if event.is_step_failure else None
        if event.event_type == dg.DagsterEventType.RUN_FAILURE:
            error = event.job_failure_data.error
        while error is not None:
            yield error
            error = error.cause


def status_of_failure(result: dg.JobExecutionResult) -> ExitStatus:
    """Return the exit status of a command whose run failed."""
    is_unknown = any(error.cls_name == UnknownNameError.__name__ for error in _yield_errors(result))
    return ExitStatus.USAGE if is_unknown else ExitStatus.FAILED


def repository() -> dg.RepositoryDefinition:
    """Return the repository of all domains."""
    return import_module(DEFINITIONS).defs.get_repository_def()


def run_over(
    instance: dg.DagsterInstance,
    job: str,
    partitions: Sequence[Range],
    progress: "ProgressLine",
    config: Mapping[str, Any] | None = None,
    *,
    tags: Mapping[str, str] | None = None,
    after_each: Callable[[Range, dg.JobExecutionResult], object] = lambda *_: None,
) -> list[dg.JobExecutionResult]:
    """Run a job once for each range of ``partitions``, given as its first and last key.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; how many partitions are done is printed.
    """
    results: list[dg.JobExecutionResult] = []
    try:
        for between in partitions:
            results.append(execute(instance, job, between=between, config=config, tags=tags))
            after_each(between, results[-1])
    except KeyboardInterrupt:
        console.echo(
            f"\n{progress.done} of {progress.of} partitions are through; what is loaded stays, and "
            "the same command goes on from there"
        )
        raise
    return results


class ProgressLine(logging.Handler):
    """Prints a line for each partition that is done, with the total count and an ETA.

    The second attempt of a step has a count of its own, and so have pieces of a partition.

    Args:
        of: How many partitions there are.
        keys: The partitions; whatever else is reported as done is a piece of one. None: whatever is
            reported is counted.
    """

    def __init__(self, of: int, keys: Collection[str] | None = None) -> None:
        super().__init__(logging.INFO)
        self.of = of
        self._keys = keys
        self._outcomes: dict[str, PartitionOutcome] = {}
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
    def outcomes(self) -> list[PartitionOutcome]:
        """How each partition ended that is done."""
        return list(self._outcomes.values())

    @property
    def done(self) -> int:
        """How many partitions are done, each counted once."""
        return len(self._outcomes)

    @property
    def unchanged(self) -> int:
        """How many of them are unchanged, by the first load of each."""
        return sum(self._unchanged.values())

    def emit(self, record: logging.LogRecord) -> None:
        """Print the line."""
        item = cast(Mapping[str, Any], record.args)
        key, outcome, attempt = item["key"], str(item["outcome"]), item["attempt"]
        is_partition = self._keys is None or key in self._keys
        if is_partition:
            self._outcomes[key] = PartitionOutcome(key, outcome, record.levelno < logging.ERROR)
        if is_partition and record.levelno < logging.ERROR:
            self._unchanged.setdefault(key, outcome.startswith("unchanged"))
        done_count, total, left = item["done"], item["of"], item["left"]
        if is_partition and not attempt:
            done_count, total, left = self.done, self.of, self._seconds_left()
        console.progress(f"[{done_count:2}/{total}] {key}: {outcome}  ({attempt}{left:.0f} s left)")

    def finish(
        self, keys: Sequence[str], *, is_loaded: bool, outcomes: Mapping[str, str] | None = None
    ) -> None:
        """Count partitions of a run that has ended, and print those that it did not report.

        ``outcomes`` has those of partitions that are not simply loaded.
        """
        for key in keys:
            if key not in self._outcomes:
                outcome = (outcomes or {}).get(key, "loaded") if is_loaded else "FAILED"
                self._outcomes[key] = PartitionOutcome(key, outcome, is_loaded)
                left = self._seconds_left()
                console.progress(f"[{self.done:2}/{self.of}] {key}: {outcome}  ({left:.0f} s left)")

    def _seconds_left(self) -> float:
        per_partition = (time.monotonic() - self._started) / self.done
        return per_partition * max(self.of - self.done, 0)


@dataclass(frozen=True)
class RunResults:
    """Results of runs.

    Attributes:
        totals: Figures by asset and column.
        restatements: A line for each partition whose loaded values were replaced by others.
        balances: Equations of the runs by table, those of one name added up.
    """

    totals: Mapping[str, Mapping[str, Any]]
    restatements: Sequence[str] = ()
    balances: Sequence[tuple[str, Balance]] = ()

    def __str__(self) -> str:
        shown_names = list(self.restatements[:RESTATEMENTS_SHOWN])
        if len(self.restatements) > len(shown_names):
            number = len(self.restatements) - len(shown_names)
            shown_names.append(
                f"and {number} more; docs/how-to/measure-restatements.md has the SQL"
            )
        return _render_table(self.totals) + ("\n".join(["\n", *shown_names]) if shown_names else "")


def results_of(
    warehouse: Warehouse, results: Sequence[dg.JobExecutionResult], summary: RunSummary
) -> RunResults:
    """Return the results of runs: figures of each asset, and each restated partition."""
    materializations = materializations_of(results)
    totals = _sum_runs(materializations, summary)
    totals[summary.audited]["audits"], totals[summary.rejecting]["rejects"] = _count_audits(
        warehouse, [result.run_id for result in results]
    )
    balances = read_balances(warehouse, [result.run_id for result in results])
    return RunResults(totals, _list_restatements(materializations), balances)


def document(
    found: RunResults | None,
    partitions: Sequence[PartitionOutcome],
    results: Sequence[dg.JobExecutionResult],
) -> dict[str, Any]:
    """Return the JSON document of runs that `--json` prints."""
    unpublished = unpublished_partitions(results)
    return {
        "is_success": all(result.success for result in results),
        "outcome": outcome_of(results),
        "partitions": [
            {
                **partition._asdict(),
                "is_loaded": partition.is_loaded and partition.partition not in unpublished,
                "status": load_outcome(
                    has_failed=not partition.is_loaded,
                    unpublished=unpublished & {partition.partition},
                ),
            }
            for partition in partitions
        ],
        "assets": {name: dict(total) for name, total in found.totals.items()} if found else {},
        "restatements": list(found.restatements) if found else [],
        "balances": [
            {"table": table_name, **balance.as_document} for table_name, balance in found.balances
        ]
        if found
        else [],
        "failures": failures([result for result in results if not result.success]),
    }


def outcome_of(results: Sequence[dg.JobExecutionResult]) -> LoadOutcome:
    """Return the outcome of runs that load."""
    return load_outcome(
        has_failed=not all(result.success for result in results),
        unpublished=unpublished_partitions(results),
    )


def unpublished_lines(results: Sequence[dg.JobExecutionResult]) -> list[str]:
    """Return a line that names the partitions which are not published yet, if there are any."""
    keys = sorted(unpublished_partitions(results))
    return [f"not_published: {', '.join(keys)}"] if keys else []


def unpublished_partitions(results: Sequence[dg.JobExecutionResult]) -> Set[str]:
    """Return the partitions of runs that their source has not published yet."""
    events = [event for result in results for event in result.all_events]
    return find_unpublished(events)


def _count_audits(warehouse: Warehouse, run_ids: Sequence[str]) -> tuple[str, int]:
    """Return passed/failed blocking audits and rejects of runs; quarantined partitions count."""
    audited = warehouse.frame(select(audits).where(audits.c.run_id.in_(run_ids)), audits)
    blocking = audited.filter(severity="error")
    passed, failed = (len(blocking.filter(outcome=outcome)) for outcome in ("passed", "failed"))
    refused = warehouse.row_counts((rejects,), {"run_id": tuple(run_ids)})
    return f"{passed}/{failed}", refused[rejects.name]


def _render_table(totals: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the totals as text, a line for each asset."""
    lines = [["", *COLUMNS.values()]]
    lines += [
        [name, *(_render_cell(total.get(key)) for key in COLUMNS)] for name, total in totals.items()
    ]
    return "\n" + aligned(lines, numbers_from=1)


def materializations_of(results: Sequence[dg.JobExecutionResult]) -> Materializations:
    """Return the metadata of all materializations of runs."""
    materializations: dict[tuple[str, str | None], dict[str, Any]] = defaultdict(dict)
    for event in (event for result in results for event in result.all_events):
        if event.is_step_materialization:  # two for a partition whose step was retried
            materialization = event.step_materialization_data.materialization
            name = "_".join(materialization.asset_key.path)
            materializations[name, materialization.partition] |= {
                label: value.value for label, value in materialization.metadata.items()
            }
    return materializations


def unloaded_partitions(result: dg.JobExecutionResult, name: str) -> dict[str, str]:
    """Return the partitions of an asset of which a run wrote nothing, and what it did instead."""
    return {
        partition: "; ".join(
            metadata[label] for label in ("outcome", "what_to_do") if label in metadata
        )
        for (asset, partition), metadata in materializations_of([result]).items()
        if asset == name and partition and metadata.get("outcome") in (UNCHANGED, NOT_REQUESTED)
    }


def _sum_runs(materializations: Materializations, summary: RunSummary) -> dict[str, dict[str, Any]]:
    """Add up what the runs did, by asset and column; figures carried forward do not count."""
    totals: dict[str, dict[str, Any]] = {name: {} for name in summary.assets}
    for (name, _), metadata in materializations.items():
        total = totals.setdefault(name, {})
        is_carried = metadata.get("outcome") in (UNCHANGED, REPORTED_LATE)
        for column in COLUMNS.keys() & metadata.keys():
            is_of_run = column == "dagster/row_count" or not is_carried
            total[column] = total.get(column, 0) + (metadata[column] if is_of_run else 0)
    return totals


def _list_restatements(materializations: Materializations) -> list[str]:
    """Return a line for each partition whose loaded values were replaced by others."""
    return [
        metadata["change"]
        for metadata in materializations.values()
        if metadata.get("restated_rows") and metadata.get("outcome") != UNCHANGED
    ]


def _render_cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value or "")
