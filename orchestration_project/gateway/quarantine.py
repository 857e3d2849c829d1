"""`GET /quarantined`: which partitions are quarantined, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from urllib.parse import urlencode

from sqlalchemy import func, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway.bar import Installation
from orchestration_project.gateway.pages import table_page
from orchestration_project.gateway.request import current_user
from orchestration_project.services.links import API, captures_path, partition_page
from orchestration_project.tables.spine import audits, deliveries

PATH = "/quarantined"
TITLE = "Quarantined partitions"
EXPLANATION = (
    "The latest delivery of each of these partitions failed a blocking check, so its rows are not "
    "in the table; the rows before it stay published. Load a partition again once its source is "
    "corrected, or replay it once a limit or rule allows it."
)
HEADINGS = ("Partition", "Reason", "Since (UTC)", "Details")
MOST = 200
"""Maximum number of partitions that are listed, the latest first."""


@dataclass(frozen=True)
class FailedAudit:
    """An audit that a delivery failed."""

    name: str
    expected: str
    found: str


@dataclass(frozen=True)
class QuarantinedDelivery:
    """The latest delivery of a partition, if it is not loaded.

    Attributes:
        is_readable: Whether it could be checked; otherwise the log of its run has the reason.
        audits: Those that it failed with severity error.
    """

    table_name: str
    partition_key: str
    group_id: str
    run_id: str
    recorded_at: datetime
    is_readable: bool
    audits: Sequence[FailedAudit]


def read_quarantined(warehouse: Warehouse) -> list[QuarantinedDelivery]:
    """Return the quarantined partitions, the latest first."""
    columns, audit = deliveries.c, audits.c
    place = func.row_number().over(
        partition_by=(columns.table_name, columns.partition_key),
        order_by=(columns.recorded_at.desc(), columns.group_id.desc()),
    )
    latest = select(deliveries, place.label("place")).subquery()
    wanted = (
        select(latest)
        .where(latest.c.place == 1, latest.c.outcome != "landed")
        .order_by(latest.c.recorded_at.desc(), latest.c.group_id)
        .limit(MOST)
    )
    failed = select(audit.group_id, audit.table_name, audit.name, audit.expected, audit.found)
    failed = failed.where(audit.outcome == "failed", audit.severity == "error")
    with warehouse.reading() as connection:
        rows = connection.execute(wanted).all()
        groups = [row.group_id for row in rows]
        found = connection.execute(failed.where(audit.group_id.in_(groups))).all()
    return [
        QuarantinedDelivery(
            row.table_name,
            row.partition_key,
            row.group_id,
            row.run_id,
            row.recorded_at,
            row.outcome == "held_back",
            [
                FailedAudit(each.name, each.expected, each.found)
                for each in sorted(found)
                if (each.group_id, each.table_name) == (row.group_id, row.table_name)
            ],
        )
        for row in rows
    ]


def routes(warehouse: Warehouse, installation: Installation) -> list[Route]:
    """Return the route of the page, for everybody who is known."""

    async def page(_request: Request) -> Response:
        found = await run_in_threadpool(read_quarantined, warehouse)
        rows = [_row(each) for each in found]
        return table_page(TITLE, EXPLANATION, HEADINGS, rows, installation, current_user())

    return [Route(PATH, page, methods=["GET"])]


def _row(found: QuarantinedDelivery) -> tuple[str, ...]:
    key = found.table_name.split("_", 1)
    rejects = urlencode({"where": f"run_id={found.run_id}"})
    links = {
        "run": f"/runs/{found.run_id}",
        "captures": captures_path(found.group_id),
        "rejects": f"{API}/tables/rejects?{rejects}",
    }
    return (
        _link(partition_page(key, found.partition_key), f"{'/'.join(key)} {found.partition_key}"),
        _reason(found),
        found.recorded_at.strftime("%Y-%m-%d %H:%M"),
        ", ".join(_link(path, text) for text, path in links.items()),
    )


def _reason(found: QuarantinedDelivery) -> str:
    if not found.is_readable:
        return "the delivery cannot be checked: the log of its run has the reason"
    return "<br>".join(
        f"<strong>{escape(each.name)}</strong>: expected {escape(each.expected)}, "
        f"found {escape(each.found)}"
        for each in found.audits
    )


def _link(path: str, text: str) -> str:
    return f'<a href="{escape(path)}">{escape(text)}</a>'
