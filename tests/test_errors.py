"""Text of an error, and Dagster's reaction to it."""

import ast
import pickle

import pytest

from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    MovedError,
    OrchestrationError,
    SourceError,
    TransientError,
)
from orchestration_project.settings import PROJECT_ROOT


def test_an_error_says_what_failed_what_was_expected_and_found_what_to_do_and_where():
    error = SourceError(
        "the page is cut short",
        expected="5000 rows",
        found="12 rows",
        remedy="ask again",
        url="https://example.org",
        part=3,
    )
    assert str(error).split("\n") == [
        "the page is cut short",
        "  expected: 5000 rows",
        "  found: 12 rows",
        "  what to do: ask again",
        "  where: url=https://example.org, part=3",
    ]
    assert error.context == {"url": "https://example.org", "part": "3"}


def test_an_error_in_one_line_has_its_cause_and_remedy_and_not_where():
    error = SourceError("it\n failed", expected="a", found="b", remedy="c", url="u")
    assert error.line == "it failed; expected: a; found: b; what to do: c"
    assert ContractError("it broke", found="x").line == "it broke; found: x"


def test_an_error_that_is_passed_on_keeps_what_was_found():
    """A handler that passes on what failed passes on the parts below it, too."""
    lost: list[str] = []
    for file in sorted(
        file
        for folder in ("orchestration_project", "demo")
        for file in (PROJECT_ROOT / folder).rglob("*.py")
    ):
        for handler in ast.walk(ast.parse(file.read_text())):
            if isinstance(handler, ast.ExceptHandler) and handler.name:
                names = {
                    node.attr
                    for node in ast.walk(handler)
                    if isinstance(node, ast.Attribute)
                    and isinstance(node.value, ast.Name)
                    and node.value.id == handler.name
                }
                is_raised_as_it_is = any(
                    isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler)
                )
                if "what" in names and "found" not in names and not is_raised_as_it_is:
                    lost.append(f"{file.relative_to(PROJECT_ROOT)}:{handler.lineno}")
    assert not lost, "write error.line, or pass on its parts"


def test_what_is_not_known_is_left_out():
    assert str(ContractError("it broke")) == "it broke"
    assert str(ContractError("it broke", found="x")) == "it broke\n  found: x"


def test_what_no_database_takes_is_escaped_wherever_it_is_quoted():
    error = ContractError("bad\udcff.csv", found="a\0b", file="\ud800").within(run="\udfff")
    assert str(error) == ("bad\\udcff.csv\n  found: a\\x00b\n  where: run=\\udfff, file=\\ud800")


def test_within_adds_where_and_keeps_what_is_known_already():
    error = ContractError("it broke", partition="T1|2025-11-10", part=2)
    assert error.within(run="r1", partition="another", source="api") is error
    assert error.context == {
        "run": "r1",
        "partition": "T1|2025-11-10",
        "source": "api",
        "part": "2",
    }
    assert error.within(run="r2").context["run"] == "r1"


@pytest.mark.parametrize(
    ("kind", "category", "is_retryable"),
    [
        (TransientError, "transient", True),
        (MovedError, "transient", True),
        (SourceError, "source", False),
        (ContractError, "contract", False),
        (ConfigurationError, "configuration", False),
    ],
)
def test_only_a_transient_error_is_worth_another_try(
    kind: type[OrchestrationError], category: str, is_retryable: bool
):
    error = kind("it broke")
    assert (error.category, error.is_retryable) == (category, is_retryable)
    assert isinstance(error, OrchestrationError)


def test_an_error_comes_whole_through_a_process_boundary():
    error = TransientError("busy", expected="200", found="503", remedy="wait", url="u")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(copy), str(copy), copy.context) == (TransientError, str(error), {"url": "u"})
