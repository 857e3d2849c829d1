"""Partition that the parameters of other systems' callers name."""

from datetime import date

import pytest

from orchestration_project.catalog.finra import TIER, WEEK_ENDING
from orchestration_project.catalog.prices import MONTH
from orchestration_project.engine.contracts.pipelines import (
    DateRange,
    KnownPartitions,
    Pipeline,
    build_partition_key,
    select_range,
)
from orchestration_project.errors import ConfigurationError

LOAD = Pipeline("load", (TIER, WEEK_ENDING))


def test_a_friday_means_the_week_that_began_on_its_monday():
    assert build_partition_key(LOAD, {"tier": "T1", "week_ending": "2025-01-10"}) == "T1|2025-01-06"
    assert build_partition_key(Pipeline("sum", (WEEK_ENDING,)), {"week_ending": "2025-01-03"}) == (
        "2024-12-30"
    )
    assert build_partition_key(Pipeline("all"), {}) is None
    assert build_partition_key(Pipeline("prices", (MONTH,)), {"month": "2025-01"}) == "2025-01-01"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tier": "T1"}, "load needs week_ending"),
        ({"tier": "T1", "week_ending": "2025-01-10", "week": "1"}, "load does not take week"),
        ({"tier": "T1", "week_ending": "2025-01-12"}, "is a Sunday"),
        ({"tier": "T1", "week_ending": "0001-01-01"}, "is a Monday"),
        ({"tier": "T1", "week_ending": "10.1.2025"}, "invalid week_ending"),
    ],
)
def test_what_names_no_week_is_refused(given, said):
    with pytest.raises(ConfigurationError, match=said):
        build_partition_key(LOAD, given)


def test_a_day_other_than_friday_names_the_friday_of_its_week():
    with pytest.raises(ConfigurationError, match="its week ends on 2025-01-10"):
        WEEK_ENDING.to_key("2025-01-06")


def test_partitions_between_two_days_include_both_and_may_be_of_one_part():
    keys = ["T1|2025-01-06", "T1|2025-01-13", "T2|2025-01-06", "2025-01-06", "x"]
    weeks = KnownPartitions("load", keys, "0 0 * * 1")

    def between(first: date, last: date, part: str | None) -> list[str]:
        return list(select_range(weeks, DateRange(first, last, part), clip=False).keys)

    first, last = date(2025, 1, 6), date(2025, 1, 12)
    assert between(first, last, None) == ["T1|2025-01-06", "T2|2025-01-06", "2025-01-06"]
    assert between(first, date(2025, 1, 13), "T1") == keys[:2]
    with pytest.raises(ConfigurationError, match="load has no partition"):
        between(last, first, None)


@pytest.mark.parametrize("month", ["2025-13", "2025", "January", "2025-01-01"])
def test_what_names_no_month_is_refused(month: str):
    with pytest.raises(ConfigurationError, match="month is none"):
        build_partition_key(Pipeline("prices", (MONTH,)), {"month": month})
