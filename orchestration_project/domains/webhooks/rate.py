"""How often a source may deliver."""


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
