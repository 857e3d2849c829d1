"""Webhook deliveries, put back into the inbox's queue."""

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.kinds import Kind
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.options import JobOptions, report_dry_run, show_configured
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.inbox.senders import read_declared_sources
from orchestration_project.services.inbox.work import InboxQueue
from orchestration_project.services.metadata import build_table
from orchestration_project.settings import Settings, load_shared_settings

MAX_ROWS_LISTED = 200
"""Rows that a table lists, so that an event stays below 100 KB; the count is of all."""


class ReplayWebhooks(JobOptions):
    """Deliveries to requeue."""

    source: str = Field(examples=["github"], description="Source, as named in webhooks.yaml.")
    delivery_id: str | None = Field(
        default=None,
        examples=["72d3162e-cc78-11e3-81ab-4c9367dc0958"],
        description=(
            "Delivery ID, of a delivery that is done or dead; without it, all dead deliveries."
        ),
    )
    dry_run: bool = Field(
        default=True, description="Dry run: only list the deliveries; false requeues them."
    )


def _list_sources() -> list[str]:
    """Return the declared sources; of a file that is not valid none, which its check reports."""
    try:
        return sorted(read_declared_sources(load_shared_settings()))
    except ConfigurationError:
        return []


show_configured(ReplayWebhooks, "source", _list_sources())


def replay_webhook(
    context: dg.OpExecutionContext,
    config: ReplayWebhooks,
    clock: Clock,
    settings: Settings,
    warehouse: Warehouse,
) -> None:
    """Put deliveries back to received, with as many attempts as a new one has, and list them."""
    declared = read_declared_sources(settings).get(config.source)
    if declared is None or declared.job is None:
        raise ConfigurationError(
            f"no job loads the deliveries of {config.source}",
            expected="a source of WEBHOOKS_FILE that has a job",
            remedy="correct the run's config, or give the source a job",
        )
    reported = report_dry_run(context.log, "nothing is requeued", is_dry_run=config.dry_run)
    queue = InboxQueue(warehouse, clock)
    rows = (
        queue.replayable(config.source, config.delivery_id)
        if config.dry_run
        else queue.put_back(config.source, config.delivery_id, attempts=declared.max_attempts)
    )
    listed = [
        {
            "delivery_id": row.delivery_id,
            "state_before": row.state,
            "attempts_before": row.attempt_count,
            "received_at": f"{row.received_at:%Y-%m-%d %H:%M:%S}",
        }
        for row in rows[:MAX_ROWS_LISTED]
    ]
    context.add_output_metadata(
        {**reported, "put_back_count": len(rows), "put_back": build_table(pl.DataFrame(listed))}
    )


REPLAY_WEBHOOK = Kind(
    "replay_webhook",
    "Requeues webhook deliveries that are done or dead; a dry run by default.",
    ReplayWebhooks,
    replay_webhook,
)
