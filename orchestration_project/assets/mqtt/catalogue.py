"""Keys, partitions and specs of the assets of MQTT."""

from datetime import datetime, timedelta
from typing import Any

import dagster as dg
from sqlalchemy import Table

from orchestration_project.assets.specs import SETTINGS, SOURCE, build_asset_spec
from orchestration_project.domains.mqtt.entities import ENTITIES
from orchestration_project.domains.mqtt.tables import (
    mqtt_bridges,
    mqtt_dead_letters,
    mqtt_inbox,
    mqtt_mirror,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.resources.mqtt.ranges import FIRST_HOUR, HOUR_FORMAT, LISTED_MIRROR
from orchestration_project.services.metadata import build_schema

GROUP = "mqtt"
OWNERS = ["team:operations"]
MIRROR_JOB, FOLD_JOB = LISTED_MIRROR.job, "mqtt_fold"

INBOX = dg.AssetKey([GROUP, "inbox"])
BRIDGES = dg.AssetKey([GROUP, "bridges"])
KINDS = dg.AssetKey([GROUP, "kinds"])
MIRROR = dg.AssetKey([GROUP, "mirror"])
DEAD_LETTERS = dg.AssetKey([GROUP, "dead_letters"])
GRAPH = dg.AssetKey([GROUP, "project_graph"])
ENTITY_KEYS = {
    name: dg.AssetKey([GROUP, entity.table.name.removeprefix(f"{GROUP}_")])
    for name, entity in ENTITIES.items()
}
"""Assets of entities, by type."""


def _build_hours() -> dg.TimeWindowPartitionsDefinition:
    """Return the UTC hours from the first one to the present one, by the project's clock.

    Dagster counts by the machine's clock: hours that the project's clock is ahead are added, and
    one more where its next hour begins before that of the machine.
    """
    moment, machine = Clock(SETTINGS.demo_clock_now).now(), Clock().now()
    hours = moment.replace(minute=0, second=0, microsecond=0) - machine.replace(
        minute=0, second=0, microsecond=0
    )
    is_earlier = (moment.minute, moment.second) > (machine.minute, machine.second)
    return dg.TimeWindowPartitionsDefinition(
        start=FIRST_HOUR.strftime(HOUR_FORMAT),
        fmt=HOUR_FORMAT,
        timezone="UTC",
        cron_schedule="0 * * * *",
        end_offset=hours // timedelta(hours=1) + 1 + is_earlier,
    )


HOURS = _build_hours()

MIRROR_SOURCES = {
    **dict.fromkeys(
        (
            *("idempotency_key", "trace_id", "kind", "schema_version", "ts", "entity_type"),
            *("entity_id", "operation", "payload"),
        ),
        ("payload",),
    ),
    "topic": ("topic",),
    "arrival_id": ("arrival_id",),
    "received_at": ("received_at",),
    "arrival_hour": ("received_at",),
    "skew_seconds": ("payload", "received_at"),
}
"""Columns of the mirror, and those of the inbox that they come from."""

ENTITY_SOURCES = {"updated_at": "ts", "arrival_id": "arrival_id", "event_count": "arrival_id"}
"""Columns of entities that do not come from the payload."""

KIND_COLUMNS = dg.TableSchema(
    [
        dg.TableColumn("kind", "text", "Kind and version: the name of the file"),
        dg.TableColumn("schema", "text", "Schema of the payload, JSON Schema 2020-12"),
    ]
)

inbox = build_asset_spec(
    INBOX,
    "One received message per row of the table mqtt_inbox: the bridge fills it.",
    build_schema(mqtt_inbox.columns),
    SOURCE,
    owners=OWNERS,
)
bridges = build_asset_spec(
    BRIDGES,
    str(mqtt_bridges.comment),
    build_schema(mqtt_bridges.columns),
    "state",
    owners=OWNERS,
    **{"dagster/table_name": mqtt_bridges.name},
)
kinds = build_asset_spec(
    KINDS,
    "One schema file per kind and version, in MQTT_KINDS_DIR.",
    KIND_COLUMNS,
    SOURCE,
    owners=OWNERS,
)
"""Nothing makes these here."""


def mirror_spec() -> dg.AssetSpec:
    """Return the spec of the mirror."""
    return build_asset_spec(
        MIRROR,
        str(mqtt_mirror.comment),
        build_schema(mqtt_mirror.columns),
        "table",
        *(INBOX, KINDS),
        owners=OWNERS,
        **_describe_table(
            mqtt_mirror,
            {
                name: [dg.TableColumnDep(INBOX, source) for source in sources]
                for name, sources in MIRROR_SOURCES.items()
            },
        ),
    )


def build_dead_letters_spec() -> dg.AssetSpec:
    """Return the spec of the dead letters."""
    return build_asset_spec(
        DEAD_LETTERS,
        str(mqtt_dead_letters.comment),
        build_schema(mqtt_dead_letters.columns),
        "state",
        *(INBOX, KINDS),
        owners=OWNERS,
        **_describe_table(
            mqtt_dead_letters,
            {
                name: [dg.TableColumnDep(INBOX, name)]
                for name in ("arrival_id", "topic", "payload", "sha256", "received_at")
            },
        ),
    )


def build_entity_specs() -> list[dg.AssetSpec]:
    """Return the specs of the entities."""
    return [
        build_asset_spec(
            ENTITY_KEYS[name],
            str(entity.table.comment),
            build_schema(entity.table.columns),
            "gold",
            MIRROR,
            owners=OWNERS,
            **_describe_table(
                entity.table,
                {
                    column.name: [
                        dg.TableColumnDep(MIRROR, ENTITY_SOURCES.get(column.name, "payload"))
                    ]
                    for column in entity.table.columns
                },
            ),
        )
        for name, entity in ENTITIES.items()
    ]


def build_graph_spec() -> dg.AssetSpec:
    """Return the spec of the picture of components."""
    return build_asset_spec(
        GRAPH,
        "One picture of the components of projects, and what each needs first.",
        None,
        "plot",
        *(ENTITY_KEYS[name] for name in ("project", "component", "component_dependency")),
        MIRROR,  # whose runs fold these
        owners=OWNERS,
    )


def parse_hour(key: str) -> datetime:
    """Return the UTC time at which the hour of a partition begins."""
    return datetime.strptime(f"{key}+0000", f"{HOUR_FORMAT}%z")


def _describe_table(table: Table, lineage: dict[str, Any]) -> dict[str, Any]:
    return {
        "dagster/table_name": table.name,
        "dagster/column_lineage": dg.TableColumnLineage(lineage),
    }
