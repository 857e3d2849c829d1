"""Prometheus, Alertmanager and the gateway: an alert arrives once, and ends."""

import json
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import uvicorn

from orchestration_project.cli.stack_services import Program, alertmanager, find_program, prometheus
from orchestration_project.settings.deployment import STACK_PORTS
from tests.gateway.api.conftest import Api, open_api
from tests.programs import free_port, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (find_program("prometheus") and find_program("prometheus-alertmanager")),
        reason="Prometheus or Alertmanager is missing",
    ),
]

TITLE = "postgresql at 127.0.0.1"
STARTED = ("alertmanager", "postgres_exporter")


class Metrics(BaseHTTPRequestHandler):
    """Serves no metrics, so that the exporter counts as up."""

    def do_GET(self) -> None:
        """Answer with an empty page."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Write nothing."""


class Site:
    """A gateway, Prometheus and Alertmanager; the exporter of PostgreSQL is away."""

    def __init__(self, folder: Path, api: Api) -> None:
        self.folder, self.api = folder, api
        self.ports = {name: free_port() for name in STACK_PORTS}
        key = folder / "alerts_key"
        key.write_text(str(api.keys["operator"]))
        self._prometheus = prometheus(folder / "prometheus", key, self.ports, STARTED)
        self._alertmanager = alertmanager(folder / "alertmanager", key, self.ports)
        hurry_and_expect_change(
            folder / "prometheus" / "prometheus.yml", r"scrape_(interval|timeout): \d+s"
        )
        hurry_and_expect_change(folder / "prometheus" / "rules" / "programs.yml", r"for: \d+m")
        hurry_and_expect_change(
            folder / "alertmanager" / "alertmanager.yml", r"group_(wait|interval): \d+[sm]"
        )
        config = folder / "prometheus" / "prometheus.yml"
        config.write_text(
            config.read_text().replace("global:", "global:\n  evaluation_interval: 1s")
        )

    @contextmanager
    def gateway(self) -> Iterator[None]:
        with socket.create_server(("127.0.0.1", self.ports["gateway"])) as listener:
            config = uvicorn.Config(self.api.app, log_level="critical", lifespan="off")
            server = uvicorn.Server(config)
            thread = Thread(target=server.run, args=([listener],))
            thread.start()
            try:
                wait_for(lambda: server.started, 30)
                yield
            finally:
                server.should_exit = True
                thread.join()

    @contextmanager
    def exporter(self) -> Iterator[None]:
        with ThreadingHTTPServer(("127.0.0.1", self.ports["postgres_exporter"]), Metrics) as server:
            thread = Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()

    @contextmanager
    def running(self, program: Program) -> Iterator[None]:
        with (self.folder / f"{program.name}.log").open("ab") as log:
            process = subprocess.Popen(program.command, stdout=log, stderr=log)  # noqa: S603 - Debian's
            try:
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait()

    def prometheus(self):
        return self.running(self._prometheus)

    def alertmanager(self):
        return self.running(self._alertmanager)

    def forget_notifications(self) -> None:
        shutil.rmtree(self.folder / "alertmanager" / "data")

    def known_to_alertmanager(self) -> list[str]:
        found = self._ask("/api/v2/alerts?active=true")
        return [load["labels"]["alertname"] for load in json.loads(found or "[]")]

    def sent_count(self) -> float:
        """Return how many notifications Alertmanager sent since its start, without failures."""
        counts = {
            name: float(count)
            for name, count in re.findall(
                r'^(alertmanager_notifications\w*_total)\{integration="webhook"\} (\S+)$',
                self._ask("/metrics"),
                re.MULTILINE,
            )
        }
        failed = counts.get("alertmanager_notifications_failed_total", 0)
        return counts.get("alertmanager_notifications_total", 0) - failed

    def _ask(self, path: str) -> str:
        url = f"http://127.0.0.1:{self.ports['alertmanager']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read().decode()
        except (urllib.error.URLError, ConnectionError):  # while it starts
            return ""

    def entries(self) -> list[dict[str, Any]]:
        found = self.api.get("/attention?kind=alert")["entries"]
        return [entry for entry in found if entry["title"].startswith(TITLE)]


def hurry_and_expect_change(file: Path, waits: str) -> None:
    """Have each wait of a configuration last a second."""
    text, count = re.subn(
        waits, lambda found: re.sub(r"\d+[sm]$", "1s", found.group()), file.read_text()
    )
    assert count
    file.write_text(text)


def test_an_alert_arrives_once_after_an_outage_of_the_gateway_and_ends_when_it_is_resolved(
    tmp_path,
):
    with ExitStack() as stack:
        api = stack.enter_context(open_api(tmp_path))
        site = Site(tmp_path, api)
        stack.enter_context(site.prometheus())
        with site.alertmanager():
            wait_for(lambda: "ServiceNotScraped" in site.known_to_alertmanager(), 60)
            assert site.entries() == []
            with site.gateway():
                [entry] = wait_for(site.entries, 120)
                assert entry["expectations"][0]["name"] == "prometheus"
        site.forget_notifications()
        with site.alertmanager(), site.gateway():
            wait_for(lambda: site.sent_count() >= 1, 120)
            assert [entry["entry_id"] for entry in site.entries()] == [entry["entry_id"]]
            with site.exporter():
                wait_for(lambda: site.entries() == [], 120)
