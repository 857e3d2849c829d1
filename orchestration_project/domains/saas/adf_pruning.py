"""Documents without the nodes that say nothing, which the target would refuse."""

from collections.abc import Iterator
from typing import Any

Node = dict[str, Any]

LIST_TYPES = ("bulletList", "orderedList")


def pruned(nodes: list[Node]) -> Iterator[Node]:
    """Yield nodes that say something; an empty cell stays, so that its row keeps its columns."""
    for node in nodes:
        if node["type"] in ("text", "rule"):
            yield node
        elif node["type"] in ("paragraph", "heading", "codeBlock"):
            content = _trimmed(node["content"])
            if content:
                yield {**node, "content": content}
        elif node["type"] == "table":
            yield from _pruned_table(node)
        elif content := list(pruned(node["content"])):
            yield {**node, "content": _led_by_text(node["type"], content)}


def _pruned_table(table: Node) -> Iterator[Node]:
    rows: list[Node] = []
    says_something = False
    for row in table["content"]:
        cells = [(cell, list(pruned(cell["content"]))) for cell in row["content"]]
        says_something |= any(content for _, content in cells)
        kept = [{**cell, "content": content or [_nothing()]} for cell, content in cells]
        rows += [{**row, "content": kept}] if kept else []
    if says_something:
        yield {**table, "content": rows}


def _nothing() -> Node:
    return {"type": "paragraph", "content": []}


def _led_by_text(kind: str, content: list[Node]) -> list[Node]:
    """Return the content of an item, which may not begin with a list."""
    if kind == "listItem" and content[0]["type"] in LIST_TYPES:
        return [_nothing(), *content]
    return content


def _trimmed(texts: list[Node]) -> list[Node]:
    """Return a block's texts without line breaks and spaces at its end."""
    texts = list(texts)
    while texts:
        last = texts[-1]
        if last["type"] == "text" and (text := last["text"].rstrip(" \t\n")):
            return [*texts[:-1], {**last, "text": text}]
        texts.pop()
    return texts
