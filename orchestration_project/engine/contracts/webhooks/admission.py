"""Admission of webhook bodies: by rate, and by bytes of unfinished bodies."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class TokenBucket:
    """Lets ``per_second`` deliveries through in a second, and at most as many at once.

    Seconds are those of any clock that never goes back.
    """

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._tokens = float(per_second)
        self._at = float("-inf")

    def wait_seconds(self, now: float) -> float:
        """Let one through and return 0, or return the seconds until one may come."""
        self._tokens = min(self._per_second, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._per_second
        self._tokens -= 1
        return 0


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
        for subject in subjects:
            self._held[subject] += byte_count
            if not self._held[subject]:
                del self._held[subject]
        return all(self._held[subject] <= self._limits[subject[0]] for subject in subjects)


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
