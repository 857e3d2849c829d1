"""Proposals for `item.each`: repeated elements, each of which has the known values of one item."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestration_project.domains.web.extraction import Page, comparable, value_of
from orchestration_project.domains.web.inner_text import inner_text
from orchestration_project.domains.web.proposing import (
    EACH,
    MIN_AGREEMENT,
    SEARCHED_PAGES,
    KnownPage,
    Score,
    ScoredSelector,
    best_selectors,
    field_with,
    keys_of,
    rule_with,
    score,
)
from orchestration_project.domains.web.selectors import (
    ATTRIBUTE_VALUE,
    GENERATED,
    IDENTIFIER,
    MAX_DEPTH,
    MAX_READ_CHARACTERS,
    MAX_TEXT,
    RANKS,
    STABLE_ATTRIBUTES,
    VALUE_ATTRIBUTES,
    Selector,
)
from orchestration_project.domains.web.sites import ItemField, ItemRule

MIN_ITEMS_OF_PAGE = 2
"""Items of a page from which on its elements are compared: one item alone has no sibling."""

MAX_ELEMENTS = 20_000
MAX_PLACES = 5
"""Elements with the value of an item that are looked at: a menu may have it, too."""

MAX_EACH = 20
MAX_CONTAINERS = 2_000
ITEM_TYPE = re.compile(r"[\w:/.#-]{1,120}", re.ASCII)


@dataclass(frozen=True)
class EachSelector(Selector):
    """A way to select the elements of items."""

    @property
    def as_fields(self) -> dict[str, str]:
        """Keys and values of the item rules in a site file."""
        return {"each": self.css or ""}


@dataclass(frozen=True)
class _Tried:
    """A candidate with the key fields that belong to it.

    Attributes:
        scored: The candidate and how many items it finds.
        surplus_count: Elements that are not known items.
        rule: Item rules with it.
        keys: Selectors of key fields that had to be replaced.
    """

    scored: ScoredSelector
    surplus_count: int
    rule: ItemRule
    keys: Mapping[str, list[ScoredSelector]]


def selectors_with_each(
    rule: ItemRule, pages: Sequence[KnownPage], earlier_pages: Sequence[KnownPage]
) -> Mapping[str, list[ScoredSelector]]:
    """Return candidates for `item.each` and for fields that its elements lack, the best first.

    The candidates for `item.each` are in ``item.each``. A field whose present selector finds its
    values in the new elements is left out. Empty lists: none finds enough known values.

    Args:
        rule: Items of the site, with ``each``.
        pages: Pages of the new layout, with the items that were known of them.
        earlier_pages: Pages of the earlier layout, with the same.
    """
    searched = [page for page in pages if len(page.known) >= MIN_ITEMS_OF_PAGE][:SEARCHED_PAGES]
    counts: Counter[EachSelector] = Counter()
    for known_page in searched:
        counts.update({*_find_candidates(known_page, rule)})
    trials = [
        _try_candidate(rule, each_selector, searched)
        for each_selector, _ in counts.most_common(MAX_EACH)
    ]
    selectors = sorted(filter(None, trials), key=_order)
    if not selectors:
        return {EACH: []}
    best = selectors[0]
    fields = [name for name in rule.fields if name not in rule.key]
    lost = [name for name in fields if _is_lost(best.rule, name, pages)]
    return {
        EACH: [_evaluate_on_all(selector, pages, earlier_pages) for selector in selectors],
        **best.keys,
        **{name: best_selectors(best.rule, name, pages, earlier_pages) for name in lost},
    }


def _order(each: _Tried) -> tuple[Any, ...]:
    selector, now = each.scored.selector, each.scored.now
    css = selector.css or ""
    surplus = each.surplus_count / (each.surplus_count + now.agreed_count)
    return (
        -round(now.agreement, 2),
        round(surplus, 2),
        len(each.keys),
        RANKS.index(selector.kind),
        len(css),
        css,
    )


def _is_lost(rule: ItemRule, name: str, pages: Sequence[KnownPage]) -> bool:
    """Whether the present selector of a field finds too few known values; personal ones differ."""
    if rule.fields[name].personal:
        return False
    result = score(rule_with(rule, name, rule.fields[name]), name, pages)
    return result.total_count > 0 and result.agreement < MIN_AGREEMENT


def _try_candidate(
    rule: ItemRule, selector: EachSelector, pages: Sequence[KnownPage]
) -> _Tried | None:
    """Return a candidate with key fields that work in it; None: it finds too few items."""
    changed = rule.model_copy(update={"each": selector.css})
    keys: dict[str, list[ScoredSelector]] = {}
    for name in rule.key:
        alone, known_pages = (
            changed.model_copy(update={"key": [name]}),
            _map_by_field(pages, name),
        )
        if _is_lost(alone, name, known_pages):
            keys[name] = best_selectors(alone, name, known_pages, [])
            if not keys[name]:
                return None
            field = field_with(changed.fields[name], keys[name][0].selector.as_fields)
            changed = changed.model_copy(update={"fields": {**changed.fields, name: field}})
    now, surplus = _count_found(changed, pages)
    if now.agreement < MIN_AGREEMENT:
        return None
    return _Tried(ScoredSelector(selector, now, Score(0, 0, 0)), surplus, changed, keys)


def _evaluate_on_all(
    tried: _Tried, pages: Sequence[KnownPage], earlier_pages: Sequence[KnownPage]
) -> ScoredSelector:
    now, earlier = _count_found(tried.rule, pages)[0], _count_found(tried.rule, earlier_pages)[0]
    return replace(tried.scored, now=now, earlier=earlier)


def _count_found(rule: ItemRule, pages: Sequence[KnownPage]) -> tuple[Score, int]:
    """Return how many known items the rules find, and how many elements are not among them."""
    agreed = total = surplus = 0
    for page in pages:
        keys = {*keys_of(page.page, rule)}
        total += len(page.known)
        agreed += len(keys & page.known.keys())
        surplus += max(len(page.page.root.css(rule.each or "")) - len(keys & page.known.keys()), 0)
    return Score(agreed, 0, total), surplus


def _map_by_field(pages: Sequence[KnownPage], name: str) -> list[KnownPage]:
    """Return pages whose items are known by one field."""
    return [
        KnownPage(
            page.page,
            {
                str(payload[name]): payload
                for payload in reversed([*page.known.values()])
                if name in payload
            },
        )
        for page in pages
    ]


def _find_candidates(known: KnownPage, rule: ItemRule) -> Iterator[EachSelector]:
    page = known.page
    if page.is_json or page.is_too_deep or page.root is None:
        return
    places = max(
        (
            _find_places(page, rule.fields[name], _map_owners(known, name))
            for name in _order_fields(rule)
        ),
        key=len,
        default={},
    )
    if len(places) < MIN_ITEMS_OF_PAGE:
        return
    for node in _find_containers(places)[:MAX_CONTAINERS]:
        yield from _build_selectors(node)


def _order_fields(rule: ItemRule) -> list[str]:
    """Return the fields by which items are looked for, those of the key first."""
    return [*rule.key, *(name for name in rule.fields if name not in rule.key)]


def _map_owners(known: KnownPage, name: str) -> Mapping[Any, str]:
    """Return the item of each value of a field that one item alone has."""
    keys: dict[Any, list[str]] = defaultdict(list)
    for key, payload in known.known.items():
        if name in payload and not isinstance(payload[name], list):
            keys[comparable(payload[name])].append(key)
    return {value: names[0] for value, names in keys.items() if len(names) == 1}


def _find_places(
    page: Page, field: ItemField, owners: Mapping[Any, str]
) -> Mapping[str, list[Any]]:
    """Return the elements with the value of each item."""
    places: dict[str, list[Any]] = defaultdict(list)
    if not owners:
        return places
    attributes = dict.fromkeys((None, field.attribute, *VALUE_ATTRIBUTES))
    left = MAX_READ_CHARACTERS
    for node in page.root.css("body *")[:MAX_ELEMENTS]:
        if node.tag in ("script", "style") or left < 0:
            continue
        for attribute in attributes:
            text = node.text() if attribute is None else node.attributes.get(attribute)
            left -= len(text or "")
            if text and attribute is None and len(text) <= MAX_TEXT:
                text = inner_text(node)
            if not text or len(text) > MAX_TEXT:
                continue
            owner = owners.get(value_of(text, field))
            if owner is not None and len(places[owner]) < MAX_PLACES:
                places[owner].append(node)
    return places


def _find_containers(places: Mapping[str, Collection[Any]]) -> list[Any]:
    """Return the largest elements around each place that have no other item's place."""
    paths = [(key, _list_ancestors(node)) for key, nodes in places.items() for node in nodes]
    owners: dict[int, set[str]] = defaultdict(set)
    for key, path in paths:
        for item in path:
            owners[item.mem_id].add(key)
    values: dict[int, Any] = {}
    for _, path in paths:
        entries = [item for item in path if len(owners[item.mem_id]) == 1]
        if entries and len(entries) < len(path):
            values.setdefault(entries[-1].mem_id, entries[-1])
    return list(values.values())


