"""`GET /quarantined`: which partitions are quarantined, why, what to launch; last imbalance."""

from collections.abc import Callable, Sequence
from html import escape

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration_project.contracts.roles import Role
from orchestration_project.contracts.rules import BALANCE_AUDIT
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.delivery import capture_id
from orchestration_project.gateway.bar import Installation
from orchestration_project.gateway.pages import tables_page
from orchestration_project.gateway.request import current_user
from orchestration_project.registry import Registry
from orchestration_project.services.balance.latest import (
    RecordedImbalance,
    read_last_imbalance,
)
from orchestration_project.services.links import (
    QUARANTINED_PAGE,
    asset_page,
    captures_path,
    check_page,
    job_page,
    partition_page,
    replay_launchpad,
    rows_path,
)
from orchestration_project.services.status import QuarantinedDelivery, read_quarantined
from orchestration_project.tables.schema import asset_of

PATH = QUARANTINED_PAGE
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


CAPTURES_NAMED = 20
"""Captures that a link names; their rejects are read by their key, those of a run are searched."""


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
    """Return the page that loads the partitions again, and the one that replays the delivery."""
    loading = asset_of(found.table_name).replace("/", "_")
    is_loaded = partitions and loading in registry.jobs
    launches = {"load again": job_page(loading, *partitions)} if partitions and is_loaded else {}
    if found.table_name in registry.replays:
        launches["replay"] = replay_launchpad(found.table_name, found.group_id)
    return launches


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
