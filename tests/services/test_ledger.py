"""Ledger entry of a run: its trigger, its session, and the cause of its failure."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from orchestration_project.engine.contracts.failures import classify_step, run_category
from orchestration_project.engine.warehouse import SupersededError
from orchestration_project.services.ledger.rules.entries import (
    Check,
    RunFacts,
    StepFacts,
    Volume,
    build_entry,
    find_session,
    trigger_of,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
WORDS = ("password", "token")


def facts(**changes) -> RunFacts:
    usual = {
        "run_id": "r1",
        "job": "finra_otc_weekly",
        "status": "SUCCESS",
        "created_at": NOON,
        "changed_at": NOON + timedelta(seconds=9),
        "started_at": NOON + timedelta(seconds=2),
        "ended_at": NOON + timedelta(seconds=9),
    }
    return RunFacts(**usual | changes)


def step(**changes) -> StepFacts:
    usual = {"step_key": "load", "status": "SUCCESS", "started_at": NOON, "attempts": 1}
    return StepFacts(**usual | changes)


def entry(volumes=None, **changes):
    return build_entry(facts(**changes), volumes or {}, WORDS)


@pytest.mark.parametrize(
    ("tags", "trigger"),
    [
        ({"dagster/schedule_name": "daily", "dagster/tick": "7"}, ("schedule", "daily")),
        ({"dagster/sensor_name": "on_file", "dagster/tick": "7"}, ("sensor", "on_file")),
        ({"dagster/backfill": "abc"}, ("backfill", "abc")),
        ({"dagster/backfill": "abc", "requested_by": "mondays"}, ("schedule", "mondays")),
        ({"user": "ada"}, ("person", None)),
    ],
)
def test_a_run_says_what_started_it(tags, trigger):
    assert trigger_of(tags) == trigger


@pytest.mark.parametrize(
    ("tags", "session"),
    [
        ({"session": "year end", "dagster/backfill": "abc"}, "year end"),
        ({"dagster/backfill": "abc", "dagster/tick": "7"}, "abc"),
        ({"dagster/schedule_name": "daily", "dagster/tick": "7"}, "daily#7"),
        ({"dagster/sensor_name": "on_file", "dagster/tick": "8"}, "on_file#8"),
        ({"session": ""}, "r1"),
    ],
)
def test_runs_of_one_batch_backfill_or_tick_are_one_session(tags, session):
    assert find_session(facts(tags=tags)) == session


def test_a_retry_is_of_the_session_of_its_first_try():
    assert find_session(facts(run_id="r2", root_run_id="r1")) == "r1"


@pytest.mark.parametrize(
    ("changes", "domain"),
    [
        ({"tags": {"domain": "prices"}, "assets": ["finra/otc_weekly"]}, "prices"),
        ({"job": "__ASSET_JOB", "assets": ["web/pages", "finra/otc_weekly"]}, "finra"),
        ({}, "finra"),
        ({"job": "__ASSET_JOB"}, "other"),
    ],
)
def test_a_run_is_of_the_domain_of_its_tag_its_assets_or_its_job(changes, domain):
    assert entry(**changes).run["domain"] == domain


@pytest.mark.parametrize(
    ("first", "last", "key"), [("T1|a", "T1|b", "T1|a...T1|b"), ("T1|a", "T1|a", "T1|a")]
)
def test_a_range_of_partitions_is_named_by_its_ends(first, last, key):
    range_tag = "dagster/asset_partition_range_"
    tags = {f"{range_tag}start": first, f"{range_tag}end": last}
    assert entry(tags=tags).run["partition_key"] == key


def test_params_keep_what_was_asked_and_no_secret():
    config = {
        "ops": {"load": {"config": {"full": True, "api_token": "abc", "weeks": ["2026-01-05"]}}},
        "url": "postgresql://me:pa:ss@host/db",
    }
    assert json.loads(entry(config=config).run["params"]) == {
        "ops": {"load": {"config": {"full": True, "api_token": "***", "weeks": ["2026-01-05"]}}},
        "url": "postgresql://***@host/db",
    }


def test_a_step_has_the_rows_of_the_tables_of_its_assets_and_the_run_those_of_all():
    volumes = {"finra_otc_weekly": Volume(10, 7, 3, 99), "web_pages": Volume(1, 1, 0, 5)}
    found = entry(volumes, steps=[step(assets=["finra/symbol_week", "finra/otc_weekly"])])
    names = ("rows_in", "rows_landed", "rows_rejected", "byte_count")
    assert [found.run[name] for name in names] == [11, 8, 3, 104]
    [only] = found.steps
    assert [only[name] for name in names] == [10, 7, 3, 99]
    assert only["asset"] == "finra/otc_weekly"
    assert json.loads(only["assets"]) == ["finra/otc_weekly", "finra/symbol_week"]


@pytest.mark.parametrize(
    ("checks", "passed"),
    [
        ([], None),
        ([Check("a", True, "error"), Check("b", False, "warning")], True),
        ([Check("a", True, "error"), Check("b", False, "error")], False),
    ],
)
def test_the_quality_of_a_step_has_passed_if_no_check_failed_that_is_more_than_a_warning(
    checks, passed
):
    assert entry(steps=[step(checks=checks)]).steps[0]["quality_passed"] is passed


def test_quality_metrics_have_each_checks_numbers():
    checks = [Check("finra/otc_weekly has_few_rejects", True, "error", {"rejects": 3})]
    [found] = entry(steps=[step(checks=checks)]).steps
    assert json.loads(found["quality_metrics"]) == {
        "finra/otc_weekly has_few_rejects": {"passed": True, "severity": "error", "rejects": 3}
    }


def test_a_step_whose_run_was_ended_is_canceled_and_ends_with_it():
    found = entry(status="CANCELED", steps=[step(status="IN_PROGRESS")])
    assert (found.run["error_category"], found.run["error_message"]) == ("canceled", None)
    [only] = found.steps
    assert (only["status"], only["ended_at"], only["duration_seconds"]) == (
        "CANCELED",
        NOON + timedelta(seconds=9),
        9.0,
    )


def test_a_run_under_way_has_no_end_and_no_error():
    found = entry(status="STARTED", ended_at=None, steps=[step(status="IN_PROGRESS")])
    names = ("ended_at", "duration_seconds", "error_category")
    assert [found.run[name] for name in names] == [None, None, None]
    assert (found.steps[0]["status"], found.steps[0]["ended_at"]) == ("IN_PROGRESS", None)


def test_a_failed_run_has_the_category_of_its_first_failed_step_and_its_error_without_password():
    failed = step(status="FAILURE", error_classes=["Failure", "SourceError"], error="no answer")
    text = "load: cannot reach https://me:secret@host"
    found = entry(status="FAILURE", steps=[step(step_key="a"), failed], error=text)
    assert found.run["error_category"] == "source"
    assert found.run["error_message"] == "load: cannot reach https://***@host"
    cut = entry(status="FAILURE", error=f"{'x' * 3980} https://me:secret@host")
    assert cut.run["error_message"] == f"{'x' * 3980} https://***@host"  # not cut before the @
    assert [each["error_category"] for each in found.steps] == [None, "source"]
    assert [each["error_message"] for each in found.steps] == [None, "no answer"]


@pytest.mark.parametrize(
    ("classes", "category"),
    [
        (["Failure", "ConfigurationError"], "configuration"),
        (["Failure", "TransientError", "OperationalError", "OperationalError"], "database"),
        (["Failure", SupersededError.__name__], "transient"),
        (["DagsterExecutionInterruptedError"], "canceled"),
        (["DagsterAssetCheckFailedError"], "contract"),
        (["Failure"], "refused"),
        (["DagsterExecutionStepExecutionError", "ZeroDivisionError"], "defect"),
        ([], "defect"),
    ],
)
def test_the_category_of_a_failed_step_comes_from_what_was_raised(classes, category):
    assert classify_step(classes, []) == category


def test_quarantined_partitions_give_their_most_frequent_category():
    assert classify_step(["Failure"], ["source", "contract", "contract"]) == "contract"
    assert classify_step(["Failure"], ["source", "contract"]) == "contract"


def test_a_run_that_failed_without_a_failed_step_has_crashed_unless_its_error_is_known():
    assert run_category([], []) == "crash"
    assert run_category([], ["ConfigurationError"]) == "configuration"
    assert run_category(["source", "defect"], []) == "source"
