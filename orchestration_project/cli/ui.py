"""`ui`: Dagster's web server and daemon over one code server, until Ctrl-C.

`dagster dev` would do for a laptop. This also stops on SIGTERM from a script, leaves no process
behind however it ends, keeps the logs below STATE_DIR, and refuses a second daemon.
"""

import fcntl
import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, NoReturn
from uuid import uuid4

import yaml

from orchestration_project.cli.daemon_watch import DaemonWatch, is_silent
from orchestration_project.cli.dagster_home import prepare_home
from orchestration_project.cli.full_disk import DiskWatch, full_disk_explained
from orchestration_project.cli.services import RestartPolicy, StopRequest, SupervisedServices
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import ensure_state_folder
from orchestration_project.engine.connections.simulator import retire_demos
from orchestration_project.engine.contracts.addresses import is_loopback
from orchestration_project.engine.environment import open_checked_warehouse, open_warehouse
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.gateway.bind_address import (
    origin,
    refuse_taken,
    require_safe,
)
from orchestration_project.services.access import AccessLog, AccessLogEntry, Keys
from orchestration_project.services.access.keys import FIRST_KEY_OWNER
from orchestration_project.services.access.rules.credentials import Key
from orchestration_project.settings import (
    Settings,
    child_environment,
    load_settings,
    off_domain,
)
from orchestration_project.settings.chosen import stored_file
from orchestration_project.settings.project import DEFINITIONS, own_state

DAEMON = "orchestration_project.instance.daemon"
"""Module of the daemon, run with ``python -m``."""
CODE_SERVER = "orchestration_project.instance.code_server"

WORKSPACE = "workspace.yaml"
"""The file in DAGSTER_HOME of the code servers."""

LOCK = "ui.lock"
"""The file in DAGSTER_HOME that the one `ui` has locked."""

FIRST_KEY_DAYS = 365
FIRST_KEY = """Log in with this key of an admin, which is shown only now and holds for {days} days:
  {key}
"""

ALERTS_SERVICE = ("alerts-watch", "orchestration_project", "alerts", "watch")
"""Name of the log, and the command that sends alerts about problems outside of runs."""

NOTIFICATION_SECONDS = 60.0


def serve_ui(host: str, port: int, *, has_sources: bool = False) -> int:
    """Serve the UI until a signal stops it; return the exit status.

    With ``has_sources``, it follows changes of the sources that the project declares.
    """
    settings = load_settings()
    declared = own_state() if has_sources else None  # of what the code server is about to load
    home = ensure_state_folder(settings, "dagster")
    with full_disk_explained(settings), only_ui_on(home) as lock:
        require_safe(settings, host)
        refuse_taken(host, port)
        open_checked_warehouse(settings).close()
        prepare_home(home)
        environment = environment_of_dagster(
            settings, home, PUBLIC_URL=_choose_url(settings, host, port)
        )
        services = SupervisedServices(
            folder=home,
            logs=ensure_state_folder(settings, "logs"),
            environment=environment,
            lock=lock,
            restarts=restart_policy(settings),
        )
        with services:
            try:
                _start(services, home, host, port)
                watch(services, settings, home, (host, port), declared=declared)
            except StopRequest:
                sys.stdout.write(
                    "Stopping; runs in progress end now, and are retried at the next start.\n"
                )
            except TransientError as error:
                report_end(services, settings, error)
                raise
    retire_demos(settings)
    return 0


def restart_policy(settings: Settings) -> RestartPolicy:
    """Return when the programs of `ui` and `stack` are restarted."""
    return RestartPolicy(settings.program_max_ends, 60.0 * settings.program_window_minutes)


def environment_of_dagster(settings: Settings, home: Path, **changes: str) -> dict[str, str]:
    """Return the environment of Dagster's programs and their runs, with ``changes``.

    Matplotlib would keep its list of fonts in the user's home; a MPLCONFIGDIR that is set stays.
    """
    fonts = {"MPLCONFIGDIR": str(settings.state_path / "matplotlib")}
    return fonts | child_environment(DAGSTER_HOME=str(home), **changes)


def _choose_url(settings: Settings, host: str, port: int) -> str:
    """Return PUBLIC_URL; if it is not set, alerts link to the served address."""
    default = Settings.model_fields["public_url"].default
    return settings.public_url if settings.public_url != default else f"http://{origin(host, port)}"


