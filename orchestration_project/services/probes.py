"""The probes of what every domain depends on, and who is told of alerts."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import dagster as dg

from orchestration_project.connections.artifacts import (
    FolderStore,
)
from orchestration_project.connections.clock import Clock
from orchestration_project.domains.operations.channels import channels
from orchestration_project.domains.operations.messages import trial_message
from orchestration_project.domains.operations.readiness import said_by
from orchestration_project.engine.environment import (
    database_url,
    open_clock,
    open_store,
    open_warehouse,
    state_folder,
    unprepared_warehouse,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import parsed_url
from orchestration_project.errors import ConfigurationError, OrchestrationError, TransientError
from orchestration_project.registry import Answer, Probe, Registry
from orchestration_project.services.alerts import Alerts, Condition, Links, read_policy
from orchestration_project.services.alerts.sending import ToldOutside, look_at
from orchestration_project.services.gate.dependencies import (
    OpenWarehouse,
    artifacts_probe,
    clock_probe,
    database_probe,
    disk_probe,
    queue_probe,
    time_of_database,
)
from orchestration_project.services.gate.services import code_server_probe, daemon_probe
from orchestration_project.settings import Settings, without_secrets

NO_CHANNEL = Answer("ALERT_URLS is not set: nobody is told of alerts", is_applicable=False)


def alerts_probe(open_alerts: Callable[[], Alerts]) -> Probe:
    """Return the dry look at the channels of alerts: nothing is sent."""

    def run() -> Answer:
        policy = open_alerts().policy
        channels = policy.channels
        found: dict[str, str] = {}
        wrong = [said_by(policy.problem)] if policy.problem else []
        for channel in channels:
            try:
                found[channel.name] = look_at(channel)
            except OrchestrationError as error:
                wrong.append(f"{error.what}: {error.found}")
        if wrong:
            raise ConfigurationError(
                "alerts would not reach everybody",
                found="; ".join(wrong),
                remedy="check these settings, their services, and the rules; `alerts test` sends "
                "a message, `alerts check` reads the rules",
            )
        said = ", ".join(f"{name} {what}" for name, what in found.items())
        return Answer(said) if channels else NO_CHANNEL

    tried = "read rules and channels, connected where one names a port; sent nothing"
    return Probe("alerts", (), tried, run)


def sending_probe(open_alerts: Callable[[], Alerts]) -> Probe:
    """Return the probe that sends each channel a message, which people see."""

    def run() -> Answer:
        refusals = open_alerts().send_to_all(trial_message())
        if not refusals:
            return NO_CHANNEL
        refused = [f"{name}: {reason}" for name, reason in refusals.items() if reason]
        if refused:
            raise TransientError(
                "channels did not take a test message",
                found="; ".join(refused),
                remedy="check these channels' settings, and their services",
            )
        return Answer(f"taken by {', '.join(refusals)}")

    return Probe("alerts", (), "sent a test message to each channel", run)


OF_DATA = ("database", "disk", "artifacts")
"""Where data is kept: verified first."""


def open_probes(
    settings: Settings,
    instance: Callable[[], dg.DagsterInstance],
    warehouse: Warehouse | None = None,
    *,
    clocks: Mapping[str, Callable[[], datetime | None]] | None = None,
) -> Sequence[Probe]:
    """Return the probes of what every domain depends on; this opens nothing.

    Args:
        settings: The settings of this process.
        instance: Returns Dagster's instance.
        warehouse: The database of a run, which has it open and need not connect anew.
        clocks: Outside systems that return the time, by name, besides the database.
    """
    real_time = Clock()
    opened = None if warehouse is None else partial(nullcontext, warehouse)
    as_it_is = opened or partial(unprepared_warehouse, settings)
    own = {} if settings.database_url is None else {"the database": _database_time(as_it_is)}
    return [
        database_probe(as_it_is, opened or partial(open_warehouse, settings), real_time),
        open_disk_probe(settings),
        artifacts_probe(partial(open_store, settings)),
        clock_probe({**own, **(clocks or {})}, real_time, most_seconds=settings.clock_skew_seconds),
        alerts_probe(partial(open_alerts, settings)),
        daemon_probe(instance, real_time),
        code_server_probe(settings.state_path / "dagster"),
    ]


def every_probe(
    registry: Registry,
    settings: Settings,
    instance: Callable[[], dg.DagsterInstance],
    warehouse: Warehouse | None = None,
) -> list[Probe]:
    """Return every probe: of what data needs, of connections, of what runs need. Opens nothing."""
    shared = open_probes(settings, instance, warehouse, clocks=registry.clocks(settings))
    of_data = [probe for probe in shared if probe.dependency in OF_DATA]
    others = [probe for probe in shared if probe.dependency not in OF_DATA]
    return [*of_data, *registry.probes(settings), *others]


def _database_time(as_it_is: OpenWarehouse) -> Callable[[], datetime | None]:
    return partial(time_of_database, as_it_is)


def open_disk_probe(settings: Settings) -> Probe:
    """Return how the disks that we write to are looked at."""
    return disk_probe(partial(_written_places, settings), settings.disk_headroom_mib)


def _written_places(settings: Settings) -> Sequence[Path]:
    """Return the folders of this machine that we write to."""
    places = [state_folder(settings)]
    url, store = parsed_url(database_url(settings)), open_store(settings)
    if url.get_backend_name() == "sqlite":
        places.append(Path(str(url.database).removeprefix("file:").partition("?")[0]).parent)
    if isinstance(store, FolderStore):
        places.append(store.folder)
    return list(dict.fromkeys(places))


def open_alerts(settings: Settings) -> Alerts:
    """Return who is told of alerts, and where they are kept; opens nothing yet."""
    return Alerts(
        read_policy(
            settings.alert_rules_path,
            *channels(settings.every_alert_url, settings.named_alert_urls),
            window=timedelta(hours=settings.alert_window_hours),
        ),
        lambda: open_warehouse(settings),
        clock=open_clock(settings),
        links=Links(without_secrets(settings.ui_url)),  # they go to people
        conditions=partial(_conditions, settings),
        told_outside=ToldOutside(settings.state_path / "alerts_told.json"),
    )


def _conditions(settings: Settings, instance: dg.DagsterInstance) -> Sequence[Condition]:
    """Return what alerts tell of though no run ends by it."""
    real_time = Clock()
    return [
        Condition("daemon_silent", daemon_probe(lambda: instance, real_time, is_missed=True)),
        Condition("queue_stuck", queue_probe(lambda: instance, real_time)),
        Condition("disk_low", open_disk_probe(settings)),
    ]
