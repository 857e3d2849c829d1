"""Runs that load webhook deliveries, in the test's own process."""

import dagster as dg

from orchestration_project.assets.events.deliveries import webhooks
from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.work_items import ItemSettlement
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.events.deliveries import DeliveryLoader
from orchestration_project.services.inbox.rows import Content, build_topic
from orchestration_project.services.inbox.work import SOURCE_TAG, ClaimedDelivery
from orchestration_project.settings import load_settings


def load_due(
    warehouse: Warehouse, clock: Clock, artifacts: ArtifactStore, source: str
) -> dg.ExecuteInProcessResult:
    """Run the asset over the deliveries of a source that are due."""
    resources = {
        "artifacts": artifacts,
        "clock": clock,
        "registry": REGISTRY,
        "settings": load_settings(),
        "warehouse": warehouse,
    }
    tags = {SOURCE_TAG: source}
    return dg.materialize([webhooks], resources=resources, tags=tags, raise_on_error=False)


def load_content(
    warehouse: Warehouse, clock: Clock, artifacts: ArtifactStore, content: Content
) -> ItemSettlement:
    """Load a delivery that no run has claimed; return how it ended."""
    item = ClaimedDelivery(
        build_topic(content.source),
        content.delivery_id,
        version="1",
        attempt_count=0,
        allowed_count=1,
        enqueued_at=content.received_at,
        lease_token=1,
        run_id="run",
        content=content,
    )
    loader = DeliveryLoader(warehouse, Captures(artifacts), clock, "run")
    extracted = list(loader.extract([item]))
    with warehouse.writing() as connection:
        [settlement] = loader.load(connection, extracted)
    return settlement
