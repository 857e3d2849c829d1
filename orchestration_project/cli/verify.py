"""Runs the job that verifies all dependencies, and shows what it found."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from orchestration_project.cli.console import OUTPUT, echo, emit, show_rows
from orchestration_project.cli.execution import execute
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.engine.contracts.job_kinds import CHECKS_JOB
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.ledger.rules.entries import NOT_APPLICABLE
from orchestration_project.settings import load_settings

OP, DRIFT = "verify_operations", "has_not_drifted"
READINESS = dg.AssetKey(["operations", "readiness"])

STATES = {"passed": "OK", "failed": "FAIL", "not_applicable": "SKIP"}
HEADINGS = {"dependency": "dependency", "state": "state", "took": "took", "got": "found"}

Finding = Mapping[str, Any]


def verify(*, send_test: bool) -> int:
    """Verify and show what was found; return 0 if nothing that applies failed."""
    config = {"ops": {OP: {"config": {"send_test_message": send_test}}}}
    with full_disk_explained(load_settings()), open_instance() as instance:
        result = execute(instance, CHECKS_JOB, config=config, assets=[READINESS])
        evaluations = result.get_asset_check_evaluations()
    findings = [
        _finding(evaluation) for evaluation in evaluations if evaluation.check_name != DRIFT
    ]
    drifts = [evaluation for evaluation in evaluations if evaluation.check_name == DRIFT]
    problem = "" if result.success else _reason(result)
    is_ready = result.success and all(finding["outcome"] != "failed" for finding in findings)
    if OUTPUT.is_json:
        emit(_document(findings, drifts, problem, is_ready=is_ready))
    else:
        _show(findings, drifts, problem)
    return int(not is_ready)


def _document(
    found: Sequence[Finding],
    drifts: Sequence[dg.AssetCheckEvaluation],
    problem: str,
    *,
    is_ready: bool,
) -> Mapping[str, Any]:
    return {
        "is_ready": is_ready,
        "dependencies": found,
        "settings": [
            {"outcome": _finding(drift)["outcome"], "changes": _changes(drift)} for drift in drifts
        ],
        "problem": problem,
    }


def _show(
    found: Sequence[Finding], drifts: Sequence[dg.AssetCheckEvaluation], problem: str
) -> None:
    """Write the dependencies as a table, then those that failed with what to do, then changes."""
    rows = [
        {**entry, "state": STATES[entry["outcome"]], "took": f"{entry['seconds']:.2f} s"}
        for entry in found
    ]
    show_rows(rows, HEADINGS)
    for entry in found:
        if entry["outcome"] == "failed":
            echo(f"\n{entry['dependency']} failed: {entry['got']}")
            echo(f"  tried: {entry['tried']}")
            echo(f"  what to do: {entry['remedy'] or 'see the above'}")
    for drift in drifts:
        echo(f"\nsettings since they were last verified: {_finding(drift)['outcome']}")
        for row in _changes(drift):
            echo(f"  {row['name']}: {row['before']!r} -> {row['now']!r} ({row['origin']})")
    if problem:
        echo(f"\nwhat was found could not be stored: {problem}")


def _finding(evaluation: dg.AssetCheckEvaluation) -> Finding:
    """Return the metadata of a check; where it is not applicable, ``got`` has the reason."""
    values = {name: value.value for name, value in evaluation.metadata.items()}
    is_applicable = not str(values["outcome"]).startswith(NOT_APPLICABLE)
    return (
        values if is_applicable or "got" not in values else {**values, "outcome": "not_applicable"}
    )


def _changes(evaluation: dg.AssetCheckEvaluation) -> list[Mapping[str, Any]]:
    """Return the settings that changed since they were last verified."""
    table = evaluation.metadata.get("differences")
    return (
        [record.data for record in table.records]
        if isinstance(table, dg.TableMetadataValue)
        else []
    )


def _reason(result: dg.JobExecutionResult) -> str:
    failures = [event.step_failure_data for event in result.get_step_failure_events()]
    errors = [failure.error for failure in failures if failure.error]
    texts = [(error.cause or error).message.strip() for error in errors]
    return "; ".join(text.split(": ", 1)[-1] for text in texts)  # without the name of its class
