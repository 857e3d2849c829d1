"""Queries of the pages of Dagster's UI, read from the sources that its bundle carries."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster_webserver
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    NameNode,
    OperationDefinitionNode,
    Visitor,
    parse,
    print_ast,
    visit,
)

BUILD = Path(dagster_webserver.__file__).parent / "webapp" / "build" / "_next"
TEMPLATE = re.compile(r"gql`(.*?)`", re.DOTALL)
OWN = "ui-core/src/"


class _Typed(Visitor):
    """Asks for the type of each object, as the pages' client does."""

    def leave_field(self, node: FieldNode, *_: object) -> None:
        if node.selection_set:
            typename = FieldNode(name=NameNode(value="__typename"), arguments=(), directives=())
            node.selection_set.selections = (*node.selection_set.selections, typename)


class _Spreads(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names = set[str]()

    def enter_fragment_spread(self, node: FragmentSpreadNode, *_: object) -> None:
        self.names.add(node.name.value)


def documents() -> Mapping[str, str]:
    """Return each document of the pages, by the name of its operation."""
    read = [definition for text in _templates() for definition in _parsed(text).definitions]
    fragments = {
        definition.name.value: definition
        for definition in read
        if isinstance(definition, FragmentDefinitionNode)
    }
    operations = [
        definition
        for definition in read
        if isinstance(definition, OperationDefinitionNode) and definition.name
    ]
    return {
        operation.name.value: _written(operation, fragments)
        for operation in operations
        if operation.name
    }


def _templates() -> Iterator[str]:
    for file in sorted(BUILD.rglob("*.map")):
        found = json.loads(file.read_text())
        for name, source in zip(found["sources"], found.get("sourcesContent") or (), strict=False):
            if OWN in name and source:
                yield from TEMPLATE.findall(source)


def _parsed(template: str) -> DocumentNode:
    try:
        return parse(re.sub(r"\$\{[^}]*\}", "", template), no_location=True)
    except GraphQLError:
        return DocumentNode(definitions=())


def _written(
    operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> str:
    needed = dict[str, FragmentDefinitionNode]()
    waiting: list[OperationDefinitionNode | FragmentDefinitionNode] = [operation]
    while waiting:
        spreads = _Spreads()
        visit(waiting.pop(), spreads)
        new = {name: fragments[name] for name in spreads.names - needed.keys()}
        needed |= new
        waiting += new.values()
    document = DocumentNode(definitions=(operation, *needed.values()))
    visit(document, _Typed())
    return print_ast(document)
