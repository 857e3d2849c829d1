"""Verifies all dependencies in this process, without Dagster, and shows what was found."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from orchestration_project.catalog import REGISTRY
from orchestration_project.cli.console import OUTPUT, echo, emit, show_rows
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.engine.dagster_private.daemon_state import (
    DaemonState,
    read_daemon_state,
    read_stored_daemon_state,
)
from orchestration_project.engine.environment import open_lazily, open_warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.services.gate.rules import are_ready
from orchestration_project.services.probes import open_alerts
from orchestration_project.services.verification import (
    Drift,
    describe_finding,
    record_verification,
    verify_dependencies,
)
from orchestration_project.settings import Settings, load_settings

STATES = {"passed": "OK", "failed": "FAIL", "not_applicable": "SKIP"}
HEADINGS = {"dependency": "dependency", "state": "state", "took": "took", "got": "found"}

NO_RUN = ""
"""ID of the run in the records of a command."""

ShownFinding = Mapping[str, Any]


def verify(*, send_test: bool) -> int:
    """Verify and show what was found; return 0 if nothing that applies failed."""
    settings = load_settings()
    drift, problem = None, ""
    with ExitStack() as stack:
        stack.enter_context(full_disk_explained(settings))
        warehouse = stack.enter_context(open_lazily(lambda: open_warehouse(settings)))
        findings = verify_dependencies(
            REGISTRY,
            settings,
            warehouse,
            daemon_state_reader(settings, stack),
            open_alerts(settings, REGISTRY) if send_test else None,
        )
        try:
            drift = record_verification(settings, warehouse, findings, run_id=NO_RUN)
        except OrchestrationError as error:
            problem = str(error).strip()
    is_ready = drift is not None and are_ready(findings)
    shown_findings = [describe_finding(finding) for finding in findings]
    if OUTPUT.is_json:
        emit(_build_document(shown_findings, drift, problem, is_ready=is_ready))
    else:
        _show(shown_findings, drift, problem)
    return int(not is_ready)


def daemon_state_reader(settings: Settings, stack: ExitStack) -> Callable[[], DaemonState]:
    """Return the reader of the daemon's state; it opens Dagster's instance for PostgreSQL alone."""

    def read() -> DaemonState:
        state = None
        if settings.dagster_database_url is None:
            state = read_stored_daemon_state(settings.state_path / "dagster")
        if state is None:
            from orchestration_project.instance.storage import open_instance

            state = read_daemon_state(stack.enter_context(open_instance()))
        return state

    return read


def _build_document(
    findings: Sequence[ShownFinding], drift: Drift | None, problem: str, *, is_ready: bool
) -> Mapping[str, Any]:
    return {
        "is_ready": is_ready,
        "dependencies": findings,
        "settings": [{"outcome": drift.outcome, "changes": _list_changes(drift)}] if drift else [],
        "problem": problem,
    }


def _show(findings: Sequence[ShownFinding], drift: Drift | None, problem: str) -> None:
    """Write the dependencies as a table, then those that failed with what to do, then changes."""
    rows = [
        {**finding, "state": STATES[finding["outcome"]], "took": f"{finding['seconds']:.2f} s"}
        for finding in findings
    ]
    show_rows(rows, HEADINGS)
    for finding in findings:
        if finding["outcome"] == "failed":
            echo(f"\n{finding['dependency']} failed: {finding['got']}")
            echo(f"  tried: {finding['tried']}")
            echo(f"  what to do: {finding['remedy'] or 'see the above'}")
    if drift:
        echo(f"\nsettings since they were last verified: {drift.outcome}")
        for change in _list_changes(drift):
            echo(
                f"  {change['name']}: {change['before']!r} -> {change['now']!r} "
                f"({change['origin']})"
            )
    if problem:
        echo(f"\nwhat was found could not be stored: {problem}")


def _list_changes(drift: Drift) -> list[Mapping[str, Any]]:
    """Return the settings that changed since they were last verified."""
    return [asdict(change) for change in drift.changes or ()]
