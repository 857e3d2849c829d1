"""The fault matrix is what docs/reliability.md says, and each of its rows is carried out."""

import ast

from orchestration_project.settings import PROJECT_ROOT
from tests.faults import matrix

DOCUMENT = (PROJECT_ROOT / "docs" / "reliability.md").read_text()


def test_the_documented_matrix_is_the_one_that_is_carried_out():
    lines = [line for line in DOCUMENT.splitlines() if line.startswith("|")]
    start = lines.index(matrix.documented()[0])
    assert lines[start : start + len(matrix.documented())] == matrix.documented()
    assert len(set(matrix.FAULTS)) == len(matrix.FAULTS)


def test_every_row_of_the_matrix_is_struck_by_a_test():
    modules = [
        ast.parse(file.read_text()) for file in (PROJECT_ROOT / "tests/faults").glob("test_*")
    ]
    words = {
        node.value
        for module in modules
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert {fault.name for fault in matrix.FAULTS} <= words
