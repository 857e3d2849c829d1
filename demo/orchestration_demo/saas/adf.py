"""Atlassian documents that Jira accepts: known nodes and marks, limited in size."""

from typing import Any

MAX_CHARACTERS = 32_767

LEAF_TYPES = frozenset({"text", "hardBreak", "rule", "emoji", "mention", "inlineCard"})
INLINE = frozenset({"text", "hardBreak", "emoji", "mention", "inlineCard"})
ALLOWED_CHILDREN = {
    "doc": frozenset(
        {"paragraph", "bulletList", "orderedList", "codeBlock", "heading", "blockquote", "rule"}
        | {"table", "panel"}
    ),
    "paragraph": INLINE,
    "heading": INLINE,
    "codeBlock": frozenset({"text"}),
    "bulletList": frozenset({"listItem"}),
    "orderedList": frozenset({"listItem"}),
    "listItem": frozenset({"paragraph", "bulletList", "orderedList", "codeBlock"}),
    "blockquote": frozenset({"paragraph", "bulletList", "orderedList", "codeBlock"}),
    "panel": frozenset({"paragraph", "bulletList", "orderedList", "heading"}),
    "table": frozenset({"tableRow"}),
    "tableRow": frozenset({"tableCell", "tableHeader"}),
    "tableCell": frozenset({"paragraph", "bulletList", "orderedList", "codeBlock", "heading"}),
    "tableHeader": frozenset({"paragraph", "bulletList", "orderedList", "heading"}),
}
NEEDS_CONTENT = frozenset({"bulletList", "orderedList", "listItem", "table", "tableRow"})
MARK_TYPES = frozenset(
    {"strong", "em", "underline", "strike", "code", "link", "subsup", "textColor"}
)


def problem_of(document: Any) -> str | None:
    """Return why a description is refused, None where it is not."""
    if not isinstance(document, dict):
        return "Operation value must be an Atlassian Document (see the Atlassian Document Format)"
    if document.get("type") != "doc" or document.get("version") != 1:
        return "INVALID_INPUT"
    if not isinstance(document.get("content"), list):
        return "INVALID_INPUT"
    problem = _problem_of_node(document)
    if problem is None and text_length(document) > MAX_CHARACTERS:
        return (
            "The entered text is too long. It exceeds the allowed limit of "
            f"{MAX_CHARACTERS:,} characters."
        )
    return problem


def text_length(node: Any) -> int:
    """Return how many characters of text a node holds."""
    own = len(node.get("text", ""))
    return own + sum(text_length(each) for each in node.get("content", ()))


def _problem_of_node(node: Any) -> str | None:
    if not isinstance(node, dict):
        return "INVALID_INPUT"
    kind = node.get("type")
    if kind == "text":
        return _problem_of_text(node)
    if kind in LEAF_TYPES:
        return None
    content = node.get("content", [])
    if (
        kind not in ALLOWED_CHILDREN
        or not isinstance(content, list)
        or (kind in NEEDS_CONTENT and not content)
    ):
        return "INVALID_INPUT"
    if not all(
        isinstance(each, dict) and each.get("type") in ALLOWED_CHILDREN[kind] for each in content
    ):
        return "INVALID_INPUT"
    return next(filter(None, map(_problem_of_node, content)), None)


def _problem_of_text(node: Any) -> str | None:
    text, marks = node.get("text"), node.get("marks", [])
    if not isinstance(text, str) or not text or not isinstance(marks, list):
        return "INVALID_INPUT"
    for mark in marks:
        if not isinstance(mark, dict) or mark.get("type") not in MARK_TYPES:
            return "INVALID_INPUT"
        if mark["type"] == "link" and not _is_href(mark.get("attrs")):
            return "INVALID_INPUT"
    return None


def _is_href(attributes: Any) -> bool:
    href = attributes.get("href") if isinstance(attributes, dict) else None
    return isinstance(href, str) and bool(href)
