"""Which deliveries of ranges of days make up what is landed of a partition."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection

from orchestration_project.contracts.rules import Days
from orchestration_project.engine.warehouse.frames import range_of
from orchestration_project.engine.warehouse.parts import part_layers_of
from orchestration_project.engine.warehouse.recorded import Recorded, read_partial

A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Layer:
    """A delivery of a range, and those of its days for which no later one holds.

    ``is_landed`` is False of the latest one that was read whole, where it was not landed.
    """

    recorded: Recorded
    range: Days
    days: Sequence[Days]
    is_landed: bool

    def holds_within(self, days: Days) -> bool:
        """Whether it holds for any of ``days``."""
        return any(each.first <= days.last and days.first <= each.last for each in self.days)


def layers_of(recorded: Sequence[Recorded], *, only_landed: bool = False) -> list[Layer]:
    """Return what makes a partition up, oldest first, by all its deliveries in their order.

    The latest delivery that was read whole counts, landed or not, unless ``only_landed`` do. A
    replay of several deliveries changes nothing of which days each of them holds for, and is none
    of them itself; nor is one that landed nothing.
    """
    own = [each for each in recorded if is_of_one(each, recorded) and not each.is_vain_replay]
    layers: list[Layer] = []
    for each in reversed(own):
        layer = layer_of(each, recorded)
        if not (layer.is_landed or (each is own[-1] and not only_landed)):
            continue
        left = _beyond(layer.range, (later.range for later in layers))
        if left:
            layers.append(replace(layer, days=left))
    return layers[::-1]


def groups_of_layers(connection: Connection) -> set[str]:
    """Return the group_id of all deliveries that make up a partition with others."""
    found: dict[tuple[str, str, bool], list[Recorded]] = {}
    for table, each in read_partial(connection):
        is_range = range_of(each.scope) is not None
        found.setdefault((table, each.partition_key, is_range), []).append(each)
    return {
        layer.recorded.group_id
        for (_, _, are_ranges), recorded in found.items()
        for layer in (layers_of(recorded) if are_ranges else part_layers_of(recorded))
    }


def layer_of(each: Recorded, recorded: Sequence[Recorded]) -> Layer:
    """Return one of the ``recorded`` deliveries alone, for all its days.

    Raises:
        ValueError: It is of no range.
    """
    days = range_of(each.scope)
    if days is None:
        raise ValueError(f"{each.group_id} is of no range")
    return Layer(each, days, [days], has_landed(each, recorded))


def has_landed(each: Recorded, recorded: Sequence[Recorded]) -> bool:
    """Whether one of the ``recorded`` deliveries, or a replay of what was fetched, has landed."""
    names = {each.group_id, each.fetched_group}
    return any(
        other.outcome == "landed" and {other.group_id, other.replay_of} & names
        for other in recorded
    )


def is_of_one(each: Recorded, recorded: Sequence[Recorded]) -> bool:
    """Whether it was read whole, and is no replay of several deliveries."""
    return each.part_count > 0 and any(
        other.group_id == each.fetched_group
        and (other.scope, other.part_count) == (each.scope, each.part_count)
        for other in recorded
    )


def _beyond(days: Days, covered: Iterable[Days]) -> list[Days]:
    """Return what of ``days`` lies in none of the ``covered`` ranges."""
    left = [days]
    for each in covered:
        left = [part for one in left for part in _around(one, each)]
    return left


def _around(days: Days, hole: Days) -> list[Days]:
    before = Days(days.first, min(days.last, hole.first - A_DAY))
    after = Days(max(days.first, hole.last + A_DAY), days.last)
    return [each for each in (before, after) if each.first <= each.last]
