"""Analysis of a GraphQL document before its execution, and of its result."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    SelectionNode,
    parse,
)
from graphql.utilities import value_from_ast_untyped

from orchestration_project.gateway.request import Refusal

MAX_TOKENS = 20_000
MAX_DEPTH = 20
MAX_FIELDS = 5_000
MAX_ALIASES = 100
"""Limits of a document with its fragments expanded. The pages of Dagster's UI ask for 11 levels,
1,100 fields and 4 aliases at most; a query for the whole schema has 15 levels."""

MAX_CHARACTERS = 128 * 1024
"""Maximum tokens of a document; the longest of the pages has 9,000."""

FAILED_ENDINGS = ("Error", "Invalid", "Conflict")
"""How Dagster's types end that say that a mutation did not do what it was asked for."""

PLAIN_ARGUMENTS = frozenset({"key", "path", "strategy", "cursor", "paused", "limit"})
"""Arguments of mutations that name what it is about, besides all that end in name, id or key."""

UNSHOWN_ARGUMENTS = frozenset(
    {"runConfigData", "tags", "extraTags", "executionMetadata", "metadata"}
)
"""Fields with user input, which may contain secrets."""


@dataclass(frozen=True)
class GraphqlDocument:
    """Requests of all operations of a document together.

    Attributes:
        untyped: Those mutations of which the type of what they return is not requested.
    """

    kinds: frozenset[str]
    mutations: tuple[str, ...] = ()
    untyped: tuple[str, ...] = ()


@dataclass
class _Size:
    depth: int = 0
    fields: int = 0
    aliases: int = 0


def read_document(text: str) -> GraphqlDocument:
    """Return the requests of a document.

    Raises:
        Refusal: It is not GraphQL, or larger or deeper than any page of the UI asks.
    """
    if len(text) > MAX_CHARACTERS:
        raise Refusal(400, f"The query is longer than {MAX_CHARACTERS // 1024} KiB.")
    return _cached(text)


def _read(text: str) -> GraphqlDocument:
    document = _parse_document(text)
    operations = [
        definition
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
    ]
    fragments = _collect_fragments(document)
    try:
        _require_small(operations, fragments)
    except RecursionError:
        raise Refusal(400, "The query is nested too deeply.") from None
    mutating = [operation for operation in operations if operation.operation.value == "mutation"]
    fields = [
        field
        for definition_node in mutating
        for field in _find_top_fields(definition_node, fragments)
    ]
    return GraphqlDocument(
        frozenset(operation.operation.value for operation in operations),
        tuple(sorted({field_node.name.value for field_node in fields})),
        tuple(
            sorted(
                {field_node.name.value for field_node in fields if not _has_type_name(field_node)}
            )
        ),
    )


_cached = lru_cache(maxsize=128)(_read)


def _parse_document(text: str) -> DocumentNode:
    try:
        return parse(text, no_location=True, max_tokens=MAX_TOKENS)
    except GraphQLError as error:
        raise Refusal(400, f"Invalid GraphQL document: {error.message}") from error
    except RecursionError:
        raise Refusal(400, "The query is nested too deeply.") from None


def _collect_fragments(document: DocumentNode) -> Mapping[str, FragmentDefinitionNode]:
    return {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }


def _require_small(
    operations: Sequence[OperationDefinitionNode], fragments: Mapping[str, FragmentDefinitionNode]
) -> None:
    sizes: dict[str, _Size | None] = {}
    total = _Size()
    for operation in operations:
        size = _measure_size(operation.selection_set.selections, fragments, sizes)
        total.depth = max(total.depth, size.depth)
        total.fields += size.fields
        total.aliases += size.aliases
    if total.depth > MAX_DEPTH or total.fields > MAX_FIELDS or total.aliases > MAX_ALIASES:
        raise Refusal(
            400,
            f"The query requests too much at once: at most {MAX_DEPTH} levels, {MAX_FIELDS} "
            f"fields and {MAX_ALIASES} aliases.",
        )


def _measure_size(
    selections: Iterable[SelectionNode],
    fragments: Mapping[str, FragmentDefinitionNode],
    known: dict[str, _Size | None],
) -> _Size:
    """Return the size with all fragments put in their places, each of which is measured once."""
    total = _Size()
    for selection in selections:
        if isinstance(selection, FragmentSpreadNode):
            inner = _measure_fragment(selection.name.value, fragments, known)
            name = 0
        else:
            inside = selection.selection_set.selections if selection.selection_set else ()  # pyright: ignore[reportAttributeAccessIssue] - a field or an inline fragment
            inner = _measure_size(inside, fragments, known)
            name = int(isinstance(selection, FieldNode))
        total.depth = max(total.depth, inner.depth + name)
        total.fields += inner.fields + name
        total.aliases += inner.aliases + int(
            isinstance(selection, FieldNode) and selection.alias is not None
        )
    return total


