"""View of the deliveries of the inbox with the states of their work items."""

from collections.abc import Mapping

from sqlalchemy import and_, func

from orchestration_project.tables.schema import BYTEWISE_TEXT
from orchestration_project.tables.spine import inbox, work_items
from orchestration_project.tables.views import ViewColumn, as_it_is, labelled, view

DELIVERY_TOPICS = "webhooks/"
"""Prefix of the topics of deliveries; the name of the source follows."""

STATE_NAMES: Mapping[str, str] = {"ready": "received", "leased": "running", "skipped": "done"}
"""States of deliveries whose work item names them otherwise."""

_item = work_items.c

IS_ITEM_OF_DELIVERY = and_(
    _item.topic == DELIVERY_TOPICS + inbox.c.source, _item.item_key == inbox.c.delivery_id
)

_STATES = view(
    "inbox_states",
    "One row per webhook delivery of the inbox, with the state of its work item.",
    as_it_is(inbox.c.source),
    as_it_is(inbox.c.delivery_id),
    as_it_is(inbox.c.kind),
    as_it_is(inbox.c.received_at),
    ViewColumn(
        "state",
        func.coalesce(labelled(_item.state, STATE_NAMES), "done", type_=BYTEWISE_TEXT),
        "State: received, running, done, failed (it is retried) or dead (it is not)",
    ),
    ViewColumn(
        "attempt_count", func.coalesce(_item.attempt_count, 0), "Runs for the delivery that ended"
    ),
    ViewColumn(
        "allowed_count",
        func.coalesce(_item.allowed_count, 0),
        "Attempts after which the state is dead; a replay allows more; 0: without work",
    ),
    ViewColumn(
        "run_id", _item.run_id, "Dagster run of the latest attempt; NULL: none yet", optional=True
    ),
    ViewColumn(
        "changed_at",
        func.coalesce(_item.changed_at, inbox.c.received_at),
        "UTC time of the latest change of state or run",
    ),
    as_it_is(inbox.c.trace_id),
    as_it_is(inbox.c.span_id),
    source=inbox.outerjoin(work_items, IS_ITEM_OF_DELIVERY),
)
"""A delivery without a work item is done: nothing was to be done with it."""

inbox_states, select_states = _STATES.table, _STATES.select
"""The view, and its select, to which conditions of both tables can be added."""
