"""Recorded deliveries that a replay selects, and their days."""

from dataclasses import replace
from datetime import date

import pytest

from orchestration_project.engine.contracts.key_ranges import Days
from orchestration_project.engine.warehouse.recorded import (
    RecordedDelivery,
    build_layers,
    build_part_layers,
    parse_group_id,
    select_effective,
)
from orchestration_project.errors import ConfigurationError


def day(number: int) -> date:
    return date(2026, 1, number)


def days(first: int, last: int) -> Days:
    return Days(day(first), day(last))


def delivered(number: int, first: int, last: int, outcome="landed", **changed) -> RecordedDelivery:
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
    return RecordedDelivery(**values | changed)


def made_of(*recorded: RecordedDelivery) -> dict[int, list[Days]]:
    """Return the days of each delivery that counts, by its number."""
    layers = build_layers(recorded)
    return {int(layer.recorded.group_id.rpartition("#")[2]): [*layer.days] for layer in layers}


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
    "one that was quarantined, and a later one": (
        [delivered(1, 1, 9), delivered(2, 1, 20, HELD_BACK), delivered(3, 5, 6)],
        {1: [days(1, 4), days(7, 9)], 3: [days(5, 6)]},
    ),
    "the latest, which was quarantined": (
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
    "one that only a replay of both has loaded, and a later one": (
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
    "a replay that was quarantined, of one that another covers": (
        [delivered(1, 1, 9), delivered(2, 1, 20), delivered(3, 1, 9, HELD_BACK, **WAS_FIRST)],
        {2: [days(1, 20)]},
    ),
    "a replay that was quarantined, and a later one": (
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
def test_loaded_rows_are_of_the_last_delivery_that_has_their_day(beside):
    recorded, expected = MADE_OF[beside]
    assert made_of(*recorded) == expected


def test_only_the_latest_delivery_may_be_one_not_loaded():
    layers = build_layers([delivered(1, 1, 9), delivered(2, 5, 20, HELD_BACK)])
    assert [layer.is_loaded for layer in layers] == [True, False]


def part(number: int, *markets: str, outcome="landed", **changed) -> RecordedDelivery:
    """Return a delivery of markets, of all without any."""
    scope = {"market": markets} if markets else {}
    return delivered(number, 1, 1, outcome, **{"scope": scope, **changed})


ATS, BOTH = frozenset({"ATS"}), frozenset({"ATS", "NON_ATS"})


@pytest.mark.parametrize(
    ("recorded", "layers"),
    [
        ([part(1, "ATS", "NON_ATS"), part(2, "ATS")], [(1, BOTH - ATS), (2, ATS)]),
        ([part(1, "ATS"), part(2, "ATS", "NON_ATS")], [(2, BOTH)]),
        ([part(1), part(2, "ATS")], [(2, ATS)]),
        ([part(1, "ATS"), part(2)], [(2, None)]),
        ([part(1, "ATS"), part(2, "ATS", outcome=HELD_BACK, **WAS_FIRST)], [(1, ATS)]),
        ([part(1, "ATS"), part(2, "ATS", outcome=REFUSED, part_count=0)], [(1, ATS)]),
        ([part(1, "ATS"), part(2, "ATS", outcome=HELD_BACK)], [(2, ATS)]),
        (
            [part(1, "ATS"), part(2, "NON_ATS", outcome=HELD_BACK), part(3, "ATS")],
            [(3, ATS)],
        ),
        ([part(1, outcome=REFUSED, part_count=0)], []),
    ],
)
def test_a_partition_is_made_of_the_latest_whole_delivery_of_each_part(recorded, layers):
    found = build_part_layers(recorded)
    assert [(load.recorded.group_id, load.values) for load in found] == [
        (f"t:AAA#{number}", values) for number, values in layers
    ]


HISTORY_OF_PARTS = [
    part(1, "ATS"),
    part(2),
    part(3, "ATS", outcome=HELD_BACK),
    part(4, "ATS"),
    part(5, "NON_ATS", outcome=REFUSED, part_count=0),
]

EFFECTIVE = {
    "nothing": ([], [], []),
    "parts and a whole": (HISTORY_OF_PARTS, [2, 4], [1, 2, 4]),
    "a whole one after a part": ([part(1, "ATS"), part(2)], [2], [1, 2]),
    "parts that together cover an earlier one": (
        [part(1, "ATS", "NON_ATS"), part(2, "ATS"), part(3, "NON_ATS")],
        [2, 3],
        [1, 2, 3],
    ),
    "parts of which one is not covered": (
        [part(1, "ATS", "NON_ATS"), part(2, "ATS")],
        [1, 2],
        [1, 2],
    ),
    "ranges that together cover an earlier one": (
        [delivered(1, 1, 9), delivered(2, 1, 5), delivered(3, 6, 9)],
        [2, 3],
        [1, 2, 3],
    ),
    "a range, a part and a whole one before them": (
        [part(1), delivered(2, 1, 9), part(3, "ATS")],
        [1, 2, 3],
        [1, 2, 3],
    ),
    "the latest, which was quarantined": (
        [part(1), part(2, outcome=HELD_BACK)],
        [2],
        [1, 2],
    ),
    "a replay of the first on top": (
        [part(1, "ATS"), part(2, "NON_ATS"), part(3, "ATS", **WAS_FIRST)],
        [2, 3],
        [2, 3],
    ),
    "a replay that was quarantined": (
        [part(1, "ATS"), part(2, "NON_ATS"), part(3, "ATS", outcome=HELD_BACK, **WAS_FIRST)],
        [1, 2],
        [1, 2],
    ),
    "a replay of both": (
        [part(1, "ATS"), part(2, "NON_ATS"), part(3, part_count=2, **WAS_SECOND)],
        [1, 2],
        [1, 2],
    ),
    "a replay of both that loaded the second, and a third": (
        [
            part(1, "ATS"),
            part(2, "NON_ATS", outcome=HELD_BACK),
            part(3, part_count=2, **WAS_SECOND),
            part(4, "ATS"),
        ],
        [2, 4],
        [1, 2, 4],
    ),
}


@pytest.mark.parametrize("history", EFFECTIVE)
@pytest.mark.parametrize("disposition", ["replace_scope", "merge", "append"])
def test_a_whole_delivery_ends_earlier_ones_and_a_merge_or_append_ends_none(history, disposition):
    recorded, replaced, added = EFFECTIVE[history]
    written = [replace(load, write_disposition=disposition) for load in recorded]
    effective = select_effective(written)
    numbers = [int(load.group_id.rpartition("#")[2]) for load in effective]
    assert numbers == (replaced if disposition == "replace_scope" else added)


def test_the_latest_delivery_is_skipped_if_it_was_not_loaded():
    recorded = [part(1), part(2, outcome=HELD_BACK)]
    recorded = [replace(load, write_disposition="merge") for load in recorded]
    assert select_effective(recorded, only_loaded=True) == recorded[:1]


def test_a_deliverys_name_holds_its_table_and_partition():
    assert parse_group_id("finra_otc_weekly:T1|2025-11-10#12") == (
        "finra_otc_weekly",
        "T1|2025-11-10",
    )


@pytest.mark.parametrize("name", ["", "T1|2025-11-10", "finra_otc_weekly:T1|2025-11-10#x"])
def test_what_is_no_deliverys_name_is_refused(name):
    with pytest.raises(ConfigurationError, match="is not a delivery"):
        parse_group_id(name)
