"""Failed partitions, found across all runs, and tried again where that may help."""

from collections.abc import Sequence

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.catalogue import moment_of
from orchestration_project.domains.operations.messages import cut
from orchestration_project.domains.operations.retries import (
    PASSING,
    Batch,
    FailedPartition,
    batches,
    check_kinds,
    why_left_out,
)
from orchestration_project.services.backfills import (
    LAUNCHED_BY,
    active_backfill,
    launched_by,
    request_backfill,
)
from orchestration_project.services.metadata import as_metadata, table_of
from orchestration_project.services.retries import failed_partitions

RETRY_JOB = "operations_retry_failures"

SHOWN = 200
"""Partitions that a table lists, so that an event stays below 100 KB; the counts are of all."""

REASON_CHARACTERS = 300

COLUMNS = (
    *("asset", "partition", "kind", "ended_at", "run_id"),
    *("failure", "left_out_because"),
)


class Retry(dg.Config):
    """Which failed partitions are tried again."""

    domain: str | None = Field(default=None, description="Of this domain; without it, of all.")
    since: str | None = Field(
        default=None,
        description="Of runs that ended after this time, such as 2026-11-01T00:00:00Z; without it, "
        "of all.",
    )
    run_id: str | None = Field(
        default=None,
        description="Only what this run did not materialize and is failed now, also by a later "
        "run; without it, all that is failed now.",
    )
    kinds: list[str] = Field(
        default=list(PASSING),
        description="Kinds of failure that are tried again, of source, contract, configuration, "
        "transient, database, refused, crash, canceled and defect.",
    )
    dry_run: bool = Field(default=False, description="List them, and launch nothing.")


@dg.op(name="retry_failures", out=dg.Out(dg.Nothing))
def retry_failures(context: dg.OpExecutionContext, config: Retry) -> None:
    """Launch backfills of exactly the failed partitions whose failure may pass, and list all."""
    check_kinds(config.kinds)
    failed = failed_partitions(
        context.instance,
        context.repository_def,
        domain=config.domain,
        since=moment_of(config.since),
        left_by=config.run_id,
    )
    judged = [(each, why_left_out(each, config.kinds)) for each in failed]
    due = [each for each, why in judged if not why]
    left_out = [(each, why) for each, why in judged if why]
    context.add_output_metadata(
        as_metadata(
            {
                "backfills": _launched(context, batches(due), dry_run=config.dry_run),
                "due": _table([(each, "") for each in due]),
                "due_count": len(due),
                "left_out": _table(left_out),
                "left_out_count": len(left_out),
            }
        )
    )


def _launched(context: dg.OpExecutionContext, due: Sequence[Batch], *, dry_run: bool) -> str:
    """Launch a backfill for each batch; return their ids, or why there are none."""
    running = active_backfill(context.instance, {LAUNCHED_BY: RETRY_JOB})
    if running is not None:
        return f"none: {running}, of an earlier run of this job, is not over"
    if not due or dry_run:
        return "none: dry run" if due else "none: nothing is to be tried again"
    return ", ".join(
        request_backfill(
            context.instance,
            context.repository_def,
            [dg.AssetKey.from_user_string(asset) for asset in batch.assets],
            [each.partition for each in batch.partitions],
            tags=launched_by(RETRY_JOB, context.run.tags),
            title=f"Tried again: {len(batch.partitions)} partitions of {batch.assets[0]}",
            run_config=batch.config or None,
        )
        for batch in due
    )


def _table(partitions: Sequence[tuple[FailedPartition, str]]) -> dg.TableMetadataValue:
    rows = [
        {
            "asset": each.assets[0],
            "partition": each.partition,
            "kind": each.category,
            "ended_at": f"{each.ended_at:%Y-%m-%d %H:%M:%S}",
            "run_id": each.run_id,
            "failure": cut(each.reason, REASON_CHARACTERS),
            "left_out_because": why,
        }
        for each, why in partitions[:SHOWN]
    ]
    return table_of(pl.DataFrame(rows, dict.fromkeys(COLUMNS, pl.String)))


@dg.job(
    name=RETRY_JOB,
    description="Finds failed partitions across runs, and launches those that may land now.",
    tags={"domain": "operations"},
)
def retry_failures_job() -> None:
    """Ask for backfills."""
    retry_failures()
