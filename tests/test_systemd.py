"""The units of `examples/systemd`: systemd accepts them, and their commands serve together."""

import http.client
import json
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
import yaml

from orchestration_project.settings import PROJECT_ROOT
from tests import programs
from tests.deploy.test_compose import parsed

FOLDER = PROJECT_ROOT / "examples" / "systemd"
UNITS = sorted([*FOLDER.glob("*.service"), *FOLDER.glob("*.timer")])
INSTALLED = "/opt/orchestration_project"
PROXY = PROJECT_ROOT / "examples" / "proxy" / "nginx.conf"


def of_this_checkout(text: str) -> str:
    """Return the text of a unit whose paths are those of this checkout and its Python."""
    command = f"{sys.executable} -m orchestration_project"
    text = text.replace(f"{INSTALLED}/.venv/bin/orchestrate", command)
    text = text.replace(f"{INSTALLED}/.venv/bin/python", sys.executable)
    return text.replace(INSTALLED, str(PROJECT_ROOT))


def command_of(service: str) -> list[str]:
    """Return the arguments of a unit's ExecStart, here."""
    text = (FOLDER / f"orchestration-{service}.service").read_text()
    [line] = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    return shlex.split(of_this_checkout(line))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_finds_no_fault_in_any_unit(tmp_path):
    assert len(UNITS) == 9
    for unit in UNITS:
        (tmp_path / unit.name).write_text(of_this_checkout(unit.read_text()))
    done = subprocess.run(  # noqa: S603 - systemd's own program, and our files
        [str(shutil.which("systemd-analyze")), "verify", *(tmp_path / unit.name for unit in UNITS)],
        capture_output=True,
        text=True,
        timeout=programs.PATIENCE_SECONDS,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_port_of_each_server_is_the_one_that_its_clients_ask():
    [location] = yaml.safe_load((FOLDER / "workspace.yaml").read_text())["load_from"]
    server = location["grpc_server"]
    code_server = command_of("code-server")
    assert code_server[code_server.index("--port") + 1] == str(server["port"])
    assert (
        f"/dev/tcp/{server['host']}/{server['port']}"
        in (FOLDER / "orchestration-code-server.service").read_text()
    )
    host, port = (command_of("gateway")[index] for index in (-3, -1))
    assert f"proxy_pass http://{host}:{port};" in PROXY.read_text()
    for service in ("daemon", "gateway"):
        assert str(FOLDER / "workspace.yaml") in command_of(service)


@pytest.mark.parametrize("service", ["worker@", "bridge", "gateway", "back-up", "alerts-watch"])
def test_the_command_of_a_unit_is_one_of_the_program(service: str):
    _python, _m, _package, *arguments = command_of(service)
    parsed(arguments)


def test_the_stop_of_a_worker_leaves_time_to_its_runs():
    unit = (FOLDER / "orchestration-worker@.service").read_text()
    assert re.search(r"^KillMode=mixed$", unit, re.MULTILINE), "a signal to runs would end them"
    [seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(seconds) >= 600
    assert "worker-%i" in command_of("worker@")


class Deployment:
    """The services of the units, on free ports and one STATE_DIR."""

    def __init__(self, folder: Path) -> None:
        self.state_dir = folder / "state"
        self.code_port, self.port = programs.free_port(), programs.free_port()
        self._started: list[subprocess.Popen[str]] = []
        self._home = self.state_dir / "dagster"
        self._home.mkdir(parents=True)
        (self._home / "dagster.yaml").symlink_to(PROJECT_ROOT / "dagster.yaml")
        text = (FOLDER / "workspace.yaml").read_text()
        self._workspace = folder / "workspace.yaml"
        self._workspace.write_text(text.replace("4266", str(self.code_port)))

    def start(self, service: str) -> None:
        """Start the ExecStart of a unit."""
        changes = {
            "4266": str(self.code_port),
            "3000": str(self.port),
            str(FOLDER / "workspace.yaml"): str(self._workspace),
        }
        _python, _m, *arguments = [changes.get(option, option) for option in command_of(service)]
        started = programs.start_unheard(self.state_dir, *arguments, DAGSTER_HOME=str(self._home))
        self._started.append(started)

    def end(self) -> None:
        """Kill them and what they started."""
        programs.kill_all_of(self.state_dir)
        for program in self._started:
            program.wait()

    def readiness(self) -> dict[str, object] | None:
        """Return what the gateway answers to `/readyz`, once it does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/readyz")
            return json.load(connection.getresponse())
        return None


@pytest.mark.slow
def test_the_commands_of_the_units_serve_and_run_together(tmp_path):
    made = Deployment(tmp_path)
    try:
        create = ("keys", "create", "--role", "operator", "--owner", "ada")
        status, said, _ = programs.run(made.state_dir, "orchestration_project", *create)
        assert status == 0
        for service in ("code-server", "daemon", "gateway"):
            made.start(service)
        ready = programs.wait_for(made.readiness, programs.PATIENCE_SECONDS)
        assert ready["is_ready"] is True
        key = programs.key_in(said)
        programs.wait_for(lambda: launch(made.port, key), programs.PATIENCE_SECONDS)
        programs.wait_for(
            lambda: programs.run_states(made.port, key, "operations_runs") == ["SUCCESS"],
            programs.PATIENCE_SECONDS,
        )
    finally:
        made.end()


def launch(port: int, key: str) -> bool:
    """Launch a run; return False as long as the code server has not loaded."""
    query = """mutation {launchRun(executionParams: {selector: {
    repositoryLocationName: "orchestration_project.definitions", repositoryName: "__repository__",
    jobName: "operations_runs"},
runConfigData: "ops: {handle_runs: {config: {list_sessions: {}}}}"}) {__typename
... on LaunchRunSuccess {run {runId}}}}"""
    return programs.graphql(port, query, key)["launchRun"]["__typename"] == "LaunchRunSuccess"
