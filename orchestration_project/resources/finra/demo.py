"""Finds the embedded demo of FINRA that serves a STATE_DIR, or starts it."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.settings import PROJECT_ROOT, Settings

PROGRAM = "orchestration_project.demo"
SECONDS_TO_START = 30
SECONDS_TO_RETIRE = 4
SECONDS_TO_END = 3


def demo_url(settings: Settings) -> str:
    """Return the address of the demo server of these settings, started if it does not run.

    The server outlives this process and ends by itself when nobody asks it any more. One that
    was started with other settings is replaced.

    Raises:
        ConfigurationError: It ends with an error instead of starting.
        TransientError: It does not start in time.
    """
    wanted = _options(settings)
    state = settings.state_path / "demo" / "server.json"
    running = _running(state)
    if running is not None and not _serves(running, wanted):
        _stop(running)
        running = None
    return str((running or _start(settings, state, wanted))["url"])


def stop_demo(settings: Settings) -> None:
    """End the demo server of this STATE_DIR, if it runs."""
    running = _running(settings.state_path / "demo" / "server.json")
    if running is not None:
        _stop(running)


def retire_demo(settings: Settings) -> None:
    """Have the demo server of this STATE_DIR end, unless somebody goes on asking it."""
    running = _running(settings.state_path / "demo" / "server.json")
    if running is not None:
        with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            process = psutil.Process(running["pid"])
            process.send_signal(signal.SIGUSR1)
            process.wait(timeout=SECONDS_TO_RETIRE)


def _options(settings: Settings) -> dict[str, object]:
    return {
        "state_dir": str(settings.state_path),
        "seed": settings.demo_seed,
        "rows_per_week": settings.demo_rows_per_week,
        "latency_seconds": settings.demo_latency_seconds,
        "requests_per_second": settings.demo_requests_per_second,
        "vendor_requests_per_day": settings.demo_vendor_requests_per_day,
        "idle_seconds": settings.demo_idle_seconds,
        "clock_now": settings.clock_now.isoformat() if settings.clock_now else None,
    }


def _serves(running: dict[str, Any], wanted: dict[str, object]) -> bool:
    return running.get("options") == wanted


def _running(state: Path) -> dict[str, Any] | None:
    """Return what the server says of itself, if it is alive and answers."""
    try:
        told: dict[str, Any] = json.loads(state.read_text())
        command = psutil.Process(told["pid"]).cmdline()
        address = urlsplit(told["url"])
        with socket.create_connection((address.hostname, address.port), timeout=5):
            return told if PROGRAM in command else None
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None


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


def _start(settings: Settings, state: Path, wanted: dict[str, object]) -> dict[str, Any]:
    options = [
        f"--{name.replace('_', '-')}={value}" for name, value in wanted.items() if value is not None
    ]
    server = subprocess.Popen(  # noqa: S603 - our own program and settings
        [sys.executable, "-m", PROGRAM, *options],
        cwd=PROJECT_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C here is not meant for it
    )
    threading.Thread(target=server.wait, daemon=True).start()  # or it stays a zombie of ours
    until = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until and not server.poll():  # 0: another serves, or will in a moment
        running = _running(state)
        if running is not None and _serves(running, wanted):
            return running
        time.sleep(0.05)
    # One that ended would end again; one that is slow may have come up by the next attempt.
    kind = ConfigurationError if server.returncode else TransientError
    raise kind(
        "the demo source does not start",
        expected=f"{state} within {SECONDS_TO_START} s",
        found=f"it ended with status {server.returncode}" if server.returncode else "no answer",
        remedy=f"read {settings.state_path / 'demo' / 'server.log'}; is STATE_DIR writable?",
    )
