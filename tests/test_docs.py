"""Pages that lead a reader through the code name what is there."""

import ast
import re
from collections.abc import Iterator

import pytest

from orchestration_project.settings import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "explanation" / "one-row.md"
FILE = re.compile(r"`([a-z_0-9/]+\.py)`")
NAMED_WITH_FILE = re.compile(r"`([a-z_0-9/]+\.py)`,\s+`([\w.]+)`(?:\s+and\s+`([\w.]+)`)?")


def _files_and_names() -> Iterator[tuple[str, str]]:
    for file, *names in NAMED_WITH_FILE.findall(PAGE.read_text()):
        yield from ((file, name) for name in names if name)


def _defined(file: str) -> set[str]:
    """Return the functions and classes of a module, and ``Class.method`` of its methods."""
    tree = ast.parse((PROJECT_ROOT / "orchestration_project" / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, kinds):
            found.add(node.name)
            inner = [each.name for each in ast.walk(node) if isinstance(each, kinds)]
            found |= {f"{node.name}.{name}" for name in inner}
    return found


def test_every_file_that_the_way_of_a_row_names_exists():
    files = set(FILE.findall(PAGE.read_text()))
    assert len(files) > 20
    missing = [
        each for each in files if not (PROJECT_ROOT / "orchestration_project" / each).is_file()
    ]
    assert missing == []


@pytest.mark.parametrize(("file", "name"), sorted(set(_files_and_names())))
def test_every_function_that_the_way_of_a_row_names_is_in_its_file(file, name):
    assert name in _defined(file)
