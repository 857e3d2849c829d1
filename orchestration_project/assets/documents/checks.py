"""Checks of documents: whether a stable file waits for a run, and the verdict on a run's."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, cast

import dagster as dg

from orchestration_project.assets.documents.catalogue import (
    CAPTURE,
    FILES,
    GROUP,
    IN_TIME_CHECK,
    SIMILARITY,
    VERDICT_CHECK,
    VERDICT_OP,
)
from orchestration_project.assets.specs import (
    build_freshness_job,
    find_paused_result,
    freshness_check,
)
from orchestration_project.domains.documents.options import FailOn
from orchestration_project.domains.documents.settings import DocumentsSettings
from orchestration_project.domains.documents.settings import FailOn as FailOnName
from orchestration_project.domains.documents.verdict import Verdict, is_failure
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.problems import ITEMS_FAILED
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.documents.reporting import (
    SettledItems,
    as_shown,
    overdue_document_exports,
    settled_items,
    verdict_of,
)
from orchestration_project.resources.documents.waiting import oldest_waiting
from orchestration_project.services.metadata import build_result, check_spec, mark_not_applicable

FAIL_ON_TAG = "documents_fail_on"
"""Tag of a run that a verdict may fail, with the verdict from which it does."""


@freshness_check(
    FILES,
    "No stable file waits for a run longer than an hour.",
    name=IN_TIME_CHECK,
    limit="1 hour after a file is stable",
    remedy="start documents_load, or switch the sensor documents_on_arrival on",
)
def files_are_loaded_in_time(
    clock: dg.ResourceParam[Clock], warehouse: dg.ResourceParam[Warehouse]
) -> dg.AssetCheckResult:
    """Look for files that wait; the source is not asked."""
    if paused := find_paused_result(warehouse, FILES, IN_TIME_CHECK):
        return paused
    late = oldest_waiting(warehouse, clock.now())
    metadata: Mapping[str, Any] = {"outcome": "no file waits for long"}
    if late is not None:
        metadata = {
            "outcome": "late",
            "expected": "a run within an hour",
            "found": late.reason,
            "what_to_do": late.remedy,
        }
    severity = dg.AssetCheckSeverity.WARN
    return build_result(FILES, IN_TIME_CHECK, metadata, severity, passed=late is None)


documents_freshness_job = build_freshness_job(
    GROUP,
    [files_are_loaded_in_time],
    "Checks whether a stable file waits for a run longer than an hour.",
)


@dg.multi_asset_check(
    name=VERDICT_OP,
    specs=[
        check_spec(
            VERDICT_CHECK,
            asset=CAPTURE,
            description="The verdict on the run's documents is good. The verdict bad is an error, "
            "watch a warning.",
            severity=dg.AssetCheckSeverity.ERROR,
            limit="below 85 of 100 watch; below 70, or with a critical reason, bad",
            remedy="read reason_code and reason in the table documents; correct the files",
            after=[SIMILARITY],
        )
    ],
)
def judge_documents(
    context: dg.AssetCheckExecutionContext,
    clock: dg.ResourceParam[Clock],
    settings: dg.ResourceParam[DocumentsSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.AssetCheckResult]:
    """Judge the documents that the run loaded; a verdict that the run's options name fails it."""
    run_id = context.run.run_id
    keys = _list_keys(context)
    if not keys:
        yield _build_result(None, SettledItems(0, {}, {}))
        return
    first, last = date.fromisoformat(keys[0]), date.fromisoformat(keys[-1])
    items = settled_items(warehouse, first, last, run_id)
    exports = overdue_document_exports(warehouse, clock, settings)
    verdict = verdict_of(warehouse, first, last, run_id, items.unread, exports)
    metadata = {**as_shown(verdict), **_notice(verdict, items)}
    if metadata:
        for key in keys:
            observation = dg.AssetObservation(CAPTURE, partition=key, metadata=metadata)
            context.op_execution_context.log_event(observation)
    yield _build_result(verdict, items)
    fail_on = fail_on_of(context.instance, run_id)
    if verdict is not None and is_failure(verdict.level, fail_on):
        raise dg.Failure(
            f"the verdict on the run's documents is {verdict.level}: {'; '.join(verdict.reasons)}; "
            f"it fails the run, as fail_on is {fail_on}",
            metadata=as_shown(verdict),
            allow_retries=False,
        )


def _list_keys(context: dg.AssetCheckExecutionContext) -> Sequence[str]:
    """Return the run's partitions; a check that is executed alone has none."""
    is_partitioned = context.has_partition_key or context.has_partition_key_range
    return context.partition_keys if is_partitioned else ()


def _notice(verdict: Verdict | None, items: SettledItems) -> Mapping[str, Any]:
    """Return a notice of failed files, unless the check of the verdict raises an alert of them."""
    if not items.dead or (verdict is not None and verdict.level != "good"):
        return {}
    remedy = "what to do: orchestrate items list --state dead"
    return {"notice": f"{items.dead_in_words}; {remedy}", "notice_kind": ITEMS_FAILED}


def _build_result(verdict: Verdict | None, items: SettledItems) -> dg.AssetCheckResult:
    if verdict is None:
        metadata: Mapping[str, Any] = mark_not_applicable("the run extracted no document")
    else:
        outcome = {
            "outcome": f"{verdict.level}, score {verdict.score:.1f}",
            "expected": "good",
            "found": "; ".join(verdict.reasons) or verdict.level,
            **({"failed": items.dead_in_words} if items.dead else {}),
        }
        metadata = outcome if verdict.level != "good" else {"outcome": outcome["outcome"]}
    is_bad = verdict is not None and verdict.level == "bad"
    severity = dg.AssetCheckSeverity.ERROR if is_bad else dg.AssetCheckSeverity.WARN
    passed = verdict is None or verdict.level == "good"
    return build_result(CAPTURE, VERDICT_CHECK, metadata, severity, passed=passed)


def record_fail_on(instance: dg.DagsterInstance, run_id: str, fail_on: str) -> None:
    """Record from which verdict a run fails, for the step that judges its documents."""
    if fail_on != FailOn.never:
        instance.add_run_tags(run_id, {FAIL_ON_TAG: str(fail_on)})


def fail_on_of(instance: dg.DagsterInstance, run_id: str) -> FailOnName:
    """Return from which verdict a run fails, as its load recorded it."""
    run = instance.get_run_by_id(run_id)
    return cast(FailOnName, run.tags.get(FAIL_ON_TAG, "never") if run else "never")
