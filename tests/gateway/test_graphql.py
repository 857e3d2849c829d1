"""A document is read as Dagster would execute it; one that is too large is not read."""

import json

import pytest
from dagster_graphql.schema import create_schema
from graphql import get_introspection_query, parse, validate

from orchestration_project.gateway.graphql import (
    MAX_ALIASES,
    MAX_DEPTH,
    MAX_FIELDS,
    MAX_TOKENS,
    GraphqlDocument,
    outcome_of,
    read_document,
    target_of,
)
from orchestration_project.gateway.request import Refusal
from tests.gateway.pages_queries import documents


def nested(levels: int) -> str:
    return "{a" * levels + "}" * levels


def fragments(count: int) -> str:
    """Each fragment holds the next twice: a short text that requests 2 ** count fields."""
    spread = [f"fragment F{n} on T {{...F{n + 1} x {{...F{n + 1}}}}}" for n in range(count)]
    return "{...F0} " + " ".join(spread) + f" fragment F{count} on T {{a}}"


def empty_fragments(count: int) -> str:
    """Each fragment holds the next twice, and all come to nothing, as the last one is not there."""
    return " ".join(f"fragment F{n} on T {{...F{n + 1} ...F{n + 1}}}" for n in range(count))


def chain(count: int) -> str:
    """Each fragment holds the next, with more levels of fragments than of fields."""
    spread = [f"fragment F{n} on T {{...F{n + 1}}}" for n in range(count)]
    return " ".join([*spread, f"fragment F{count} on T {{a}}"])


@pytest.mark.parametrize(
    ("text", "kinds", "mutations"),
    [
        ("{a}", {"query"}, ()),
        ("query Q {a} subscription S {b}", {"query", "subscription"}, ()),
        ("mutation {b a: c}", {"mutation"}, ("b", "c")),
        ("query Q {a} mutation M {b}", {"query", "mutation"}, ("b",)),
        ("mutation {...F} fragment F on M {b ...G} fragment G on M {c}", {"mutation"}, ("b", "c")),
        ("mutation {... on M {... {b}} ... @include(if: true) {c}}", {"mutation"}, ("b", "c")),
        ('mutation {b(x: "mutation {c}")}', {"mutation"}, ("b",)),
        ("# mutation {b}\n{a}", {"query"}, ()),
        ("fragment F on T {a}", set(), ()),
    ],
)
def test_all_that_a_document_asks_for_is_seen(text: str, kinds: set[str], mutations: tuple[str]):
    assert read_document(text) == GraphqlDocument(frozenset(kinds), mutations)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "mutation",
        nested(MAX_DEPTH + 1),
        nested(100_000),
        "{a(x: " + "[" * 50_000 + "]" * 50_000 + ")}",
        "{" + " ".join(f"a{n}: a" for n in range(MAX_ALIASES + 1)) + "}",
        "{" + "a " * (MAX_FIELDS + 1) + "}",
        "{a(x: [" + "1 " * MAX_TOKENS + "])}",
        fragments(20),
        "{...A} fragment A on T {...B} fragment B on T {...A}",
        "{...A}",
        "mutation {...F0} " + empty_fragments(40),
        "mutation {...F0} " + chain(900),
    ],
)
def test_a_document_that_is_none_or_too_large_is_refused(text: str):
    with pytest.raises(Refusal) as refused:
        read_document(text)
    assert refused.value.status == 400


def test_a_document_may_be_as_deep_and_broad_as_the_limits_say():
    assert read_document(nested(MAX_DEPTH)).kinds == {"query"}
    aliases = " ".join(f"a{n}: a" for n in range(MAX_ALIASES))
    assert read_document("{" + aliases + "}").kinds == {"query"}


def test_what_a_mutation_is_about_is_found_in_variables_and_in_the_text():
    text = """mutation M($ids: [String!]!, $p: P) {
      deleteRun(runId: "a") terminateRuns(runIds: $ids) launchRun(executionParams: $p)}"""
    params = {
        "selector": {"pipelineName": "work", "assetSelection": [{"path": ["x", "y"]}]},
        "runConfigData": {"name": "secret", "ops": {"userId": "secret"}},
        "executionMetadata": {"tags": [{"key": "secret", "value": "secret"}]},
        "mode": "default",
        "nothingId": None,
    }
    assert json.loads(target_of(text, {"ids": ["b", "c"], "p": params})) == {
        "path": ["x", "y"],
        "pipelineName": "work",
        "runId": "a",
        "runIds": ["b", "c"],
    }


def test_what_a_variable_is_where_the_request_does_not_give_it_counts_too():
    text = """mutation M($run: String! = "a", $runs: [String!] = ["b"]) {
      terminateRun(runId: $run) {__typename} terminateRuns(runIds: $runs) {__typename}}"""
    assert json.loads(target_of(text, {"run": "c"})) == {"runId": "c", "runIds": "b"}
    assert json.loads(target_of(text, {})) == {"runId": "a", "runIds": "b"}


def test_a_fragment_of_mutations_that_is_spread_many_times_is_read_once():
    text = "mutation {" + "...F " * 50 + "} fragment F on M {a {__typename} b {c}}"
    assert read_document(text) == GraphqlDocument(frozenset({"mutation"}), ("a", "b"), ("b",))


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, '{"data": {"x": {"__typename": "LaunchRunSuccess"}}}', ("done", None)),
        (200, '{"data": {"x": null}}', ("done", None)),
        (200, '{"data": {"x": {"__typename": "PythonError"}}}', ("failed", "PythonError")),
        (
            200,
            '{"data": {"x": {"all": [{"__typename": "UnauthorizedError"}]}}}',
            ("refused", "UnauthorizedError"),
        ),
        (200, '{"data": null, "errors": [{"message": "no"}]}', ("failed", "no")),
        (500, "Internal Server Error", ("failed", "HTTP 500")),
        (400, '{"error": "x"}', ("failed", "HTTP 400")),
        (200, "[]", ("failed", "HTTP 200")),
    ],
)
def test_what_came_of_a_mutation_is_read_from_the_answer(
    status: int, body: str, outcome: tuple[str, str | None]
):
    assert outcome_of(status, body.encode()) == outcome


def test_a_document_has_so_many_levels_fields_and_aliases_at_most():
    assert (MAX_DEPTH, MAX_FIELDS, MAX_ALIASES) == (20, 5_000, 100)


@pytest.mark.slow
def test_all_that_the_pages_of_dagster_ask_for_is_taken():
    schema = create_schema().graphql_schema
    requested = documents()
    assert len(requested) > 150
    for name, text in requested.items():
        assert read_document(text).kinds, name
        assert validate(schema, parse(text)) == [], name
    assert read_document(get_introspection_query()).kinds == {"query"}
