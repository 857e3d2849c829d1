"""A throw-away installation on which alerts are caused: own folder, database and channel."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
from pydantic import SecretStr
from sqlalchemy import select

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.services.alerts import Alerts
from orchestration_project.services.alerts.watching import poll_runs, start_polling
from orchestration_project.services.probes import open_alerts
from orchestration_project.settings import Settings
from orchestration_project.tables.operations_alerts import operations_alerts
from tests.dagster_storage import add_heartbeats

RULES = "rules:\n  - name: everything\n"


class Trial:
    """The installation of one trial.

    Attributes:
        folder: Its folder.
        instance: Dagster's instance in it.
        settings: Its settings; `set` changes them.
        received: Titles of the messages that its channel got.
    """

    def __init__(
        self, folder: Path, instance: dg.DagsterInstance, settings: Settings, received: list[str]
    ) -> None:
        self.folder = folder
        self.instance = instance
        self.settings = settings
        self.received = received
        self._progress = start_polling(instance).progress

    @property
    def alerts(self) -> Alerts:
        """Store and channel of its alerts."""
        return open_alerts(self.settings, REGISTRY)

    def now(self) -> datetime:
        """Return the machine's time."""
        return Clock().now()

    def set(self, **values: Any) -> None:
        """Change settings."""
        self.settings = self.settings.model_copy(update=values)

    def warehouse(self) -> AbstractContextManager[Warehouse]:
        """Open its database."""
        return open_warehouse(self.settings)

    def poll_runs(self) -> None:
        """Look at runs, ticks and conditions as the sensor does, then send what was raised."""
        alerts = self.alerts
        self._progress = poll_runs(self.instance, alerts, self._progress).progress
        try:
            with alerts.inbox() as inbox:
                alerts.deliver(inbox)
        except OrchestrationError:  # the database is lost, which `poll_runs` has sent by itself
            return

    def states(self, kind: str) -> list[str]:
        """Return the state of each stored alert of a kind."""
        wanted = select(operations_alerts.c.state).where(operations_alerts.c.kind == kind)
        with self.warehouse() as warehouse, warehouse.reading() as connection:
            return list(connection.execute(wanted).scalars())

    def sent_count(self, kind: str) -> int:
        """Return how many messages its channel got of stored alerts of a kind."""
        wanted = select(operations_alerts.c.title).where(operations_alerts.c.kind == kind)
        with self.warehouse() as warehouse, warehouse.reading() as connection:
            titles = set(connection.execute(wanted).scalars())
        return sum(title in titles for title in self.received)

    def beat(self, at: datetime) -> None:
        """Store a heartbeat of each part of Dagster's daemon."""
        add_heartbeats(self.instance, at)

    def certificate(self, *, days: int) -> Path:
        """Write a certificate for localhost that is valid for so long."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        found = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now() - timedelta(days=1))
            .not_valid_after(self.now() + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
            .sign(key, hashes.SHA256())
        )
        file = self.folder / f"certificate-{days}.pem"
        file.write_bytes(found.public_bytes(serialization.Encoding.PEM))
        return file


@contextmanager
def opened_trial(given: Settings, folder: Path) -> Iterator[Trial]:
    """Open a throw-away installation in an empty folder; that of ``given`` is not touched."""
    rules = folder / "alerts.yaml"
    rules.write_text(RULES, encoding="utf-8")
    (folder / "state").mkdir()
    with _channel() as (url, received), dg.DagsterInstance.local_temp(str(folder)) as instance:
        settings = given.model_copy(
            update={
                "state_dir": folder / "state",
                "database_url": None,
                "database_schema": None,
                "dagster_database_url": None,
                "alert_urls": SecretStr(f"info={url}"),
                "alert_url_name": None,
                "slack_webhook": None,
                "alert_rules": rules,
                "alert_repeat_after_hours": 24.0,
                "backup_max_age_hours": None,
                "disk_headroom_mib": 0,
                "public_url": "http://127.0.0.1",
                "public_certificate_file": None,
            }
        )
        trial = Trial(folder, instance, settings, received)
        with trial.warehouse():
            yield trial


@contextmanager
def _channel() -> Iterator[tuple[str, list[str]]]:
    """Serve a channel of alerts on the loopback address; give its URL and the titles it got."""
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            received.append(str(json.loads(self.rfile.read(length))["title"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *_: Any) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"json://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
            thread.join()
