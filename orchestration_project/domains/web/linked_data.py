"""Objects that pages declare for search engines: JSON-LD and microdata.

Both become plain JSON: objects with `@type`, and properties of one value or a list of values.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from orchestration_project.domains.web.inner_text import inner_text
from orchestration_project.domains.web.json_paths import parse_path

JSON_LD_SCRIPTS = 'script[type="application/ld+json" i]'
DECODER = json.JSONDecoder(parse_float=str, strict=False)
BLANK = " \t\r\n\f\v\xa0\ufeff"
SEPARATORS = re.compile(r"[\s,;\ufeff]*")
STRING_OR_COMMA = re.compile(r'("(?:[^"\\]|\\.?)*(?:"|\Z))|,(?=\s*[}\]])', re.DOTALL)
"""A string of JSON, or a comma before the end of an object or list."""

WRAPPER_START = re.compile(r"\s*(?://|/\*)?\s*(?:<!--|<!\[CDATA\[)(?:\s*\*/)?\s*", re.IGNORECASE)
WRAPPER_END = re.compile(r"\s*(?://|/\*)?\s*(?:-->|\]\]>)(?:\s*\*/)?[\s;]*\Z")
MAX_WRAPPER = 200
"""Characters of the end of a comment around a script."""

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


class UnreadableScript(NamedTuple):
    """A script that is not JSON: its text, and why."""

    text: str
    reason: str

    def may_have(self, name: str) -> bool:
        """Whether objects of a type may be in it: it names the type, or none at all."""
        return name in self.text or '"@type"' not in self.text


class LinkedData(NamedTuple):
    """Objects of JSON-LD scripts, nested and of `@graph` too, outer ones first; and the rest."""

    objects: Sequence[Mapping[str, Any]]
    unreadable: Sequence[UnreadableScript]


def read_json_ld(texts: Sequence[str]) -> LinkedData:
    """Return the objects of JSON-LD scripts, and those scripts that are not JSON."""
    objects: list[Mapping[str, Any]] = []
    unreadable: list[UnreadableScript] = []
    for text in texts:
        try:
            values = script_values(text)
        except ValueError as error:
            unreadable.append(UnreadableScript(text, str(error)))
            continue
        objects += nested_objects(values)
    return LinkedData(objects[:MAX_OBJECTS], unreadable)


def script_values(text: str) -> list[Any]:
    """Return the values of a script of JSON; none of an empty one.

    Read as structured-data tools do: in a comment of HTML or CDATA, several values, and with a
    comma or semicolon too many. Numbers with places stay texts, so that they are exact.

    Raises:
        ValueError: It is not JSON.
    """
    text = text.strip(BLANK)
    while opened := WRAPPER_START.match(text):
        text = text[opened.end() :]
    while text and (closed := WRAPPER_END.search(text, max(len(text) - MAX_WRAPPER, 0))):
        text = text[: closed.start()]
    try:
        return _parse_values(text)
    except ValueError:
        return _parse_values(STRING_OR_COMMA.sub(lambda found: found[1] or "", text))


def _parse_values(text: str) -> list[Any]:
    values: list[Any] = []
    end = SEPARATORS.match(text).end()  # pyright: ignore[reportOptionalMemberAccess] - or empty
    while end < len(text):
        try:
            value, end = DECODER.raw_decode(text, end)
        except RecursionError as error:
            raise ValueError("expected JSON that nests less") from error
        except ValueError as error:
            raise ValueError(f"expected JSON, found {str(error)[:100]}") from error
        values.append(value)
        end = SEPARATORS.match(text, end).end()  # pyright: ignore[reportOptionalMemberAccess]
    return values


def nested_objects(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects in a value of JSON, itself included, in the order of the document."""
    entries: list[Mapping[str, Any]] = []
    waiting: list[Any] = [value]
    while waiting and len(entries) < MAX_OBJECTS:
        each = waiting.pop()
        if isinstance(each, dict):
            entries.append(each)
            waiting.extend(reversed(list(each.values())))
        elif isinstance(each, list):
            waiting.extend(reversed(each))
    return entries


