"""Findings that permit work, and the refusal of work."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.services.gate.rules import (
    ANY_WORK,
    QUEUED_RUNS,
    Finding,
    are_ready,
    build_refusal,
    format_error,
    is_needed,
    is_reusable,
)

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
READY = Finding("disk", "passed", "asked", "much is free", "", 0.01, NOON, "abc")
A_QUARTER = timedelta(minutes=15)


@pytest.mark.parametrize(
    ("finding", "passed", "expected"),
    [
        (None, timedelta(0), False),
        (READY, timedelta(0), True),
        (READY, A_QUARTER, True),
        (READY, A_QUARTER + timedelta(microseconds=1), False),
        (READY, timedelta(seconds=-1), False),  # the clock was set back
        (replace(READY, outcome="not_applicable"), A_QUARTER, True),
        (replace(READY, outcome="failed"), timedelta(0), False),
        (replace(READY, config_hash="another"), timedelta(0), False),
    ],
)
def test_work_goes_by_what_was_ready_not_long_ago_under_the_same_settings(
    finding: Finding | None, passed: timedelta, expected: bool
):
    assert is_reusable(finding, now=NOON + passed, max_age=A_QUARTER, config_hash="abc") is expected


def test_work_depends_on_what_names_it_or_any_work_and_queued_runs_on_the_queue_too():
    wanted = [("finra", "x"), (ANY_WORK,), (QUEUED_RUNS,), ("artifacts",), ()]
    assert [is_needed(probe, "finra", is_queued=False) for probe in wanted] == [
        *(True, True, False, False, False)
    ]
    assert [is_needed(probe, "finra", is_queued=True) for probe in wanted] == [
        *(True, True, True, False, False)
    ]


def test_what_an_error_says_is_one_line_without_its_remedy():
    error = ConfigurationError("it is full", expected="space", found="none\n  at all", remedy="go")
    assert format_error(error) == "it is full; expected space; found none at all"
    assert format_error(ConfigurationError("it is full")) == "it is full"


def test_a_refusal_is_of_the_kind_of_the_first_error_and_names_the_others():
    first, other = TransientError("no answer", remedy="wait"), ConfigurationError("it is full")
    refused = build_refusal(
        {"finra": first, "disk": other}, {"finra": "asked it", "disk": "looked"}
    )
    assert refused is first
    assert str(refused) == (
        "no answer\n"
        "  what to do: wait\n"
        "  where: refused_by=the preflight check, before any request for data, dependency=finra, "
        "tried=asked it, also_not_ready=disk, "
        "override=resources.gate.config.force: true in the run's config"
    )


def test_all_is_ready_unless_something_failed():
    assert are_ready([READY, replace(READY, outcome="not_applicable")])
    assert not are_ready([READY, replace(READY, outcome="failed")])
