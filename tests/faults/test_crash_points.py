"""A load is killed, or its disk or database fails it, at each point that it passes."""

import pytest

from tests.faults.pipelines import alike, strikes_on
from tests.faults.points import Plan
from tests.faults.series import Series, series, strike_each
from tests.faults.undisturbed import Undisturbed

pytestmark = pytest.mark.faults

PARTS = 40
"""The points are shared out to so many series; where there are fewer, the last ones are empty."""

SOME_MORE = 8
"""Points that a load may pass beyond those of another piece, such as for a folder that it makes."""

CAUSES = ("Input/output error", "disk I/O error", "terminating connection due to")


def points_of(part: int, campaign, expected: Undisturbed) -> dict[int, int]:
    """Return at which point each piece of a series is struck."""
    struck: dict[int, int] = {}
    for kind, numbers in alike(expected.count).items():
        size = len(numbers)
        chosen = campaign.points(expected.pipeline, expected.points[kind] + SOME_MORE)
        if len(chosen) > PARTS * size:
            raise ValueError("there are more points than pieces")
        struck |= dict(zip(numbers, chosen[part * size : (part + 1) * size], strict=False))
    return struck


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize(
    ("fault", "database", "pipeline"), strikes_on("killed at every point, one after the other")
)
def test_a_killed_load_publishes_all_or_nothing_and_resumes(
    fault, database, pipeline, part, campaign, undisturbed_loads, tmp_path, kill_seen
):
    expected = undisturbed_loads(pipeline, database)
    if not (points := points_of(part, campaign, expected)):
        return

    def die_and_check(struck: Series, number: int) -> None:
        process = struck.begin(number, Plan(points[number], "die"))
        outcomes = process.wait_and_check_answer()
        assert outcomes == [] or process.seen.number <= points[number]
        struck.leave(number, process)
        if not outcomes:
            kill_seen(f"{pipeline.name}, {database}, each", process.seen.stage)

    with series(expected, tmp_path) as struck:
        strike_each(struck, points.__contains__, die_and_check)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize(
    ("fault", "database", "pipeline"), strikes_on("disk or database fails at every point")
)
def test_a_load_that_fails_at_a_point_publishes_all_or_nothing(
    fault, database, pipeline, part, campaign, undisturbed_loads, tmp_path
):
    expected = undisturbed_loads(pipeline, database)
    if not (points := points_of(part, campaign, expected)):
        return

    def fail_and_check(struck: Series, number: int) -> None:
        process = struck.begin(number, Plan(points[number], "fail"))
        (outcome,) = process.wait_and_check_answer()
        is_reported = any(cause in outcome for cause in CAUSES)
        assert not is_reported or ("expected:" in outcome and "what to do:" in outcome)
        assert is_reported or struck.is_as_expected(number, outcome), (
            number,
            points[number],
            outcome,
        )
        struck.leave(number, process)

    with series(expected, tmp_path, has_more_evidence=True) as struck:
        strike_each(struck, points.__contains__, fail_and_check)
