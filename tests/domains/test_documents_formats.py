"""The records of formats: whole, without contradictions, and bound to `EXTRACTION_RULES`."""

import ast
import sys
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from orchestration_project.domains import documents
from orchestration_project.domains.documents import formats
from orchestration_project.domains.documents.formats import FORMATS, LIBRARIES
from tests.domains import extraction_rules

FOLDER = Path(documents.__path__[0])
OURS = {"orchestration_project", *sys.stdlib_module_names}
SHARED = {"numpy", "polars", "pydantic", "sqlalchemy"}
"""Libraries that the package needs without documents, too."""


def test_a_change_of_formats_or_texts_raises_the_rules():
    rules, _ = extraction_rules.read_digests()
    changed = extraction_rules.find_changes()
    assert not changed, f"{', '.join(changed)}: {extraction_rules.REMEDY}"
    assert rules == formats.EXTRACTION_RULES, extraction_rules.REMEDY


def test_a_changed_format_is_named_until_the_rules_rise(monkeypatch):
    changed = replace(FORMATS["application/rtf"], extensions=("rtf", "rtx"))
    monkeypatch.setitem(FORMATS, "application/rtf", changed)
    assert "application/rtf" in extraction_rules.find_changes()
    with pytest.raises(SystemExit, match=r"expected more than \d+, .*application/rtf"):
        extraction_rules.write()


def test_an_extension_declares_one_format():
    extensions = Counter(name for record in FORMATS.values() for name in record.extensions)
    assert [name for name, count in extensions.items() if count > 1] == []
    assert all(name == name.lower() for name in extensions)


def test_each_format_has_a_reader_or_the_format_to_save_it_as():
    readers = {record.reader for record in FORMATS.values() if record.reader}
    assert {name for name in readers if find_spec(f"{formats.__name__}.{name}") is None} == set()
    without = [record for record in FORMATS.values() if not record.reader and not record.saved_as]
    assert without == [FORMATS[formats.UNKNOWN]]


def test_each_library_of_the_readers_is_listed():
    imported = {
        module.split(".")[0]
        for path in FOLDER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for module in imports(node)
    }
    assert imported - OURS - SHARED <= LIBRARIES.keys()
    assert LIBRARIES.keys() <= imported


def imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
