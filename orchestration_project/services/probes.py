"""The probes of what every domain depends on, and the channels of alerts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import yaml

from orchestration_project.engine.connections.artifacts import (
    FolderStore,
    open_store,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import ensure_state_folder
from orchestration_project.engine.connections.log_files import FOLDER
from orchestration_project.engine.dagster_private.daemon_state import (
    DaemonState,
    read_daemon_state,
)
from orchestration_project.engine.environment import (
    open_unprepared_warehouse,
    open_warehouse,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import find_database_url, parse_url
from orchestration_project.errors import ConfigurationError, OrchestrationError, TransientError
from orchestration_project.registry import AlertCondition, Answer, Probe, Registry
from orchestration_project.services.alerts import Alerts, build_alerts
from orchestration_project.services.alerts.rules.messages import build_test_message
from orchestration_project.services.alerts.sending import SENT_TEST, check_channel
from orchestration_project.services.backup_state import build_age_probe, restore_probe
from orchestration_project.services.dagster_instance import (
    NO_HEARTBEAT,
    PATIENCE_SECONDS,
    describe_waiting,
    find_silent_daemons,
)
from orchestration_project.services.gate.certificates import build_certificate_probe
from orchestration_project.services.gate.gate import (
    Clocks,
    OpenWarehouse,
    build_artifacts_probe,
    build_clock_probe,
    build_database_probe,
    build_disk_probe,
    build_queue_probe,
    read_database_time,
)
from orchestration_project.services.gate.rules import QUEUED_RUNS, format_error
from orchestration_project.services.hosts import build_host_probes
from orchestration_project.services.objectives.conditions import RowConditions, build_conditions
from orchestration_project.services.pauses import read_pauses, select_unpaused_runs
from orchestration_project.services.program_logs.losses import build_losses_probe
from orchestration_project.services.releases import build_releases_probe
from orchestration_project.settings import Settings

if TYPE_CHECKING:  # a command verifies without Dagster
    import dagster as dg


def build_daemon_probe(
    read_state: Callable[[], DaemonState], clock: Clock, *, is_missed: bool = False
) -> Probe:
    """Return the probe of Dagster's daemon, without which nothing queued or switched on starts.

    With ``is_missed`` one that had a heartbeat once is missed also where nothing waits for it.
    """

    def run() -> Answer:
        state = read_state()
        silent = find_silent_daemons(state, clock)
        if not silent:
            return Answer(f"each part sent a heartbeat in the last {PATIENCE_SECONDS} s")
        whens = sorted(set(silent.values()))
        text = "; ".join(
            f"{when}: {', '.join(name for name in silent if silent[name] == when)}"
            for when in whens
        )
        if whens == [NO_HEARTBEAT] and silent.keys() >= set(state.required_parts):
            text = f"{NO_HEARTBEAT} of any part"
        waiting = describe_waiting(state)
        if not waiting and not (is_missed and set(whens) != {NO_HEARTBEAT}):
            return Answer(f"not running, and nothing depends on it ({text})", is_applicable=False)
        raise TransientError(
            "Dagster's daemon does not run",
            expected=f"a heartbeat of each of its parts in the last {PATIENCE_SECONDS} s",
            found=(
                f"{text}; waiting for it: {waiting or 'sensors and schedules that run by default'}"
            ),
            remedy="start it: make ui, or dagster-daemon run",
        )

    action = "read the heartbeats of the daemon's parts from Dagster's storage"
    return Probe("daemon", (QUEUED_RUNS,), lambda: action, run)


def build_code_server_probe(home: Path) -> Probe:
    """Return the probe of the code server of the `ui` that runs on ``home``, if one does."""

    def run() -> Answer:
        if not _is_ui_running(home):
            return Answer("no `ui` runs on this STATE_DIR", is_applicable=False)
        from orchestration_project.engine.dagster_private.processes import ping_code_server

        address = _read_address(home)
        try:
            ping_code_server(address["host"], address["port"])
        except ConnectionError as error:
            raise TransientError(
                "the code server does not answer",
                expected=f"an answer from {address['host']}:{address['port']}",
                found=str(error),
                remedy=f"read {home.parent / 'logs' / 'code-server.log'}; start `make ui` again",
            ) from error
        return Answer(f"answers at {address['host']}:{address['port']}")

    return Probe(
        "code_server", (), lambda: "pinged the code server of the `ui` on this STATE_DIR", run
    )


def _is_ui_running(home: Path) -> bool:
    """Whether the process that `ui` noted here runs, and is one."""
    try:
        command = psutil.Process(int((home / "ui.lock").read_text())).cmdline()
    except (OSError, ValueError, psutil.Error):
        return False
    return "ui" in command and (home / "workspace.yaml").exists()


def _read_address(home: Path) -> Mapping[str, Any]:
    servers: Sequence[Any] = yaml.safe_load((home / "workspace.yaml").read_text())["load_from"]
    return servers[0]["grpc_server"]


NO_CHANNEL = Answer("ALERT_URLS is not set: alerts notify no channel", is_applicable=False)


def build_alerts_probe(open_alerts: Callable[[], Alerts]) -> Probe:
    """Return the dry look at the channels of alerts: nothing is sent."""

    def run() -> Answer:
        policy = open_alerts().policy
        channels = policy.channels
        names: dict[str, str] = {}
        wrong = [format_error(policy.problem)] if policy.problem else []
        for channel in channels:
            try:
                names[channel.name] = check_channel(channel)
            except OrchestrationError as error:
                wrong.append(f"{error.what}: {error.found}")
        if wrong:
            raise ConfigurationError(
                "alerts would not reach every channel",
                found="; ".join(wrong),
                remedy="check these settings, their services, and the rules; `alerts test` sends "
                "a message, `alerts check` reads the rules",
            )
        text = ", ".join(f"{name} {what}" for name, what in names.items())
        return Answer(text) if channels else NO_CHANNEL

    action = "read rules and channels, connected where one names a port; sent nothing"
    return Probe("alerts", (), lambda: action, run)


def build_sending_probe(open_alerts: Callable[[], Alerts]) -> Probe:
    """Return the probe that sends each channel a message, which people see."""

    def run() -> Answer:
        refusals = open_alerts().send_to_all(build_test_message())
        if not refusals:
            return NO_CHANNEL
        refused = [f"{name}: {reason}" for name, reason in refusals.items() if reason]
        if refused:
            raise TransientError(
                "channels did not accept a test message",
                found="; ".join(refused),
                remedy="check these channels' settings, and their services",
            )
        return Answer(f"taken by {', '.join(refusals)}")

    return Probe("alerts", (), lambda: SENT_TEST, run)


STORAGE_DEPENDENCIES = ("database", "disk", "artifacts")
"""Storage dependencies, verified first."""


def open_probes(
    settings: Settings,
    read_state: Callable[[], DaemonState],
    warehouse: Warehouse | None = None,
    *,
    clocks: Clocks = dict,
) -> Sequence[Probe]:
    """Return the probes of what every domain depends on; this opens nothing.

    Args:
        settings: The settings of this process.
        read_state: Returns the state of Dagster's daemon.
        warehouse: The database of a run, which has it open and need not connect again.
        clocks: Returns clocks of outside systems, by name, besides the database.
    """
    real_time = Clock()
    opened = None if warehouse is None else partial(nullcontext, warehouse)
    as_it_is = opened or partial(open_unprepared_warehouse, settings)
    functions = (
        {} if settings.database_url is None else {"the database": _build_database_time(as_it_is)}
    )
    return [
        open_database_probe(settings, warehouse),
        open_disk_probe(settings),
        build_artifacts_probe(partial(open_store, settings)),
        build_clock_probe(
            lambda: {**functions, **clocks()}, real_time, most_seconds=settings.clock_skew_seconds
        ),
        build_alerts_probe(partial(open_alerts, settings)),
        build_daemon_probe(read_state, real_time),
        build_code_server_probe(settings.state_path / "dagster"),
    ]


def open_all_probes(
    registry: Registry,
    settings: Settings,
    read_state: Callable[[], DaemonState],
    warehouse: Warehouse | None = None,
) -> list[Probe]:
    """Return every probe: of what data needs, of connections, of what runs need. Opens nothing."""
    shared = open_probes(settings, read_state, warehouse, clocks=partial(registry.clocks, settings))
    compared = open_database_probe(settings, warehouse, compares_tables=True)
    of_data = [
        compared if probe.dependency == compared.dependency else probe
        for probe in shared
        if probe.dependency in STORAGE_DEPENDENCIES
    ]
    other_probes = [probe for probe in shared if probe.dependency not in STORAGE_DEPENDENCIES]
    return [*of_data, *registry.probes(settings), *other_probes]


def _build_database_time(as_it_is: OpenWarehouse) -> Callable[[], datetime | None]:
    return partial(read_database_time, as_it_is)


def open_database_probe(
    settings: Settings, warehouse: Warehouse | None = None, *, compares_tables: bool = False
) -> Probe:
    """Return the probe of the database, which ``warehouse`` has open in a run."""
    opened = None if warehouse is None else partial(nullcontext, warehouse)
    return build_database_probe(
        opened or partial(open_unprepared_warehouse, settings),
        opened or partial(open_warehouse, settings),
        Clock(),
        compares_tables=compares_tables,
    )


def open_disk_probe(settings: Settings) -> Probe:
    """Return how the disks that we write to are looked at."""
    return build_disk_probe(partial(_list_places, settings), settings.disk_headroom_mib)


def _list_places(settings: Settings) -> Sequence[Path]:
    """Return the folders of this machine that we write to."""
    places = [ensure_state_folder(settings)]
    url, store = parse_url(find_database_url(settings)), open_store(settings)
    if url.get_backend_name() == "sqlite":
        places.append(Path(str(url.database).removeprefix("file:").partition("?")[0]).parent)
    if isinstance(store, FolderStore):
        places.append(store.folder)
    return list(dict.fromkeys(places))


def open_alerts(settings: Settings, registry: Registry | None = None) -> Alerts:
    """Return the channels and the store of alerts; opens nothing yet.

    Args:
        settings: The settings of this process.
        registry: The domains whose conditions are reported, too; None: those of no domain.
    """
    return build_alerts(settings, partial(_build_conditions, settings, registry))


def _build_conditions(
    settings: Settings, registry: Registry | None, instance: "dg.DagsterInstance"
) -> Sequence[AlertCondition]:
    """Return the conditions that alerts report although no run ends by them."""
    real_time, as_it_is = Clock(), partial(open_unprepared_warehouse, settings)
    domains = registry or Registry.of([])

    def select_unpaused(runs: "Iterable[dg.DagsterRun]") -> "list[dg.DagsterRun]":
        return select_unpaused_runs(read_pauses(as_it_is), instance, runs)

    return [
        AlertCondition(
            "daemon_silent",
            build_daemon_probe(partial(read_daemon_state, instance), real_time, is_missed=True),
        ),
        AlertCondition(
            "queue_stuck", build_queue_probe(lambda: instance, real_time, select_unpaused)
        ),
        AlertCondition("disk_low", open_disk_probe(settings)),
        *(
            AlertCondition("host_silent", probe, host)
            for host, probe in build_host_probes(as_it_is, real_time).items()
        ),
        AlertCondition("two_releases", build_releases_probe(as_it_is, real_time)),
        AlertCondition(
            "backup_old", build_age_probe(as_it_is, real_time, settings.backup_max_age_hours)
        ),
        AlertCondition("restore_untried", restore_probe(as_it_is, real_time)),
        AlertCondition("certificate_expiring", build_certificate_probe(settings, real_time)),
        *build_conditions(as_it_is, real_time, domains.registered(RowConditions)),
        AlertCondition(
            "log_lines_lost", build_losses_probe(settings.state_path / FOLDER, real_time)
        ),
    ]
