"""robots.txt by RFC 9309: what a crawler may request, and how often.

Where Google's parser differs from the RFC, the RFC is held; a test lists the differences.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

MAX_ROBOTS_BYTES = 500 * 1024
"""Bytes of a robots.txt that count; the RFC requests this many at least."""

MAX_CRAWL_DELAY_SECONDS = 3_600.0
"""A longer delay counts as this one."""

PASSING_STATUSES = (408, 425, 429)
"""Statuses below 500 of failures that may pass: they say nothing of the rules."""

LINE_END = re.compile(r"\r\n?|\n")
RULE_NAME = re.compile(r"\s*[A-Za-z][A-Za-z -]*")
RULES = ("allow", "disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw")
"""Names of rules, with misspellings that Protego reads as one."""

CRAWL_DELAYS = ("crawl-delay", "crawl delay")
USER_AGENT = re.compile(r"\s*user[- ]?agent\s*", re.IGNORECASE)
ALLOWED_INDEX = re.compile(r"\s*allow\s*:.*/index\.html\s*", re.IGNORECASE)
ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
END_OF_GROUP = "Disallow:"
"""A rule that disallows nothing."""

PRODUCT_END = ";"
"""Put after each product's name: Protego would take a name's start for the whole name."""

RobotsVerdict = Literal["allowed", "disallowed", "unreachable"]
"""Verdict on a URL. unreachable: robots.txt failed, so that all URLs are disallowed."""


class _Rules(Protocol):
    def can_fetch(self, url: str, user_agent: str) -> bool: ...

    def crawl_delay(self, user_agent: str) -> float | None: ...


@dataclass(frozen=True)
class Robots:
    """Rules of one origin.

    Attributes:
        rules: Parsed rules; None: no rules.
        is_reachable: Whether the server answered with rules, or that it has none.
        folder_rules: Rules of URLs that end in ``/``; None: ``rules``.
    """

    rules: _Rules | None = None
    is_reachable: bool = True
    folder_rules: _Rules | None = None

    def verdict(self, url: str, user_agent: str) -> RobotsVerdict:
        """Return whether a product may request a URL.

        Args:
            url: An absolute URL of the origin.
            user_agent: The product's name, such as ``examplebot``.
        """
        if not self.is_reachable:
            return "unreachable"
        is_folder = url.endswith("/") and "index.html" not in _decode_url(url)
        rules = self.folder_rules or self.rules if is_folder else self.rules
        if rules is None or rules.can_fetch(url, user_agent + PRODUCT_END):
            return "allowed"
        return "disallowed"

    def crawl_delay_seconds(self, user_agent: str) -> float:
        """Return the least pause between two requests, seconds; 0: none is requested."""
        delay = self.rules.crawl_delay(user_agent + PRODUCT_END) if self.rules else None
        if delay is None or not delay > 0:
            return 0.0
        return min(float(delay), MAX_CRAWL_DELAY_SECONDS)


def read_robots(status: int | None, body: bytes) -> Robots:
    """Return the rules that an answer for `/robots.txt` means.

    2xx are rules. 3xx and 4xx mean no rules, so that all is allowed. 5xx, and no answer, mean that
    nothing is allowed (RFC 9309, 2.3.1). So do `PASSING_STATUSES` here, where the RFC would allow
    all, and 206, which is a part of the rules.

    Args:
        status: HTTP status after redirects; None: no answer.
        body: The bytes; those beyond `MAX_ROBOTS_BYTES`, with the line that they cut, do not count.
    """
    if status is None or status >= 500 or status in (206, *PASSING_STATUSES):
        return Robots(is_reachable=False)
    if not 200 <= status < 300:
        return Robots()
    from protego import Protego  # an extra

    if len(body) > MAX_ROBOTS_BYTES:
        body = body[:MAX_ROBOTS_BYTES].rpartition(b"\n")[0]
    lines = list(_group_lines(body.decode("utf-8-sig", errors="replace").replace("\0", "")))
    # Protego allows a folder, too, where its index.html is allowed, as Google does.
    other_names = [line for line in lines if not ALLOWED_INDEX.fullmatch(line)]
    rules = Protego.parse("\n".join(lines))
    has_allowed_index = other_names != lines
    folder_rules = Protego.parse("\n".join(other_names)) if has_allowed_index else rules
    return Robots(rules, folder_rules=folder_rules)


def _decode_url(url: str) -> str:
    return ENCODED.sub(lambda code: chr(int(code[1], 16)), url)


def _group_lines(text: str) -> Iterator[str]:
    """Yield user-agent lines and rules as RFC 9309 groups them, then the delays of their agents.

    Protego ends a group at any other line between two user-agent lines, and guesses at names.
    """
    agents, delays = list[str](), list[str]()
    has_rules = False
    for line in LINE_END.split(text):
        name, colon, value = line.partition("#")[0].partition(":")
        if not colon or not RULE_NAME.fullmatch(name):
            continue
        if USER_AGENT.fullmatch(name):
            if value.strip() not in ("", "*"):
                value = f"{value.strip()}{PRODUCT_END}"
            agents = [*([] if has_rules else agents), f"{name}:{value}"]
            has_rules = False
            yield agents[-1]
        elif name.strip().lower() in RULES:
            has_rules = True
            yield f"{name}:{value}"
        elif name.strip().lower() in CRAWL_DELAYS:
            delays += [END_OF_GROUP, *agents, f"{name}:{value}"]
    yield from delays
