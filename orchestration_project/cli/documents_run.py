"""`load documents`: poll the source, load the days that wait, and print counts by outcome."""

import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import click
import dagster as dg

from orchestration_project.assets.documents import DAYS, LOAD_JOB, VERDICT_OP
from orchestration_project.catalog import REGISTRY
from orchestration_project.cli import console
from orchestration_project.cli.execution import (
    ProgressLine,
    failures,
    materializations_of,
    run_over,
)
from orchestration_project.cli.exit_statuses import EXIT_STATUSES
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.domains.documents.settings import DocumentsSettings
from orchestration_project.engine.contracts.partitioning import load_outcome
from orchestration_project.engine.contracts.pipelines import DAY
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.engine.leases import is_at_work
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, cut
from orchestration_project.instance.storage import open_instance
from orchestration_project.registry import Environment
from orchestration_project.resources.documents.arrivals import Arrivals, PollResult, open_arrivals
from orchestration_project.resources.documents.items import OUTCOMES
from orchestration_project.resources.documents.source import DocumentSource
from orchestration_project.settings import Settings, load_settings

CAPTURE = "documents_capture"
EXTRACTED = ("loaded", "unchanged")

MAX_NAMED = 20
"""Files without text that a load names."""

MAX_REASON = 160
"""Characters of a reason."""


def load(partitions: Sequence[str]) -> int:
    """Load the files of days, by default of all days that wait.

    Returns:
        The exit status; not_published if the source has no file yet.

    Raises:
        UsageError: The domain has no source, or a day is not a partition.
    """
    settings = load_settings()
    days = [_parse_day(partition) for partition in partitions]
    connection = REGISTRY.connections["documents"]
    if reason := connection.unused(settings):
        raise click.UsageError(f"{reason}; set DOCUMENTS_SOURCE and DOCUMENTS_DIR")
    if console.OUTPUT.is_dry_run:
        text = ", ".join(days) or "every day with files that wait"
        console.preview(f"{LOAD_JOB} would load {text}", job=LOAD_JOB, partitions=days)
        return 0
    with (
        full_disk_explained(settings),
        open_warehouse(settings) as warehouse,
        connection.open(Environment(settings=settings)) as source,
        open_instance() as instance,
    ):
        console.progress(f"database  {warehouse.shown_url}")
        arrivals = _build_arrivals(settings, warehouse, source)
        poll = _poll(arrivals)
        arrivals.end_leases(partial(is_at_work, instance))
        chosen = days or [due_day.day for due_day in arrivals.due()]
        results, counts = _run(instance, chosen)
        present_count, left_count = arrivals.present_count(), arrivals.not_extracted_count()
        refused = arrivals.list_not_extracted(MAX_NAMED)
    failed = failures([result for result in results if not result.success])
    outcome = load_outcome(
        has_failed=bool(failed) or not _is_all_extracted(counts, left_count),
        unpublished=["files"] if not counts and not present_count else [],
    )
    if console.OUTPUT.is_json:
        console.emit(
            {
                "is_success": not failed,
                "outcome": outcome,
                "days": chosen,
                "counts": counts,
                "verdicts": _list_verdicts(results),
                "unreadable_folders": list(poll.unreadable),
                "refused": [{"path": path, "reason": reason} for path, reason in refused],
                "failures": failed,
            }
        )
    else:
        lines = _render_lines(counts, chosen, present_count, left_count)
        refusals = list(_list_refusals(refused, left_count))
        console.echo("\n".join([*lines, *refusals, *_list_verdicts(results), *failed]))
    return EXIT_STATUSES[outcome]


def _parse_day(written: str) -> str:
    try:
        key = DAY.to_key(written)
    except ConfigurationError as error:
        raise click.UsageError(error.line) from error
    if key not in DAYS.get_partition_keys():
        raise click.UsageError(
            f"invalid day {key}: expected one from {DAYS.get_partition_keys()[0]} to today"
        )
    return key


def _build_arrivals(settings: Settings, warehouse: Warehouse, source: DocumentSource) -> Arrivals:
    documents_settings = DocumentsSettings.of(settings)
    return open_arrivals(source, warehouse, open_clock(settings), documents_settings)


def _poll(arrivals: Arrivals) -> PollResult:
    """Poll the source, and again after a while if files may still change."""
    poll = arrivals.poll()
    if poll.unsettled:
        seconds = arrivals.stable.total_seconds()
        console.progress(f"new files: waiting {seconds:g} s until they stay the same")
        time.sleep(seconds)
        poll = arrivals.poll()
    return poll


def _run(
    instance: dg.DagsterInstance, days: Sequence[str]
) -> tuple[list[dg.JobExecutionResult], Mapping[str, int]]:
    """Run the job for each day; return the counts by outcome of all."""
    with ProgressLine(len(days), days) as progress:
        results = run_over(
            instance,
            LOAD_JOB,
            [(day, day) for day in days],
            progress,
            after_each=lambda span, result: progress.finish([span[0]], is_loaded=result.success),
        )
    counts: Counter[str] = Counter()
    for metadata in _select_captures(results):
        for outcome in OUTCOMES:
            counts[outcome] += int(metadata.get(f"{outcome}_document_count", 0))
    return results, {outcome: count for outcome, count in counts.items() if count}


def _select_captures(results: Sequence[dg.JobExecutionResult]) -> list[Mapping[str, Any]]:
    materializations = materializations_of(results)
    return [metadata for (asset, _), metadata in materializations.items() if asset == CAPTURE]


def _list_verdicts(results: Sequence[dg.JobExecutionResult]) -> list[str]:
    entries = [
        {name: value.value for name, value in observation.metadata.items()}
        for result in results
        for observation in result.asset_observations_for_node(VERDICT_OP)
    ]
    return [
        f"verdict {entry['document_verdict']}, score {entry['document_score']} of 100"
        for entry in entries
        if "document_verdict" in entry
    ]


def _render_lines(
    counts: Mapping[str, int], days: Sequence[str], present_count: int, left_count: int
) -> list[str]:
    if not days:
        extracted_count = present_count - left_count
        return [f"no file waits; {extracted_count} of {present_count} listed files have text"]
    return [f"{outcome:<12}{count:>8,}" for outcome, count in counts.items()]


def _list_refusals(refused: Sequence[tuple[str, str]], left_count: int) -> Iterator[str]:
    """Yield the refused files with their reasons, and the command that shows more of one."""
    for path, reason in refused:
        yield console.printable(f"no text     {path}: {cut(reason, MAX_REASON)}")
    if left_count > len(refused):
        yield f"{left_count - len(refused)} more files have no text"
    if refused:
        yield f"next: orchestrate documents timeline {shlex.quote(refused[0][0])}"


def _is_all_extracted(counts: Mapping[str, int], left_count: int) -> bool:
    """Return whether every file was extracted that was loaded now, or else all that there are."""
    if counts:
        return all(outcome in EXTRACTED for outcome in counts)
    return not left_count