def _measure_fragment(
    name: str,
    fragments: Mapping[str, FragmentDefinitionNode],
    known: dict[str, _Size | None],
) -> _Size:
    if name not in fragments:
        raise Refusal(400, "The query uses an undefined fragment.")
    if name not in known:
        known[name] = None
        known[name] = _measure_size(fragments[name].selection_set.selections, fragments, known)
    size = known[name]
    if size is None:
        raise Refusal(400, "A fragment of the query contains itself.")
    return size


def _find_top_fields(
    operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> list[FieldNode]:
    """Return the fields of an operation's first level, also those within fragments, each once."""
    top_fields, waiting = list[FieldNode](), list(operation.selection_set.selections)
    seen_names = set[str]()
    while waiting:
        each = waiting.pop()
        if isinstance(each, FieldNode):
            top_fields.append(each)
        elif isinstance(each, FragmentSpreadNode):
            if each.name.value not in seen_names:
                seen_names.add(each.name.value)
                waiting += fragments[each.name.value].selection_set.selections
        else:
            waiting += each.selection_set.selections  # pyright: ignore[reportAttributeAccessIssue] - an inline fragment
    return top_fields


def _has_type_name(field: FieldNode) -> bool:
    """Whether a field returns a scalar, or the name of its type is selected without an alias."""
    return field.selection_set is None or any(
        isinstance(selection, FieldNode)
        and selection.name.value == "__typename"
        and not (selection.alias or selection.directives)
        for selection in field.selection_set.selections
    )


def target_of(text: str, variables: Mapping[str, Any]) -> str:
    """Return the targets of a document's mutations: the names and ids in their arguments, JSON."""
    document = _parse_document(text)
    fragments = _collect_fragments(document)
    values: dict[str, list[Any]] = {}
    for definition in document.definitions:
        if (
            isinstance(definition, OperationDefinitionNode)
            and definition.operation.value == "mutation"
        ):
            entries = _read_defaults(definition) | dict(variables)
            for field in _find_top_fields(definition, fragments):
                for argument in field.arguments:
                    value = value_from_ast_untyped(argument.value, entries)
                    _collect(argument.name.value, value, values)
    target = {
        name: group[0] if len(group) == 1 else group for name, group in sorted(values.items())
    }
    return json.dumps(target, ensure_ascii=False, default=str)


def _read_defaults(operation: OperationDefinitionNode) -> dict[str, Any]:
    """Return the default values of variables, for those that the request does not give."""
    return {
        definition.variable.name.value: value_from_ast_untyped(definition.default_value)
        for definition in operation.variable_definitions
        if definition.default_value
    }


def _collect(name: str, value: Any, found: dict[str, list[Any]]) -> None:
    if name in UNSHOWN_ARGUMENTS:
        return
    if isinstance(value, Mapping):
        for inner, item in value.items():
            _collect(str(inner), item, found)
    elif isinstance(value, list | tuple):
        for item in value:
            _collect(name, item, found)
    elif value is not None and _is_shown(name):
        found.setdefault(name, []).append(value)


def _is_shown(name: str) -> bool:
    ending = name.lower().removesuffix("s")
    return name in PLAIN_ARGUMENTS or ending.endswith(("name", "id", "key"))


def outcome_of(status: int, body: bytes) -> tuple[str, str | None]:
    """Return the outcome of a mutation, by Dagster's answer: done, failed or refused; and why."""
    try:
        answer = json.loads(body)
    except ValueError:
        return ("failed", f"HTTP {status}")
    if not isinstance(answer, dict):
        return ("failed", f"HTTP {status}")
    messages = [str(error.get("message")) for error in answer.get("errors") or []]
    wrong = [kind for kind in _collect_kinds(answer.get("data")) if kind.endswith(FAILED_ENDINGS)]
    if "UnauthorizedError" in wrong:
        return ("refused", "UnauthorizedError")
    if status >= 400 or messages or wrong:
        return ("failed", "; ".join([*messages, *wrong]) or f"HTTP {status}")
    return ("done", None)


def _collect_kinds(data: Any) -> list[str]:
    """Return the names of all types in an answer."""
    if isinstance(data, list):
        return [kind for item in data for kind in _collect_kinds(item)]
    if not isinstance(data, dict):
        return []
    entries = [data["__typename"]] if isinstance(data.get("__typename"), str) else []
    return [*entries, *(kind for item in data.values() for kind in _collect_kinds(item))]
