"""Counts of extracted items: items, rejects by reason, and how many have each field."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestration_project.domains.web.extraction import Item, RejectedItem
from orchestration_project.domains.web.item_counts import ItemCounts

MAX_EXAMPLES = 3
"""Reasons of rejects that are kept as examples, for each kind."""


@dataclass
class ItemFigures:
    """Counts of the items of pages; rejected items with readable fields count for fill rates.

    Attributes:
        item_count: Items that keep all rules.
        unread_count: Loaded items that are carried over, as their pages were not read.
        rejects: Rejected items by reason code.
        examples: First sentences of each reason code.
        read_count: Items and rejects whose fields were read.
        filled: Of these, how many have a value, by field.
        counts: Pages that were read, and items counted apart.
    """

    item_count: int = 0
    unread_count: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    read_count: int = 0
    filled: Counter[str] = field(default_factory=Counter)
    counts: ItemCounts = field(default_factory=ItemCounts)

    def add(self, found: Item | RejectedItem) -> None:
        """Count an item or reject."""
        if isinstance(found, Item):
            self.item_count += 1
            self._fill(json.loads(found.payload))
            return
        self.rejects[found.reason_code] += 1
        kept_names = self.examples.setdefault(found.reason_code, [])
        if len(kept_names) < MAX_EXAMPLES and found.reason not in kept_names:
            kept_names.append(found.reason)
        self._fill(_parse_fields(found.text))

    def _fill(self, payload: Mapping[str, Any] | None) -> None:
        if payload is not None:
            self.read_count += 1
            self.filled.update(payload.keys())

    @property
    def present_count(self) -> int:
        """Items of the site, as far as the pages say: those of unread pages count, too."""
        return self.item_count + self.unread_count

    @property
    def reject_count(self) -> int:
        """Number of rejected items."""
        return self.rejects.total()

    def fill_rate(self, name: str) -> float:
        """Return the share of items with a value of a field, 0 to 1; 0 without items."""
        return self.filled[name] / self.read_count if self.read_count else 0.0

    def fill_rates(self, names: Iterable[str]) -> Mapping[str, float]:
        """Return the share by field, 4 places; none without items."""
        return {name: round(self.fill_rate(name), 4) for name in names if self.read_count}


def figures_of(found: Iterable[Item | RejectedItem]) -> ItemFigures:
    """Return the counts of items and rejects."""
    figures = ItemFigures()
    for item in found:
        figures.add(item)
    return figures


def figures_of_payloads(payloads: Sequence[str]) -> ItemFigures:
    """Return the counts of loaded items, each as JSON."""
    figures = ItemFigures(item_count=len(payloads))
    for payload in payloads:
        figures.read_count += 1
        figures.filled.update(json.loads(payload).keys())
    return figures


def _parse_fields(text: str) -> Mapping[str, Any] | None:
    """Return the fields of a reject; None: the text is another, such as a broken page."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
