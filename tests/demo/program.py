"""A demo server as the program it is, asked as a client of FINRA would ask."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from tests.expecting import expect_status
from tests.programs import wait_for

NOW = "2026-03-16T15:00:00+00:00"  # a Monday; the newest T1 week starts on 2026-02-23
START_SECONDS = 120
ROOT = Path(__file__).parents[2]


def equal(field: str, value: object) -> dict[str, object]:
    """Return the filter that ``field`` equals ``value``."""
    return {"fieldName": field, "fieldValue": value, "compareType": "EQUAL"}


def partition(week: str, tier: str) -> list[dict[str, object]]:
    """Return the filters that fix a partition."""
    return [equal("weekStartDate", week), equal("tierIdentifier", tier)]


class Demo:
    """One running demo server over ``state_dir``."""

    def __init__(self, state_dir: Path, options: Mapping[str, object]) -> None:
        self.state_dir = state_dir
        self.process = launch(state_dir, options)
        self.output = b""
        try:
            self.announcement = self._announcement()
        except BaseException:
            self.process.kill()
            self.process.communicate()
            raise
        self.client = httpx.Client(base_url=self.announcement["url"], timeout=30)

    def data(
        self, dataset: str = "weeklySummary", *, json: bool = False, **body: object
    ) -> httpx.Response:
        headers = {"Accept": "application/json"} if json else {}
        return self.client.post(f"/data/group/otcMarket/name/{dataset}", json=body, headers=headers)

    def records(
        self, filters: Sequence[Mapping[str, object]], dataset: str = "weeklySummary"
    ) -> list[dict[str, Any]]:
        """Return every record behind ``filters``: paged by what came, retried when refused."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.data(
                dataset, json=True, compareFilters=filters, limit=5000, offset=len(found)
            )
            if answer.status_code in (429, 504):
                continue
            expect_status(answer)
            found += answer.json()
            if len(found) >= int(answer.headers["Record-Total"]):
                return found

    def partitions(self, dataset: str = "weeklySummary") -> list[list[str]]:
        answer = self.client.get(f"/partitions/group/otcMarket/name/{dataset}").json()
        return [
            available_partition["partitions"]
            for available_partition in answer["availablePartitions"]
        ]

    def weeks(self, tier: str) -> list[str]:
        """Return the published weeks of ``tier``, newest first: at the anchor, the first is 1."""
        return sorted((week for week, each in self.partitions() if each == tier), reverse=True)

    def stop(self) -> int:
        """End the server, if it still runs, and return its exit code."""
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        self.output, _ = self.process.communicate(timeout=START_SECONDS)
        return self.process.returncode

    def _announcement(self) -> dict[str, Any]:
        return wait_for(self._own_announcement, START_SECONDS, poll_seconds=0.02)

    def _own_announcement(self) -> dict[str, Any] | None:
        """Return what this server announced; None before it did."""
        path = self.state_dir / "demo" / "server.json"
        with suppress(FileNotFoundError):  # the server removes what one before it left, at any time
            announcement = json.loads(path.read_text())
            if announcement["pid"] == self.process.pid:
                return announcement
        if self.process.poll() is not None:
            raise RuntimeError("the server ended before it was up")
        return None


def launch(state_dir: Path, options: Mapping[str, object]) -> subprocess.Popen[bytes]:
    """Start a demo server over ``state_dir``, without any environment, and return its process.

    An option of None is left out.
    """
    command = [sys.executable, "-m", "orchestration_demo", "--state-dir", str(state_dir)]
    for name, value in options.items():
        if value is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env={})  # noqa: S603 - ours


DEFAULTS = {"rows_per_week": 600, "requests_per_second": 0, "clock_now": NOW}
StartDemo = Callable[..., Demo]
