"""Equation of webhooks: where each accepted delivery is."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, Connection, and_, exists, not_

from orchestration_project.engine.equations import (
    BalanceFilter,
    Equation,
    SubjectBalance,
    read_places,
)
from orchestration_project.tables.spine import deliveries, inbox, inbox_states, landings
from orchestration_project.tables.webhooks import events_webhooks

DELIVERIES = inbox_states.alias(inbox.name)
"""The view under the name of the table whose rows are counted."""


def read_deliveries(connection: Connection, chosen: BalanceFilter) -> Iterator[SubjectBalance]:
    """Return the equation of each source."""
    is_chosen = chosen.holds(DELIVERIES.c.received_at)
    return read_places(connection, "deliveries", DELIVERIES.c.source, _map_places(), is_chosen)


def _map_places() -> dict[str, ColumnElement[bool]]:
    """Return the condition of each place; a delivery is at one, unless it was lost."""
    row = DELIVERIES.c
    is_done = row.state == "done"
    key = row.source + "|" + row.delivery_id
    pair = (
        events_webhooks.c.source == row.source,
        events_webhooks.c.delivery_id == row.delivery_id,
    )
    is_loaded = exists().where(*pair)
    is_recorded = exists().where(
        deliveries.c.table_name == events_webhooks.name, deliveries.c.partition_key == key
    )
    is_rejected = exists().where(
        landings.c.table_name == events_webhooks.name,
        landings.c.partition_key == key,
        landings.c.rows_rejected > 0,
    )
    has_run = row.run_id.is_not(None)
    return {
        "loaded": and_(is_done, is_loaded),
        "rejected": and_(is_done, not_(is_loaded), is_rejected),
        "handled_by_runs": and_(is_done, not_(is_recorded), has_run),
        "without_work": and_(is_done, not_(is_recorded), not_(has_run), row.allowed_count == 0),
        "dead": row.state == "dead",
        "waiting": row.state.in_(("received", "running", "failed")),
    }


EQUATIONS = [
    Equation(
        name="deliveries",
        meaning=(
            "accepted deliveries of a source = loaded + rejected + handled by runs + without work "
            "+ dead + waiting"
        ),
        table_names=[inbox.name],
        read=read_deliveries,
    )
]
