"""Records of what plugins called and were refused, and the end of a plugin that exceeds its rights.

A violation is committed when it happens, so that it stays whatever becomes of the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    delete,
    func,
    insert,
    select,
    tuple_,
)

from orchestration_project.domains.plugins.judging import (
    MAX_TARGET_CHARACTERS,
    RUNS_OF_VIOLATIONS,
    VIOLATIONS_TO_DISABLE,
)
from orchestration_project.domains.plugins.tables import plugins, plugins_calls, plugins_violations
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.redaction import redacted

MAX_REASON_CHARACTERS = 500
MAX_BATCH_CALLS = 500
ROWS_PER_STATEMENT = 5_000

REQUEST_PREFIX = "request-"
"""Begins the ID of a request of an endpoint: only runs count against a plugin."""


@dataclass
class CallRecorder:
    """Numbers and writes the calls and violations of one run of a plugin.

    Attributes:
        warehouse: Database.
        clock: Times of calls.
        plugin: ID of the plugin.
        run_id: Dagster's run, or the ID of a request.
        violations: Violations of this run, each as permission and reason.
    """

    warehouse: Warehouse
    clock: Clock
    plugin: str
    run_id: str
    violations: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    _waiting: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _groups: dict[tuple[str, str], dict[str, Any]] = field(
        default_factory=dict[tuple[str, str], dict[str, Any]]
    )

    def add(
        self, kind: str, target: str, verdict: str, *, byte_count: int = 0, seconds: float = 0
    ) -> None:
        """Record a call; it is written with others."""
        self._waiting.append(self._row(kind, target, verdict, byte_count, seconds))
        if len(self._waiting) >= MAX_BATCH_CALLS:
            self.write()

    def add_to_group(self, kind: str, target: str, *, byte_count: int) -> None:
        """Record a part of a call that comes in many parts, such as rows of one row set."""
        row = self._groups.get((kind, target))
        if row is None:
            self._groups[kind, target] = self._row(kind, target, "allowed", byte_count, 0)
        else:
            row["bytes"] += byte_count

    def violate(self, permission: str, reason: str) -> None:
        """Record a violation in a transaction of its own."""
        text = redacted(reason)[:MAX_REASON_CHARACTERS]
        self.violations.append((permission, text))
        with self.warehouse.writing() as connection:
            row = {
                "run_id": self.run_id,
                "number": _find_next_number(connection, plugins_violations, self.run_id),
                "plugin": self.plugin,
                "permission": permission[:MAX_TARGET_CHARACTERS],
                "what": text,
                "at": self.clock.now(),
            }
            connection.execute(insert(plugins_violations), [row])

    def write(self) -> None:
        """Write the calls that wait, in one transaction."""
        rows = [*self._waiting, *self._groups.values()]
        if not rows:
            return
        with self.warehouse.writing() as connection:
            first = _find_next_number(connection, plugins_calls, self.run_id)
            numbered = [{**row, "number": first + index} for index, row in enumerate(rows)]
            connection.execute(insert(plugins_calls), numbered)
        self._waiting.clear()
        self._groups.clear()

    def _row(
        self, kind: str, target: str, verdict: str, byte_count: int, seconds: float
    ) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "plugin": self.plugin,
            "kind": kind,
            "target": redacted(target)[:MAX_TARGET_CHARACTERS],
            "verdict": verdict,
            "bytes": byte_count,
            "seconds": seconds,
            "at": self.clock.now(),
        }


def _find_next_number(connection: Connection, table: Any, run_id: str) -> int:
    """Return the number after the last one of a run, of which several partitions may call."""
    last = connection.execute(select(func.max(table.c.number)).where(table.c.run_id == run_id))
    return (last.scalar() or 0) + 1


def state_of(warehouse: Warehouse, plugin: str) -> str:
    """Return the state of a plugin as it is committed now; empty: it was removed."""
    row = warehouse.first(select(plugins.c.state).where(plugins.c.id == plugin))
    return str(row["state"]) if row else ""


def recent_violations(warehouse: Warehouse, plugin: str) -> Sequence[str]:
    """Return the permissions of the violations that count against a plugin, the latest first.

    They are of its latest runs, since its latest change, such as that it was enabled again.
    """
    violations = plugins_violations.c
    since = select(plugins.c.changed_at).where(plugins.c.id == plugin).scalar_subquery()
    counted = (
        select(violations.permission)
        .where(
            violations.plugin == plugin,
            violations.at >= since,
            violations.run_id.in_(_select_latest_runs(plugin)),
        )
        .order_by(violations.at.desc(), violations.number.desc())
    )
    with warehouse.reading() as connection:
        return list(connection.execute(counted).scalars())


def of_run(table: Table) -> ColumnElement[bool]:
    """Return whether a call or violation happened in a run, and not in a request of a viewer."""
    return table.c.run_id.not_like(f"{REQUEST_PREFIX}%")


def _select_latest_runs(plugin: str) -> Select[tuple[str]]:
    """Return the latest runs of a plugin, of which violations count against it."""
    calls, violations = (
        select(table.c.run_id, table.c.at).where(table.c.plugin == plugin, of_run(table))
        for table in (plugins_calls, plugins_violations)
    )
    runs = calls.union_all(violations).subquery()
    latest = (
        select(runs.c.run_id)
        .group_by(runs.c.run_id)
        .order_by(func.max(runs.c.at).desc())
        .limit(RUNS_OF_VIOLATIONS)
        .subquery()
    )
    return select(latest.c.run_id)


def forget_old_calls(warehouse: Warehouse, plugin: str, before: datetime) -> int:
    """Delete calls and violations of a plugin before a time; return how many.

    Those of its latest runs stay, as they count against it. A run deletes some of them, so that its
    transaction is short; the next one goes on.
    """
    deleted = 0
    for table in (plugins_calls, plugins_violations):
        columns = table.c
        is_old = and_(columns.plugin == plugin, columns["at"] < before)
        if warehouse.first(select(columns.run_id).where(is_old).limit(1)) is None:
            continue
        old = (
            select(columns.run_id, columns.number)
            .where(is_old, columns.run_id.not_in(_select_latest_runs(plugin)))
            .order_by(columns["at"])
            .limit(ROWS_PER_STATEMENT)
            .subquery()
        )
        keys = tuple_(columns.run_id, columns.number)
        with warehouse.writing() as connection:
            chosen = keys.in_(select(old.c.run_id, old.c.number))
            deleted += connection.execute(delete(table).where(chosen)).rowcount
    return deleted


def reason_to_disable(permissions: Sequence[str]) -> str:
    """Return why a plugin is to be disabled for its violations; empty: it is not."""
    if len(permissions) < VIOLATIONS_TO_DISABLE:
        return ""
    kinds = ", ".join(dict.fromkeys(permissions))
    return f"{len(permissions)} violations in its last {RUNS_OF_VIOLATIONS} runs: {kinds}"
