"""The bridge and its demo as the settings name them."""

from orchestration_project.domains.mqtt.settings import DEMO_FOLDER, MqttSettings
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.simulator import DemoProgram
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.mqtt.bridge import Bridge
from orchestration_project.resources.mqtt.broker import Broker
from orchestration_project.resources.mqtt.kinds import read_kind_files
from orchestration_project.resources.mqtt.mirroring import Mirror
from orchestration_project.resources.mqtt.publishing import OutboxPublisher
from orchestration_project.settings import Settings, switched_off

DEMO_MODULE = "orchestration_demo.mqtt"


def mqtt_demo(settings: Settings) -> DemoProgram:
    """Return the broker of this STATE_DIR, with its publisher."""
    settings = MqttSettings.of(settings)
    return DemoProgram(
        DEMO_MODULE,
        settings.state_path / DEMO_FOLDER,
        {
            "state_dir": str(settings.state_path),
            "seed": settings.demo_seed,
            "events": settings.demo_mqtt_events,
            "idle_seconds": settings.demo_idle_seconds,
            "clock_now": settings.demo_clock_now.isoformat() if settings.demo_clock_now else None,
        },
    )


def broker_of(settings: Settings) -> Broker:
    """Return the broker that the settings name; the demo's is started if it does not run.

    Raises:
        ConfigurationError: MQTT_SOURCE is not set, or MQTT_URL is invalid.
        TransientError: The demo does not start.
    """
    settings = MqttSettings.of(settings)
    if settings.mqtt_source is None:
        raise switched_off("MQTT", "MQTT_SOURCE", "broker")
    if settings.mqtt_source == "demo":
        return Broker.of(settings, mqtt_demo(settings).url())
    return Broker.of(settings, str(settings.mqtt_url))


def open_mirror(
    settings: Settings, warehouse: Warehouse, captures: Captures, clock: Clock, run_id: str
) -> Mirror:
    """Return the writer of the mirror, with the kinds as their files are now.

    Args:
        settings: Those of the process.
        warehouse: The database.
        captures: The store of the bytes of messages.
        clock: Its time.
        run_id: Dagster's run, or the request that writes.
    """
    settings = MqttSettings.of(settings)
    return Mirror(
        warehouse=warehouse,
        captures=captures,
        clock=clock,
        kinds=read_kind_files(settings.mqtt_kinds_path),
        max_bytes=settings.mqtt_max_message_bytes,
        max_skew_seconds=settings.mqtt_max_skew_seconds,
        source=settings.mqtt_source or "mqtt",
        run_id=run_id,
    )


def open_bridge(settings: Settings, warehouse: Warehouse, clock: Clock) -> Bridge:
    """Return the bridge of the settings, which also publishes the outbox.

    Raises:
        ConfigurationError: MQTT_SOURCE is not set, or MQTT_URL is invalid.
        TransientError: The demo does not start.
    """
    return Bridge(
        warehouse,
        clock,
        broker_of(settings),
        max_bytes=MqttSettings.of(settings).mqtt_max_message_bytes,
        meanwhile=OutboxPublisher(warehouse, clock).start,
    )
