"""What a webhook tells of: something happened to a record, which is then read as it is now."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["created", "updated", "completed", "deleted", "commented", "other"]
"""What happened; ``completed`` also where only its result shows. ``other`` concerns no record."""


@dataclass(frozen=True)
class TaskEvent:
    """A hint: deliveries come twice, late, in another order or never, so nothing rests on one.

    Attributes:
        system: Who tells.
        kind: What of.
        entity_id: The task's id, or the issue's key; None: no record that we keep.
    """

    system: str
    kind: Kind
    entity_id: str | None
