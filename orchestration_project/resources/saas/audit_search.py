"""The audit log of reconciliation, searched."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.saas import saas_audit_log

LOG = saas_audit_log.c


@dataclass(frozen=True)
class Search:
    """Which entries, the latest first; None: whichever.

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
    wanted = select(saas_audit_log).order_by(LOG.entry_id.desc()).limit(search.limit)
    exact = {
        LOG.entity_id: search.entity_id,
        LOG.target_key: search.issue_key,
        LOG.operation: search.operation,
    }
    for column, value in exact.items():
        wanted = wanted if value is None else wanted.where(column == value)
    if search.text is not None:
        written = json.dumps(search.text)[1:-1]  # as JSON has it, letters beyond ASCII escaped
        wanted = wanted.where(LOG.detail.icontains(written, autoescape=True))
    if search.before is not None:
        wanted = wanted.where(LOG.entry_id < search.before)
    with warehouse.reading() as connection:
        return connection.execute(wanted).all()
