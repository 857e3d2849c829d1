"""Elements of pages as selectors see them: CSS, XPath, JSON-LD and microdata of one element."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from orchestration_project.domains.web.linked_data import (
    JSON_LD_SCRIPTS,
    by_identity,
    find_property,
    json_ld_objects,
    microdata_objects,
    of_type,
)

MAX_DEPTH = 512
"""Elements in one another, as of browsers: the parser's time grows with their square."""

TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9-]*)")
FLAT = frozenset(
    (
        *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source"),
        *("track", "wbr", "p", "li", "dt", "dd", "td", "th", "tr", "tbody", "thead", "tfoot"),
        *("option", "optgroup", "colgroup", "body", "head", "html"),
    )
)
"""Elements that have no content, or that another of their kind ends."""


def is_too_deep(text: str) -> bool:
    """Whether HTML has more than `MAX_DEPTH` elements in one another."""
    if text.count("<") - text.count("</") <= MAX_DEPTH:
        return False
    depth = 0
    for slash, name in TAG.findall(text):
        if name.lower() not in FLAT:
            depth = max(0, depth - 1) if slash else depth + 1
            if depth > MAX_DEPTH:
                return True
    return False


class Markup:
    """An element of a page, with what is read from it, each once.

    Args:
        html: Its HTML; None: that of ``node``.
        node: The same, parsed; None: it is parsed at the first use.
        is_page: Whether it is a whole page.
    """

    def __init__(self, html: str | None = None, node: Any = None, *, is_page: bool = False) -> None:
        self._html = html
        self._node = node
        self._is_page = is_page

    @cached_property
    def node(self) -> Any:
        """The element, for CSS."""
        from selectolax.lexbor import LexborHTMLParser  # an extra

        return LexborHTMLParser(self._html or "").root if self._node is None else self._node

    @property
    def html(self) -> str:
        """The element as HTML in the parser's spelling."""
        return self.node.html or ""

    @cached_property
    def _tree(self) -> Any:
        from parsel import Selector  # an extra

        whole = Selector(text=self.html if self._html is None else self._html, type="html")
        inner = [] if self._is_page else whole.xpath("/html/body/* | /html/head/*")
        return inner[0] if inner else whole

    def xpath_texts(self, path: str) -> list[str]:
        """Return the texts that an XPath selects: of elements, attributes and values.

        Raises:
            ValueError: The path fails here, as of a function with wrong arguments.
        """
        return [_text_of(each.root) for each in self._tree.xpath(path)]

    def xpath_elements(self, path: str) -> "list[Markup]":
        """Return the elements that an XPath selects; each sees itself alone.

        Raises:
            ValueError: The path fails here.
        """
        found = self._tree.xpath(path)
        return [Markup(each.get()) for each in found if hasattr(each.root, "itertext")]

    @cached_property
    def json_ld(self) -> Sequence[Mapping[str, Any]]:
        """All objects of its JSON-LD."""
        return json_ld_objects([each.text() or "" for each in self.node.css(JSON_LD_SCRIPTS)])

    @cached_property
    def microdata(self) -> Sequence[Mapping[str, Any]]:
        """All objects of its microdata."""
        return microdata_objects(self.node)

    def object_texts(self, path: str, *, json_ld: str | None, microdata: str | None) -> list[str]:
        """Return the texts at a path of each object of a type."""
        objects = self.json_ld if json_ld else self.microdata
        wanted, identities = of_type(objects, json_ld or microdata or ""), by_identity(objects)
        return [text for each in wanted for text in find_property(each, path, identities)]


def _text_of(root: Any) -> str:
    if hasattr(root, "itertext"):
        return "".join(root.itertext())
    return str(root)
