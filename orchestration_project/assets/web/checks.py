"""Checks of a site's items: few rejects, and no drift against earlier crawls."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from orchestration_project.domains.web.drift import COUNT, FILL, MAX_FALL, MEMBERS
from orchestration_project.domains.web.item_rows import MAX_REJECT_RATIO, REJECTS
from orchestration_project.engine.contracts.audits import Audit
from orchestration_project.services.metadata import (
    build_result,
    check_spec,
    mark_not_applicable,
    redact_table,
)

ACCEPT = (
    "compare a page with the one before; job web_propose_selectors proposes selectors; if the "
    "change is right, job web_replay with allow_drift loads it"
)
REMEDIES = {
    REJECTS: "read the table rejects; job web_propose_selectors proposes selectors",
    COUNT: ACCEPT,
    FILL: ACCEPT,
    MEMBERS: "read whether a new member is wanted, or a vanished one was used; correct the file",
}
CLAIMS = {
    REJECTS: ("Few items are rejected.", f"{MAX_REJECT_RATIO:.0%} of items"),
    COUNT: (
        "There are as many items as earlier complete crawls had.",
        "30% of their median or of the latest, or 4 deviations",
    ),
    FILL: ("As many items as before have each field.", f"a fall by {MAX_FALL:.0%} of items"),
}
"""Claim and limit of each audit that quarantines a delivery."""


def build_item_checks(items: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Return the checks of the items of a site."""
    return [
        *(
            check_spec(
                name,
                asset=items,
                description=claim,
                limit=limit,
                remedy=REMEDIES[name],
                quarantines="delivery",
            )
            for name, (claim, limit) in CLAIMS.items()
        ),
        check_spec(
            MEMBERS,
            asset=items,
            description="JSON on the same pages has the members that it had before.",
            severity=dg.AssetCheckSeverity.WARN,
            limit="0 new or vanished members",
            remedy=REMEDIES[MEMBERS],
        ),
    ]


def iterate_check_results(
    items: dg.AssetKey, audits: Sequence[Audit]
) -> Iterator[dg.AssetCheckResult]:
    """Yield the results of the checks of the items of a crawl.

    Args:
        items: The asset.
        audits: Audits of the delivery; empty: there was nothing to load.
    """
    audits_by_name = {audit.name: audit for audit in audits}
    for name in (*CLAIMS, MEMBERS):
        yield _build_result(items, name, audits_by_name.get(name))


def _build_result(items: dg.AssetKey, name: str, audit: Audit | None) -> dg.AssetCheckResult:
    is_failed = audit is not None and audit.outcome == "failed"
    is_warning = name == MEMBERS or (audit is not None and audit.severity == "warning")
    metadata = _describe_audit(name, audit)
    severity = dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR
    return build_result(items, name, metadata, severity, passed=not is_failed)


def _describe_audit(name: str, audit: Audit | None) -> Mapping[str, Any]:
    if audit is None:
        return mark_not_applicable("no item was read")
    pair = {"expected": audit.expected, "found": audit.found}
    if audit.outcome == "not_applicable":
        return mark_not_applicable(f"expected {audit.expected}, found {audit.found}")
    if audit.outcome == "passed":
        return {"outcome": "passed", **pair}
    return {
        "outcome": "the delivery is quarantined" if audit.blocks else "a warning",
        **pair,
        "what_to_do": REMEDIES[name],
        **({"offenders": redact_table(audit.offenders)} if audit.offenders else {}),
    }