@contextmanager
def only_ui_on(home: Path) -> Iterator[IO[str]]:
    """Hold the lock of the one daemon that a STATE_DIR may have.

    Two daemons on one storage would both launch what is due, and Dagster only warns.
    """
    with (home / LOCK).open("a+") as lock:
        refuse_other_ui(home, lock)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock


def refuse_other_ui(home: Path, lock: IO[str]) -> None:
    """Take the lock of `ui`, an open file of ``home``.

    Raises:
        ConfigurationError: Another process has it.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise ConfigurationError(
            "another `ui` runs on this STATE_DIR",
            found=f"process {lock.read()}",
            remedy="use that one, stop it, or set another STATE_DIR",
            state_dir=home.parent,
        ) from None


def _start(services: SupervisedServices, home: Path, host: str, port: int) -> None:
    """Start the programs in order, and say where the UI is once it answers."""
    settings = load_settings()
    start_programs(services, settings, home, host, port)
    services.wait_until("web-server", lambda: answers(host, port))
    announce(settings, f"http://{origin(host, port)}", host)


def start_programs(
    services: SupervisedServices, settings: Settings, home: Path, host: str, port: int
) -> None:
    """Start code server, gateway, daemon and the programs of domains.

    Gateway and daemon share one code server, which saves the memory of a second.

    Args:
        services: What supervises them.
        settings: The settings of all of them.
        home: DAGSTER_HOME.
        host: Address of the gateway.
        port: Its port.
    """
    form = "json" if settings.log_format == "json" else "colored"
    logs = ["--log-level", settings.log_level.lower(), "--log-format", form]
    code_port = free_port()
    code = f"{CODE_SERVER} code-server start -m {DEFINITIONS} --host 127.0.0.1 --port {code_port}"
    elsewhere = ",".join(f"-{name}" for name in settings.domains_elsewhere)
    services.start_command(
        "code-server",
        [sys.executable, "-m", *code.split(), *logs],
        {"CODE_DOMAINS": elsewhere} if elsewhere else None,
    )
    services.wait_until("code-server", lambda: accepts(code_port))
    services.needs_its_child("code-server")  # which has loaded the code; it is not started again

    workspace = ["-w", str(_write_workspace(home, settings, code_port))]
    address = ["--host", host, "--port", str(port)]
    services.start("web-server", "orchestration_project", "gateway", *workspace, *address)
    services.start("daemon", DAEMON, "run", *workspace, *logs)
    for name, arguments in settings.programs.items():
        if not off_domain(settings, name.replace("-", "_")):
            services.start(name, *arguments)


def announce(settings: Settings, url: str, host: str) -> None:
    """Write where the UI is, and at the first start the key of an admin."""
    sys.stdout.write(f"Dagster UI: {url} (Ctrl-C stops it)\n")
    key = first_key(settings, host)  # not before: who stops it while it starts would never see it
    if key is not None:
        sys.stdout.write(FIRST_KEY.format(days=FIRST_KEY_DAYS, key=key))
    sys.stdout.flush()


def watch(
    services: SupervisedServices,
    settings: Settings,
    home: Path,
    gateway: tuple[str, int],
    *,
    declared: bytes | None = None,
) -> NoReturn:
    """Watch the programs, the disk and the daemon; problems are sent to the alert channels.

    This process runs as long as they do, so it imports no Dagster, which takes 50 MiB.

    Args:
        services: What supervises the programs.
        settings: The settings of all of them.
        home: DAGSTER_HOME.
        gateway: Address and port of the gateway, which knows of the daemon.
        declared: That of `ChoiceWatch`.
    """
    ends: list[str] = []

    def start_alerts() -> None:
        if settings.has_alert_channels:
            services.begin(*ALERTS_SERVICE)

    def report_disk(words: str) -> None:
        os.write(sys.stdout.fileno(), words.encode())
        start_alerts()

    def report_program(sentence: str) -> None:
        os.write(sys.stdout.fileno(), f"{sentence}\n".encode())
        if settings.has_alert_channels:
            ends.append(sentence)

    def alert_of_ends() -> None:
        if ends and services.begin(*ALERTS_SERVICE, "--because", ends[0]):
            del ends[0]

    chosen = ChoiceWatch(settings, services, home / WORKSPACE, declared)
    disk = DiskWatch(home, report_disk)
    daemon = DaemonWatch(lambda: is_silent(*gateway), start_alerts)
    services.watch(
        lambda: (disk.poll(), daemon.poll(), chosen.poll(), alert_of_ends()), report_program
    )


class ChoiceWatch:
    """Has the programs of `ui` follow a change of the stored choice of domains.

    The code server imports its definitions again, while its runs go on; the daemon follows within
    a minute. The gateway is restarted. With ``declared``, the state of the files that declare
    sources as they were loaded, the same follows a change of them, once their tables are made; a
    wrong declaration changes nothing.
    """

    def __init__(
        self,
        settings: Settings,
        services: SupervisedServices,
        workspace: Path,
        declared: bytes | None = None,
    ) -> None:
        self._settings = settings
        self._services = services
        self._workspace = workspace
        self._declared = declared
        self._chosen: bytes | None = None

    def poll(self) -> None:
        """Look for a change, and follow it."""
        try:
            chosen = stored_file(self._settings).read_bytes()
        except FileNotFoundError:
            chosen = b""
        except OSError:  # the next program that starts says so; those that run go on
            return
        before, self._chosen = self._chosen, chosen
        if before is not None and chosen != before:
            self._follow("The choice of domains changed")
        if self._declared is not None:
            before, self._declared = self._declared, own_state()
            if self._declared != before and _is_applied():
                self._follow("The declared sources changed")

    def _follow(self, said: str) -> None:
        from orchestration_project.engine.dagster_private.processes import reload_code_server

        sys.stdout.write(f"{said}: the code is loaded again.\n")
        try:
            reload_code_server("127.0.0.1", _read_code_port(self._workspace))
        except ConnectionError as error:
            sys.stdout.write(f"The code server did not load it: {error}. Start `ui` again.\n")
        sys.stdout.flush()
        self._services.restart("web-server")


def _is_applied() -> bool:
    """Make the tables of the declared sources; return whether declarations and code are right."""
    return all(
        _run_command(sys.executable, *arguments)
        for arguments in (
            ("-m", "orchestration_project", "schema", "apply"),
            ("-c", f"import {DEFINITIONS}"),
        )
    )


def _run_command(*command: str) -> bool:
    """Run a command of ours, and show what it says; return whether it succeeded."""
    completed_process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    sys.stdout.write(
        completed_process.stderr if completed_process.returncode else completed_process.stdout
    )
    sys.stdout.flush()
    return completed_process.returncode == 0


def _read_code_port(workspace: Path) -> int:
    """Return the port of this machine's code server."""
    servers = [entry["grpc_server"] for entry in yaml.safe_load(workspace.read_text())["load_from"]]
    return next(server["port"] for server in servers if server["location_name"] == DEFINITIONS)


