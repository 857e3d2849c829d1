"""Event of a webhook: a record changed, and is then read in its current state."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["created", "updated", "completed", "deleted", "commented", "other"]
"""Kind of event; ``completed`` also where only its result shows. ``other`` has no record."""


@dataclass(frozen=True)
class TaskEvent:
    """A hint: deliveries come twice, late, in another order or never, so nothing rests on one.

    Attributes:
        system: Sender of the event.
        kind: What of.
        entity_id: The task's id, or the issue's key; None: no record that we keep.
    """

    system: str
    kind: Kind
    entity_id: str | None
