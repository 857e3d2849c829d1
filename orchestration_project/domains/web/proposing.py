"""Proposals of selectors: candidates tried on pages of which the values are known, and scored."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration_project.domains.web.declaration import checked_css
from orchestration_project.domains.web.extraction import Item, Page, comparable, items
from orchestration_project.domains.web.selectors import RANKS, Selector, selectors_of
from orchestration_project.domains.web.sites import ItemField, ItemRule, Site

SEARCHED_PAGES = 20
"""Pages on which candidates are looked for."""

MAX_CANDIDATES = 40
"""Candidates of a field that are tried: those that occur on most pages."""

MIN_AGREEMENT = 0.5
"""Share of the known values that a candidate finds at least."""

EACH = "item.each"
"""Name of the elements of items among those of fields, of which none has a point."""

SELECTING = frozenset({"css", "attribute", "json_path", "xpath", "json_ld", "microdata"})
"""Keys of a field in a site file that select; a proposal replaces all of them."""


@dataclass(frozen=True)
class KnownPage:
    """A page, and the items that are known of it.

    Attributes:
        page: The page.
        known: Fields of the items by key.
    """

    page: Page
    known: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Score:
    """Result of a candidate on pages.

    Attributes:
        agreed_count: Items for which it finds the known value.
        differing_count: Items for which it finds another one.
        total_count: Items with a known value.
    """

    agreed_count: int
    differing_count: int
    total_count: int

    @property
    def agreement(self) -> float:
        """Share of known values that are found, 0 to 1."""
        return self.agreed_count / self.total_count if self.total_count else 0.0


@dataclass(frozen=True)
class ScoredSelector:
    """A candidate with its results on the pages of both states."""

    selector: Selector
    now: Score
    earlier: Score


def best_selectors(
    rule: ItemRule,
    name: str,
    pages: Sequence[KnownPage],
    earlier_pages: Sequence[KnownPage],
) -> list[ScoredSelector]:
    """Return candidates for a field, the best first; empty: none finds enough known values.

    Each finds more known values than the present selector. The share of found values decides, then
    the kind of selector, then the innermost element.

    Args:
        rule: Items of the site.
        name: The field.
        pages: Pages of the new layout, with the values of the earlier items.
        earlier_pages: Pages of the earlier layout, with the same.
    """
    scored_selectors: list[ScoredSelector] = []
    present = score(rule_with(rule, name, rule.fields[name]), name, pages)
    for selector in _find_candidates(rule, name, pages):
        item_rule = rule_with(rule, name, field_with(rule.fields[name], selector.as_fields))
        now = score(item_rule, name, pages)
        if now.agreement >= MIN_AGREEMENT and now.agreed_count > present.agreed_count:
            scored_selectors.append(
                ScoredSelector(selector, now, score(item_rule, name, earlier_pages))
            )
    return sorted(scored_selectors, key=_order)


def _order(each: ScoredSelector) -> tuple[Any, ...]:
    selector = each.selector
    written = "".join(selector.as_fields.values())
    return (
        -round(each.now.agreement, 3),
        RANKS.index(selector.kind),
        selector.attribute is not None,
        -selector.depth,
        len(written),
        written,
    )


def _find_candidates(rule: ItemRule, name: str, pages: Sequence[KnownPage]) -> list[Selector]:
    counts: Counter[Selector] = Counter()
    searched = [page for page in pages if _read_values(page, name)][:SEARCHED_PAGES]
    for known_page in searched:
        values = _read_values(known_page, name)
        counts.update(selectors_of(known_page.page, rule, rule.fields[name], values))
    return [selector for selector, _ in counts.most_common(MAX_CANDIDATES)]


def _read_values(page: KnownPage, name: str) -> Collection[Any]:
    """Return the known values of a field on a page; of lists, their elements."""
    entries = [payload[name] for payload in page.known.values() if name in payload]
    values = [item for value in entries for item in (value if isinstance(value, list) else [value])]
    return frozenset(map(comparable, values))


def score(rule: ItemRule, name: str, pages: Sequence[KnownPage]) -> Score:
    """Return how many known values of a field the rules find on pages."""
    agreed = differing = total = 0
    for page in pages:
        expected = {key: payload[name] for key, payload in page.known.items() if name in payload}
        total += len(expected)
        for key, payload in _iterate_items(page, rule):
            if key in expected and name in payload:
                agreed += payload[name] == expected[key]
                differing += payload[name] != expected[key]
    return Score(agreed, differing, total)


def _iterate_items(page: KnownPage, rule: ItemRule) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield keys and fields of the items that rules make of a page.

    Where the page is one item, its key is that of the known one, also where no key is found.
    """
    for item in items(page.page, rule):
        text = item.payload if isinstance(item, Item) else item.text
        key = item.key if isinstance(item, Item) else ""
        if not rule.has_many_of_page and len(page.known) == 1:
            [key] = page.known
        try:
            payload = json.loads(text)
        except ValueError:
            continue
        if isinstance(payload, dict):
            yield key, payload


def rule_with(rule: ItemRule, name: str, field: ItemField) -> ItemRule:
    """Return rules of the key and one field alone, without a JSON Schema."""
    fields = {**{text: rule.fields[text] for text in rule.key}, name: field}
    return rule.model_copy(update={"fields": fields, "json_schema": None})


def keys_of(page: Page, rule: ItemRule) -> list[str]:
    """Return the keys of the items of a page, of rejected ones too where they have one."""
    fields = {name: rule.fields[name] for name in rule.key}
    entries = items(page, rule.model_copy(update={"fields": fields, "json_schema": None}))
    return [entry.key for entry in entries if isinstance(entry, Item)]


def field_with(field: ItemField, selecting: Mapping[str, str]) -> ItemField:
    """Return a field with another selector; how its text is processed stays.

    Raises:
        ValidationError: The selector is invalid.
    """
    values = {
        name: value
        for name, value in field.model_dump(exclude_unset=True).items()
        if name not in SELECTING
    }
    return ItemField.model_validate({**values, **selecting})


def site_with(site: Site, fields: Mapping[str, Mapping[str, str]]) -> Site:
    """Return a site with other selectors of fields and `EACH`; those that it lacks are left out.

    Raises:
        ValueError: A selector is invalid.
    """
    entries = {name: field for name, field in fields.items() if name in site.item.fields}
    changed = {name: field_with(site.item.fields[name], entry) for name, entry in entries.items()}
    update: dict[str, Any] = {"fields": {**site.item.fields, **changed}}
    if EACH in fields and site.item.each is not None:
        update["each"] = checked_css(fields[EACH]["each"])
    item = site.item.model_copy(update=update)
    return site.model_copy(update={"item": item})


def selecting_of(rule: ItemRule, name: str) -> dict[str, Any]:
    """Return the entries of a site file that select a field, or the elements of items."""
    if name == EACH:
        return {"each": rule.each}
    model_dump = rule.fields[name].model_dump(exclude_none=True)
    return {name: value for name, value in model_dump.items() if name in SELECTING}
