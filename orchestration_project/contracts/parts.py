"""The pieces in which a delivery comes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One piece of a delivery: the bytes of a page or file, and its number from 1.

    ``market`` is set where a source delivers a market at a time.
    """

    part_number: int
    body: bytes
    market: str | None = None
