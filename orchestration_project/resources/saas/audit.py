"""The audit log: what reconciliation did and decided; rows are only added."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Connection, insert

from orchestration_project.domains.saas.hashing import canonical
from orchestration_project.redaction import redacted
from orchestration_project.tables.saas import saas_audit_log

LONGEST = 20_000
"""Characters of a detail that are kept; of what people had written, all: it is nowhere else."""


@dataclass(frozen=True)
class Entity:
    """What an entry is about; by name the key of saas_source_states."""

    system: str
    entity_type: str
    entity_id: str

    @classmethod
    def of_outbox(cls, system: str, outbox_entity: str) -> Self:
        """Return what the outbox calls so."""
        return cls(system, *outbox_entity.split("|", 1))

    @property
    def source_id(self) -> str:
        """What the target calls it: our entity property holds this."""
        return f"{self.system}:{self.entity_type}:{self.entity_id}"

    @property
    def outbox_entity(self) -> str:
        """What the outbox calls it, within its topic."""
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
class Entry:
    """Something that was done: the operation is one word, docs/saas.md has all."""

    entity: Entity
    operation: str
    target_key: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def record(connection: Connection, entries: Iterable[Entry], *, at: datetime, run_id: str) -> None:
    """Add entries, in their order."""
    rows = [
        {
            **each.entity.key,
            "entry_id": f"{at:%Y%m%dT%H%M%S.%f}-{number:06}-{secrets.token_hex(6)}",
            "happened_at": at,
            "target_key": each.target_key,
            "operation": each.operation,
            "detail": redacted(canonical(each.detail))[: _most(each)],
            "run_id": run_id,
        }
        for number, each in enumerate(entries)
    ]
    if rows:
        connection.execute(insert(saas_audit_log), rows)


def _most(each: Entry) -> int | None:
    return None if each.operation == "overwritten" else LONGEST
