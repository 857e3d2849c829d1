"""The embedded demo source, found or started by whoever needs it."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from orchestration_project.engine.connections.simulator import ensure_demo_url, stop_demos
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import PROJECT_ROOT, Settings, child_environment, settings_class
from tests.programs import PATIENCE_SECONDS, wait_for
from tests.resources.weeks import NOON

ONE_WEEK = {"demo_rows_per_week": 300, "demo_requests_per_second": 0, "demo_idle_seconds": 120}


@pytest.fixture
def settings_for(tmp_path, monkeypatch) -> Iterator[Any]:
    """Give settings of a small demo below one STATE_DIR, whose server ends with the test."""
    for name in child_environment():
        if name.lower().endswith("_proxy") or name.startswith("DEMO_"):
            monkeypatch.delenv(name)

    def settings_for(**changes):
        values = {"state_dir": tmp_path / "state", "demo_clock_now": NOON, **ONE_WEEK, **changes}
        return settings_class()(_env_file=None, **values)  # pyright: ignore[reportCallIssue] - pydantic's own argument

    yield settings_for
    stop_demos(settings_for())


def read_server_state(settings: Settings) -> dict[str, Any]:
    return json.loads((settings.state_path / "demo" / "server.json").read_text())


def partitions(url: str) -> int:
    answer = httpx.get(f"{url}/partitions/group/otcMarket/name/weeklySummary")
    return len(answer.json()["availablePartitions"])


@pytest.mark.slow
def test_a_server_is_started_serves_and_is_found_again(settings_for):
    settings = settings_for()
    url = ensure_demo_url(settings)
    assert url.startswith("http://127.0.0.1:")
    assert partitions(url) > 100
    first = read_server_state(settings)
    assert ensure_demo_url(settings) == url
    assert read_server_state(settings) == first
    assert first["options"] == {
        "state_dir": str(settings.state_path),
        "seed": 20_250_106,
        "rows_per_week": 300,
        "latency_seconds": 0.0,
        "requests_per_second": 0,
        "vendor_requests_per_day": 25,
        "idle_seconds": 120.0,
        "clock_now": NOON.isoformat(),
    }


ASK = """
import sys
from orchestration_project.engine.connections.simulator import demo_url
from orchestration_project.settings import load_settings
print(demo_url(load_settings()))
"""


@pytest.mark.slow
def test_processes_that_ask_at_the_same_time_get_one_server_which_outlives_them(settings_for):
    settings = settings_for()
    values = {name.upper(): str(value) for name, value in ONE_WEEK.items()}
    environment = child_environment(
        PYTHONPATH=str(PROJECT_ROOT),
        STATE_DIR=str(settings.state_path),
        DEMO_CLOCK_NOW=NOON.isoformat(),
        **values,
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", ASK], env=environment, stdout=subprocess.PIPE)  # noqa: S603 - our own program
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in processes]
    urls = {output.decode().strip() for output in outputs}
    assert urls == {read_server_state(settings)["url"]}
    assert ensure_demo_url(settings) == urls.pop()
    assert partitions(ensure_demo_url(settings)) > 100


@pytest.mark.slow
def test_a_server_of_another_release_is_replaced(settings_for):
    settings = settings_for()
    options = ["--rows-per-week=300", "--requests-per-second=0", "--idle-seconds=120"]
    where = [f"--state-dir={settings.state_path}", f"--clock-now={NOON.isoformat()}"]
    older = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "orchestration_demo", *options, *where],
        env=child_environment(PYTHONPATH=str(PROJECT_ROOT), DEMO_RELEASE="older"),
    )
    file = settings.state_path / "demo" / "server.json"
    wait_for(lambda: file.exists() and read_server_state(settings)["release"] == "older", 60)
    before = read_server_state(settings)
    url = ensure_demo_url(settings)
    assert older.wait(timeout=PATIENCE_SECONDS) == 0
    after = read_server_state(settings)
    assert after["options"] == before["options"]
    assert (after["url"], after["pid"] != before["pid"]) == (url, True)
    assert ensure_demo_url(settings) == url
    assert partitions(url) > 100


def test_a_server_that_an_earlier_release_started_is_stopped(settings_for, tmp_path):
    settings = settings_for()
    file = settings.state_path / "demo" / "server.json"
    file.parent.mkdir(parents=True)
    program = tmp_path / "orchestration_project" / "demo" / "__main__.py"
    program.parent.mkdir(parents=True)
    for folder in (program.parent, program.parent.parent):
        (folder / "__init__.py").touch()
    program.write_text("import signal\nsignal.pause()\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        earlier = subprocess.Popen(
            [sys.executable, "-m", "orchestration_project.demo"],
            cwd=tmp_path,
            env=child_environment(PYTHONPATH=str(tmp_path)),
        )
        file.write_text(json.dumps({"pid": earlier.pid, "url": url, "release": "1"}))
        wait_for(lambda: "orchestration_project.demo" in psutil.Process(earlier.pid).cmdline(), 60)
        stop_demos(settings)
        assert not psutil.pid_exists(earlier.pid)
        earlier.wait(timeout=PATIENCE_SECONDS)


@pytest.mark.slow
def test_a_server_of_other_options_is_replaced_and_then_ended(settings_for):
    old = settings_for()
    ensure_demo_url(old)
    first = read_server_state(old)
    new = settings_for(demo_seed=7)
    url = ensure_demo_url(new)
    second = read_server_state(new)
    assert (second["options"]["seed"], second["url"]) == (7, url)
    assert not psutil.pid_exists(first["pid"])
    stop_demos(new)
    assert not psutil.pid_exists(second["pid"])
    assert not (new.state_path / "demo" / "server.json").exists()
    stop_demos(new)  # nothing is left to stop


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "[]", '{"url": "http://127.0.0.1:1", "pid": 1}', "\xff"])
def test_an_announcement_that_is_not_one_is_replaced(settings_for, text):
    settings = settings_for()
    file: Path = settings.state_path / "demo" / "server.json"
    file.parent.mkdir(parents=True)
    file.write_text(text, "latin-1")
    assert partitions(ensure_demo_url(settings)) > 100


@pytest.mark.slow
def test_a_server_that_was_killed_is_replaced(settings_for):
    settings = settings_for()
    ensure_demo_url(settings)
    first = read_server_state(settings)
    server = psutil.Process(first["pid"])
    server.kill()
    server.wait()
    assert partitions(ensure_demo_url(settings)) > 100
    assert read_server_state(settings)["pid"] != first["pid"]


@pytest.mark.slow
def test_a_server_that_cannot_start_is_reported_with_the_reason(settings_for, tmp_path):
    (tmp_path / "file").touch()
    settings = settings_for(state_dir=tmp_path / "file" / "state")
    with pytest.raises(ConfigurationError, match="the demo source does not start") as refusal:
        ensure_demo_url(settings)
    assert refusal.value.found == "it ended with status 1"
    assert refusal.value.expected.startswith(f"{tmp_path}/file/state/demo/server.json within")


@pytest.mark.slow
def test_the_log_that_is_named_has_the_error_that_ended_a_server(settings_for):
    settings = settings_for()
    log = settings.state_path / "demo" / "server.log"
    log.parent.mkdir(parents=True)
    (log.parent / "state.json").write_text("{")
    with pytest.raises(ConfigurationError, match="the demo source does not start") as refusal:
        ensure_demo_url(settings)
    assert str(log) in refusal.value.remedy
    assert "JSONDecodeError" in log.read_text()


@pytest.mark.slow
def test_a_server_that_is_paused_is_ended_all_the_same(settings_for):
    settings = settings_for()
    ensure_demo_url(settings)
    server = psutil.Process(read_server_state(settings)["pid"])
    server.send_signal(signal.SIGSTOP)
    stop_demos(settings)
    assert not server.is_running()
