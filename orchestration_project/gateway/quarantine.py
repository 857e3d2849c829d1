"""`GET /quarantined`: which partitions are quarantined, why, what to launch; last imbalance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from sqlalchemy import and_, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration_project.contracts.roles import Role
from orchestration_project.contracts.rules import BALANCE_AUDIT
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.delivery import capture_id, latest_group
from orchestration_project.engine.warehouse.frames import Scope, scope_from_json
from orchestration_project.gateway.bar import Installation
from orchestration_project.gateway.pages import tables_page
from orchestration_project.gateway.request import current_user
from orchestration_project.registry import Registry
from orchestration_project.services.balance.latest import (
    RecordedImbalance,
    read_last_imbalance,
)
from orchestration_project.services.links import (
    asset_page,
    captures_path,
    check_page,
    job_page,
    partition_page,
    rows_path,
)
from orchestration_project.tables.schema import asset_of
from orchestration_project.tables.spine import audits, deliveries, fences

PATH = "/quarantined"
TITLE = "Quarantined partitions"
EXPLANATION = (
    "The latest delivery of each of these partitions failed a blocking check, so its rows are not "
    "in the table; the rows before it stay published. Load a partition again once its source is "
    "corrected, or replay it once a limit or rule allows it."
)
HEADINGS = ("Partition", "Reason", "Since (UTC)", "Details")
IMBALANCE = "Last imbalance"
IMBALANCE_HEADINGS = ("Subject", "Equation", "Since (UTC)", "Details")
LAUNCH = "Launch"
"""Heading of the links for users who may launch runs."""


MOST = 200
"""Maximum number of partitions that are listed, the latest first."""

CAPTURES_NAMED = 20
"""Captures that a link names; their rejects are read by their key, those of a run are searched."""


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
        scope: The part of the partition for which it is complete.
        is_readable: Whether it could be checked; otherwise the log of its run has the reason.
        audits: Those that it failed with severity error.
        capture_count: How many captures it has; 0: a replay, or never read completely.
    """

    table_name: str
    partition_key: str
    scope: Scope
    group_id: str
    run_id: str
    recorded_at: datetime
    is_readable: bool
    audits: Sequence[FailedAudit]
    capture_count: int


def read_quarantined(warehouse: Warehouse) -> list[QuarantinedDelivery]:
    """Return the quarantined partitions, the latest first.

    A fence has the number of its partition's latest delivery, so no earlier one is read.
    """
    columns, audit = deliveries.c, audits.c
    is_latest = and_(
        columns.table_name == fences.c.table_name,
        columns.group_id == latest_group(),
    )
    wanted = (
        select(deliveries)
        .select_from(fences.join(deliveries, is_latest))
        .where(columns.outcome != "landed")
        .order_by(columns.recorded_at.desc(), columns.group_id)
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
            scope_from_json(row.scope),
            row.group_id,
            row.run_id,
            row.recorded_at,
            row.outcome == "held_back",
            [
                FailedAudit(each.name, each.expected, each.found)
                for each in sorted(found)
                if (each.group_id, each.table_name) == (row.group_id, row.table_name)
            ],
            row.part_count,
        )
        for row in rows
    ]


def routes(
    warehouse: Warehouse, installation: Installation, registry: Callable[[], Registry]
) -> list[Route]:
    """Return the route of the page, for everybody who is known."""

    def table(*, has_launches: bool) -> list[tuple[str, ...]]:
        found = read_quarantined(warehouse)
        return [_row(each, registry(), has_launches=has_launches) for each in found]

    async def page(_request: Request) -> Response:
        user = current_user()
        may_launch = user.role.covers(Role.OPERATOR)
        rows = await run_in_threadpool(table, has_launches=may_launch)
        last = await run_in_threadpool(read_last_imbalance, warehouse)
        headings = (*HEADINGS, LAUNCH) if may_launch else HEADINGS
        tables = [("", headings, rows), (IMBALANCE, IMBALANCE_HEADINGS, [_imbalance_row(last)])]
        return tables_page(TITLE, EXPLANATION, tables, installation, user)

    return [Route(PATH, page, methods=["GET"])]


def _imbalance_row(last: RecordedImbalance | None) -> tuple[str, ...]:
    if last is None:
        return ("none", "", "", "")
    imbalance = last.imbalance
    return (
        escape(f"{imbalance.table_name} {imbalance.subject}".strip()),
        escape(str(imbalance.balance)),
        last.recorded_at.strftime("%Y-%m-%d %H:%M"),
        _link(f"/runs/{last.run_id}", "run") if last.run_id else "",
    )


def _row(found: QuarantinedDelivery, registry: Registry, *, has_launches: bool) -> tuple[str, ...]:
    key = asset_of(found.table_name).split("/")
    table = registry.tables.get(found.table_name)
    partitions = table.partitions_of(found.partition_key, found.scope) if table else None
    page = partition_page(key, partitions[1]) if partitions else asset_page(key)
    details = {
        "run": f"/runs/{found.run_id}",
        "captures": captures_path(found.group_id),
        "rejects": rows_path("rejects", _of_delivery(found)),
    }
    cells = (
        _link(page, f"{'/'.join(key)} {found.partition_key}"),
        _reason(found, key),
        found.recorded_at.strftime("%Y-%m-%d %H:%M"),
        _links(details),
    )
    return (*cells, _links(_launches(found, registry, partitions))) if has_launches else cells


def _of_delivery(found: QuarantinedDelivery) -> str:
    """Return the condition on a delivery's rejects; of one with many captures, that of its run."""
    if not 0 < found.capture_count <= CAPTURES_NAMED:
        return f"run_id={found.run_id}"
    parts = range(1, found.capture_count + 1)
    ids = ",".join(str(capture_id(found.group_id, part)) for part in parts)
    return f"capture_id in ({ids})"


def _launches(
    found: QuarantinedDelivery, registry: Registry, partitions: tuple[str, str] | None
) -> dict[str, str]:
    """Return pages whose launch dialog has the partitions: of the job that loads, and replays."""
    replay = registry.replays.get(found.table_name)
    loading = asset_of(found.table_name).replace("/", "_")
    jobs = {"load again": loading, "replay": replay.job if replay else ""}
    return {
        text: job_page(job, *partitions)
        for text, job in jobs.items()
        if partitions and job in registry.jobs
    }


def _reason(found: QuarantinedDelivery, key: Sequence[str]) -> str:
    if not found.is_readable:
        return "the delivery cannot be checked: the log of its run has the reason"
    return "<br>".join(
        f"{_name(key, each.name)}: expected {escape(each.expected)}, found {escape(each.found)}"
        for each in found.audits
    )


def _name(key: Sequence[str], audit: str) -> str:
    """Return an audit with a link to its check; balances have none, as they fail so rarely."""
    return audit if audit == BALANCE_AUDIT else _link(check_page(key, audit), audit)


def _links(paths: dict[str, str]) -> str:
    return ", ".join(_link(path, text) for text, path in paths.items())


def _link(path: str, text: str) -> str:
    return f'<a href="{escape(path)}">{escape(text)}</a>'
