"""How a pair of systems stands: what is seen, what waits, what was refused, who is unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, func, select

from orchestration_project.resources.warehouse import Warehouse
from orchestration_project.resources.warehouse.frames import read_frame
from orchestration_project.tables.kinds import schema_of
from orchestration_project.tables.saas import (
    saas_audit_log,
    saas_dead_letters,
    saas_source_states,
)
from orchestration_project.tables.spine import outbox

STATES, LETTERS = saas_source_states.c, saas_dead_letters.c

PREVIEWED = 20
"""Rows of a preview, so that an event stays small."""

LONGEST_WAIT = timedelta(hours=1)
"""For which an intention may wait; the systems are asked again at least as often."""

MANY_REFUSED_SHARE = 0.01
MANY_UNMATCHED_SHARE = 0.5


@dataclass(frozen=True)
class Standing:
    """Counts of what there is.

    Attributes:
        by_action: Tasks that are there, by what their rule says; "no rule" of those without one.
        outcomes: Intentions of the outbox by their state.
        oldest_waiting_at: When the oldest that waits was planned, and why it does.
        refused: Dead letters that nobody has dealt with.
        unresolved: Assignees whom the target does not know, with how many tasks.
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


def standing(warehouse: Warehouse, system: str, topic: str) -> Standing:
    """Return how a pair stands."""
    with warehouse.reading() as connection:
        oldest = connection.execute(
            select(outbox.c.planned_at, outbox.c.reason)
            .where(outbox.c.topic == topic, outbox.c.state == "waiting")
            .order_by(outbox.c.planned_at, outbox.c.entity)
            .limit(1)
        ).first()
        is_open = (LETTERS.system == system) & LETTERS.ended_at.is_(None)
        return Standing(
            _by_action(connection, system),
            _count(connection, STATES.system == system, STATES.target_key.is_not(None)),
            _pairs(connection, outbox.c.state, outbox.c.topic == topic),
            oldest.planned_at if oldest else None,
            (oldest.reason or "") if oldest else "",
            _latest(
                connection,
                select(saas_dead_letters)
                .where(is_open)
                .order_by(LETTERS.failed_at.desc(), LETTERS.entity_id),
                saas_dead_letters,
            ),
            connection.execute(
                select(func.count()).select_from(saas_dead_letters).where(is_open)
            ).scalar_one(),
            _pairs(
                connection,
                STATES.unresolved_email,
                STATES.system == system,
                STATES.unresolved_email.is_not(None),
                STATES.gone_at.is_(None),
            ),
            _latest(
                connection,
                select(saas_audit_log).order_by(saas_audit_log.c.entry_id.desc()),
                saas_audit_log,
            ),
        )


def _by_action(connection: Connection, system: str) -> dict[str, int]:
    found: dict[str, int] = {}
    wanted = (
        select(STATES.action, STATES.rule.is_(None).label("is_unmatched"), func.count())
        .where(STATES.system == system, STATES.gone_at.is_(None))
        .group_by(STATES.action, STATES.rule.is_(None))
    )
    for action, is_unmatched, number in connection.execute(wanted):
        name = "no rule" if is_unmatched else action
        found[name] = found.get(name, 0) + number
    return dict(sorted(found.items()))


def _pairs(connection: Connection, column: Any, *conditions: Any) -> dict[str, int]:
    wanted = select(column, func.count()).where(*conditions).group_by(column).order_by(column)
    return {row[0]: row[1] for row in connection.execute(wanted)}


def _count(connection: Connection, *conditions: Any) -> int:
    wanted = select(func.count()).select_from(saas_source_states).where(*conditions)
    return connection.execute(wanted).scalar_one()


def _latest(connection: Connection, wanted: Any, table: Any) -> pl.DataFrame:
    names: Sequence[str] = list(schema_of(table))
    return read_frame(connection, wanted.limit(PREVIEWED), table).select(names)
