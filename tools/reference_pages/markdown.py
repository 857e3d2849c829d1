"""Markdown that a page is made of: a head, tables, and text that breaks at 100 characters."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

HEADS = Path(__file__).parent / "heads"
WIDTH = 100


def page(name: str, sections: Iterable[str]) -> str:
    """Return a page: the hand-written head called ``name``, then the generated sections."""
    head = (HEADS / f"{name}.md").read_text()
    return "\n".join([head, *(each.rstrip("\n") + "\n" for each in sections)])


def section(title: str, *parts: str, level: int = 2) -> str:
    """Return a heading and what follows it."""
    kept = [each.rstrip("\n") for each in parts if each]
    return "\n\n".join(["#" * level + f" {title}", *kept]) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; columns without any value are left out."""
    cells = [[cell(each) for each in row] for row in rows]
    kept = [place for place in range(len(columns)) if any(row[place] for row in cells)]
    lines = [[columns[place] for place in kept], ["---"] * len(kept)]
    lines += [[row[place] for place in kept] for row in cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(value: object) -> str:
    """Return a value as the text of one cell."""
    text = "" if value is None else " ".join(str(value).split())
    text = re.sub(r"(?<!\\)\|", r"\\|", text)
    parts = text.split("`")  # those between backticks are code, which shows < as it is
    parts[::2] = [each.replace("<", "&lt;") for each in parts[::2]]
    return "`".join(parts)


def code(value: object) -> str:
    """Return a value as code; nothing for an empty one."""
    text = "" if value is None else str(value)
    return f"`{text}`" if text else ""


def codes(values: Iterable[object]) -> str:
    """Return several values as code, with commas between."""
    return ", ".join(code(each) for each in values)


def paragraph(text: str) -> str:
    """Return a text in lines of at most 100 characters."""
    return textwrap.fill(
        " ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False
    )


def first_sentence(text: str | None) -> str:
    """Return the first paragraph of a docstring in one line, without reStructuredText's marks."""
    found = (text or "").strip().split("\n\n")[0]
    return " ".join(found.replace("``", "`").split())
