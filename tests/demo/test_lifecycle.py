"""The program: found through a file, alone in its folder, gone when it is idle or stopped."""

import json
import shutil
import time
from datetime import datetime

import httpx
import pytest

from tests.demo.program import DEFAULTS, START_SECONDS, StartDemo, launch
from tests.programs import wait_for


@pytest.mark.slow
def test_the_announcement_names_address_process_and_options(start_demo: StartDemo):
    demo = start_demo(
        seed=5, latency_seconds=0.01, requests_per_second=50, clock_now="2026-03-16T15:00:00Z"
    )
    announced = demo.announcement
    assert announced["pid"] == demo.process.pid
    assert httpx.get(announced["url"] + "/health").status_code == 200
    assert announced["options"] == {
        "state_dir": str(demo.state_dir),
        "seed": 5,
        "rows_per_week": 600,
        "latency_seconds": 0.01,
        "requests_per_second": 50,
        "vendor_requests_per_day": 25,
        "idle_seconds": 900,
        "clock_now": "2026-03-16T15:00:00Z",
    }


@pytest.mark.slow
def test_sigterm_ends_it_cleanly_and_withdraws_the_announcement(start_demo: StartDemo):
    demo = start_demo()
    assert demo.client.get("/health").status_code == 200  # its connection stays open
    assert demo.stop() == 0
    assert not (demo.state_dir / "demo" / "server.json").exists()


@pytest.mark.slow
def test_it_ends_by_itself_without_requests(start_demo: StartDemo):
    demo = start_demo(idle_seconds=1)
    output, _ = demo.process.communicate(timeout=START_SECONDS)
    assert (demo.process.returncode, output) == (0, b"")
    assert not (demo.state_dir / "demo" / "server.json").exists()


@pytest.mark.slow
def test_a_request_keeps_it_alive(start_demo: StartDemo):
    demo = start_demo(idle_seconds=2.5)
    started = time.monotonic()
    while time.monotonic() < started + 4:
        time.sleep(0.3)  # far shorter than the limit: a busy machine adds to it
        assert demo.client.get("/health").status_code == 200


@pytest.mark.slow
def test_a_second_start_leaves_the_first_alone(start_demo: StartDemo):
    demo = start_demo()
    second = launch(demo.state_dir, DEFAULTS)
    output, _ = second.communicate(timeout=START_SECONDS)
    assert (second.returncode, output) == (0, b"")
    assert json.loads((demo.state_dir / "demo" / "server.json").read_text()) == demo.announcement
    assert demo.client.get("/health").status_code == 200


@pytest.mark.slow
def test_of_several_started_at_once_one_serves(tmp_path):
    processes = [launch(tmp_path, DEFAULTS) for _ in range(3)]
    try:
        wait_for(lambda: sum(process.poll() is None for process in processes) == 1, START_SECONDS)
        (serving,) = [process for process in processes if process.poll() is None]
        assert {process.returncode for process in processes if process is not serving} == {0}
        announced = json.loads((tmp_path / "demo" / "server.json").read_text())
        assert announced["pid"] == serving.pid
        assert httpx.get(announced["url"] + "/health").status_code == 200
    finally:
        for process in processes:
            process.terminate()
            process.communicate(timeout=START_SECONDS)


@pytest.mark.slow
def test_a_server_whose_folder_is_deleted_ends_and_leaves_its_successor_alone(
    start_demo: StartDemo,
):
    first = start_demo()
    shutil.rmtree(first.state_dir)
    second = start_demo()
    first.process.communicate(timeout=START_SECONDS)
    assert first.process.returncode == 0
    assert (second.state_dir / "demo" / "server.json").exists()
    assert second.client.get("/health").status_code == 200


@pytest.mark.slow
def test_a_killed_server_is_replaced(start_demo: StartDemo):
    demo = start_demo()
    demo.process.kill()
    demo.process.communicate(timeout=START_SECONDS)
    assert (demo.state_dir / "demo" / "server.json").exists()
    assert start_demo().client.get("/health").status_code == 200


@pytest.mark.slow
def test_it_keeps_everything_in_its_folder_and_prints_nothing(start_demo: StartDemo):
    demo = start_demo()
    demo.data(limit=1)
    assert demo.stop() == 0
    assert demo.output == b""
    files = {path.relative_to(demo.state_dir).as_posix() for path in demo.state_dir.rglob("*.*")}
    assert files == {"demo/server.lock", "demo/server.log", "demo/state.json"}
    assert "total=" in (demo.state_dir / "demo" / "server.log").read_text()


@pytest.mark.slow
def test_without_a_given_clock_it_returns_real_time(start_demo: StartDemo):
    demo = start_demo(clock_now=None)
    state = json.loads((demo.state_dir / "demo" / "state.json").read_text())
    age_seconds = time.time() - datetime.fromisoformat(state["anchor"]).timestamp()
    assert abs(age_seconds) < 3 * 86_400


@pytest.mark.slow
@pytest.mark.parametrize("option", [{"rows_per_week": 299}, {"clock_now": "soon"}])
def test_an_impossible_option_is_refused(tmp_path, option):
    process = launch(tmp_path, DEFAULTS | option)
    process.communicate(timeout=START_SECONDS)
    assert process.returncode == 2
