"""The assets of events: what sources tell us of by webhook."""

from typing import Any

import dagster as dg

from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.connections.clock import Clock
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.events import EventLanding
from orchestration_project.services.inbox.work import DELIVERY_TAG, SOURCE_TAG, InboxQueue
from orchestration_project.services.metadata import column_schema
from orchestration_project.tables.spine import inbox as inbox_table
from orchestration_project.tables.webhooks import events_webhooks

GROUP = "events"
OWNERS = ["team:operations"]
INBOX, WEBHOOKS = dg.AssetKey([GROUP, "inbox"]), dg.AssetKey([GROUP, "webhooks"])

MADE_OF = {
    "source": ("source",),
    "delivery_id": ("delivery_id",),
    "received_at": ("received_at",),
    "kind": ("kind",),
    "payload": ("body",),
}
"""Columns of `events_webhooks`, and those of the inbox that they come from."""


inbox = dg.AssetSpec(
    INBOX,
    description="One delivery per row of the table inbox: the gateway fills it.",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"http", "source"},
    tags={"domain": GROUP},
    metadata={"dagster/column_schema": column_schema(inbox_table.columns)},
)
"""Nothing makes it here."""

SPEC = dg.AssetSpec(
    WEBHOOKS,
    deps=[INBOX],
    description=str(events_webhooks.comment),
    group_name=GROUP,
    owners=OWNERS,
    kinds={"table", "landed"},
    tags={"domain": GROUP},
    metadata={
        "dagster/table_name": events_webhooks.name,
        "dagster/column_schema": column_schema(events_webhooks.columns),
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                name: [dg.TableColumnDep(INBOX, source) for source in sources]
                for name, sources in MADE_OF.items()
            }
        ),
    },
)


@dg.multi_asset(name="land_webhook", specs=[SPEC])
def webhooks(
    context: dg.AssetExecutionContext,
    artifacts: dg.ResourceParam[ArtifactStore],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Land the delivery that the run's tags name."""
    source, delivery_id = _asked_for(context.run.tags)
    content = InboxQueue(warehouse, clock).content(source, delivery_id)
    landed = EventLanding(warehouse, Captures(artifacts), context.run.run_id).land(content)
    return dg.MaterializeResult(
        asset_key=WEBHOOKS,
        metadata={
            "outcome": landed.outcome,
            "reason": landed.reject,
            "source": source,
            "delivery_id": delivery_id,
            "kind": content.kind or "",
            "received_at": dg.MetadataValue.timestamp(content.received_at),
            "bytes": len(content.body),
            "rows": landed.row_count,
            "group_id": landed.group_id,
        },
    )


def _asked_for(tags: Any) -> tuple[str, str]:
    if SOURCE_TAG not in tags or DELIVERY_TAG not in tags:
        raise ConfigurationError(
            "the run does not say which delivery it is for",
            expected=f"the tags {SOURCE_TAG} and {DELIVERY_TAG}",
            remedy="switch on events_on_webhook, which asks for runs; for one that is done or dead "
            "launch operations_replay_webhook",
        )
    return tags[SOURCE_TAG], tags[DELIVERY_TAG]


webhooks_job = dg.define_asset_job(
    "events_webhooks",
    selection=dg.AssetSelection.assets(webhooks),
    description="Lands one webhook delivery of the inbox; events_on_webhook says which.",
    tags={"domain": "events"},
)
