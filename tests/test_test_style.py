"""Tests that cannot fail are found, and the numbers of patches and sleeps only fall."""

import ast
import json
import runpy
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from orchestration_project.settings import PROJECT_ROOT

CHECK: Mapping[str, Any] = runpy.run_path(str(PROJECT_ROOT / ".ci" / "test_style.py"))


def problems(source: str) -> list[str]:
    """Return what is wrong with the tests of a module."""
    return [problem for _, problem in CHECK["findings"]({"planted.py": ast.parse(source)})]


def test_each_number_that_is_counted_has_its_bound():
    assert set(json.loads(CHECK["FILE"].read_text())) == set(CHECK["REMEDIES"])


def test_each_expected_failure_is_listed_and_strict_and_names_its_error():
    lines = (PROJECT_ROOT / ".ci" / "expected_failures.txt").read_text().splitlines()
    marks = expected_failures()
    assert [*marks] == [line for line in lines if not line.startswith("#")]
    for mark in marks.values():
        assert {"raises", "strict", "reason"} == {keyword.arg for keyword in mark.keywords}
        assert "strict=True" in ast.unparse(mark)


def expected_failures() -> dict[str, ast.Call]:
    """Return the marks `xfail` of the tests, by path and name."""
    paths = sorted((PROJECT_ROOT / "tests").rglob("test_*.py"))
    texts = {path: text for path in paths if "xfail(" in (text := path.read_text())}
    return {
        f"{path.relative_to(PROJECT_ROOT)}::{node.name}": mark
        for path, text in texts.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and CHECK["last_name"](mark.func) == "xfail"
    }


def test_the_page_on_tests_has_the_numbers():
    numbers = json.loads(CHECK["FILE"].read_text())
    text = " ".join((PROJECT_ROOT / "docs/explanation/tests-and-bounds.md").read_text().split())
    assert f"In {numbers['patches']} lines tests still replace" in text
    assert f"In {numbers['sleeps']} lines they call `sleep`" in text
    assert f"In {numbers['each_loops']} lines the variable of a loop is `each`" in text
    assert f"{numbers['hidden_asserts']} helpers hide an assert" in text


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("load()", "asserts nothing"),
        ("assert True", "asserts True"),
        ("assert (found, 'a text')", "asserts"),
        ("found = load()\n    assert found == found", "asserts found == found"),
        ("for row in load():\n        assert row", "which may be empty"),
        ("assert all(row for row in load())", "which may be empty"),
        ("rows = load()\n    for row in rows.items():\n        assert row", "which may be empty"),
    ],
)
def test_a_planted_test_that_cannot_fail_is_found(body: str, problem: str):
    [found] = problems(f"def test_a():\n    {body}\n")
    assert problem in found


@pytest.mark.parametrize(
    "body",
    [
        "assert load() == 1",
        "with pytest.raises(ValueError):\n        load()",
        "for row in (1, 2):\n        assert load(row)",
        "rows = load()\n    assert len(rows) > 3\n    for row in rows:\n        assert row",
        "rows = [1, 2]\n    for row in rows:\n        assert load(row)",
        "is_loaded()\n\ndef is_loaded():\n    assert load()",
        "assert all(row for row in ROWS)",
    ],
)
def test_a_test_that_can_fail_is_none_of_them(body: str):
    assert problems(f"def test_a():\n    {body}\n") == []


def test_patches_sleeps_and_loops_are_counted_by_line():
    source = (
        "monkeypatch.setattr(a, 'b', 1)\ntime.sleep(1)\ndef sleep(): ...\nmonkeypatch.setenv()\n"
        "rows = [each for each in found]\nfor row in rows: ...\n"
    )
    expected = {"patches": 1, "sleeps": 1, "each_loops": 1, "hidden_asserts": 0}
    assert CHECK["counts"]({"planted.py": source}) == expected


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def rows():\n    assert load()", ["rows"]),
        ("async def rows():\n    if load():\n        assert load()", ["rows"]),
        ("class Loader:\n    def load(self):\n        assert self.files", ["load"]),
        ("def test_a():\n    def rows():\n        assert load()", ["rows"]),
        ("def checked():\n    assert load()", ["checked"]),
        ("def load():\n    def check_rows():\n        assert rows()", []),
        ("def check_rows():\n    assert load()", []),
        ("def load_and_expect_rows():\n    assert load()", []),
        ("def load_without_failure():\n    assert load()", []),
        ("@pytest.fixture\ndef rows():\n    assert load()", []),
        ("@pytest.fixture(scope='module')\ndef rows():\n    assert load()", []),
        ("def test_a():\n    assert load()", []),
        ("def rows():\n    return load()", []),
    ],
)
def test_a_helper_that_asserts_and_does_not_say_so_is_found(source: str, names: list[str]):
    found = CHECK["hiding_helpers"]({"planted.py": ast.parse(source)})
    assert [place.rpartition(" ")[2] for place in found] == names
    assert CHECK["counts"]({"planted.py": source})["hidden_asserts"] == len(names)


@pytest.mark.parametrize(("name", "sign"), [("test_style.json", 1), ("coverage.json", -1)])
def test_no_number_of_a_bound_got_worse_or_vanished_since_it_was_set(name: str, sign: int):
    """A shallow clone has fewer versions."""
    path = f".ci/{name}"
    bounds = json.loads((PROJECT_ROOT / path).read_text())
    assert bounds
    versions = [json.loads(git("show", f"{commit}:{path}")) for commit in commits(path)]
    for earlier in versions:
        limits = {key: sign * bounds.get(key, sign * float("inf")) for key in earlier}
        assert {key: value for key, value in earlier.items() if limits[key] > sign * value} == {}


def commits(path: str) -> list[str]:
    """Return the commits that changed a file, the latest first."""
    return git("log", "--format=%H", "--", path).split()


def git(*arguments: str) -> str:
    """Return what git prints in the checkout."""
    command = ["git", *arguments]
    return subprocess.run(  # noqa: S603 - git
        command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    ).stdout