def report_end(services: SupervisedServices, settings: Settings, error: TransientError) -> None:
    """Send an alert about the end of a program."""
    if settings.has_alert_channels:
        services.await_end(ALERTS_SERVICE[0], NOTIFICATION_SECONDS)  # earlier alerts
        services.begin(*ALERTS_SERVICE, "--because", error.what)
        services.await_end(ALERTS_SERVICE[0], NOTIFICATION_SECONDS)


def _write_workspace(home: Path, settings: Settings, code_port: int) -> Path:
    """Write a workspace of the running code server, and of those that CODE_SERVERS names.

    The location of the first always has the same name, each other one that of its domains.
    """
    addresses = {DEFINITIONS: ("127.0.0.1", code_port), **settings.code_server_addresses}
    servers = [
        {"grpc_server": {"host": host, "port": port, "location_name": name}}
        for name, (host, port) in addresses.items()
    ]
    path = home / WORKSPACE
    path.write_text(yaml.safe_dump({"load_from": servers}))
    return path


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def first_key(settings: Settings, host: str) -> Key | None:
    """Make an admin's key where none was ever made, only this machine asks, and nothing else opens.

    Whoever reads what this command says could make one as well.
    """
    has_other_way = settings.gateway_auth == "off" or settings.oidc_discovery_url
    if has_other_way or not is_loopback(host):
        return None
    with open_warehouse(settings) as warehouse:
        keys = Keys(warehouse, Clock())
        key = keys.create_first(owner=FIRST_KEY_OWNER, lasts=timedelta(days=FIRST_KEY_DAYS))
        if key is not None:
            access_log_entry = AccessLogEntry(
                uuid4().hex, "shell", "keys create", "done", target=key.key_id
            )
            AccessLog(warehouse, Clock()).record(access_log_entry)
        return key


def accepts(port: int) -> bool:
    """Whether a program listens on a port of the loopback address.

    The code server does when it has loaded the definitions.
    """
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def answers(host: str, port: int) -> bool:
    """Whether the gateway answers."""
    connection = http.client.HTTPConnection(host, port, timeout=1)
    try:
        connection.request("GET", "/login")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
