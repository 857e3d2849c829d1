"""Load of what a plugin emitted, in one transaction: rows with history, and outbox.

A run whose rows are rejected, that was refused something or that broke off loads nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from io import BufferedRandom
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from orchestration_project.domains.plugins.manifest import Manifest, validator_of
from orchestration_project.domains.plugins.protocol import Act, Emit, Publish
from orchestration_project.domains.plugins.rows import RULE_VERSION, RowSet
from orchestration_project.domains.plugins.tables import plugins_rows
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.chain import hash_content
from orchestration_project.engine.outbox import (
    Intention,
    Latest,
    add_intentions,
    read_latest,
)
from orchestration_project.engine.spill import DiskSpill
from orchestration_project.engine.warehouse import (
    Delivery,
    TableSpec,
    ValidatedBatch,
    Warehouse,
    WriteResult,
    prepare,
)
from orchestration_project.engine.warehouse.delivery import require_written
from orchestration_project.engine.warehouse.target import ScopeState, skip_summary

SOURCE = "plugin"
ACTION_TOPIC = "plugins_actions"
"""Topics of actions in the outbox begin with it: ``plugins_actions/<plugin>/<action>``."""

PLUGIN_ROWS = TableSpec(table=plugins_rows, rule_version=RULE_VERSION, summarise=skip_summary)


def fence_key(plugin: str, table: str, partition_key: str) -> str:
    """Return the key under which a row set's partition is fenced."""
    return "|".join(filter(None, (plugin, table, partition_key)))


@dataclass
class Emissions:
    """Collects the rows and events that one run emits, and loads them.

    Attributes:
        manifest: Manifest, with the schemas of rows.
        partition_key: Partition of the run; empty: it has none.
        scratch: Folder of rows that are too many for memory.
        states: Loaded state of each row set before the run started.
    """

    manifest: Manifest
    partition_key: str
    scratch: Path
    states: dict[str, ScopeState] = field(default_factory=dict[str, ScopeState])
    row_sets: dict[str, RowSet] = field(default_factory=dict[str, RowSet])
    events: list[Publish | Act] = field(default_factory=list[Publish | Act])
    _lines: dict[str, BufferedRandom] = field(default_factory=dict[str, BufferedRandom])
    _spills: list[DiskSpill] = field(default_factory=list[DiskSpill])

    def read_states(self, warehouse: Warehouse, tables: Sequence[str]) -> None:
        """Read the loaded states of the row sets, before the plugin reads anything."""
        for table in tables:
            key = fence_key(self.manifest.id, table, self.partition_key)
            self.states[table] = warehouse.state(plugins_rows, key)

    def add_rows(self, message: Emit) -> None:
        """Add rows of a granted row set."""
        rows = self.row_sets.get(message.table)
        if rows is None:
            schema = self.manifest.row_schemas[message.table]
            validator = validator_of(schema)
            rows = self.row_sets[message.table] = RowSet(message.table, validator, self._spill)
            self._lines[message.table] = self._spill().new_file()
        lines = b"".join([rows.add(row) for row in message.rows])
        with self._spill().explained():
            self._lines[message.table].write(lines)

    def add_event(self, message: Publish | Act) -> None:
        """Add a granted event or action."""
        self.events.append(message)

    def _spill(self) -> DiskSpill:
        if not self._spills:
            self._spills.append(DiskSpill(self.scratch))
        return self._spills[0]

    @property
    def row_count(self) -> int:
        """Rows that were emitted."""
        return sum(row_set.line_count for row_set in self.row_sets.values())

    def load(
        self, warehouse: Warehouse, captures: Captures, clock: Clock, *, run_id: str
    ) -> list[WriteResult[None]]:
        """Capture, validate and load all row sets, and write the outbox, in one transaction.

        Raises:
            QuarantinedError: Rows were rejected; rejects and audits of their set are recorded, and
                nothing is loaded.
            SupersededError: Another run loaded the same partition first.
            OrchestrationError: The database or the artifact store cannot be used.
        """
        batches = [
            self._batch(rows, captures, clock, run_id=run_id) for rows in self.row_sets.values()
        ]
        quarantined = [batch for batch in batches if batch.validated.is_quarantined]
        if quarantined:
            return require_written(warehouse.load_batches(quarantined))

        def finish(connection: Connection, ended: Sequence[Any]) -> None:
            require_written(ended)
            self._write_events(connection, clock.now(), run_id)

        if not batches and not self.events:
            return []
        return require_written(warehouse.load_batches(batches, note=finish))

    def _batch(
        self, rows: RowSet, captures: Captures, clock: Clock, *, run_id: str
    ) -> ValidatedBatch[None]:
        plugin = self.manifest.id
        scope = {
            "plugin": plugin,
            "table_name": rows.table,
            "partition_key": self.partition_key,
        }
        key = fence_key(plugin, rows.table, self.partition_key)
        capture = captures.put_stream(
            self._lines[rows.table],
            url=f"plugin:{plugin}/{rows.table}",
            request={"plugin": plugin, "version": self.manifest.version, "table": rows.table},
            fetched_at=clock.now(),
            row_count=rows.line_count,
        )
        target = PLUGIN_ROWS.target(key, scope, self.states[rows.table], run_id=run_id)
        delivery = Delivery(
            source=SOURCE,
            dataset=f"{plugin}/{rows.table}",
            source_version=f"{self.manifest.version} {capture.sha256}",
            record_total=rows.line_count,
            captures=[capture],
        )
        validated = rows.validated(plugin=plugin, partition_key=self.partition_key)
        as_file = None if validated.ranges is None else _hash_rows
        return prepare(target, delivery, validated, as_file)

    def _write_events(self, connection: Connection, now: datetime, run_id: str) -> None:
        """Write the events and actions that are new: a retried run requests none twice."""
        latest: dict[tuple[str, str], Latest] = {}
        intentions: list[Intention] = []
        for message in self.events:
            topic, fields = self._event(message)
            key = (topic, message.key)
            payload = json.dumps(fields, sort_keys=True)
            number, state, earlier = latest.get(key) or read_latest(connection, *key)
            if number and state != "dead" and (isinstance(message, Act) or earlier == payload):
                continue
            latest[key] = Latest(number + 1, "waiting", payload)
            intentions.append(Intention(topic, message.key, number + 1, payload))
        add_intentions(connection, intentions, now=now, run_id=run_id)

    def _event(self, message: Publish | Act) -> tuple[str, dict[str, Any]]:
        if isinstance(message, Publish):
            return message.topic, message.payload
        return action_topic(self.manifest.id, message.action), message.fields


def _hash_rows(validated: Validated, columns: Sequence[str]) -> tuple[bytes, str]:
    """Return no file, and the SHA-256 of the rows range by range, which are never held together."""
    digest = sha256()
    for rows in validated.pieces():
        digest.update(hash_content(rows.select(columns)).encode())
    return b"", digest.hexdigest()


def action_topic(plugin: str, action: str) -> str:
    """Return the topic of an action in the outbox."""
    return f"{ACTION_TOPIC}/{plugin}/{action}"
