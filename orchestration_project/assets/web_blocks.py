"""Check that a site answers without a block or login page; it alerts the owner of the site file."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestration_project.services.metadata import check_spec, summary_of

BLOCK_CHECK = "is_not_blocked"


def block_spec(pages: dg.AssetKey, owner: str) -> dg.AssetCheckSpec:
    """Return the check of the pages of a site; it recovers with the next crawl that is let in."""
    return check_spec(
        BLOCK_CHECK,
        asset=pages,
        description="The site answers without a block or login page.",
        severity=dg.AssetCheckSeverity.ERROR,
        limit="0 pages",
        remedy=_remedy(owner),
    )


def block_result(pages: dg.AssetKey, owner: str, outcome: Mapping[str, Any]) -> dg.AssetCheckResult:
    """Return the result of a crawl.

    Args:
        pages: Asset of the pages.
        owner: Owner that the site file names.
        outcome: Metadata of the crawl, with ``crawl_outcome`` and ``reason``.
    """
    is_blocked = outcome["crawl_outcome"] in ("blocked", "login")
    metadata: Mapping[str, Any] = {"outcome": "no block or login page"}
    if is_blocked:
        metadata = {
            "outcome": "the site refuses the crawl",
            "expected": "no block or login page",
            "found": outcome["reason"],
            "what_to_do": _remedy(owner),
        }
    return dg.AssetCheckResult(
        asset_key=pages,
        check_name=BLOCK_CHECK,
        passed=not is_blocked,
        severity=dg.AssetCheckSeverity.ERROR,
        description=summary_of(metadata),
        metadata=metadata,
    )


def _remedy(owner: str) -> str:
    return f"{owner}: ask the owner of the site, or correct the site file"
