"""Probes of what runs beside us: Dagster's daemon and the code server."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import yaml

from orchestration_project.connections.clock import Clock
from orchestration_project.domains.operations.readiness import QUEUED_RUNS
from orchestration_project.engine.dagster_private import ping_code_server
from orchestration_project.errors import TransientError
from orchestration_project.registry import Answer, Probe
from orchestration_project.services.daemon import (
    NEVER_HEARD,
    PATIENCE_SECONDS,
    silent_daemons,
    waiting_for_it,
)


def daemon_probe(
    open_instance: Callable[[], dg.DagsterInstance], clock: Clock, *, is_missed: bool = False
) -> Probe:
    """Return the probe of Dagster's daemon, without which nothing queued or switched on starts.

    With ``is_missed`` one that was heard once is missed also where nothing waits for it.
    """

    def run() -> Answer:
        instance = open_instance()
        silent = silent_daemons(instance, clock)
        if not silent:
            return Answer(f"every part of it was heard in the last {PATIENCE_SECONDS} s")
        whens = sorted(set(silent.values()))
        said = "; ".join(
            f"{when}: {', '.join(name for name in silent if silent[name] == when)}"
            for when in whens
        )
        waiting = waiting_for_it(instance)
        if not waiting and not (is_missed and set(whens) != {NEVER_HEARD}):
            return Answer(f"not running, and nothing waits for it ({said})", is_applicable=False)
        raise TransientError(
            "Dagster's daemon does not run",
            expected=f"a word of each of its parts in the last {PATIENCE_SECONDS} s",
            found=f"{said}; waiting for it: {waiting or 'what is on from the start'}",
            remedy="start it: make ui, or dagster-daemon run",
        )

    tried = "asked Dagster's storage when each part of the daemon was last heard"
    return Probe("daemon", (QUEUED_RUNS,), tried, run)


def code_server_probe(home: Path) -> Probe:
    """Return the probe of the code server of the `ui` that runs on ``home``, if one does."""

    def run() -> Answer:
        if not _ui_runs(home):
            return Answer("no `ui` of ours runs on this STATE_DIR", is_applicable=False)
        address = _address(home)
        try:
            ping_code_server(address["host"], address["port"])
        except ConnectionError as error:
            raise TransientError(
                "the code server does not answer",
                expected=f"an answer from {address['host']}:{address['port']}",
                found=str(error),
                remedy=f"read {home.parent / 'logs' / 'code-server.log'}; start `make ui` again",
            ) from error
        return Answer(f"answers at {address['host']}:{address['port']}")

    return Probe("code_server", (), "pinged the code server of the `ui` on this STATE_DIR", run)


def _ui_runs(home: Path) -> bool:
    """Whether the process that `ui` noted here lives, and is one."""
    try:
        command = psutil.Process(int((home / "ui.lock").read_text())).cmdline()
    except (OSError, ValueError, psutil.Error):
        return False
    return "ui" in command and (home / "workspace.yaml").exists()


def _address(home: Path) -> Mapping[str, Any]:
    servers: Sequence[Any] = yaml.safe_load((home / "workspace.yaml").read_text())["load_from"]
    return servers[0]["grpc_server"]
