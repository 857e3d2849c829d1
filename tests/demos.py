"""Servers of the demo source that tests share: to start one takes longer than most loads."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestration_project.resources.finra.demo import demo_url, stop_demo
from orchestration_project.settings import Settings

MOST = 3
"""So many servers run at once: each keeps weeks at hand."""


class Demos:
    """One server for each minute on the clock; what it fails once, it fails once for all tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._of_minute: dict[datetime, Settings] = {}
        self._memory = b""

    def lend(self, settings: Settings) -> None:
        """Have a server of these settings' clock serve their STATE_DIR as its own."""
        shared = self._shared(settings)
        demo_url(shared)  # starts it anew where a test has ended it
        told = _told(shared)
        told["options"]["state_dir"] = str(settings.state_path)
        told["options"]["clock_now"] = settings.clock_now and settings.clock_now.isoformat()
        folder = settings.state_path / "demo"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "server.json").write_text(json.dumps(told))
        self._memory = self._memory or (shared.state_path / "demo" / "state.json").read_bytes()
        (folder / "state.json").write_bytes(self._memory)

    def take_back(self, settings: Settings) -> None:
        """End the server of these settings if it is one of their own."""
        if _told(settings).get("pid") not in [_told(each).get("pid") for each in self._all]:
            stop_demo(settings)

    def stop(self) -> None:
        """End them all."""
        for each in self._all:
            stop_demo(each)

    @property
    def _all(self) -> list[Settings]:
        return list(self._of_minute.values())

    def _shared(self, settings: Settings) -> Settings:
        assert settings.clock_now
        minute = settings.clock_now.replace(second=0, microsecond=0)
        shared = self._of_minute.pop(minute, None)
        if shared is None:
            own = self._folder / f"{minute:%Y%m%d%H%M}"
            shared = settings.model_copy(update={"state_dir": own, "clock_now": minute})
            (own / "demo").mkdir(parents=True)
            if self._memory:  # or its faults would lie on other weeks
                (own / "demo" / "state.json").write_bytes(self._memory)
        for each in self._all[: 1 - MOST]:
            stop_demo(each)
        self._of_minute[minute] = shared
        return shared


def _told(settings: Settings) -> dict[str, Any]:
    """Return what a server says of itself, nothing where there is none."""
    file = settings.state_path / "demo" / "server.json"
    return json.loads(file.read_text()) if file.exists() else {}
