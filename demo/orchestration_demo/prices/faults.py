"""Faults of the demo's prices: each is on a known symbol.

A symbol is a tier and a place among its ordinary symbols, the largest first. Faults that a
second request mends are on large ones, which a first run loads by default; others on smaller ones.
"""

from datetime import timedelta
from typing import Literal

Fault = Literal[
    "split", "dividend", "revised", "throttled", "nulls", "vanished", "web_page", "empty", "other"
]

FAULTS: dict[tuple[str, int], Fault] = {
    ("T1", 0): "split",  # four new shares for each, 20 sessions before the anchor
    ("T1", 1): "dividend",
    ("T1", 2): "revised",  # a close of three sessions before the anchor
    ("T1", 3): "throttled",  # once
    ("T2", 10): "nulls",  # a day without prices, ten sessions before the anchor
    ("T2", 11): "vanished",  # later unknown to both vendors
    ("T2", 12): "web_page",  # once, with HTTP 200
    ("T2", 13): "empty",  # once: {}, or a chart without days
    ("T2", 14): "other",  # another symbol's prices come
}

REVISED_AFTER, VANISHED_AFTER = timedelta(days=5), timedelta(days=7)
"""After the anchor."""

SPLIT_SESSIONS, SPLIT_RATIO = 20, 4
"""Sessions before the anchor, and new shares for each, of the split."""

NULL_SESSIONS = 10
"""So many sessions before the anchor lies the day without prices."""
