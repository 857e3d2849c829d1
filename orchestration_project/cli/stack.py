"""`stack`: every service of a deployment on one machine, supervised until Ctrl-C."""

import os
import socket
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from orchestration_project.cli import ui
from orchestration_project.cli.dagster_home import prepare_home
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.cli.services import StopRequest, SupervisedServices
from orchestration_project.cli.stack_services import (
    DATABASES,
    EXPORTER,
    LOOPBACK,
    OPTIONAL,
    Program,
    alertmanager,
    authority,
    broker_url,
    caddy,
    certificate_of_broker,
    database_url,
    has_account,
    has_databases,
    installed_services,
    mosquitto,
    mqtt_exporter,
    postgres_exporter,
    postgresql,
    prepare_exporter,
    prometheus,
    rabbitmq,
    require_tools,
    secret_of,
    victoriametrics,
    write_private,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import ensure_state_folder
from orchestration_project.engine.connections.simulator import retire_demos
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.environment import open_upgraded_warehouse, open_warehouse
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.services.access import Keys
from orchestration_project.settings import Settings, load_settings

MAX_PORT = 65535

KEY_DAYS = 3650
"""Validity of the keys of services."""

MACHINE_KEYS = (
    ("metrics", "prometheus", Role.VIEWER),
    ("alerts", "alertmanager", Role.OPERATOR),
)
"""Name, owner and role of each key of a service."""

OWN = ("database_url", "dagster_database_url", "broker_url")
"""Settings that the stack makes itself."""

BRIDGE = "orchestration"
"""Account of our bridge in deploy/mosquitto/acl."""

SECRETS = ("postgresql", "rabbitmq", "mqtt", "tracker", EXPORTER, "session_secret")


def serve_stack(workers: int) -> int:
    """Serve until a signal stops it; return the exit status.

    Raises:
        ConfigurationError: A program is missing, a port is taken, or a setting is the stack's.
        TransientError: A service ended by itself.
    """
    binaries = require_tools()
    given_settings = load_settings()
    _refuse_own(given_settings)
    home = ensure_state_folder(given_settings, "dagster")
    with full_disk_explained(given_settings), ui.only_ui_on(home) as lock:
        _refuse_taken(given_settings.ports_of_stack)
        folder, private = (
            ensure_state_folder(given_settings, "stack"),
            ensure_state_folder(given_settings, "stack", "secrets"),
        )
        secrets = {name: secret_of(private, name) for name in SECRETS}
        _write("Starting the services of the stack; this takes about a minute.")
        environment = _build_environment(given_settings, folder, secrets, workers)
        lines = [f"{name}={value}\n" for name, value in environment.items()]
        commands = write_private(given_settings.stack_settings_file, "".join(lines))
        _write(f"Commands on this stack need: orchestrate --env-file {commands}")
        os.environ.update(environment)  # noqa: TID251 - the settings, and all programs, read it here
        settings = load_settings()
        services = SupervisedServices(
            folder=home,
            logs=ensure_state_folder(settings, "logs"),
            environment=ui.environment_of_dagster(settings, home),
            lock=lock,
            restarts=ui.restart_policy(settings),
        )
        with services:
            try:
                _start_services(services, folder, binaries, settings.ports_of_stack, secrets)
                _start_programs(services, settings, folder, home, workers)
                ui.watch(services, settings, home, (LOOPBACK, settings.ports_of_stack["gateway"]))
            except StopRequest:
                _write("Stopping; runs in progress end now, and are retried at the next start.")
                services.end(_list_programs(settings, workers))
            except TransientError as error:
                ui.report_end(services, settings, error)
                raise
    retire_demos(settings)
    return 0


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _refuse_own(settings: Settings) -> None:
    setting_names = [name.upper() for name in OWN if getattr(settings, name) is not None]
    if setting_names:
        raise ConfigurationError(
            "the stack starts a database and a broker of its own",
            expected=f"{', '.join(name.upper() for name in OWN)} without a value",
            found=f"{', '.join(setting_names)} set",
            remedy="unset them for this command; or use `orchestrate ui` with your own services",
        )


def _refuse_taken(ports: Mapping[str, int]) -> None:
    """Refuse ports that cannot be used, all of them at once."""
    reasons: dict[str, str] = {}
    for name, port in ports.items():
        try:
            socket.create_server((LOOPBACK, port)).close()
        except OSError as error:
            reasons[name] = error.strerror or str(error)
    if reasons:
        other_text = ",".join(f"{name}={_propose_port(ports[name])}" for name in reasons)
        raise ConfigurationError(
            "ports of the stack cannot be used: "
            + ", ".join(f"port {ports[name]} of {name}" for name in reasons),
            found="; ".join(sorted(set(reasons.values()))),
            remedy=f"stop what uses them, or choose others: STACK_PORTS={other_text}",
        )


def _propose_port(port: int) -> int:
    return port + 1000 if port + 1000 <= MAX_PORT else port - 1000


def _build_environment(
    settings: Settings, folder: Path, secrets: Mapping[str, str], workers: int
) -> dict[str, str]:
    """Return the settings of all programs; secrets are in files."""
    ports = settings.ports_of_stack
    server = ports["postgresql"], secrets["postgresql"]
    texts = {
        "DATABASE_URL": database_url(*server, DATABASES[0]),
        "DAGSTER_DATABASE_URL": database_url(*server, DATABASES[1]),
        "BROKER_URL": broker_url(ports["rabbitmq"], secrets["rabbitmq"]),
        "SESSION_SECRET": secrets["session_secret"],
    }
    port = "" if ports["https"] == 443 else f":{ports['https']}"
    environment = {
        "RUN_LAUNCHER": "celery",
        "MAX_CONCURRENT_RUNS": str(workers),
        "PUBLIC_URL": f"https://localhost{port}",
        "TRUSTED_PROXIES": LOOPBACK,
    }
    certificate = certificate_of_broker(folder / "mosquitto")
    broker = settings.values_for_broker(
        f"mqtts://localhost:{ports['mqtt']}", BRIDGE, secrets["mqtt"], certificate
    )
    texts |= {name: value for name, value in broker.items() if value == secrets["mqtt"]}
    environment |= {name: value for name, value in broker.items() if name not in texts}
    for name, text in texts.items():
        environment[f"{name}_FILE"] = str(write_private(folder / "secrets" / f"{name}.txt", text))
    return environment


def _start_services(
    services: SupervisedServices,
    folder: Path,
    binaries: Path,
    ports: Mapping[str, int],
    secrets: Mapping[str, str],
) -> None:
    """Start the services that the project's programs need, and wait until they answer."""
    erlang = ui.free_port(), ui.free_port()
    accounts = {
        BRIDGE: secrets["mqtt"],
        "tracker": secrets["tracker"],
        EXPORTER: secrets[EXPORTER],
    }
    server = ports["postgresql"], secrets["postgresql"]
    for program in (
        postgresql(binaries, folder / "postgresql", *server),
        *rabbitmq(folder / "rabbitmq", ports["rabbitmq"], erlang, secrets["rabbitmq"]),
        mosquitto(folder / "mosquitto", accounts, ports),
        caddy(folder / "caddy", ports),
    ):
        _start(services, program)
    services.wait_until("postgresql", lambda: has_databases(*server, folder))
    prepare_exporter(*server, secrets[EXPORTER])
    for name, program in (("rabbitmq", "rabbitmq"), ("mqtt", "mosquitto"), ("https", "caddy")):
        services.wait_until(program, lambda port=ports[name]: ui.accepts(port))
    services.wait_until(
        "rabbitmq", lambda: has_account(ports["rabbitmq"], secrets["rabbitmq"], folder)
    )


def _start(services: SupervisedServices, program: Program, *, is_optional: bool = False) -> None:
    services.start_command(
        program.name, program.command, program.environment, program.user, is_optional=is_optional
    )


def _list_programs(settings: Settings, workers: int) -> list[str]:
    """Return the names of the project's own programs, which end before the services."""
    numbered = [f"worker-{number}" for number in range(1, workers + 1)]
    return ["web-server", "daemon", "code-server", *settings.programs, *numbered]


def _start_programs(
    services: SupervisedServices, settings: Settings, folder: Path, home: Path, workers: int
) -> None:
    ports = settings.ports_of_stack
    open_upgraded_warehouse(settings).close()  # no other program uses its tables
    prepare_home(home)
    for number in range(1, workers + 1):
        name = f"worker-{number}"
        services.start(name, "orchestration_project", "worker", "--name", name, is_optional=True)
    ui.start_programs(services, settings, home, LOOPBACK, ports["gateway"])
    services.wait_until("web-server", lambda: ui.answers(LOOPBACK, ports["gateway"]))
    sys.stdout.write(f"Certificate to trust: {authority(folder / 'caddy')}\n")
    names = installed_services()
    sys.stdout.write(f"Prometheus: http://{LOOPBACK}:{ports['prometheus']}\n")
    for name, value in OPTIONAL.items():
        sys.stdout.write(
            f"{value.title}: http://{LOOPBACK}:{ports[name]}\n"
            if name in names
            else f"{value.title}: not started, {value.lack}: "
            f"sudo apt-get install --no-install-recommends {value.program}\n"
        )
    sys.stdout.write("Grafana: not started, Debian has no package; its files: deploy/grafana\n")
    ui.announce(settings, settings.public_url, LOOPBACK)  # makes the first key
    private = folder / "secrets"
    keys = {
        name: _ensure_key_file(settings, private / f"{name}_key", owner, role)
        for name, owner, role in MACHINE_KEYS
    }
    programs = {
        "victoriametrics": lambda: victoriametrics(folder / "victoriametrics", ports),
        "alertmanager": lambda: alertmanager(folder / "alertmanager", keys["alerts"], ports),
        "postgres_exporter": lambda: postgres_exporter(private / EXPORTER, ports),
        "mqtt_exporter": lambda: mqtt_exporter(folder / "mosquitto", private / EXPORTER, ports),
    }
    for name in names:
        _start(services, programs[name](), is_optional=True)
    _start(
        services,
        prometheus(folder / "prometheus", keys["metrics"], ports, names),
        is_optional=True,
    )


def _ensure_key_file(settings: Settings, file: Path, owner: str, role: Role) -> Path:
    """Return the file of the key of a service; the first start makes it."""
    if not file.exists():
        with open_warehouse(settings) as warehouse:
            keys = Keys(warehouse, Clock())
            key = keys.create(owner=owner, role=role, lasts=timedelta(days=KEY_DAYS))
        write_private(file, str(key))
    return file
