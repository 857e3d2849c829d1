"""Links and items of a page, by the rules of its site."""

import codecs
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from orchestration_project.domains.web.inner_text import inner_text
from orchestration_project.domains.web.json_paths import find
from orchestration_project.domains.web.linked_data import (
    by_identity,
    find_property,
    nested_objects,
    of_type,
    script_values,
)
from orchestration_project.domains.web.markup import MAX_DEPTH, Markup, bounded
from orchestration_project.domains.web.parsers import ParserError, parsed_values
from orchestration_project.domains.web.patterns import contains, matches
from orchestration_project.domains.web.processors import ValueProblemError, masked, processed
from orchestration_project.domains.web.sites import FollowRule, ItemField, ItemRule, Site

RULE_VERSION = "2"
"""Raised with every change that could make other items of the same bytes."""

MAX_LINKS = 10_000
"""Links of one page, at most."""

MAX_CURSOR_LENGTH = 1_000
MAX_ITEMS = 10_000
"""Items of one page, at most."""

MAX_ITEM_BYTES = 1_000_000
META_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset=[\"' ]?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE
)
MARKUP_TYPE = re.compile(r"\s*($|text/|application/\S*(html|xml))", re.IGNORECASE)
"""Content types of markup; none is one, too."""

HEADER_CHARSET = re.compile(r"charset=[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
NO_CHARSETS = ("idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7")
"""Codecs of Python that no page is in; some take quadratic time."""

ASCII_CODECS = ("ascii", "cp1252", "iso8859-1", "iso8859-15", "utf-8")
"""Codecs that read ASCII as it is; others may give its bytes another meaning."""

MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


class Item(NamedTuple):
    """An item of a page.

    Attributes:
        key: Values of the key fields, as JSON if there are several.
        payload: Fields as canonical JSON.
    """

    key: str
    payload: str


class RejectedItem(NamedTuple):
    """An item that is not loaded: kind of the problem, a sentence, and the item as JSON."""

    reason_code: str
    reason: str
    text: str


class Link(NamedTuple):
    """A link as it is written, and how deep its target may lie; None: anywhere.

    ``is_next``: whether it leads to the next page of a list: by a cursor or ``rel=next``;
    ``is_left_out``: whether it is beyond the first `MAX_LINKS` of a rule on a page.
    """

    href: str
    max_depth: int | None
    is_next: bool = False
    is_left_out: bool = False


def _iterate_claims(body: bytes, content_type: str) -> Iterator[str]:
    """Yield the charsets that a body may be in, the strongest claim first."""
    yield from (name for start, name in MARKS if body.startswith(start))
    header = HEADER_CHARSET.search(content_type)
    if header:
        yield header[1]
    meta = META_CHARSET.search(body[:4096])
    if meta:
        yield meta[1].decode("ascii")
    yield "utf-8"


@lru_cache(maxsize=1_000)
def _find_codec(charset: str) -> str | None:
    """Return the name of Python's codec of a charset; None: no page is in it."""
    try:
        name = codecs.lookup(charset).name
    except (LookupError, UnicodeError, ValueError):
        return None
    return None if name in NO_CHARSETS else name


def text_of(body: bytes, content_type: str) -> str:
    """Return a body as text: by its mark, its header, its ``meta``, or as UTF-8.

    A charset that is unknown, or that the bytes are not in, is a claim that does not count.
    """
    for claim in _iterate_claims(body, content_type):
        codec = _find_codec(claim)
        if codec is not None:
            try:
                return body.decode(codec)
            except ValueError:
                continue
    return body.decode("utf-8", errors="replace")


def _is_ascii(body: bytes, content_type: str) -> bool:
    """Whether a body is ASCII, in a charset in which that says the same."""
    codecs_of_claims = map(_find_codec, _iterate_claims(body, content_type))
    return body.isascii() and next(filter(None, codecs_of_claims), "") in ASCII_CODECS


class Page:
    """A page, parsed once.

    Args:
        url: Its URL.
        body: Its bytes.
        content_type: As its header says.
    """

    def __init__(self, url: str, body: bytes, content_type: str) -> None:
        self.url = url
        self.body = body
        self.content_type = content_type
        self.is_json = "json" in content_type.lower()

    @property
    def text(self) -> str:
        """The page as text."""
        return self._text

    @cached_property
    def _text(self) -> str:
        return text_of(self.body, self.content_type)

    @cached_property
    def _bounded(self) -> str | bytes | None:
        """The HTML to parse: bytes that are ASCII as they are, as no copy of them is needed."""
        try:
            return bounded(self.body if _is_ascii(self.body, self.content_type) else self.text)
        except ValueError:
            return None

    @property
    def is_too_deep(self) -> bool:
        """Whether elements are nested so deep that the page is not parsed."""
        return not self.is_json and self._bounded is None

    @cached_property
    def markup(self) -> Markup:
        """The page for selectors; empty of one that is too deep."""
        return Markup(self._bounded or "", is_page=True)

    @property
    def root(self) -> Any:
        """The parsed HTML."""
        return self.markup.node

    @property
    def base_href(self) -> str:
        """Target of the first ``base`` that has one, as it is written; empty: links need none."""
        if self.is_json or self.is_too_deep or self.root is None:
            return ""
        node = self.root.css_first("base[href]")
        return "" if node is None else node.attributes.get("href") or ""


def links(page: Page, site: Site) -> Iterator[Link]:
    """Yield the links that are followed: those of paging, then of each rule; relative ones too."""
    if page.is_json:
        yield from _follow_cursor(page, site)
        return
    if page.is_too_deep:
        return
    if site.paging is not None and site.paging.rel_next:
        for href in _find_hrefs(page, "a[rel~=next], link[rel~=next]"):
            yield Link(href, None, is_next=True)
    for rule in site.follow:
        for index, href in enumerate(_find_followed(page, rule)):
            yield Link(href, rule.max_depth, is_left_out=index >= MAX_LINKS)


def _follow_cursor(page: Page, site: Site) -> Iterator[Link]:
    from w3lib.url import add_or_replace_parameter  # an extra

    paging = site.paging
    if paging is None or paging.cursor is None or paging.parameter is None:
        return
    names = [
        text for text in _find_json_texts(_parse_json(page.text), paging.cursor) if text.strip()
    ]
    if names and len(names[0]) <= MAX_CURSOR_LENGTH:
        href = add_or_replace_parameter(page.url, paging.parameter, names[0])
        yield Link(href, None, is_next=True)


def _find_followed(page: Page, rule: FollowRule) -> Sequence[str]:
    hrefs = _find_hrefs(page, rule.css)
    return [href for href in hrefs if contains(href, rule.pattern)] if rule.pattern else hrefs


def _find_hrefs(page: Page, css: str) -> list[str]:
    stripped = ((node.attributes.get("href") or "").strip() for node in page.root.css(css))
    return [*filter(None, stripped)]


def has_items(url: str, rule: ItemRule) -> bool:
    """Whether a page of this URL has items."""
    return contains(url, rule.pages)


def is_readable(page: Page, rule: ItemRule) -> bool:
    """Whether a page is of the type of content that a rule reads: JSON, or a markup."""
    if rule.parser:
        return True
    if page.is_json:
        paths = (field.json_path for field in rule.fields.values())
        return bool(rule.each_json_path or rule.each_json_ld or any(paths))
    return rule.each_json_path is None and bool(MARKUP_TYPE.match(page.content_type))


def _ignore() -> None:
    """Count nothing."""


def items(
    page: Page,
    rule: ItemRule,
    mask_key: bytes = b"",
    leave_out: Callable[[], None] = _ignore,
) -> Iterator[Item | RejectedItem]:
    """Yield the items of a page; one that breaks a rule is a reject with its reason.

    A page that cannot be parsed yields one reject. An item without any field is left out.

    Args:
        page: The page.
        rule: Items of its site.
        mask_key: Secret by which personal values are masked, see `masked`.
        leave_out: Called for each item that is left out.
    """
    for number, part in enumerate(_find_parts(page, rule)):
        if number >= MAX_ITEMS:
            yield RejectedItem("too_many", f"expected up to {MAX_ITEMS} items", "")
            return
        if isinstance(part, RejectedItem):
            yield part
        elif (item := _build_item(part, rule, mask_key)) is not None:
            yield item
        else:
            leave_out()


def _find_parts(page: Page, rule: ItemRule) -> Iterator[Any]:
    """Yield the part of the page for each item: an element, a value of JSON, or an object."""
    if page.is_too_deep:
        reason = f"expected up to {MAX_DEPTH} elements in one another"
        yield RejectedItem("depth", reason, _cut_excerpt(page, rule))
    elif rule.parser:
        yield from _run_parser(page, rule, rule.parser)
    elif page.is_json:
        yield from _find_json_parts(page, rule)
    else:
        yield from _find_markup_parts(page, rule)


def _find_markup_parts(page: Page, rule: ItemRule) -> Iterator[Any]:
    if rule.each_json_ld:
        yield from _find_json_ld_parts(page, rule, rule.each_json_ld)
    elif rule.each_microdata:
        yield from _find_objects(page.markup.microdata, rule.each_microdata)
    elif rule.each_xpath:
        try:
            yield from page.markup.xpath_elements(rule.each_xpath)
        except ValueError as error:
            yield RejectedItem("xpath", f"each_xpath: {str(error)[:300]}", _cut_excerpt(page, rule))
    elif rule.each:
        yield from (Markup(node=each) for each in page.root.css(rule.each))
    elif rule.each_json_path is None:
        yield page.markup


def _find_json_ld_parts(page: Page, rule: ItemRule, name: str) -> Iterator[Any]:
    yield from _find_objects(page.markup.json_ld.objects, name)
    for script in page.markup.json_ld.unreadable:
        if script.may_have(name):
            text = "" if rule.has_personal_fields else script.text[:1000]
            yield RejectedItem("json_ld", f"a script of JSON-LD: {script.reason}", text)


def _run_parser(page: Page, rule: ItemRule, parser: str) -> Iterator[Any]:
    try:
        yield from (_Json(value) for value in parsed_values(parser, page))
    except ParserError as error:
        reason = error.kind if rule.has_personal_fields else str(error)
        yield RejectedItem("parser", f"{parser} fails: {reason}", _cut_excerpt(page, rule))


def _cut_excerpt(page: Page, rule: ItemRule) -> str:
    return "" if rule.has_personal_fields else page.text[:1000]


def _find_json_parts(page: Page, rule: ItemRule) -> Iterator[Any]:
    try:
        value = json.loads(page.text, parse_float=str)
    except (ValueError, RecursionError) as error:
        reason = f"expected JSON, found {type(error).__name__}: {str(error)[:100]}"
        yield RejectedItem("json", reason, _cut_excerpt(page, rule))
        return
    if rule.each_json_ld:
        yield from _find_objects(nested_objects(value), rule.each_json_ld)
    else:
        yield from (_Json(item) for item in find(value, rule.each_json_path or "$"))


@dataclass(frozen=True)
class _Json:
    """A value of JSON that an item is read from."""

    value: Any


@dataclass(frozen=True)
class _Object:
    """An object of JSON-LD or microdata that an item is read from, and those with an `@id`."""

    value: Mapping[str, Any]
    identities: Mapping[str, Mapping[str, Any]]


def _find_objects(objects: Sequence[Mapping[str, Any]], name: str) -> Iterator[_Object]:
    identities = by_identity(objects)
    return (_Object(entry, identities) for entry in of_type(objects, name))


def _build_item(part: Any, rule: ItemRule, mask_key: bytes) -> Item | RejectedItem | None:
    payload, problems = _read_fields(part, rule, mask_key)
    if not payload and all(kind != "value" for kind, _ in problems):
        return None
    text = _canonical(payload)
    if problems:
        return RejectedItem(problems[0][0], "; ".join(item for _, item in problems), text)
    if len(text.encode()) > MAX_ITEM_BYTES:
        message = f"expected up to {MAX_ITEM_BYTES} bytes, found {len(text)} characters"
        return RejectedItem("size", message, text[:1000])
    if rule.json_schema is not None and (broken := _find_broken_rule(rule, payload)):
        return RejectedItem("schema", broken, text)
    key = [payload[name] for name in rule.key]
    return Item(str(key[0]) if len(key) == 1 else _canonical(key), text)


def _read_fields(
    part: Any, rule: ItemRule, mask_key: bytes
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the values of an item by field, and the problems: kind and sentence."""
    payload: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for name, field in rule.fields.items():
        try:
            values = [_read_value(text, field, rule, mask_key) for text in _find_texts(part, field)]
        except ValueProblemError as error:
            quoted = "the personal value does not fit" if field.personal else str(error)
            problems.append(("value", f"{name}: {quoted}"))
            continue
        if field.required and (problem := _find_lacking(field, values)):
            problems.append((problem[0], f"{name}: {problem[1]}"))
        if values and field.personal != "drop":
            payload[name] = values if field.many else values[0]
    return payload, problems


def _find_lacking(field: ItemField, values: Sequence[Any]) -> tuple[str, str] | None:
    """Return the lack of a required field, as kind and sentence; None: it lacks nothing."""
    if not values:
        return "missing", "expected a value, found none"
    if field.match is not None and not all(value["key"] for value in values):
        return "match", f"expected a row of {field.match.table}"
    return None


def value_of(text: str, field: ItemField) -> str | int | None:
    """Return the value that a field makes of a text, as `comparable` does; None: it makes none.

    A personal value, or one that is looked up in a table, is not what a page says.
    """
    names = [text] if field.regex is None else matches(text, field.regex)[:1]
    if field.personal or field.match or not names or not names[0].strip():
        return None
    try:
        return comparable(_process_text(names[0], field))
    except ValueProblemError:
        return None


def comparable(value: Any) -> str | int:
    """Return a value of a payload so that it can be looked up: an object as canonical JSON."""
    return value if isinstance(value, str | int) else _canonical(value)


def _read_value(text: str, field: ItemField, rule: ItemRule, mask_key: bytes) -> Any:
    value = _process_text(text, field)
    if field.match is not None:
        return field.match.apply(str(value), rule.tables)
    return masked(_canonical(value), mask_key) if field.personal else value


def _process_text(text: str, field: ItemField) -> Any:
    return processed(
        text,
        field.process,
        notation=field.notation,
        form=field.format,
        unit=field.unit,
        currency=field.currency,
    )


def _find_texts(part: Any, field: ItemField) -> list[str]:
    """Return the texts that a field selects: none, one, or all of them.

    Raises:
        ValueProblemError: An XPath fails on this page.
    """
    path = field.json_path
    if isinstance(part, _Json):
        json_texts = _find_json_texts(part.value, path) if path else []
    elif isinstance(part, _Object):
        json_texts = find_property(part.value, path, part.identities) if path else []
    else:
        json_texts = _find_markup_texts(part, field)
    if field.regex is not None:
        json_texts = [text for json_text in json_texts for text in matches(json_text, field.regex)]
    json_texts = [json_text for json_text in json_texts if json_text.strip()]
    return json_texts if field.many else json_texts[:1]


def _find_markup_texts(part: Markup, field: ItemField) -> list[str]:
    path = field.json_path
    if path and (field.json_ld or field.microdata):
        try:
            return part.object_texts(path, json_ld=field.json_ld, microdata=field.microdata)
        except ValueError as error:
            raise ValueProblemError(f"a script of JSON-LD: {error}") from None
    if field.css is None and field.xpath is None:
        return [part.html] if field.regex else []
    if field.xpath is not None:
        try:
            xpath_texts = part.xpath_texts(field.xpath)
        except ValueError as error:
            raise ValueProblemError(f"the XPath fails: {str(error)[:200]}") from None
    else:
        nodes = part.node.css if field.many or path else part.first
        xpath_texts = [_read_node_text(node, field.attribute) for node in nodes(str(field.css))]
    if path:
        return _find_scripted_texts(xpath_texts, path)
    return xpath_texts if field.many else xpath_texts[:1]


def _find_scripted_texts(scripts: Sequence[str], path: str) -> list[str]:
    """Return the scalars at a path of each script.

    Raises:
        ValueProblemError: There are none, and a script is not JSON.
    """
    scripted_texts: list[str] = []
    problem = ""
    for script in scripts:
        try:
            values = script_values(script)
        except ValueError as error:
            problem = problem or str(error)
            continue
        scripted_texts += [text for value in values for text in _find_json_texts(value, path)]
    if problem and not scripted_texts:
        raise ValueProblemError(problem)
    return scripted_texts


def _read_node_text(node: Any, attribute: str | None) -> str:
    if attribute is not None:
        return node.attributes.get(attribute) or ""
    return inner_text(node)


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, parse_float=str)
    except (ValueError, RecursionError):
        return None


def _find_json_texts(value: Any, path: str) -> list[str]:
    """Return scalars at a path as texts; numbers with places are exact, as they were written."""
    entries = find(value, path)
    return [
        _make_storable(str(entry))
        for entry in entries
        if isinstance(entry, str | int) and entry is not True
    ]


def _make_storable(text: str) -> str:
    """Return a text of JSON without what no database stores: NUL and lone surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


_canonical = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def _find_broken_rule(rule: ItemRule, payload: Mapping[str, Any]) -> str:
    """Return the first rule of the JSON Schema that an item breaks; empty: it keeps all."""
    error = next(_build_validator(_canonical(rule.json_schema)).iter_errors(payload), None)
    if error is None:
        return ""
    text = ".".join(str(each) for each in error.instance_path) or "the item"
    return f"{text}: {error.message[:500]}"


@lru_cache(maxsize=100)
def _build_validator(schema: str) -> Any:
    from jsonschema_rs import Draft202012Validator  # an extra

    return Draft202012Validator(json.loads(schema), validate_formats=True)
