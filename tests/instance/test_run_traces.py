"""Runs carry their trace: by tags, from creation to the lines of their steps."""

import json
import logging
import shutil

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from orchestration_project.engine.tracing.traceparent import (
    begin_trace,
    find_current_trace,
    trace_of_tags,
    use_trace,
)
from orchestration_project.instance.logs import JsonLines
from orchestration_project.instance.storage import open_instance

SEEN = []


@dg.op
def see_trace() -> None:
    SEEN.append(find_current_trace())
    line = logging.LogRecord("any", logging.INFO, __file__, 1, "loaded", None, None)
    SEEN.append(json.loads(JsonLines().format(line)))


@dg.job
def seeing():
    see_trace()


@pytest.fixture
def instance(tmp_path, monkeypatch, new_files):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    shutil.copytree(new_files, tmp_path / "dagster")
    SEEN.clear()
    with open_instance() as opened:
        yield opened


def test_a_run_begins_a_trace_that_its_steps_and_lines_carry(instance):
    run = instance.get_run_by_id(seeing.execute_in_process(instance=instance).run_id)
    trace = trace_of_tags(run.tags)
    assert trace is not None
    assert run.tags["trace_id"] == trace.trace_id
    seen, line = SEEN
    assert seen.trace_id == line["trace_id"] == trace.trace_id
    assert line["span_id"] == seen.span_id
    assert find_current_trace() is None  # it has ended


def test_a_run_that_is_created_in_a_trace_belongs_to_it_and_so_does_its_retry(instance):
    with use_trace(request := begin_trace()):
        first = instance.create_run_for_job(seeing)
    assert trace_of_tags(first.tags) == request
    of_first = {"root_run_id": first.run_id, "parent_run_id": first.run_id}
    again = instance.create_run_for_job(seeing, tags=first.tags, **of_first)
    assert again.tags["trace_id"] == request.trace_id


def test_all_runs_of_a_backfill_are_of_its_trace(instance):
    with use_trace(request := begin_trace()):
        instance.add_backfill(
            PartitionBackfill(
                "one",
                BulkActionStatus.REQUESTED,
                from_failure=False,
                tags={},
                backfill_timestamp=0.0,
            )
        )
    [backfill] = instance.get_backfills()
    assert backfill.tags == request.as_tags()  # Dagster copies them to each run


def test_a_malformed_tag_is_replaced_and_noted(instance):
    run = instance.create_run_for_job(seeing, tags={"traceparent": "00-" + "z" * 400})
    assert run.tags["traceparent_rejected"] == "00-" + "z" * 77
    assert trace_of_tags(run.tags) is not None
