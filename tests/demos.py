"""Servers of FINRA's demo that tests share: to start one takes longer than most loads."""

import json
from datetime import date
from pathlib import Path
from threading import Thread
from typing import Any

from orchestration_project.engine.connections.simulator import DemoProgram, build_demo, stop_demos
from orchestration_project.settings import Settings
from tests.expecting import expect_present

MAX_DEMOS = 3
"""So many servers run at once: each keeps weeks at hand."""


class Demos:
    """One server for each minute on the clock; what it fails once, it fails once for all tests.

    Faults of all servers lie relative to ``anchor``, whichever of them starts first.
    """

    def __init__(self, folder: Path, anchor: date) -> None:
        self._folder = folder
        self._servers: dict[str, DemoProgram] = {}
        self._memory = json.dumps({"anchor": anchor.isoformat(), "served": []})
        self._ending: dict[str, Thread] = {}

    def lend(self, settings: Settings) -> None:
        """Have a server of these settings' clock serve their STATE_DIR as its own."""
        shared = self._shared(settings)
        shared.url()  # starts it again where a test has ended it
        own = build_demo(settings)
        own.folder.mkdir(parents=True, exist_ok=True)
        state = _read_state(shared) | {"options": dict(own.options)}
        (own.folder / "server.json").write_text(json.dumps(state))
        (own.folder / "state.json").write_text(self._memory)

    def take_back(self, settings: Settings) -> None:
        """End all servers of these settings, but for the shared one."""
        own = build_demo(settings)
        state = _read_state(own)
        if state and state["pid"] in [
            _read_state(server).get("pid") for server in self._servers.values()
        ]:
            (own.folder / "server.json").unlink(missing_ok=True)
        stop_demos(settings)

    def stop(self) -> None:
        """End them all, at once: each takes a second."""
        for name, server in self._servers.items():
            self._end(name, server)
        for value in self._ending.values():
            value.join()

    def _shared(self, settings: Settings) -> DemoProgram:
        now = expect_present(settings.demo_clock_now)
        minute = now.replace(second=0, microsecond=0)
        update = {"demo_clock_now": minute, "state_dir": self._folder / f"{minute:%Y%m%d%H%M}"}
        server = build_demo(settings.model_copy(update=update))
        name = str(server.folder)
        if self._servers.pop(name, None) is None:
            server.folder.mkdir(parents=True)
            (server.folder / "state.json").write_text(self._memory)
        for old, each in list(self._servers.items())[: 1 - MAX_DEMOS]:
            self._end(old, each)
        if name in self._ending:
            self._ending.pop(name).join()
        self._servers[name] = server
        return server

    def _end(self, name: str, server: DemoProgram) -> None:
        """End a server while others work, unless it is being ended."""
        if name not in self._ending:
            self._ending[name] = Thread(target=server.stop)
            self._ending[name].start()


def _read_state(server: DemoProgram) -> dict[str, Any]:
    """Return what a server says of itself, nothing where there is none."""
    file = server.folder / "server.json"
    return json.loads(file.read_text()) if file.exists() else {}
