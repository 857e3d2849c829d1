"""Host and plugin are killed at random moments: nothing is half loaded, and no process is left.

`TEST_PLUGIN_KILLS` names the number of kills of each, and `TEST_PLUGIN_SEED` the moments.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest

from orchestration_project.errors import ContractError
from orchestration_project.settings.given import ENVIRONMENT, child_environment
from tests.expecting import expect_present
from tests.plugin_files import requires_namespaces
from tests.programs import kill_after, wait_for
from tests.resources.plugins.plugin_runner import HANG, PluginRunner, body

KILLS = int(ENVIRONMENT.get("TEST_PLUGIN_KILLS", "20"))
LEVELS = [pytest.param("namespaces", marks=requires_namespaces), "process"]
SEED = int(ENVIRONMENT.get("TEST_PLUGIN_SEED", "43"))
ROWS = 300
OWN = f"pid = {os.getpid()}\n"
"""Makes the plugin's SHA-256, by which its processes are found, that of this worker alone."""

EMIT = body(f'{OWN}run.emit("items", ((str(i), {{"title": run.run_id}}) for i in range({ROWS})))')
PATIENCE_SECONDS = 30


def processes_with(text: str) -> list[int]:
    """Return the processes whose command line has a text, but for this one."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and text in (folder / "cmdline").read_text():
                found.append(int(folder.name))
    return found


def await_none(text: str) -> None:
    """Wait until no process has a text in its command line."""
    wait_for(lambda: not processes_with(text), PATIENCE_SECONDS)


def check_no_half_load(plugins: PluginRunner) -> None:
    """Require all rows of one run, or none."""
    titles = Counter(json.loads(payload)["title"] for payload in plugins.payloads().values())
    assert list(titles.values()) in ([], [ROWS])


@contextmanager
def host(plugins: PluginRunner, url: str) -> Iterator[subprocess.Popen[str]]:
    """Give the program that forks hosts."""
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "tests.resources.plugins.killed_host", url, "rss"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment(),
        cwd=Path(__file__).parents[3],
    ) as process:
        yield process
        expect_present(process.stdin).close()


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_killed_hosts_leave_nothing_half_loaded_and_no_process(
    plugins: PluginRunner, monkeypatch: pytest.MonkeyPatch, level: str
):
    monkeypatch.setenv("PLUGINS_ISOLATION", level)
    stored = plugins.add(EMIT)
    moments = random.Random(SEED)  # noqa: S311 - moments of kills
    with host(plugins, f"sqlite:///{plugins.tmp_path / 'warehouse.sqlite'}") as program:
        assert program.stdin is not None
        assert program.stdout is not None
        for trial in range(KILLS // 2):
            print(trial, file=program.stdin, flush=True)
            process_id = int(program.stdout.readline())
            kill_after(process_id, moments.uniform(0, 0.5))
            assert program.stdout.readline() == "ended\n"
            await_none(stored.sha256)
            check_no_half_load(plugins)
    plugins.run()
    check_no_half_load(plugins)


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_killed_plugins_fail_their_run_and_load_nothing(
    plugins: PluginRunner, monkeypatch: pytest.MonkeyPatch, level: str
):
    monkeypatch.setenv("PLUGINS_ISOLATION", level)
    halves = f"for half in (range({ROWS // 2}), range({ROWS // 2}, {ROWS})):\n    "
    emit = 'run.emit("items", ((str(i), {"title": run.run_id}) for i in half))\n'
    stored = plugins.add(body(f"{OWN}{halves}{emit}{HANG}"))
    moments = random.Random(SEED)  # noqa: S311 - moments of kills
    for _ in range(KILLS // 2):
        wait = moments.uniform(0, 0.3)
        killer = Thread(target=_kill_soon, args=(stored.sha256, wait))
        killer.start()
        with pytest.raises(ContractError, match=r"ended without the message end"):
            plugins.run()
        killer.join()
        await_none(stored.sha256)
        assert not plugins.rows()


def _kill_soon(text: str, wait_seconds: float) -> None:
    """Kill what runs the plugin, once it is started."""
    first, *others = wait_for(lambda: processes_with(text), poll_seconds=0.01)
    kill_after(first, wait_seconds)
    for process_id in others:
        kill_after(process_id, 0)
