"""Metadata of a load: outcomes, the verdict with its check, and a notice of failed files."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from orchestration_project.assets.documents.catalogue import CAPTURE, VERDICT_CHECK
from orchestration_project.domains.documents.verdict import Verdict
from orchestration_project.domains.operations.alerts import ITEMS_FAILED
from orchestration_project.resources.documents.items import DocumentSummary
from orchestration_project.resources.documents.reporting import RunDocuments
from orchestration_project.services.metadata import not_applicable, summary_of, table_of


def outcomes(found: RunDocuments) -> Mapping[str, Any]:
    """Return the counts of a run's documents by media type and state, as a table."""
    return {"outcomes_by_type": table_of(pl.DataFrame(found.by_type))} if found.by_type else {}


def notice_of(verdict: Verdict | None, summary: DocumentSummary) -> Mapping[str, Any]:
    """Return a notice of failed files, unless the check of the verdict raises an alert of them."""
    if not summary.dead_in_words or (verdict is not None and verdict.level != "good"):
        return {}
    remedy = "what to do: orchestrate items list --state dead"
    return {"notice": f"{summary.dead_in_words}; {remedy}", "notice_kind": ITEMS_FAILED}


def verdict_result(verdict: Verdict | None, summary: DocumentSummary) -> dg.AssetCheckResult:
    """Return the result of the check of the verdict; None: the run had no documents."""
    if verdict is None:
        metadata: Mapping[str, Any] = not_applicable("the run extracted no document")
    else:
        outcome = {
            "outcome": f"{verdict.level}, score {verdict.score:.1f}",
            "expected": "good",
            "found": "; ".join(verdict.reasons) or verdict.level,
            **({"failed": summary.dead_in_words} if summary.dead_counts else {}),
        }
        metadata = outcome if verdict.level != "good" else {"outcome": outcome["outcome"]}
    is_bad = verdict is not None and verdict.level == "bad"
    return dg.AssetCheckResult(
        asset_key=CAPTURE,
        check_name=VERDICT_CHECK,
        passed=verdict is None or verdict.level == "good",
        severity=dg.AssetCheckSeverity.ERROR if is_bad else dg.AssetCheckSeverity.WARN,
        description=summary_of(metadata),
        metadata=metadata,
    )
