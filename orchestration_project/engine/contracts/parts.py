"""The pieces in which a delivery comes."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Part:
    """One piece of a delivery: the bytes of a page or file, and its number from 1.

    ``market`` is set where a source delivers a market at a time. The others are those of a
    capture, and make no difference between two parts.
    """

    part_number: int
    body: bytes
    market: str | None = None
    url: str = field(default="", compare=False)
    request: Mapping[str, object] = field(default_factory=dict[str, object], compare=False)
    response_headers: Mapping[str, str] = field(default_factory=dict[str, str], compare=False)
    http_status: int | None = field(default=None, compare=False)
