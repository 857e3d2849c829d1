"""robots.txt by RFC 9309: what a crawler may request, and how often."""

from dataclasses import dataclass
from typing import Literal, Protocol

MAX_ROBOTS_BYTES = 500 * 1024
"""Bytes of a robots.txt that count; the RFC asks for this many at least."""

MAX_CRAWL_DELAY_SECONDS = 3_600.0
"""A longer delay counts as this one."""

TOO_MANY_REQUESTS = 429

RobotsVerdict = Literal["allowed", "disallowed", "unreachable"]
"""Verdict on a URL. unreachable: robots.txt failed, so that all URLs are disallowed."""


class _Rules(Protocol):
    def can_fetch(self, url: str, user_agent: str) -> bool: ...

    def crawl_delay(self, user_agent: str) -> float | None: ...


@dataclass(frozen=True)
class Robots:
    """Rules of one origin.

    Attributes:
        rules: Parsed rules; None: there are none.
        is_reachable: Whether the server answered with rules, or that it has none.
    """

    rules: _Rules | None = None
    is_reachable: bool = True

    def verdict(self, url: str, user_agent: str) -> RobotsVerdict:
        """Return whether a product may request a URL.

        Args:
            url: An absolute URL of the origin.
            user_agent: The product's name, such as ``examplebot``.
        """
        if not self.is_reachable:
            return "unreachable"
        if self.rules is None or self.rules.can_fetch(url, user_agent):
            return "allowed"
        return "disallowed"

    def crawl_delay_seconds(self, user_agent: str) -> float:
        """Return the least pause between two requests, seconds; 0: none is asked for."""
        delay = self.rules.crawl_delay(user_agent) if self.rules else None
        if delay is None or not delay > 0:
            return 0.0
        return min(float(delay), MAX_CRAWL_DELAY_SECONDS)


def read_robots(status: int | None, body: bytes) -> Robots:
    """Return the rules that an answer for `/robots.txt` means.

    2xx are rules. Other statuses below 500 mean that there are none, so that all is allowed. 5xx,
    and no answer, mean that nothing is allowed (RFC 9309, 2.3.1). So does 429 here, where the RFC
    would allow all: the server asks for fewer requests.

    Args:
        status: HTTP status after redirects; None: no answer.
        body: The bytes; those beyond `MAX_ROBOTS_BYTES`, with the line that they cut, do not count.
    """
    if status is None or status >= 500 or status == TOO_MANY_REQUESTS:
        return Robots(is_reachable=False)
    if not 200 <= status < 300:
        return Robots()
    from protego import Protego  # an extra

    if len(body) > MAX_ROBOTS_BYTES:
        body = body[:MAX_ROBOTS_BYTES].rpartition(b"\n")[0]
    return Robots(Protego.parse(body.decode("utf-8-sig", errors="replace").replace("\0", "")))
