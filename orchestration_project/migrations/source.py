"""Data of a version as Python source: a line for each column, index and comment, however long."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

STEP = "    "


def source(value: Any, indent: str = "") -> str:
    """Return ``value`` as an expression, which begins in a line of this indent."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        lines = [f"{_text(name)}: {source(each, indent + STEP)}" for name, each in value.items()]
        return _lines("{", lines, "}", indent)
    if isinstance(value, Sequence) and all(isinstance(each, str) for each in value):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, Sequence):
        return _lines("[", [source(each, indent + STEP) for each in value], "]", indent)
    if not is_dataclass(value):
        return repr(value)
    given = [
        (each.name if each.default is not MISSING else "", getattr(value, each.name))
        for each in fields(value)
        if each.default is MISSING or getattr(value, each.name) not in (each.default, [])
    ]
    parts = [f"{name}=" * bool(name) + source(each, indent) for name, each in given]
    return f"{type(value).__name__}({', '.join(parts)})"


def _lines(opening: str, items: Sequence[str], closing: str, indent: str) -> str:
    inner = "".join(f"{indent}{STEP}{each},\n" for each in items)
    return f"{opening}\n{inner}{indent}{closing}"


def _text(value: str) -> str:
    escapes = value.replace("\\", "\\\\")
    if "\n" in value:
        return '"""' + escapes.replace('"', '\\"') + '"""'
    if '"' in value and "'" not in value:
        return f"'{escapes}'"
    return '"' + escapes.replace('"', '\\"') + '"'
