"""Which runs a pause holds, and which pauses are valid."""

from datetime import UTC, datetime

import pytest

from orchestration_project.engine.contracts.pauses import (
    Pause,
    find_pause,
    read_end,
    require_valid_pause,
    run_subjects,
)
from orchestration_project.errors import ConfigurationError

NINE, TEN = datetime(2026, 3, 2, 9, tzinfo=UTC), datetime(2026, 3, 2, 10, tzinfo=UTC)
WEEKLY = run_subjects(["finra"], ["finra/otc_weekly"], ["finra", "clock"])


def pause(subject: str, until: datetime | None = None, reason: str = "move") -> Pause:
    return Pause(subject, reason, "ada", NINE, until)


@pytest.mark.parametrize(
    ("subject", "is_held"),
    [
        ("all", True),
        ("finra", True),
        ("finra/otc_weekly", True),
        ("source:finra", True),
        ("finra/tier_week", False),
        ("source:jira", False),
        ("saas", False),
        ("operations", False),
    ],
)
def test_a_pause_holds_runs_of_its_domain_asset_or_source(subject: str, is_held: bool):
    assert (find_pause([pause(subject)], WEEKLY) is not None) == is_held


def test_all_leaves_operations_which_its_own_name_pauses():
    subjects = run_subjects(["operations"], ["operations/runs"], [])
    assert find_pause([pause("all")], subjects) is None
    assert find_pause([pause("operations")], subjects) == pause("operations")


def test_a_run_of_assets_of_two_domains_is_held_by_either():
    subjects = run_subjects([], ["prices/daily", "finra/otc_weekly"], [])
    assert [find_pause([pause(name)], subjects) for name in ("prices", "fx")] == [
        pause("prices"),
        None,
    ]


def test_of_several_pauses_the_one_that_ends_last_is_named():
    pauses = [pause("finra", TEN), pause("all"), pause("source:finra", NINE)]
    assert find_pause(pauses, WEEKLY) == pause("all")


def test_a_pause_ends_at_its_time():
    assert [pause("finra", TEN).is_in_effect(now) for now in (NINE, TEN)] == [True, False]
    assert pause("finra").is_in_effect(datetime(2099, 1, 1, tzinfo=UTC))


def test_a_pause_says_until_when_by_whom_and_why():
    assert pause("finra", TEN).text == "finra is paused until 2026-03-02 10:00 UTC by ada: move"
    assert pause("source:jira").text == "source:jira is paused by ada: move"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (pause("finra", NINE), "expected a time after 2026-03-02 09:00 UTC, found 2026-03-02 09:0"),
        (pause("finra", reason=" "), "invalid reason: expected 1 to 500 characters, found 0"),
        (pause("finra", reason="x" * 501), "found 501"),
        (pause("finr"), "did you mean finra?"),
        (pause("weather"), "list them by `datasets`"),
    ],
)
def test_an_invalid_pause_is_refused(made: Pause, message: str):
    with pytest.raises(ConfigurationError) as refused:
        require_valid_pause(made, ["all", "finra"])
    assert message in str(refused.value)


def test_a_pause_with_a_later_end_or_the_longest_reason_is_valid():
    valid = [pause("finra", TEN), pause("all", reason="x" * 500), pause("finra")]
    assert [made for made in valid if is_valid(made)] == valid
    assert not is_valid(pause("weather"))


def is_valid(made: Pause) -> bool:
    try:
        require_valid_pause(made, ["all", "finra"])
    except ConfigurationError:
        return False
    return True


def test_an_end_needs_a_zone():
    assert read_end("2026-03-02T11:00+01:00") == TEN
    for text in ("2026-03-02T10:00", "tomorrow"):
        with pytest.raises(ConfigurationError, match="expected a time with its zone"):
            read_end(text)
