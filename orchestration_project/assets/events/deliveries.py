"""Assets of webhook events."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import dagster as dg

from orchestration_project.assets.specs import SOURCE, build_system_spec
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.run_items import ItemBatches, run_items
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.registry import Registry
from orchestration_project.resources.events.deliveries import DeliveryLoader, DeliverySummary
from orchestration_project.resources.events.routing.applying import open_applier
from orchestration_project.resources.events.routing.planning import RoutingPlanner
from orchestration_project.resources.events.routing.targets import RoutingTargets
from orchestration_project.services.inbox.rows import build_topic
from orchestration_project.services.inbox.senders import read_declared_sources
from orchestration_project.services.inbox.work import SOURCE_TAG, InboxQueue
from orchestration_project.services.metadata import build_schema
from orchestration_project.settings import Settings
from orchestration_project.tables.spine import inbox as inbox_table
from orchestration_project.tables.webhooks import events_webhooks

GROUP = "events"
OWNERS = ["team:operations"]
INBOX, WEBHOOKS = dg.AssetKey([GROUP, "inbox"]), dg.AssetKey([GROUP, "webhooks"])

CAPTURE_TIME = timedelta(seconds=1)
"""That a lease lasts for each delivery of a batch."""

MAX_DELIVERIES_PER_BATCH = 500
MAX_DELIVERIES_PER_RUN = 10_000
"""Time limit of a run, after which its events and metadata are visible; the next one continues."""

MAX_ACTIONS_PER_RUN = 500
"""Routed actions that a run takes at its end; the sensor events_on_routing has others taken."""

MADE_OF = {
    "source": ("source",),
    "delivery_id": ("delivery_id",),
    "received_at": ("received_at",),
    "kind": ("kind",),
    "payload": ("body",),
}
"""Columns of `events_webhooks`, and those of the inbox that they come from."""


_spec = partial(build_system_spec, owners=OWNERS)

inbox = _spec(
    INBOX,
    "One delivery per row of the table inbox: the gateway fills it.",
    build_schema(inbox_table.columns),
    SOURCE,
)
"""Nothing makes it here."""

SPEC = _spec(
    WEBHOOKS,
    str(events_webhooks.comment),
    build_schema(events_webhooks.columns),
    "landed",
    INBOX,
    **{
        "dagster/table_name": events_webhooks.name,
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
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[Any]]:
    """Claim the deliveries of the source that the run's tags name, and load those that are due.

    Actions that routing rules request are planned as they load. If any of them waits in the
    outbox, those that are due are taken.
    """
    source = _read_source(context.run.tags)
    targets = RoutingTargets.of(settings, registry)
    declared = read_declared_sources(settings).get(source)
    planner = RoutingPlanner(targets, clock, context.run.run_id)
    yield from run_items(
        context,
        DeliveryLoader(warehouse, Captures(artifacts), clock, context.run.run_id, planner.plan),
        items=InboxQueue(warehouse, clock),
        database=warehouse,
        clock=clock,
        batches=ItemBatches(
            build_topic(source),
            CAPTURE_TIME,
            MAX_DELIVERIES_PER_BATCH,
            MAX_DELIVERIES_PER_RUN,
            in_order=declared is None or declared.in_order,
        ),
        summary=DeliverySummary(source=source),
    )
    if planner.has_enqueued:
        run_id = context.run.run_id
        with open_applier(warehouse, clock, settings, registry, run_id=run_id) as applier:
            applier.apply_due(limit=MAX_ACTIONS_PER_RUN)


def _read_source(tags: Mapping[str, str]) -> str:
    """Return the source that a run's tags name.

    Raises:
        ConfigurationError: They name none.
    """
    if SOURCE_TAG not in tags:
        raise ConfigurationError(
            "the run has no source tag",
            expected=f"the tag {SOURCE_TAG}, such as github",
            remedy=(
                "start the sensor events_on_webhook, which requests runs; to repeat deliveries "
                "that are done or dead, launch replay_webhook of operations_runs"
            ),
        )
    return tags[SOURCE_TAG]


webhooks_job = dg.define_asset_job(
    "events_webhooks",
    selection=dg.AssetSelection.assets(webhooks),
    description="Loads the due webhook deliveries of one source, which the run's tags name.",
    tags={"domain": "events"},
)
