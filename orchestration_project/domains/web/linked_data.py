"""Objects that pages declare for search engines: JSON-LD and microdata.

Both become plain JSON: objects with `@type`, and properties of one value or a list of values.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestration_project.domains.web.inner_text import inner_text
from orchestration_project.domains.web.json_paths import parse_path

JSON_LD_SCRIPTS = 'script[type="application/ld+json" i]'
MAX_OBJECTS = 100_000
"""Objects of a page, and values of an object, at most."""

MAX_VISITS = 1_000_000
"""Elements that are visited for the microdata of a page, at most."""

MAX_NESTED = 50
"""Objects of microdata in one another, at most."""

ATTRIBUTES: Mapping[str, str] = {
    "meta": "content",
    **dict.fromkeys(("audio", "embed", "iframe", "img", "source", "track", "video"), "src"),
    **dict.fromkeys(("a", "area", "link"), "href"),
    "object": "data",
    **dict.fromkeys(("data", "meter"), "value"),
    "time": "datetime",
}
"""Attribute that has the value of a property, by element, as the HTML standard says."""

WITH_TEXT = ("data", "meter", "time")
"""Elements whose text is the value where the attribute is missing."""


def json_ld_objects(texts: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return all objects of JSON-LD scripts, nested and of `@graph` too, outer ones first.

    A script that is not JSON has none. Numbers with places stay texts, so that they are exact.
    """
    found: list[Mapping[str, Any]] = []
    for text in texts:
        try:
            value = json.loads(text.strip(), parse_float=str, strict=False)
        except (ValueError, RecursionError):
            continue
        found += nested_objects(value)
    return found[:MAX_OBJECTS]


def nested_objects(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects in a value of JSON, itself included, in the order of the document."""
    found: list[Mapping[str, Any]] = []
    waiting: list[Any] = [value]
    while waiting and len(found) < MAX_OBJECTS:
        each = waiting.pop()
        if isinstance(each, dict):
            found.append(each)
            waiting.extend(reversed(list(each.values())))
        elif isinstance(each, list):
            waiting.extend(reversed(each))
    return found


def of_type(objects: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """Return the objects of a type; `Product` is also `https://schema.org/Product`."""
    return [each for each in objects if any(_is_named(one, name) for one in _types(each))]


def _types(value: Mapping[str, Any]) -> list[str]:
    return [each for each in _as_list(value.get("@type")) if isinstance(each, str)]


def _is_named(found: str, wanted: str) -> bool:
    return found == wanted or found.replace("#", "/").replace(":", "/").endswith(f"/{wanted}")


def by_identity(objects: Sequence[Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Return the objects that have an `@id` and more, by it; of several the first."""
    found: dict[str, Mapping[str, Any]] = {}
    for each in objects:
        if isinstance(name := each.get("@id"), str) and len(each) > 1:
            found.setdefault(name, each)
    return found


def find_property(
    value: Mapping[str, Any], path: str, identities: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return the texts at a path from an object.

    One value and a list of one are the same: `offers.price` finds the price of each offer. An
    object that is only an `@id` stands for the object that has it.

    Args:
        value: The object.
        path: A path as of `json_paths`.
        identities: Objects of the page by `@id`.
    """
    found: list[Any] = [value]
    for step in parse_path(path):
        if isinstance(step, str):
            resolved = (_resolved(each, identities) for outer in found for each in _as_list(outer))
            found = [each[step] for each in resolved if isinstance(each, dict) and step in each]
        elif step is None:
            found = [each for outer in found for each in _as_list(outer)]
        else:
            found = [each[step] for outer in found if step < len(each := _as_list(outer))]
        found = found[:MAX_OBJECTS]
    plain = [_plain(each) for outer in found for each in _as_list(outer)]
    return [str(each) for each in plain if isinstance(each, str | int) and each is not True]


def _resolved(value: Any, identities: Mapping[str, Mapping[str, Any]]) -> Any:
    if isinstance(value, dict) and value.keys() == {"@id"} and isinstance(value["@id"], str):
        return identities.get(value["@id"], value)
    return value


def _plain(value: Any) -> Any:
    """Return the text of a value, of a value with language or type, or the name of an object."""
    if isinstance(value, dict):
        return value.get("@value", value.get("@id"))
    return value


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, dict) and (inner := value.get("@list", value.get("@set"))) is not None:
        value = inner
    return value if isinstance(value, list) else [] if value is None else [value]


def microdata_objects(root: Any) -> list[Mapping[str, Any]]:
    """Return all objects of an element's microdata, nested ones too, outer ones first.

    An object has `@type`, `@id` where it declares one, and a list of values per property. URLs
    are as they are written.

    Args:
        root: An element of selectolax.
    """
    by_id: dict[str, Any] = {}
    scopes: list[Any] = []
    for node in _elements(root):
        attributes = node.attributes
        if (name := attributes.get("id")) is not None:
            by_id.setdefault(name, node)
        if "itemscope" in attributes and "itemprop" not in attributes:
            scopes.append(node)
    reader = _Microdata(by_id)
    return nested_objects([reader.read(each, frozenset()) for each in scopes[:MAX_OBJECTS]])


class _Microdata:
    """Reads objects of a page; references may form cycles, and name an element many times."""

    def __init__(self, by_id: Mapping[str, Any]) -> None:
        self._by_id = by_id
        self._visits_left = MAX_VISITS

    def read(self, scope: Any, outer: frozenset[int]) -> dict[str, Any]:
        """Return the object of an element within ``outer`` ones, which it may not contain."""
        attributes, seen = scope.attributes, outer | {scope.mem_id}
        found: dict[str, Any] = {"@type": (attributes.get("itemtype") or "").split()}
        if identity := attributes.get("itemid"):
            found["@id"] = identity.strip()
        names = dict.fromkeys((attributes.get("itemref") or "").split())
        referred = [self._by_id[name] for name in names if name in self._by_id]
        for start in [*scope.iter(), *referred]:
            for node in self._properties(start):
                is_object = "itemscope" in node.attributes
                if is_object and (node.mem_id in seen or len(seen) > MAX_NESTED):
                    continue
                value = self.read(node, seen) if is_object else _value(node)
                for name in (node.attributes.get("itemprop") or "").split():
                    found.setdefault(name, []).append(value)
        return found

    def _properties(self, start: Any) -> Iterator[Any]:
        """Yield the elements with `itemprop` from ``start`` on, none within another object."""
        waiting = [start]
        while waiting and self._visits_left > 0:
            self._visits_left -= 1
            node = waiting.pop()
            attributes = node.attributes
            if "itemprop" in attributes:
                yield node
            if "itemscope" not in attributes:
                waiting.extend(reversed(list(node.iter())))


def _value(node: Any) -> str:
    attribute = ATTRIBUTES.get(node.tag)
    value = None if attribute is None else node.attributes.get(attribute)
    if value is None and (attribute is None or node.tag in WITH_TEXT):
        value = inner_text(node)
    return value or ""


def _elements(root: Any) -> Iterator[Any]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(list(node.iter())))
