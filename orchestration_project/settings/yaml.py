"""YAML files that people write: read strictly, and each problem named with its line."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

Place = Sequence[int | str]
"""The keys and positions that lead to a value."""

WORDINGS = (
    (r"^Value error, ", ""),
    (r"^Input should be a valid dictionary( or instance of \w+)?", "expected a mapping"),
    (r"^Input should be a valid integer", "expected an integer"),
    (r"^Input should be (greater|less)", r"expected a number \1"),
    (r"^Input should be (a )?(valid )?", r"expected \1"),
    (r"^String should (match|have)", r"expected text to \1"),
)
"""The beginnings of pydantic's messages, and ours."""

MAX_SHOWN_CHARACTERS = 60

MAX_NESTING = 50
"""Levels of values; the time to read a file grows with the square of its levels."""


class _Strict(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML takes the last, and deep values."""

    nesting = 0
    has_aliases = True

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if not self.has_aliases and self.check_event(yaml.AliasEvent):
            raise self._refused("found an alias, expected its value")
        if self.nesting == MAX_NESTING:
            raise self._refused(f"expected values of at most {MAX_NESTING} levels")
        self.nesting += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.nesting -= 1

    def _refused(self, problem: str) -> yaml.MarkedYAMLError:
        return yaml.MarkedYAMLError(None, None, problem, self.peek_event().start_mark)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in names:
                raise yaml.MarkedYAMLError(None, None, f"{name} stands there twice", key.start_mark)
            names.add(name)
        return super().construct_mapping(node, deep)

    def construct_yaml_timestamp(self, node: yaml.ScalarNode) -> Any:
        try:
            return super().construct_yaml_timestamp(node)
        except ValueError as error:  # such as 2026-02-30
            problem = f"{error}: {node.value}"
            raise yaml.MarkedYAMLError(None, None, problem, node.start_mark) from error


_Strict.add_constructor("tag:yaml.org,2002:timestamp", _Strict.construct_yaml_timestamp)


class _WithoutAliases(_Strict):
    """Refuses aliases: nine lines with nine each are 387 million values."""

    has_aliases = False


def read_yaml(text: str, *, has_aliases: bool = True) -> Any:
    """Return the value of a YAML document.

    Args:
        text: A YAML document.
        has_aliases: Whether it may have aliases; False for texts of strangers.

    Raises:
        YAMLError: The text is not valid YAML, repeats a key, has a day such as 2026-02-30, or more
            than `MAX_NESTING` levels.
    """
    try:
        return yaml.load(text, _Strict if has_aliases else _WithoutAliases)  # noqa: S506 - safe ones
    except ValueError as error:
        raise yaml.YAMLError(str(error)) from error


def syntax_problem(error: yaml.YAMLError) -> str:
    """Return why a text cannot be read, such as `line 3: invalid YAML: found …`."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    reason = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"{where}invalid YAML: {reason}"


def value_problems(text: str, error: ValidationError) -> list[str]:
    """Return each invalid value of a text, as `line 3: a.b: expected an integer, found 'x'`."""
    return [
        located(text, group, ".".join(map(str, group)) or "the file", reason_of(problem))
        for problem in error.errors()
        for group in [_find_place(problem)]
    ]


class MemberError(ValueError):
    """A mapping is wrong by one of its members, of which a validator of the mapping raises it."""

    def __init__(self, member: str, problem: str) -> None:
        super().__init__(problem)
        self.member = member


def _find_place(error: ErrorDetails) -> Place:
    raised = error.get("ctx", {}).get("error")
    return (*error["loc"], raised.member) if isinstance(raised, MemberError) else error["loc"]


def located(text: str, place: Place, *parts: str) -> str:
    """Return the parts of a problem, after the line of its place if the text has one."""
    line = _find_line(yaml.compose(text, yaml.SafeLoader), place)
    return ": ".join([f"line {line}", *filter(None, parts)] if line else filter(None, parts))


def reason_of(error: ErrorDetails) -> str:
    """Return the expected and the found value, in our words."""
    if error["type"] == "extra_forbidden":
        return "unknown name"
    if error["type"] == "missing":
        return "expected a value, found none"
    expected = error["msg"]
    for theirs, ours in WORDINGS:
        expected = re.sub(theirs, ours, expected)
    if error["type"] == "value_error":
        return expected
    text = "nothing" if error["input"] is None else repr(error["input"])
    if len(text) > MAX_SHOWN_CHARACTERS:
        text = text[:MAX_SHOWN_CHARACTERS] + "…"
    return f"{expected}, found {text}"


def _find_line(node: yaml.Node | None, place: Place) -> int | None:
    """Return the line of a place, or that of what would hold it."""
    line = node.start_mark.line + 1 if node else None
    for part in place:
        found = next((member for member in _iterate_members(node) if member[0] == str(part)), None)
        if found is None:
            break
        _, key, node = found
        line = key.start_mark.line + 1
    return line


def _iterate_members(node: yaml.Node | None) -> Iterable[tuple[str, yaml.Node, yaml.Node]]:
    """Yield each member of a node: its key or position, what marks its line, its value."""
    if isinstance(node, yaml.MappingNode):
        yield from ((str(key.value), key, value) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from ((str(number), item, item) for number, item in enumerate(node.value))
