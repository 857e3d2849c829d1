"""How much memory the unfinished bodies of deliveries may take."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

ADDRESS_SHARE, SOURCE_SHARE = 8, 4
"""One address may hold an eighth of the budget, one source a quarter."""


class BodyBudget:
    """Counts bytes of unfinished bodies as they arrive: of all, of each source and each address.

    Args:
        most_bytes: Limit of all bodies together.
        body_bytes: Length of the longest body; a share is at least as large.
    """

    def __init__(self, most_bytes: int, body_bytes: int) -> None:
        self._limits = {
            "all": most_bytes,
            "source": max(most_bytes // SOURCE_SHARE, body_bytes),
            "address": max(most_bytes // ADDRESS_SHARE, body_bytes),
        }
        self._held = Counter[tuple[str, str]]()

    @contextmanager
    def body(self, source: str, address: str) -> Iterator["Body"]:
        """Give a body that counts while the context lasts."""
        body = Body(self, (("all", ""), ("source", source), ("address", address)))
        try:
            yield body
        finally:
            body.add(-body.byte_count)

    def count(self, subjects: tuple[tuple[str, str], ...], byte_count: int) -> bool:
        """Add to what ``subjects`` hold; return whether each stays within its limit."""
        for each in subjects:
            self._held[each] += byte_count
            if not self._held[each]:
                del self._held[each]
        return all(self._held[each] <= self._limits[each[0]] for each in subjects)


class Body:
    """One unfinished body, of ``byte_count`` bytes so far."""

    def __init__(self, budget: BodyBudget, subjects: tuple[tuple[str, str], ...]) -> None:
        self._budget = budget
        self._subjects = subjects
        self.byte_count = 0

    def add(self, byte_count: int) -> bool:
        """Count bytes that arrived; return whether there is room for them."""
        self.byte_count += byte_count
        return self._budget.count(self._subjects, byte_count)
