"""How far ended runs were looked at: the cursor of the sensor that raises alerts."""

from datetime import datetime

from pydantic import BaseModel, Field

READ_OVERLAP = 20
"""Overlap of reads: two processes may write ends of runs in another order than their numbers."""

MAX_POLLS_FOR_RETRY = 10
"""After so many looks a retry that was announced will not be made: its backfill may be over."""


class Progress(BaseModel):
    """State that a tick hands to the next.

    Attributes:
        seen: Places of the latest ends of runs that were looked at, in order.
        waiting: Failed runs of which a retry is announced, and how often that was looked for.
        told: When each channel was told that the database is lost; empty while it is not.
        suspected: Kinds of conditions that did not hold in the latest look.
    """

    seen: list[int]
    waiting: dict[str, int] = Field(default_factory=dict)
    told: dict[str, datetime] = Field(default_factory=dict)
    suspected: list[str] = Field(default_factory=list)

    @property
    def since(self) -> int:
        """The place after which ends are read."""
        return self.seen[0]

    def with_seen(self, places: list[int]) -> "Progress":
        """Return the progress after looking at these places too."""
        return self.model_copy(update={"seen": sorted({*self.seen, *places})[-READ_OVERLAP - 1 :]})
