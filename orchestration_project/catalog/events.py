"""Events: webhook deliveries of any source, loaded as they came, and routed to targets."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Table

from orchestration_project.domains.events.tables import (
    ROUTED_TABLES,
    events_routing_dead_letters,
)
from orchestration_project.engine.contracts.subjects import Key, SubjectKind
from orchestration_project.engine.contracts.uploads import FILE
from orchestration_project.engine.contracts.uploads import TOPIC_PREFIX as UPLOADS_PREFIX
from orchestration_project.engine.contracts.webhooks.sources import (
    build_subjects,
    list_delivery_rows,
)
from orchestration_project.engine.warehouse.frames import Scope
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.registry import (
    Domain,
    DomainDefinitions,
    Job,
    PartitionedTable,
    SensorMaker,
)
from orchestration_project.resources.events.equations import EQUATIONS
from orchestration_project.resources.events.retention import RefusalRetention, body_retention
from orchestration_project.services.cleanup.retention import DomainRetention, RetentionReader
from orchestration_project.services.erasure.requests import SubjectKinds
from orchestration_project.services.inbox.rows import ITEM_REMEDIES, open_delivery_items
from orchestration_project.services.inbox.senders import read_declared_sources
from orchestration_project.services.status import DeadLetters, ItemTopics
from orchestration_project.settings import Settings
from orchestration_project.tables.spine import DELIVERY_TOPICS
from orchestration_project.tables.webhooks import events_webhooks


def _read_scope(key: str) -> Scope:
    source, _, delivery_id = key.partition("|")
    return {"source": source, "delivery_id": delivery_id}


def _list_subjects(settings: Settings) -> Sequence[SubjectKind]:
    kinds = build_subjects(read_declared_sources(settings))
    return [FILE, *(replace(kind, related=_find_related) for kind in kinds)]


def _find_related(table: Table, key: Key) -> Sequence[tuple[Table, Key]]:
    """Return the rows that go with a row of a delivery: those of routing have its values, too."""
    rows = list_delivery_rows(table, key)
    if not rows:
        return rows
    values = {"source": key["source"], "delivery_id": key["delivery_id"]}
    return [*rows, *((routed_table, values) for routed_table in ROUTED_TABLES)]


def _build_definitions() -> DomainDefinitions:
    from orchestration_project.assets.events import routing
    from orchestration_project.assets.events.deliveries import inbox, webhooks, webhooks_job
    from orchestration_project.resources.events.routing.planning import ROW
    from orchestration_project.resources.events.routing.requests import HTTP_REQUEST
    from orchestration_project.resources.events.routing.runs import RUN_JOB
    from orchestration_project.sensors.events import routing_sensor
    from orchestration_project.sensors.webhooks import webhook_sensor
    from orchestration_project.services.inbox.rows import RECOVERIES

    return DomainDefinitions(
        assets=[
            inbox,
            webhooks,
            routing.apply_routing,
            routing.edit_routing_rules,
            routing.replay_routing_letters,
            routing.try_routing_rules,
        ],
        jobs=[
            Job(definition=webhooks_job, consumes_webhooks=True, claims_webhooks=True),
            Job(definition=routing.apply_routing_job),
            Job(definition=routing.edit_routing_job),
            Job(definition=routing.replay_routing_job),
            Job(definition=routing.try_routing_job),
        ],
        registrations=[
            *(HTTP_REQUEST, ROW, RUN_JOB),
            *(SensorMaker(webhook_sensor), SensorMaker(routing_sensor)),
            *RECOVERIES,
        ],
    )


EVENTS = Domain(
    name="events",
    define=_build_definitions,
    api=["orchestration_project.gateway.api.events"],
    tables=[
        PartitionedTable(table=events_webhooks, scope_of=_read_scope, partitions_of=lambda *_: None)
    ],
    registrations=[
        *EQUATIONS,
        DeadLetters(
            table=events_routing_dead_letters,
            source="source",
            unit=("source", "delivery_id", "rule_id"),
            number="letter_number",
            replay=("events_replay_routing", "replay_routing_letters"),
            options=lambda source, reason_code: {"source": source, "reason_code": reason_code},
        ),
        ItemTopics(prefix=DELIVERY_TOPICS, open=open_delivery_items, remedies=ITEM_REMEDIES),
        ItemTopics(prefix=UPLOADS_PREFIX, open=WorkItems),
        RetentionReader(
            lambda settings: DomainRetention(rows=[*body_retention(settings), RefusalRetention()])
        ),
        SubjectKinds(_list_subjects),
    ],
)
