"""Embedded demo programs: found, started and ended. One stands in for FINRA and vendors."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.settings import Settings, child_environment, project_folder
from orchestration_project.settings.profile import DEMO_PACKAGE, demo_folder

EARLIER_PACKAGE = "orchestration_project.demo"
"""Its name in a program that an earlier release started."""

RELEASE = "DEMO_RELEASE"
"""Variable by which a demo gets the digest of its sources; it writes it beside its address."""

SECONDS_TO_START = 120
"""A start takes 2 s; on a busy machine, where all starts at once, a minute or more."""
SECONDS_TO_RETIRE = 4
SECONDS_TO_END = 3


@dataclass(frozen=True)
class DemoProgram:
    """A demo source as a program of its own.

    Attributes:
        module: What is started with `python -m`; to end one, a package that it is in will do.
        folder: Where it records its address.
        options: What it is started with; one that is None is left out.
    """

    module: str
    folder: Path
    options: Mapping[str, object]

    def url(self) -> str:
        """Return the address of the server with these options, started if it does not run.

        The server outlives this process and ends by itself when no request comes any more. One that
        was started with other options or by another release is replaced.

        Raises:
            ConfigurationError: It ends with an error instead of starting.
            TransientError: It does not start in time.
        """
        running = self._running()
        if running is not None and not self._serves(running):
            _stop(running)
            running = None
        return str((running or self._start())["url"])

    def stop(self) -> None:
        """End the server, if it runs."""
        running = self._running()
        if running is not None:
            _stop(running)

    def retire(self) -> None:
        """Have the server end, unless somebody goes on asking it."""
        running = self._running()
        if running is not None:
            with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                process = psutil.Process(running["pid"])
                process.send_signal(signal.SIGUSR1)
                process.wait(timeout=SECONDS_TO_RETIRE)

    def _serves(self, running: dict[str, Any]) -> bool:
        is_of_release = running.get("release") == hash_demos()
        return is_of_release and running.get("options") == dict(self.options)

    def _running(self) -> dict[str, Any] | None:
        """Return the server's own record of its address, if it is alive and answers."""
        try:
            server: dict[str, Any] = json.loads((self.folder / "server.json").read_text())
            command = psutil.Process(server["pid"]).cmdline()
            address = urlsplit(server["url"])
            with socket.create_connection((address.hostname, address.port), timeout=5):
                return server if any(map(self._is_it, command)) else None
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            return None

    def _is_it(self, argument: str) -> bool:
        if argument.startswith(EARLIER_PACKAGE):
            argument = argument.replace(EARLIER_PACKAGE, DEMO_PACKAGE, 1)
        return argument == self.module or argument.startswith(f"{self.module}.")

    def _start(self) -> dict[str, Any]:
        options = [
            f"--{name.replace('_', '-')}={value}"
            for name, value in self.options.items()
            if value is not None
        ]
        server = subprocess.Popen(  # noqa: S603 - our own program and settings
            [sys.executable, "-m", self.module, *options],
            cwd=project_folder(),
            env=child_environment(**{RELEASE: hash_demos()}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C here is not meant for it
        )
        threading.Thread(target=server.wait, daemon=True).start()  # or it stays a zombie of ours
        until = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < until and not server.poll():  # 0: another serves, or will soon
            running = self._running()
            if running is not None and self._serves(running):
                return running
            time.sleep(0.05)
        # One that ended would end again; one that is slow may have come up by the next attempt.
        ended = server.returncode
        error_class = ConfigurationError if ended else TransientError
        raise error_class(
            "the demo source does not start",
            expected=f"{self.folder / 'server.json'} within {SECONDS_TO_START} s",
            found=f"it ended with status {ended}" if ended else "no answer",
            remedy=f"read {self.folder / 'server.log'}; is STATE_DIR writable?",
        )


@cache
def hash_demos() -> str:
    """Return the digest of the demos' sources, which differs between releases."""
    digest = sha256()
    folder = demo_folder()
    for file in sorted(folder.rglob("*.py")) if folder else ():
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _stop(running: dict[str, Any]) -> None:
    try:
        process = psutil.Process(running["pid"])
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(SECONDS_TO_END)
        except psutil.TimeoutExpired:  # it hangs, or is paused
            process.kill()
            process.wait(SECONDS_TO_END)
    except psutil.NoSuchProcess:
        return


def stop_demos(settings: Settings) -> None:
    """End those that run."""
    for demo in _find_demos(settings):
        demo.stop()


def retire_demos(settings: Settings) -> None:
    """Have those that run end, unless somebody goes on asking them."""
    for demo in _find_demos(settings):
        demo.retire()


def _find_demos(settings: Settings) -> Sequence[DemoProgram]:
    """Return the demos that have written in STATE_DIR what they serve, running or not."""
    files = settings.state_path.glob("*/server.json")
    return [DemoProgram(DEMO_PACKAGE, file.parent, {}) for file in sorted(files)]


def ensure_demo_url(settings: Settings) -> str:
    """Return the address of the demo server of these settings, started if it does not run.

    Raises:
        ConfigurationError: It ends with an error instead of starting.
        TransientError: It does not start in time.
    """
    return build_demo(settings).url()


def build_demo(settings: Settings) -> DemoProgram:
    """Return the demo of this STATE_DIR."""
    return DemoProgram(
        DEMO_PACKAGE,
        settings.state_path / "demo",
        {
            "state_dir": str(settings.state_path),
            "seed": settings.demo_seed,
            "rows_per_week": settings.demo_rows_per_week,
            "latency_seconds": settings.demo_latency_seconds,
            "requests_per_second": settings.demo_requests_per_second,
            "vendor_requests_per_day": settings.demo_vendor_requests_per_day,
            "idle_seconds": settings.demo_idle_seconds,
            "clock_now": settings.demo_clock_now.isoformat() if settings.demo_clock_now else None,
        },
    )
