"""Count of the items of a page, apart from the code that reads their fields."""

import json
from collections import Counter
from dataclasses import dataclass, field

from orchestration_project.domains.web.extraction import MAX_ITEMS, Page
from orchestration_project.domains.web.json_paths import find
from orchestration_project.domains.web.sites import ItemRule
from orchestration_project.engine.contracts.balance import Balance


def count_items(page: Page, rule: ItemRule) -> int | None:
    """Return how many elements or values of a page an item rule selects; None: not counted.

    A parser of the site, XPath, JSON-LD and microdata decide themselves what an item is.
    """
    if rule.parser or rule.each_json_ld or rule.each_microdata or rule.each_xpath:
        return None
    if page.is_too_deep:
        return None
    if page.is_json:
        return _count_values(page.text, rule.each_json_path or "$")
    if rule.each_json_path is not None:
        return 0
    return _apply_limit(len(page.root.css(rule.each)) if rule.each else 1)


def _count_values(text: str, path: str) -> int | None:
    try:
        value = json.loads(text, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return _apply_limit(sum(1 for _ in find(value, path)))


def _apply_limit(count: int) -> int | None:
    return None if count > MAX_ITEMS else count


@dataclass
class ItemCounts:
    """Pages and items that an extraction read, and where the items of counted pages went.

    Attributes:
        page_count: Pages.
        counted: Items of pages that can be counted; None: of no page.
        went_to: These items by place.
    """

    page_count: int = 0
    counted: int | None = None
    went_to: Counter[str] = field(default_factory=Counter)

    def add(self, count: int | None, went_to: Counter[str]) -> None:
        """Count a page."""
        self.page_count += 1
        if count is not None:
            self.counted = (self.counted or 0) + count
            self.went_to.update(went_to)

    @property
    def balance(self) -> Balance:
        """The equation of items."""
        places = ("items", "rejects", "without_fields")
        return Balance("items", self.counted, {name: self.went_to[name] for name in places})
