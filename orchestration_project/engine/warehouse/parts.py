"""Which deliveries of parts of a partition, such as a market of a week, make up what is landed."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestration_project.engine.warehouse.frames import part_of
from orchestration_project.engine.warehouse.recorded import Recorded


@dataclass(frozen=True)
class PartLayer:
    """A delivery, and those of its values for which no later one holds; None: it is of no part."""

    recorded: Recorded
    values: frozenset[str] | None


def part_layers_of(recorded: Sequence[Recorded]) -> list[PartLayer]:
    """Return what makes a partition up, oldest first, by all its deliveries in their order.

    The latest delivery that was read whole counts, landed or not. One of the whole partition holds
    for what later ones of parts leave, and is not taken with them: its captures cannot be parted.
    """
    layers: list[PartLayer] = []
    covered: frozenset[str] = frozenset()
    whole = [each for each in recorded if each.part_count and not each.is_vain_replay]
    for each in reversed(whole):
        if layers and each.outcome != "landed":
            continue
        part = part_of(each.scope)
        if part is None:
            return layers[::-1] or [PartLayer(each, None)]
        values = part[1] - covered
        if values:
            layers.append(PartLayer(each, values))
            covered |= values
    return layers[::-1]
