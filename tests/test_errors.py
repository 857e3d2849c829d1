"""Text of an error, and Dagster's reaction to it."""

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