def _list_ancestors(node: Any) -> list[Any]:
    """Return an element and those above it up to the body, `MAX_DEPTH` at most."""
    path: list[Any] = []
    while node is not None and len(path) < MAX_DEPTH:
        path.append(node)
        node = None if node.tag == "body" else node.parent
    return path


def _build_selectors(node: Any) -> Iterator[EachSelector]:
    pairs = [*_derive_by_name(node)]
    yield from (EachSelector(kind, css) for kind, css in pairs)
    if not IDENTIFIER.fullmatch(node.tag):
        return
    parent = node.parent
    for kind, css in _derive_by_name(parent) if parent is not None else ():
        yield EachSelector(kind, f"{css} > {node.tag}")
    tags = [item.tag for item in _list_ancestors(node)]
    if all(map(IDENTIFIER.fullmatch, tags)):
        yield EachSelector("position", " > ".join(reversed(tags)))


def _derive_by_name(node: Any) -> Iterator[tuple[str, str]]:
    """Yield kinds and selectors of an element by its own names."""
    attributes = node.attributes
    for name in STABLE_ATTRIBUTES:
        value = attributes.get(name) or ""
        if ATTRIBUTE_VALUE.fullmatch(value) and not GENERATED.search(value):
            yield "attribute", f'[{name}="{value}"]'
    for name in (attributes.get("class") or "").split():
        if IDENTIFIER.fullmatch(name) and not GENERATED.search(name):
            yield "class", f".{name}"
            yield "class", f"{node.tag}.{name}"
    value = attributes.get("itemtype") or ""
    if ITEM_TYPE.fullmatch(value):
        yield "itemprop", f'[itemtype="{value}"]'
