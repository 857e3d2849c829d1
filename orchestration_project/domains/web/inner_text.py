"""Texts of elements as a browser's `innerText` has them: blocks and line breaks part words."""

from collections.abc import Iterator
from typing import Any

BLOCKS = frozenset(
    (
        *(
            "address",
            "article",
            "aside",
            "blockquote",
            "body",
            "caption",
            "center",
            "dd",
            "details",
        ),
        *("dialog", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup", "hr", "html", "legend", "li"),
        *("main", "menu", "nav", "ol", "optgroup", "option", "p", "pre", "search", "section"),
        *("summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul", "br"),
    )
)
"""Elements at whose borders a line ends."""

NOT_SHOWN = frozenset(("script", "style", "template"))
"""Elements whose text a browser does not show, except where one of them is requested itself."""

Piece = str | None
"""A text, or None: the border of a block."""


def inner_text(node: Any) -> str:
    """Return the text of an element of selectolax; white space stays as it is written."""
    child = node.first_child
    while child is not None and not child.is_element_node:
        child = child.next
    return node.text() or "" if child is None else _join_pieces(_walk_pieces(node))


def inner_text_of_tree(element: Any) -> str:
    """Return the same of an element of lxml."""
    return _join_pieces(_walk_tree_pieces(element))


def _join_pieces(pieces: Iterator[Piece]) -> str:
    """Return texts in one, a line break between those of two blocks that no white space parts."""
    names: list[str] = []
    is_parted = False
    for text in pieces:
        if text is None:
            is_parted = True
        elif text:
            if is_parted and names and not (names[-1][-1].isspace() or text[0].isspace()):
                names.append("\n")
            names.append(text)
            is_parted = False
    return "".join(names)


def _walk_pieces(root: Any) -> Iterator[Piece]:
    """Yield texts and borders in order; depth is bounded by the heap alone."""
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if node is None:
            yield None
        elif node.is_text_node:
            yield node.text_content or ""
        elif node.is_element_node and (node is root or node.tag not in NOT_SHOWN):
            if node.tag in BLOCKS:
                yield None
                waiting.append(None)
            children: list[Any] = []
            child = node.first_child
            while child is not None:
                children.append(child)
                child = child.next
            waiting.extend(reversed(children))


def _walk_tree_pieces(root: Any) -> Iterator[Piece]:
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if node is None or isinstance(node, str):
            yield node
        elif isinstance(node.tag, str) and (node is root or node.tag not in NOT_SHOWN):
            if node.tag in BLOCKS:
                yield None
                waiting.append(None)
            for child in reversed(node):
                waiting += [child.tail or "", child]
            yield node.text or ""