def of_type(objects: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """Return the objects of a type; `Product` is also `https://schema.org/Product`."""
    return [entry for entry in objects if any(_is_named(one, name) for one in _read_types(entry))]


def _read_types(value: Mapping[str, Any]) -> list[str]:
    return [item for item in _list_values(value.get("@type")) if isinstance(item, str)]


def _is_named(found: str, wanted: str) -> bool:
    return found == wanted or found.replace("#", "/").replace(":", "/").endswith(f"/{wanted}")


def by_identity(objects: Sequence[Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Return the objects that have an `@id` and more, by it; of several the first."""
    entries: dict[str, Mapping[str, Any]] = {}
    for entry in objects:
        if isinstance(name := entry.get("@id"), str) and len(entry) > 1:
            entries.setdefault(name, entry)
    return entries


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
    entries: list[Any] = [value]
    for step in parse_path(path):
        if isinstance(step, str):
            resolved = (
                _resolve_id(each, identities) for outer in entries for each in _list_values(outer)
            )
            entries = [each[step] for each in resolved if isinstance(each, dict) and step in each]
        elif step is None:
            entries = [each for outer in entries for each in _list_values(outer)]
        else:
            entries = [each[step] for outer in entries if step < len(each := _list_values(outer))]
        entries = entries[:MAX_OBJECTS]
    plain = [_read_plain(each) for outer in entries for each in _list_values(outer)]
    return [str(each) for each in plain if isinstance(each, str | int) and each is not True]


def _resolve_id(value: Any, identities: Mapping[str, Mapping[str, Any]]) -> Any:
    if isinstance(value, dict) and value.keys() == {"@id"} and isinstance(value["@id"], str):
        return identities.get(value["@id"], value)
    return value


def _read_plain(value: Any) -> Any:
    """Return the text of a value, of a value with language or type, or the name of an object."""
    if isinstance(value, dict):
        return value.get("@value", value.get("@id"))
    return value


def _list_values(value: Any) -> list[Any]:
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
    for node in _walk_elements(root):
        attributes = node.attributes
        if (name := attributes.get("id")) is not None:
            by_id.setdefault(name, node)
        if "itemscope" in attributes and "itemprop" not in attributes:
            scopes.append(node)
    reader = _Microdata(by_id)
    return nested_objects([reader.read(scope, frozenset()) for scope in scopes[:MAX_OBJECTS]])


class _Microdata:
    """Reads objects of a page; references may form cycles, and name an element many times."""

    def __init__(self, by_id: Mapping[str, Any]) -> None:
        self._by_id = by_id
        self._visits_left = MAX_VISITS

    def read(self, scope: Any, outer: frozenset[int]) -> dict[str, Any]:
        """Return the object of an element within ``outer`` ones, which it may not contain."""
        attributes, entries = scope.attributes, outer | {scope.mem_id}
        values: dict[str, Any] = {"@type": (attributes.get("itemtype") or "").split()}
        if identity := attributes.get("itemid"):
            values["@id"] = identity.strip()
        names = dict.fromkeys((attributes.get("itemref") or "").split())
        referred = [self._by_id[name] for name in names if name in self._by_id]
        for start in [*scope.iter(), *referred]:
            for node in self._properties(start):
                is_object = "itemscope" in node.attributes
                if is_object and (node.mem_id in entries or len(entries) > MAX_NESTED):
                    continue
                value = self.read(node, entries) if is_object else _read_value(node)
                for name in (node.attributes.get("itemprop") or "").split():
                    values.setdefault(name, []).append(value)
        return values

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


def _read_value(node: Any) -> str:
    attribute = ATTRIBUTES.get(node.tag)
    value = None if attribute is None else node.attributes.get(attribute)
    if value is None and (attribute is None or node.tag in WITH_TEXT):
        value = inner_text(node)
    return value or ""


def _walk_elements(root: Any) -> Iterator[Any]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(list(node.iter())))
