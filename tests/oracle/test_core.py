"""Modules of the oracle import nothing of the package; a comparison finds each difference."""

import ast
import sys
from pathlib import Path

import pytest

from tests.oracle.history import compare

FOLDER = Path(__file__).parent
MODULES = [file for file in FOLDER.glob("*.py") if not file.name.startswith("test_")]
ROW = {"symbol": "A", "shares": "1.000000", "ratio": 0.1, "venue": None}


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_a_module_imports_the_standard_library_and_the_oracle_alone(file):
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    foreign = [name for name in names if not f"{name}.".startswith("tests.oracle.")]
    assert {name.split(".")[0] for name in foreign} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("exported", "column"),
    [
        ([ROW | {"shares": "1.000001"}], "shares"),
        ([ROW | {"shares": None}], "shares"),
        ([ROW | {"ratio": 0.1000000001}], "ratio"),
        ([ROW | {"venue": ""}], "venue"),
        ([ROW | {"more": 1}], "more"),
        ([ROW, ROW], "key"),
        ([], "row"),
    ],
)
def test_a_difference_is_found_with_its_column(exported, column):
    _, differences = compare([ROW], exported, ["symbol"])
    assert [difference[1] for difference in differences] == [column]
    assert compare([ROW], [ROW], ["symbol"]) == (4, [])
