"""What Alpha Vantage says in the place of prices, always with HTTP 200; told apart before parsing.

Only the wording tells: one name, `Information`, is used for what passes in a second, tomorrow, and
never. Nearly every text advertises premium plans, and the one about the rate a second names the
limit a day too; so the order of the marks counts.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

SERIES = "Time Series (Daily)"

Kind = Literal["rate", "quota", "key", "premium", "unknown_symbol", "empty", "no_json", "other"]
"""What a refusal means: too fast, enough for today, another key, another plan, no such symbol,
nothing at all, a web page or so, or something that nobody has seen."""


@dataclass(frozen=True)
class Refusal:
    """Why there are no prices, and the vendor's words, which may quote the key."""

    kind: Kind
    said: str


_MARKS: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile("sparingly|per second|per minute|call frequency", re.IGNORECASE), "rate"),
    (re.compile("requests per day|daily rate limit", re.IGNORECASE), "quota"),
    (re.compile("apikey is invalid or missing|demo.{0,6} API key", re.IGNORECASE), "key"),
    (re.compile("premium (?:endpoint|feature)", re.IGNORECASE), "premium"),
    (re.compile("invalid API call", re.IGNORECASE), "unknown_symbol"),
)

_MEMBERS = ("Note", "Information", "Error Message")


def refusal_of(body: bytes) -> Refusal | None:
    """Return why ``body`` holds no prices; None where it seems to hold some."""
    if f'"{SERIES}"'.encode() in body:
        return None
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal("no_json", _text_of(body))
    if not said:
        return Refusal("empty", _text_of(body))
    for member in _MEMBERS:
        if isinstance(said, dict) and isinstance(text := said.get(member), str):
            return Refusal(_kind(text), text)
    return Refusal("other", _text_of(body))


def _kind(text: str) -> Kind:
    for mark, kind in _MARKS:
        if mark.search(text):
            return kind
    return "other"


def _text_of(body: bytes) -> str:
    return body.decode("utf-8", "backslashreplace")
