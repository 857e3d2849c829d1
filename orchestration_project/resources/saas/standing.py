"""How a pair of systems stands: what is seen, what waits, what was refused, who is unknown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, case, func, select

from orchestration_project.domains.saas.tables import (
    saas_audit_log,
    saas_dead_letters,
    saas_routing_rules,
    saas_source_states,
)
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import read_frame
from orchestration_project.tables.spine import outbox

STATES, LETTERS = saas_source_states.c, saas_dead_letters.c

PREVIEWED, PREVIEWED_CHARACTERS = 20, 500
"""Rows of a preview, and of a detail what it shows, so that an event stays small."""


@dataclass(frozen=True)
class SyncSummary:
    """Counts of what there is.

    Attributes:
        by_action: Tasks that are there, by what their rule says; "no rule" of those without one.
        outcomes: Intentions of the outbox by their state.
        oldest_waiting_at: When the oldest that waits was planned, and why it does.
        refused: Dead letters that are not resolved.
        unresolved: Assignees whom the target does not know, with how many tasks.
        has_rules: Whether a routing rule was ever in effect.
    """

    by_action: Mapping[str, int]
    linked_count: int
    outcomes: Mapping[str, int]
    oldest_waiting_at: datetime | None
    waiting_reason: str
    refused: pl.DataFrame
    refused_count: int
    unresolved: Mapping[str, int]
    audit: pl.DataFrame
    has_rules: bool

    @property
    def task_count(self) -> int:
        """Tasks that the source has."""
        return sum(self.by_action.values())

    @property
    def unmatched_share(self) -> float:
        """Share of tasks that no rule matches."""
        return self.by_action.get("no rule", 0) / (self.task_count or 1)

    @property
    def refused_share(self) -> float:
        """Dead letters by tasks that are to have an issue."""
        return self.refused_count / (self.by_action.get("sync", 0) or 1)


def standing(warehouse: Warehouse, system: str, topic: str) -> SyncSummary:
    """Return how a pair stands."""
    with warehouse.reading() as connection:
        oldest = connection.execute(
            select(outbox.c.planned_at, outbox.c.reason)
            .where(outbox.c.topic == topic, outbox.c.state == "waiting")
            .order_by(outbox.c.planned_at, outbox.c.entity)
            .limit(1)
        ).first()
        is_open = (LETTERS.system == system) & LETTERS.ended_at.is_(None)
        kinds = _count_kinds(connection, system)
        return SyncSummary(
            _sum_by_name((kind.treatment, kind.number) for kind in kinds if kind.is_there),
            sum(kind.number for kind in kinds if kind.is_linked),
            _count_outcomes(connection, topic),
            oldest.planned_at if oldest else None,
            (oldest.reason or "") if oldest else "",
            _read_latest(
                connection,
                select(saas_dead_letters)
                .where(is_open)
                .order_by(LETTERS.failed_at.desc(), LETTERS.entity_id),
                saas_dead_letters,
            ),
            connection.execute(
                select(func.count()).select_from(saas_dead_letters).where(is_open)
            ).scalar_one(),
            _sum_by_name(
                (kind.unresolved_email, kind.number)
                for kind in kinds
                if kind.is_there and kind.unresolved_email
            ),
            _read_latest(
                connection,
                select(saas_audit_log).order_by(saas_audit_log.c.entry_id.desc()),
                saas_audit_log,
            ).with_columns(pl.col("detail").str.slice(0, PREVIEWED_CHARACTERS)),
            has_rules=connection.execute(select(saas_routing_rules.c.rule_id).limit(1)).first()
            is not None,
        )


@dataclass(frozen=True)
class _Kind:
    """Tasks that stand alike; ``treatment`` is what their rule says, or "no rule"."""

    treatment: str
    is_linked: bool
    unresolved_email: str | None
    is_there: bool
    number: int


def _count_kinds(connection: Connection, system: str) -> list[_Kind]:
    """Return how many tasks there are of each kind: all of it in one way through the table."""
    kind = (
        case((STATES.rule.is_(None), "no rule"), else_=STATES.action),
        STATES.target_key.is_not(None),
        STATES.unresolved_email,
        STATES.gone_at.is_(None),
    )
    query = select(*kind, func.count()).where(STATES.system == system).group_by(*kind)
    return [_Kind(*row) for row in connection.execute(query)]


def _sum_by_name(counted: Iterable[tuple[str, int]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, number in counted:
        counts[name] = counts.get(name, 0) + number
    return dict(sorted(counts.items()))


def _count_outcomes(connection: Connection, topic: str) -> dict[str, int]:
    state = outbox.c.state
    query = select(state, func.count()).where(outbox.c.topic == topic).group_by(state)
    return _sum_by_name((item, number) for item, number in connection.execute(query))


def _read_latest(connection: Connection, wanted: Any, table: Any) -> pl.DataFrame:
    names: Sequence[str] = list(derive_schema(table))
    return read_frame(connection, wanted.limit(PREVIEWED), table).select(names)
