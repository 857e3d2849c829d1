"""Why a landing changed what it did, as `change_cause` says."""

from datetime import datetime

from sqlalchemy import Connection, func, literal, select

from orchestration_project.engine.warehouse.delivery import Ready, ScopeState
from orchestration_project.engine.warehouse.difference import Counts
from orchestration_project.engine.warehouse.frames import range_of, within


def cause_of_value(before: ScopeState, each: Ready) -> str:
    """Return who changed values, where any did: the source, or our rules."""
    same_source = before.source_version == each.delivery.source_version
    new_rules = before.rule_version != each.order.rule_version
    return "ours" if each.delivery.is_ours or (same_source and new_rules) else "source"


def cause_of(
    connection: Connection,
    before: ScopeState,
    each: Ready,
    counts: Counts,
    of_value: str,
    known_from: datetime,
) -> str:
    """Return the `change_cause` of a landing, whose rows are written."""
    if before.source is None:
        return "first"
    only_adds = counts.added and not counts.replaced and not each.delivery.is_ours
    if only_adds and _reaches_on(connection, each, known_from):
        return "more"  # days that follow, or precede, or another market restate nothing
    if counts.added or counts.removed or counts.changed > counts.metadata_changed:
        return of_value
    return "metadata" if counts.metadata_changed else "none"


def _reaches_on(connection: Connection, each: Ready, known_from: datetime) -> bool:
    """Whether a delivery is of a range, or its new rows are all of markets that had no row."""
    if range_of(each.delivery.scope) is not None:
        return True
    table = each.order.table
    columns = [table.c[name] for name, value in each.scope.items() if isinstance(value, tuple)]
    if not columns:
        return False
    oldest, newest = func.min(table.c.known_from), func.max(table.c.known_from)
    both = select(literal(1)).where(within(table, each.scope)).group_by(*columns)
    both = both.having(oldest < known_from, newest == known_from).limit(1)
    return connection.execute(both).first() is None
