"""`GET /quarantined`: which partitions are quarantined, and why."""

from html import escape
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway.bar import Installation
from orchestration_project.gateway.pages import table_page
from orchestration_project.gateway.request import current_user
from orchestration_project.services.links import API, captures_path, partition_page
from orchestration_project.services.quarantine import QuarantinedDelivery, read_quarantined

PATH = "/quarantined"
TITLE = "Quarantined partitions"
EXPLANATION = (
    "The latest delivery of each of these partitions failed a blocking check, so its rows are not "
    "in the table; the rows before it stay published. Load a partition again once its source is "
    "corrected, or replay it once a limit or rule allows it."
)
HEADINGS = ("Partition", "Reason", "Since (UTC)", "Details")


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
