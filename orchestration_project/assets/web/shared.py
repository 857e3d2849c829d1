"""Assets that the crawls of all sites report to, and the check of blocks."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from orchestration_project.assets.specs import build_asset_spec
from orchestration_project.domains.web.pages import REFUSED
from orchestration_project.domains.web.tables import web_changes, web_crawls
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.web.changes import changes_at
from orchestration_project.resources.web.crawl_status import latest_crawls
from orchestration_project.services.delivery_evidence import collect_evidence
from orchestration_project.services.exports.work import ExportResult
from orchestration_project.services.links import build_rows_path, link
from orchestration_project.services.metadata import (
    build_result,
    build_schema,
    check_spec,
    log_metadata,
    redact_table,
)

GROUP = "web"
OWNERS = ["team:operations"]
CHANGES = dg.AssetKey([GROUP, "changes"])
CRAWLS = dg.AssetKey([GROUP, "crawls"])
BLOCK_CHECK = "is_not_blocked"
CHANGE_SOURCES = {
    "site": "site",
    "at": "known_from",
    "item_key": "item_key",
    **dict.fromkeys(("field", "kind", "before", "after", "change_cause"), "payload"),
}
"""Columns of `web_changes`, and those of `web_items` that they come from."""

KINDS = ("added", "changed", "removed")


def build_specs(*items: dg.AssetKey) -> list[dg.AssetSpec]:
    """Return the specs of the shared assets; ``items`` are the items of all sites.

    No step makes them: a crawl of any site reports what it wrote to them.
    """
    lineage = {
        name: [dg.TableColumnDep(source, text) for source in items]
        for name, text in CHANGE_SOURCES.items()
    }
    return [
        build_asset_spec(
            CRAWLS,
            str(web_crawls.comment),
            build_schema(web_crawls.columns),
            "ledger",
            owners=OWNERS,
            **{"dagster/table_name": web_crawls.name},
        ),
        build_asset_spec(
            CHANGES,
            str(web_changes.comment),
            build_schema(web_changes.columns),
            "gold",
            *items,
            owners=OWNERS,
            **{
                "dagster/table_name": web_changes.name,
                "dagster/column_lineage": dg.TableColumnLineage(lineage),
            },
        ),
    ]


def report_crawl(context: dg.AssetExecutionContext, warehouse: Warehouse, site: str) -> None:
    """Report a crawl that ended to `web/crawls`."""
    table_values = {"latest_crawls": redact_table(latest_crawls(warehouse))}
    _report(context, CRAWLS, site, table_values, web_crawls.name)


def report_changes(
    context: dg.AssetExecutionContext, warehouse: Warehouse, site: str, at: datetime
) -> None:
    """Report the changes that a load of items made at a time to `web/changes`."""
    counts, first = changes_at(warehouse, site, at)
    values: Mapping[str, Any] = {
        **{f"{kind}_count": counts.get(kind, 0) for kind in KINDS},
        **({"first_changes": redact_table(first)} if first else {}),
    }
    _report(context, CHANGES, site, values, web_changes.name)


def load_failure(warehouse: Warehouse, items: dg.AssetKey, error: OrchestrationError) -> dg.Failure:
    """Return the failure of a load of items, with the items that it rejects."""
    values = collect_evidence(warehouse, error, items).get(items, {})
    return dg.Failure(str(error), metadata=log_metadata(values), allow_retries=False)


def report_exports(
    context: dg.AssetExecutionContext, results: Sequence[ExportResult]
) -> Mapping[str, Any]:
    """Log the deliveries of a site's items; return them as metadata, empty if there is none."""
    for result in results:
        context.log.info(
            f"{result.name}: {result.outcome}: {result.detail}",
            extra={"event": "site_export_ended"},
        )
    rows = [
        {
            "name": result.name,
            "outcome": result.outcome,
            "row_count": result.export.row_count if result.export else None,
            "detail": result.detail,
        }
        for result in results
    ]
    return {"exports": redact_table(rows)} if rows else {}


def _report(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    site: str,
    shown: Mapping[str, Any],
    table: str,
) -> None:
    metadata = {"site": site, **shown, "table_rows": link(build_rows_path(table, f"site={site}"))}
    context.log_event(dg.AssetMaterialization(key, metadata=log_metadata(metadata)))


def block_spec(pages: dg.AssetKey, owner: str) -> dg.AssetCheckSpec:
    """Return the check of the pages of a site; it recovers with the next crawl that is let in."""
    return check_spec(
        BLOCK_CHECK,
        asset=pages,
        description="The site answers without a block or login page.",
        severity=dg.AssetCheckSeverity.ERROR,
        limit="0 pages",
        remedy=_name_remedy(owner),
    )


def block_result(pages: dg.AssetKey, owner: str, outcome: Mapping[str, Any]) -> dg.AssetCheckResult:
    """Return the result of a crawl.

    Args:
        pages: Asset of the pages.
        owner: Owner that the site file names.
        outcome: Metadata of the crawl, with ``crawl_outcome`` and ``reason``.
    """
    is_blocked = outcome["crawl_outcome"] in REFUSED
    metadata: Mapping[str, Any] = {"outcome": "no block or login page"}
    if is_blocked:
        metadata = {
            "outcome": "the site refuses the crawl",
            "expected": "no block or login page",
            "found": outcome["reason"],
            "what_to_do": _name_remedy(owner),
        }
    severity = dg.AssetCheckSeverity.ERROR
    return build_result(pages, BLOCK_CHECK, metadata, severity, passed=not is_blocked)


def _name_remedy(owner: str) -> str:
    return f"{owner}: ask the owner of the site, or correct the site file"
