"""The file of all formulas, which `explain` reads: a line for each column."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.contracts.formulas import build_rules_document
from orchestration_project.services.evidence.absences import WITHOUT_FORMULA, list_absences
from orchestration_project.tables.schema import METADATA

PATH = "../../orchestration_project/rules.json"
DEPTH = 4
"""Levels of names that have a line of their own: part, table, columns, column."""


def write() -> Iterator[tuple[str, str]]:
    """Yield the path of the file, and its text."""
    others = WITHOUT_FORMULA.keys() & METADATA.tables.keys()
    document = build_rules_document(REGISTRY.rules.values(), list_absences(REGISTRY.rules, others))
    yield PATH, f"{_text(document, DEPTH)}\n"


def _text(content: Any, depth: int) -> str:
    if not depth or not isinstance(content, Mapping) or not content:
        return json.dumps(content)
    lines = (f"{json.dumps(name)}: {_text(part, depth - 1)}" for name, part in content.items())
    return "{\n" + ",\n".join(lines) + "\n}"
