"""Which of the kept deliveries a replay takes, and for which days."""

from datetime import date

import pytest

from orchestration_project.contracts.rules import Days
from orchestration_project.engine.warehouse.recorded import Recorded, layers_of, place_of
from orchestration_project.errors import ConfigurationError


def day(number: int) -> date:
    return date(2026, 1, number)


def days(first: int, last: int) -> Days:
    return Days(day(first), day(last))


def delivered(number: int, first: int, last: int, outcome="landed", **changed) -> Recorded:
    """Return a delivery of days of January, by its number."""
    values = {
        "group_id": f"t:AAA#{number}",
        "partition_key": "AAA",
        "source": "files",
        "dataset": "daily",
        "source_version": f"v{number}",
        "record_total": None,
        "scope": {"trade_date": days(first, last)},
        "part_count": 1,
        "outcome": outcome,
        "replay_of": None,
    }
    return Recorded(**values | changed)


def made_of(*recorded: Recorded) -> dict[int, list[Days]]:
    """Return the days of each delivery that counts, by its number."""
    layers = layers_of(recorded)
    return {int(each.recorded.group_id.rpartition("#")[2]): [*each.days] for each in layers}


HELD_BACK, REFUSED = "held_back", "refused"
WAS_FIRST, WAS_SECOND = {"replay_of": "t:AAA#1"}, {"replay_of": "t:AAA#2"}

MADE_OF = {
    "a later one that covers it": (
        [delivered(1, 1, 9), delivered(2, 1, 20)],
        {2: [days(1, 20)]},
    ),
    "one that lies beside it": (
        [delivered(1, 1, 9), delivered(2, 15, 20)],
        {1: [days(1, 9)], 2: [days(15, 20)]},
    ),
    "later ones at its ends and in its middle": (
        [delivered(1, 3, 20), delivered(2, 1, 4), delivered(3, 10, 11), delivered(4, 20, 25)],
        {1: [days(5, 9), days(12, 19)], 2: [days(1, 4)], 3: [days(10, 11)], 4: [days(20, 25)]},
    ),
    "one that was held back, and a later one": (
        [delivered(1, 1, 9), delivered(2, 1, 20, HELD_BACK), delivered(3, 5, 6)],
        {1: [days(1, 4), days(7, 9)], 3: [days(5, 6)]},
    ),
    "the latest, which was held back": (
        [delivered(1, 1, 9), delivered(2, 5, 20, HELD_BACK)],
        {1: [days(1, 4)], 2: [days(5, 20)]},
    ),
    "one that was not read whole": (
        [delivered(1, 1, 9), delivered(2, 5, 20, REFUSED, part_count=0)],
        {1: [days(1, 9)]},
    ),
    "a replay of both": (
        [delivered(1, 1, 9), delivered(2, 5, 20), delivered(3, 1, 20, part_count=2, **WAS_SECOND)],
        {1: [days(1, 4)], 2: [days(5, 20)]},
    ),
    "one that only a replay of both has landed, and a later one": (
        [
            delivered(1, 1, 9),
            delivered(2, 5, 20, HELD_BACK),
            delivered(3, 1, 20, part_count=2, **WAS_SECOND),
            delivered(4, 20, 20),
        ],
        {1: [days(1, 4)], 2: [days(5, 19)], 4: [days(20, 20)]},
    ),
    "a replay of it that turned another one back": (
        [delivered(1, 1, 9), delivered(2, 5, 20), delivered(3, 1, 9, **WAS_FIRST)],
        {2: [days(10, 20)], 3: [days(1, 9)]},
    ),
    "a replay that was held back, of one that another covers": (
        [delivered(1, 1, 9), delivered(2, 1, 20), delivered(3, 1, 9, HELD_BACK, **WAS_FIRST)],
        {2: [days(1, 20)]},
    ),
    "a replay that was held back, and a later one": (
        [
            delivered(1, 1, 9),
            delivered(2, 1, 20),
            delivered(3, 1, 9, HELD_BACK, **WAS_FIRST),
            delivered(4, 20, 20),
        ],
        {2: [days(1, 19)], 4: [days(20, 20)]},
    ),
}


@pytest.mark.parametrize("beside", MADE_OF)
def test_what_is_landed_is_made_of_each_delivery_for_the_days_that_no_later_one_holds(beside):
    recorded, expected = MADE_OF[beside]
    assert made_of(*recorded) == expected


def test_of_the_deliveries_only_the_latest_may_be_one_that_is_not_landed():
    layers = layers_of([delivered(1, 1, 9), delivered(2, 5, 20, HELD_BACK)])
    assert [each.is_landed for each in layers] == [True, False]


def test_a_deliverys_name_holds_its_table_and_partition():
    assert place_of("finra_otc_weekly:T1|2025-11-10#12") == ("finra_otc_weekly", "T1|2025-11-10")


@pytest.mark.parametrize("name", ["", "T1|2025-11-10", "finra_otc_weekly:T1|2025-11-10#x"])
def test_what_is_no_deliverys_name_is_refused(name):
    with pytest.raises(ConfigurationError, match="is no delivery"):
        place_of(name)
