"""A pause with the real daemon and queue: a backfill waits, others run, and it goes on after."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import programs
from tests.faults.stack import Stack
from tests.programs import graphql, wait_for

pytestmark = pytest.mark.slow

LAUNCH = """mutation { launchRun(executionParams: {selector: {
  repositoryLocationName: "orchestration_project.definitions", repositoryName: "__repository__",
  jobName: "operations_runs"}, runConfigData: {ops: {handle_runs: {config: {list_sessions: {}}}}}})
  { __typename ... on LaunchRunSuccess { run { runId } } } }"""
MESSAGES = """{ runOrError(runId: "%s") { ... on Run { eventConnection { events {
  ... on MessageEvent { message } } } } } }"""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    try:
        stack.start()
        yield stack
    finally:
        stack.kill_all()


def call(stack: Stack, *arguments: str) -> None:
    programs.run_without_failure(
        stack.state_dir, "orchestration_project", *arguments, **stack.environment
    )


REASON = "The run waits in the queue: source:finra is paused by"


def find_paused_run(stack: Stack) -> str:
    """Return the queued run whose log has the reason; empty: no run has it yet."""
    queued = [run_id for run_id, status in stack.statuses().items() if status == "QUEUED"]
    return next((run_id for run_id in queued if REASON in str(messages(stack, run_id))), "")


def messages(stack: Stack, run_id: str) -> list[str]:
    found = graphql(stack.port, MESSAGES % run_id, stack.key)["runOrError"]
    return [event.get("message", "") for event in found["eventConnection"]["events"]]


def test_a_backfill_waits_in_the_queue_beside_other_runs_and_goes_on_once_resumed(stack: Stack):
    call(stack, "pause", "source:finra", "--reason", "announced maintenance")
    stack.backfill_without_failure(["T1|2026-02-02"])
    waiting = wait_for(lambda: find_paused_run(stack), seconds=300)
    other = graphql(stack.port, LAUNCH, stack.key)["launchRun"]["run"]["runId"]
    wait_for(lambda: stack.statuses()[other] == "SUCCESS", seconds=300)
    assert stack.statuses()[waiting] == "QUEUED"
    call(stack, "resume", "source:finra")
    wait_for(lambda: stack.statuses()[waiting] == "SUCCESS", seconds=300)
    wait_for(lambda: stack.backfill_states() == ["COMPLETED_SUCCESS"], seconds=120)
