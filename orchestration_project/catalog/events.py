"""Events: webhook deliveries of any source, loaded as they came."""

from orchestration_project.assets.events import inbox, webhooks, webhooks_job
from orchestration_project.domains.uploads import FILE
from orchestration_project.domains.uploads import TOPIC_PREFIX as UPLOADS_PREFIX
from orchestration_project.domains.webhooks.queue import TOPIC_PREFIX
from orchestration_project.domains.webhooks.sources import webhook_subjects
from orchestration_project.engine.warehouse.frames import Scope
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.registry import Domain, ItemTopics, Job, PartitionedTable
from orchestration_project.sensors.events import webhook_sensor
from orchestration_project.services.inbox.rows import delivery_items
from orchestration_project.services.inbox.senders import declared_sources
from orchestration_project.services.inbox.uploads import declared_inboxes
from orchestration_project.tables.webhooks import events_webhooks


def _scope(key: str) -> Scope:
    source, _, delivery_id = key.partition("|")
    return {"source": source, "delivery_id": delivery_id}


EVENTS = Domain(
    name="events",
    assets=[inbox, webhooks],
    jobs=[Job(definition=webhooks_job, consumes_webhooks=True, claims_webhooks=True)],
    sensors_of_all=[webhook_sensor],
    read_files=lambda settings: (declared_sources(settings), declared_inboxes(settings)),
    tables=[
        PartitionedTable(table=events_webhooks, scope_of=_scope, partitions_of=lambda *_: None)
    ],
    item_topics=[
        ItemTopics(prefix=TOPIC_PREFIX, open=delivery_items),
        ItemTopics(prefix=UPLOADS_PREFIX, open=WorkItems),
    ],
    subjects=lambda settings: [FILE, *webhook_subjects(declared_sources(settings))],
)
