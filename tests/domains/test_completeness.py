"""Whether a delivery is whole, by the loaded keys of its partition or the partitions around it."""

from collections.abc import Sequence
from datetime import date

import pytest

from orchestration_project.catalog.fx import RATES
from orchestration_project.engine.contracts.audits import (
    Acceptance,
    CompletenessLimits,
    apply_acceptance,
    check_completeness,
)
from orchestration_project.engine.contracts.partitioning import Calendar, Partitioning

LIMITS = CompletenessLimits()
NOTHING = (0, 0)


@pytest.mark.parametrize(
    ("loaded", "missing", "outcome"),
    [
        (16, 3, "passed"),
        (16, 4, "failed"),
        (16, 13, "failed"),
        (10, 2, "passed"),
        (5, 1, "passed"),
        (5, 2, "failed"),
        (4, 4, "not_applicable"),
    ],
)
def test_a_delivery_has_most_of_the_keys_that_it_replaces(loaded: int, missing: int, outcome: str):
    audit = check_completeness(
        100, (loaded, missing), (), LIMITS
    )  # new keys do not stand for missing ones
    assert audit.outcome == outcome


@pytest.mark.parametrize(
    ("rows", "neighbours", "outcome"),
    [
        (3, [16] * 4, "not_applicable"),
        (3, [16] * 20, "failed"),
        (10, [16] * 20, "failed"),
        (11, [16] * 20, "passed"),
        (3, [3, *[16] * 19], "passed"),  # a list that was shortened before, and accepted
        (500, [16] * 20, "passed"),
        (300, [1000, 400, 1600, 700, 1300, 900, 500], "passed"),  # it varies as widely as that
        (200, [1000, 400, 1600, 700, 1300, 900, 500], "failed"),
        (1, [2] * 20, "passed"),
    ],
)
def test_a_first_delivery_is_about_as_large_as_the_partitions_around_it(
    rows: int, neighbours: Sequence[int], outcome: str
):
    assert check_completeness(rows, NOTHING, neighbours, LIMITS).outcome == outcome


def test_the_delivery_of_a_sha256_is_accepted_with_its_reason_and_no_other():
    audit = check_completeness(3, (16, 13), (), LIMITS)
    assert apply_acceptance(audit, "aa", None).found == "3 of them in 3 rows; SHA-256 aa"
    assert apply_acceptance(audit, "aa", Acceptance("bb", "a holiday")).blocks
    found = apply_acceptance(audit, "aa", Acceptance("aa", "a holiday"))
    assert (found.outcome, found.found) == ("passed", "3 of them in 3 rows; accepted: a holiday")


def test_the_nearest_partitions_of_a_value_come_first():
    keys = [f"2026-02-{day:02}" for day in (2, 3, 4, 5, 6, 9)]
    day = RATES.partitioning.partition_of("2026-02-05", today=date.max)
    assert RATES.partitioning.nearest(day, keys, 3) == ["2026-02-04", "2026-02-06", "2026-02-03"]
    tiers = Partitioning(
        "weeks", Calendar(weekday=0, delay_days=1), "week_start", "tier", ("T1", "T2")
    )
    monday = tiers.partition_of("T1|2026-02-02", today=date.max)
    assert tiers.nearest(monday, ["T2|2026-02-09", "T1|2026-02-16"], 3) == ["T1|2026-02-16"]
    assert tiers.published_on(monday) == date(2026, 2, 3)
