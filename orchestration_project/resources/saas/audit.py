"""The audit log of reconciliation: written, and searched."""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Connection, Row, insert, select

from orchestration_project.domains.saas.stored_tasks import canonical
from orchestration_project.domains.saas.tables import saas_audit_log
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.redaction import redacted

OPERATIONS = (
    *("created", "found", "lost", "updated", "overwritten", "transitioned", "completed"),
    *("not_needed", "refused", "dropped", "held", "source_deleted"),
    *("rule_added", "rule_changed", "rule_ended", "rule_disabled", "rule_enabled"),
)
"""Operations of entries, as docs/explanation/sync.md lists them."""

MAX_DETAIL_LENGTH = 20_000
"""Characters of a detail that are kept; of what people had written, all: it is nowhere else."""


@dataclass(frozen=True)
class Entity:
    """Subject of an entry; by name the key of saas_source_states."""

    system: str
    entity_type: str
    entity_id: str

    @classmethod
    def of_outbox(cls, system: str, outbox_entity: str) -> Self:
        """Return the entity that the outbox names."""
        return cls(system, *outbox_entity.split("|", 1))

    @property
    def source_id(self) -> str:
        """Name in the target: our entity property has it."""
        return f"{self.system}:{self.entity_type}:{self.entity_id}"

    @property
    def outbox_entity(self) -> str:
        """Key in the outbox, within its topic."""
        return f"{self.entity_type}|{self.entity_id}"

    @property
    def key(self) -> dict[str, str]:
        """Its key in the tables of reconciliation."""
        return {
            "system": self.system,
            "entity_type": self.entity_type,
            "entity_id": self.entity_id,
        }


@dataclass(frozen=True)
class SyncLogEntry:
    """Something that was done: the operation is one word, docs/explanation/sync.md lists all."""

    entity: Entity
    operation: str
    target_key: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def record(
    connection: Connection, entries: Iterable[SyncLogEntry], *, at: datetime, run_id: str
) -> None:
    """Add entries, in their order."""
    rows = [
        {
            **entry.entity.key,
            "entry_id": f"{at:%Y%m%dT%H%M%S.%f}-{number:06}-{secrets.token_hex(6)}",
            "happened_at": at,
            "target_key": entry.target_key,
            "operation": entry.operation,
            "detail": redacted(canonical(entry.detail))[: _limit_detail(entry)],
            "run_id": run_id,
        }
        for number, entry in enumerate(entries)
    ]
    if rows:
        connection.execute(insert(saas_audit_log), rows)


def _limit_detail(each: SyncLogEntry) -> int | None:
    return None if each.operation == "overwritten" else MAX_DETAIL_LENGTH


LOG = saas_audit_log.c


@dataclass(frozen=True)
class Search:
    """Filter of entries, the latest first; None: no condition.

    Attributes:
        text: Stands anywhere in the detail; upper and lower case are the same.
        before: An entry_id: only what happened before it.
    """

    entity_id: str | None
    issue_key: str | None
    operation: str | None
    text: str | None
    before: str | None
    limit: int


def search_audit(warehouse: Warehouse, search: Search) -> Sequence[Row[Any]]:
    """Return the entries that fit."""
    query = select(saas_audit_log).order_by(LOG.entry_id.desc()).limit(search.limit)
    exact = {
        LOG.entity_id: search.entity_id,
        LOG.target_key: search.issue_key,
        LOG.operation: search.operation,
    }
    for column, value in exact.items():
        query = query if value is None else query.where(column == value)
    if search.text is not None:
        written = json.dumps(search.text)[1:-1]  # as JSON has it, letters beyond ASCII escaped
        query = query.where(LOG.detail.icontains(written, autoescape=True))
    if search.before is not None:
        query = query.where(LOG.entry_id < search.before)
    with warehouse.reading() as connection:
        return connection.execute(query).all()
