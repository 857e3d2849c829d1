"""Messages of a test in the inbox, and the mirror that reads them."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, insert, select

from orchestration_project.domains.mqtt.tables import mqtt_inbox, mqtt_mirror
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.mqtt.kinds import read_kind_files
from orchestration_project.resources.mqtt.mirroring import Mirror, MirrorCounts
from orchestration_project.resources.mqtt.ranges import (
    TOPIC,
    RangeLoader,
    RangeSummary,
    plan_ranges,
    range_items,
)
from orchestration_project.tables.spine import work_items

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TRACE = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
KINDS = Path(__file__).resolve().parents[2] / "config/kinds"


def message(
    key: str,
    kind: str = "project.updated",
    payload: Mapping[str, Any] | None = None,
    *,
    ts: datetime = NOON,
    trace_id: str = TRACE,
) -> bytes:
    """Return the bytes of an event."""
    return json.dumps(
        {
            "trace_id": trace_id,
            "ts": ts.isoformat(),
            "kind": kind,
            "idempotency_key": key,
            "payload": {"project_id": "p1"} if payload is None else payload,
        }
    ).encode()


def tolerant_kinds(folder: Path) -> Path:
    """Write kinds of projects that accept any payload with values of the columns' types."""
    folder.mkdir()
    for operation in ("created", "updated", "deleted"):
        schema = {"x-entity": "project", "x-operation": operation}
        (folder / f"project.{operation}.v1.json").write_text(json.dumps(schema))
    return folder


@dataclass
class MqttSync:
    """Puts messages into the inbox of a database, and mirrors them."""

    warehouse: Warehouse
    clock: Clock
    folder: Path
    arrivals: int = 0

    def mirror(self, *, kinds: Path = KINDS, run_id: str = "run", **limits: Any) -> Mirror:
        """Return the writer of the mirror."""
        return Mirror(
            warehouse=self.warehouse,
            captures=Captures(FolderStore(self.folder / "artifacts")),
            clock=self.clock,
            kinds=read_kind_files(kinds),
            source="demo",
            run_id=run_id,
            **{"max_bytes": 100_000, "max_skew_seconds": 300, **limits},
        )

    def receive(
        self,
        *payloads: bytes,
        topic: str = "tracker/events/projects/p1",
        at: datetime = NOON,
        kept_bytes: int | None = None,
        trace_id: str | None = None,
    ) -> list[int]:
        """Insert messages as a bridge does; return the numbers of their arrivals."""
        rows: list[dict[str, Any]] = []
        for payload in payloads:
            self.arrivals += 1
            rows.append(
                {
                    "arrival_id": self.arrivals,
                    "broker": "broker:1883",
                    "topic": topic,
                    "qos": 1,
                    "is_retained": False,
                    "is_duplicate": False,
                    "payload": base64.b64encode(payload[:kept_bytes]).decode(),
                    "byte_count": len(payload),
                    "sha256": hashlib.sha256(payload).hexdigest(),
                    "received_at": at,
                    "trace_id": trace_id,
                }
            )
        with self.warehouse.writing() as connection:
            connection.execute(insert(mqtt_inbox), rows)
        return [row["arrival_id"] for row in rows]

    def plan(self, **limits: int) -> list[str]:
        """Plan the ranges of what waits; return the keys of those that are not mirrored."""
        while plan_ranges(self.warehouse, self.clock, **limits):
            pass
        return [row["item_key"] for row in self.rows(work_items) if row["state"] == "ready"]

    def run_and_expect_all_settled(self, *, max_range: int = 2_000, **mirror: Any) -> MirrorCounts:
        """Mirror what waits, as a run does; return the counts."""
        loader = RangeLoader(self.mirror(**mirror))
        summary = RangeSummary(written=loader.written)
        self.plan(max_range=max_range)
        items = range_items(self.warehouse, self.clock)
        while claimed := items.claim(
            TOPIC,
            limit=1,
            run_id="run",
            until=self.clock.now() + timedelta(hours=1),
            in_order=True,
        ):
            batch = list(loader.extract(claimed))
            with self.warehouse.writing() as connection:
                settlements = loader.load(connection, batch)
                assert not items.settle(connection, settlements)
            summary.add(settlements)
        return summary.totals

    def rows(self, table: Table) -> list[dict[str, Any]]:
        """Return all rows of a table by its key."""
        with self.warehouse.reading() as connection:
            wanted = select(table).order_by(*table.primary_key.columns)
            return [dict(row) for row in connection.execute(wanted).mappings()]

    def keys(self) -> list[str]:
        """Return the keys of the mirror."""
        return [row["idempotency_key"] for row in self.rows(mqtt_mirror)]

    def count(self, table: Table) -> int:
        """Return the number of rows of a table."""
        with self.warehouse.reading() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()
