"""MQTT: a mirror of a broker's events, and the projects that are folded from them."""

from collections.abc import Sequence

from orchestration_project.domains.mqtt.settings import DEMO_FOLDER, MqttSettings
from orchestration_project.domains.mqtt.tables import mqtt_dead_letters, mqtt_mirror
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.problems import OldestMissing
from orchestration_project.engine.listed_datasets import DatasetList
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.registry import (
    CommandModule,
    Domain,
    DomainDefinitions,
    Job,
    PartitionedTable,
)
from orchestration_project.resources.mqtt.dead_letters import REPLAY_JOB, REPLAY_OP
from orchestration_project.resources.mqtt.dead_letters import TOPIC as LETTERS_TOPIC
from orchestration_project.resources.mqtt.equations import EQUATIONS
from orchestration_project.resources.mqtt.health import oldest_waiting
from orchestration_project.resources.mqtt.metrics import MqttMetrics
from orchestration_project.resources.mqtt.ranges import TOPIC as RANGES_TOPIC
from orchestration_project.resources.mqtt.ranges import list_datasets, mirror_lag, range_items
from orchestration_project.services.metrics.families import MetricsReader
from orchestration_project.services.objectives import MirrorLagReader
from orchestration_project.services.status import DeadLetters, Deadlines, ItemTopics
from orchestration_project.settings import Settings


def _find_oldest(settings: Settings, warehouse: Warehouse, clock: Clock) -> Sequence[OldestMissing]:
    if MqttSettings.of(settings).mqtt_source is None:
        return []
    oldest_missing = oldest_waiting(warehouse, clock.now())
    return [] if oldest_missing is None else [oldest_missing]


def _build_definitions() -> DomainDefinitions:
    from orchestration_project.assets import mqtt
    from orchestration_project.engine.options import build_real_config
    from orchestration_project.resources.mqtt.arrivals import RECOVERIES
    from orchestration_project.resources.mqtt.routed_events import MQTT_EVENT
    from orchestration_project.sensors.mqtt import mqtt_flow_check, mqtt_on_arrival

    return DomainDefinitions(
        assets=[
            *(mqtt.inbox, mqtt.bridges, mqtt.kinds),
            *(mqtt.mirror_mqtt, mqtt.replay_dead_letters, mqtt.fold_mqtt, mqtt.draw_graph),
        ],
        asset_checks=[mqtt.check_kinds, mqtt.check_flow],
        jobs=[
            Job(definition=mqtt.mirror_job),
            Job(definition=mqtt.fold_job),
            Job(definition=mqtt.replay_job, real_config=build_real_config(mqtt.REPLAY_OP)),
            Job(definition=mqtt.flow_job),
        ],
        schedules=[mqtt_flow_check],
        sensors=[mqtt_on_arrival],
        registrations=[MQTT_EVENT, *RECOVERIES],
    )


MQTT = Domain(
    name="mqtt",
    source_setting="mqtt_source",
    define=_build_definitions,
    tables=[
        PartitionedTable(table=mqtt_mirror, scope_of=lambda hour: {"arrival_hour": hour}),
    ],
    state_paths=[DEMO_FOLDER],
    api=[
        "orchestration_project.gateway.api.mqtt",
        "orchestration_project.gateway.api.mqtt_commands",
        "orchestration_project.gateway.api.mqtt_dead_letters",
        "orchestration_project.gateway.api.mqtt_stream",
    ],
    registrations=[
        CommandModule(command="load", name="mqtt", module="orchestration_project.cli.mqtt_run"),
        DatasetList(list_datasets),
        Deadlines(_find_oldest),
        DeadLetters(
            table=mqtt_dead_letters,
            source="reason_code",
            unit=("arrival_id",),
            number="arrival_id",
            since="received_at",
            replay=(REPLAY_JOB, REPLAY_OP),
            options=lambda _, reason_code: {"reason_code": reason_code},
        ),
        *EQUATIONS,
        ItemTopics(prefix=RANGES_TOPIC, open=range_items),
        ItemTopics(prefix=LETTERS_TOPIC, open=WorkItems),
        MetricsReader(lambda warehouse: MqttMetrics(warehouse).families),
        MirrorLagReader(mirror_lag),
    ],
)
