"""Each row of the fault matrix is carried out, and the README explains its stages.

`tests/test_reference.py` holds docs/reference/fault-matrix.md equal to the rows.
"""

import ast

from orchestration_project.settings import PROJECT_ROOT
from tests.faults import matrix

README = (PROJECT_ROOT / "tests" / "faults" / "README.md").read_text()


def test_no_row_of_the_matrix_is_there_twice():
    assert len(set(matrix.FAULTS)) == len(matrix.FAULTS)


def test_the_readme_explains_every_stage_and_domain():
    assert [stage for stage in matrix.STAGES if f"`{stage}`" not in README] == []
    assert [domain for domain in matrix.DOMAINS if f"*{domain}*" not in README] == []


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
