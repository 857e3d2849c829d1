"""Selectors that find a value on a page: by attribute, class, itemprop, member or position."""

import dataclasses
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from orchestration_project.domains.web.extraction import Page, value_of
from orchestration_project.domains.web.inner_text import inner_text
from orchestration_project.domains.web.json_paths import find
from orchestration_project.domains.web.linked_data import script_values
from orchestration_project.domains.web.sites import ItemField, ItemRule

RANKS = ("attribute", "class", "itemprop", "member", "position")
"""Kinds of selectors; the first ones outlast more changes of a layout."""

STABLE_ATTRIBUTES = ("data-testid", "data-test", "data-qa", "data-field", "id", "name", "property")
VALUE_ATTRIBUTES = ("content", "datetime", "value")
JSON_SCRIPTS = 'script[type="application/ld+json"]'

MAX_ELEMENTS = 3_000
MAX_TEXT, MAX_READ_CHARACTERS = 2_000, 20_000_000
"""Characters of a value, and of all elements of an item: nested ones repeat their text."""

MAX_STEPS, MAX_DEPTH = 6, 100
MAX_MATCHES, MAX_REPEATED_MATCHES = 200, 1_000
"""Selectors that are looked at on a page; and those, repetitions included."""

MAX_JSON_VALUES = 5_000

IDENTIFIER = re.compile(r"-?[A-Za-z_][\w-]{0,60}", re.ASCII)
ATTRIBUTE_VALUE = re.compile(r"[\w .:/-]{1,80}", re.ASCII)
GENERATED = re.compile(r"\d{3}|[0-9a-f]{8}")
"""Part of a name that a build or a database made, so that it differs at the next one."""

MEMBER = re.compile(r"[A-Za-z_@][\w@-]{0,60}", re.ASCII)


@dataclass(frozen=True)
class Selector:
    """A way to select a field.

    Attributes:
        kind: One of `RANKS`.
        css: Element; None: the page is JSON.
        attribute: Attribute that is taken; None: the text.
        json_path: Path in the JSON of the page or element; None: not in JSON.
        depth: Elements above the first one that it selects; two that differ in it alone are equal.
    """

    kind: str
    css: str | None = None
    attribute: str | None = None
    json_path: str | None = None
    depth: int = dataclasses.field(default=0, compare=False)

    @property
    def as_fields(self) -> dict[str, str]:
        """Keys and values of a field in a site file."""
        names = {"css": self.css, "attribute": self.attribute, "json_path": self.json_path}
        return {name: value for name, value in names.items() if value is not None}


def selectors_of(
    page: Page, rule: ItemRule, field: ItemField, values: Collection[Any]
) -> Iterator[Selector]:
    """Yield selectors that find one of the values on a page, each once.

    Args:
        page: The page.
        rule: The items of its site; elements are looked for within each item.
        field: The field; texts are processed as it declares before they are compared.
        values: Values that the field had on this page, as loaded.
    """
    if page.is_json:
        yield from _skip_repeated(_search_body(page, rule, field, values))
        return
    if page.is_too_deep or page.root is None:
        return
    parts = [page.root] if rule.each is None else page.root.css(rule.each)
    selectors = (element for part in parts for element in _search_elements(part, field, values))
    yield from islice(_skip_repeated(islice(selectors, MAX_REPEATED_MATCHES)), MAX_MATCHES)
    yield from _skip_repeated(_search_scripts(page, field, values))


def _skip_repeated(selectors: Iterable[Selector]) -> Iterator[Selector]:
    earlier: set[Selector] = set()
    for selector in selectors:
        if selector not in earlier:
            earlier.add(selector)
            yield selector


def _search_elements(part: Any, field: ItemField, values: Collection[Any]) -> Iterator[Selector]:
    attributes = dict.fromkeys((None, field.attribute, *VALUE_ATTRIBUTES))
    left = MAX_READ_CHARACTERS
    for node in part.css("*")[:MAX_ELEMENTS]:
        if node.tag in ("html", "head", "script", "style") or left < 0:
            continue
        for attribute in attributes:
            text = node.text() if attribute is None else node.attributes.get(attribute)
            left -= len(text or "")
            if text and attribute is None and len(text) <= MAX_TEXT:
                text = inner_text(node)
            if text and len(text) <= MAX_TEXT and value_of(text, field) in values:
                yield from _build_selectors(node, part, attribute)


def _build_selectors(node: Any, part: Any, attribute: str | None) -> Iterator[Selector]:
    path = _build_path(node, part)
    depth = len(path)
    attributes = node.attributes
    for name in STABLE_ATTRIBUTES:
        value = attributes.get(name) or ""
        if ATTRIBUTE_VALUE.fullmatch(value) and not GENERATED.search(value):
            yield Selector("attribute", f'[{name}="{value}"]', attribute, depth=depth)
    for name in (attributes.get("class") or "").split():
        if IDENTIFIER.fullmatch(name) and not GENERATED.search(name):
            yield Selector("class", f".{name}", attribute, depth=depth)
            yield Selector("class", f"{node.tag}.{name}", attribute, depth=depth)
    value = attributes.get("itemprop") or ""
    if ATTRIBUTE_VALUE.fullmatch(value):
        yield Selector("itemprop", f'[itemprop="{value}"]', attribute, depth=depth)
    if path and all(IDENTIFIER.fullmatch(item.tag) for item in path):
        steps = [f"{item.tag}:nth-of-type({_find_position(item)})" for item in path[:MAX_STEPS]]
        yield Selector("position", " > ".join(reversed(steps)), attribute, depth=depth)


def _build_path(node: Any, part: Any) -> list[Any]:
    """Return an element and those above it, up to the item or body, `MAX_DEPTH` at most."""
    path: list[Any] = []
    while node is not None and node.mem_id != part.mem_id and node.tag not in ("body", "html"):
        path.append(node)
        node = node.parent if len(path) < MAX_DEPTH else None
    return path


def _find_position(node: Any) -> int:
    """Return the position of an element among those of its tag, from 1."""
    number, before = 1, node.prev
    while before is not None:
        number += before.tag == node.tag
        before = before.prev
    return number


def _search_body(
    page: Page, rule: ItemRule, field: ItemField, values: Collection[Any]
) -> Iterator[Selector]:
    for item in find(_parse_json(page.text), rule.each_json_path or "$"):
        for path in _find_paths(item, field, values):
            yield Selector("member", json_path=path)


def _search_scripts(page: Page, field: ItemField, values: Collection[Any]) -> Iterator[Selector]:
    for node in page.root.css(JSON_SCRIPTS):
        try:
            scripts = script_values(node.text() or "")
        except ValueError:
            continue
        for script in scripts:
            for path in _find_paths(script, field, values):
                yield Selector("member", JSON_SCRIPTS, json_path=path)


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, parse_float=str)
    except (ValueError, RecursionError):
        return None


def _find_paths(value: Any, field: ItemField, values: Collection[Any]) -> Iterator[str]:
    """Yield the paths of scalars that are one of the values; of a list, any position counts."""
    waiting, seen_name = [("$", value)], 0
    while waiting and seen_name < MAX_JSON_VALUES:
        path, node = waiting.pop()
        seen_name += 1
        if isinstance(node, dict):
            named = ((name, inner) for name, inner in node.items() if MEMBER.fullmatch(name))
            waiting += [(f"{path}.{name}", inner) for name, inner in named]
        elif isinstance(node, list):
            step = "[*]" if field.many else None
            waiting += [(f"{path}{step or f'[{n}]'}", item) for n, item in enumerate(node)]
        elif _is_scalar(node) and path != "$" and value_of(str(node), field) in values:
            yield path


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)
