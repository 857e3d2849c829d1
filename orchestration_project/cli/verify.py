"""`verify`: look whether everything that loads depend on is ready, by the job of that name."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from orchestration_project.cli.console import echo
from orchestration_project.cli.execution import execute
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.instance.storage import open_instance
from orchestration_project.settings import load_settings

JOB, OP, DRIFT = "operations_verify", "verify_operations", "has_not_drifted"

Finding = Mapping[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Verify and show what was found; return 0 if nothing that applies failed."""
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project verify",
        description="Look whether the source, the database, the artifact store, the disk, clocks, "
        "alerts, daemon and code server are ready, and whether the settings are those that were "
        "last verified.",
    )
    parser.add_argument(
        "--send-test", action="store_true", help="send each channel of alerts a test message"
    )
    options = parser.parse_args(arguments)
    config = {"ops": {OP: {"config": {"send_test_message": options.send_test}}}}
    with full_disk_explained(load_settings()), open_instance() as instance:
        result = execute(instance, JOB, config=config)
        evaluations = result.get_asset_check_evaluations()
    found = [_finding(each) for each in evaluations if each.check_name != DRIFT]
    drifts = [_of_drift(each) for each in evaluations if each.check_name == DRIFT]
    for line in [*_lines(found), *drifts]:
        echo(line)
    if not result.success:
        echo(f"\nwhat was found could not be stored: {_reason(result)}")
    return int(not result.success or any(each["outcome"] == "failed" for each in found))


def _finding(evaluation: dg.AssetCheckEvaluation) -> Finding:
    return {name: value.value for name, value in evaluation.metadata.items()}


def _lines(found: Sequence[Finding]) -> list[str]:
    width = max((len(each["dependency"]) for each in found), default=0)
    words = {"passed": "ready", "failed": "FAILED", "not_applicable": "-"}
    lines: list[str] = []
    for each in found:
        mark, seconds = words[each["outcome"]], each["seconds"]
        lines.append(f"{each['dependency']:{width}}  {mark:6}  {seconds:6.2f} s  {each['got']}")
        if each["outcome"] == "failed":
            lines.append(f"{'':{width + 20}}tried: {each['tried']}")
            lines.append(f"{'':{width + 20}}what to do: {each['remedy'] or 'see the above'}")
    return lines


def _of_drift(evaluation: dg.AssetCheckEvaluation) -> str:
    table = evaluation.metadata.get("differences")
    rows = [each.data for each in table.records] if isinstance(table, dg.TableMetadataValue) else []
    changes = [
        f"  {row['name']}: {row['before']!r} -> {row['now']!r} ({row['origin']})" for row in rows
    ]
    outcome = _finding(evaluation)["outcome"]
    return "\n".join([f"\nsettings since they were last verified: {outcome}", *changes])


def _reason(result: dg.JobExecutionResult) -> str:
    failures = [event.step_failure_data for event in result.get_step_failure_events()]
    errors = [failure.error for failure in failures if failure.error]
    texts = [(error.cause or error).message.strip() for error in errors]
    return "; ".join(text.split(": ", 1)[-1] for text in texts)  # without the name of its class
