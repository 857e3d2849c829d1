"""`docs/bad-input.md` and the tests of bad input name the same inputs."""

import ast
from collections import Counter

from orchestration_project.settings import PROJECT_ROOT
from tests import bad_input
from tests.resources import test_bad_answers, test_bad_files, test_bad_tasks

CASES = {
    *(*test_bad_files.CASES, *test_bad_answers.CASES, *test_bad_tasks.CASES),
    "full_disk_below_the_database",
}


def functions_in(pattern: str) -> set[str]:
    """Return the names of all functions in the test modules of that name."""
    return {
        node.name
        for path in (PROJECT_ROOT / "tests").rglob(pattern)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }


def test_every_tested_input_is_in_the_document_once_and_the_document_names_no_other():
    named = Counter(promise.test for promise in bad_input.promises())
    assert [test for test, times in named.items() if times > 1] == []
    assert CASES - set(named) == set()
    assert set(named) - CASES - functions_in("test_*.py") == set()
    modules = (test_bad_files, test_bad_answers, test_bad_tasks)
    assert len(CASES) == sum(len(module.CASES) for module in modules) + 1


def test_a_message_that_another_test_looks_for_is_in_the_project_as_the_document_has_it():
    sources = "".join(
        path.read_text()
        for folder in ("orchestration_project", "tests")
        for path in (PROJECT_ROOT / folder).rglob("*.py")
    )
    assert len(bad_input.promises()) > 100
    hold_their_own = CASES | functions_in("test_bad_*.py") | functions_in("test_full_disk.py")
    for promise in bad_input.promises():
        if promise.test not in hold_their_own:
            assert [text for text in promise.quoted if text not in sources] == [], promise


def test_every_row_of_the_document_says_what_is_seen_kept_and_to_be_done():
    assert len(bad_input.promises()) > 100
    for promise in bad_input.promises():
        assert all((promise.bad_input, promise.remedy)), promise
        assert promise.kept in bad_input.OUTCOMES, promise
        assert promise.seen.count("`") >= 2, promise
