"""Names and docstrings: functions without a verb, loops with `each`, generic names, "what …".

`verbs.txt` and `generic_names.txt` beside this module are the lists that count.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.structure.modules import Defined, Module, iterate_functions

FOLDER = Path(__file__).parent
VERBS = frozenset((FOLDER / "verbs.txt").read_text().split())
GENERIC_NAMES = frozenset((FOLDER / "generic_names.txt").read_text().split())

OTHER_LIMIT = re.compile(r"_?(MOST|LONGEST|LARGEST)(_|$)|\w*AT_ONCE(_|$)")
"""How a limit is named that does not begin with `MAX_`."""

SAYS_WHAT = re.compile(r"(\w+ )?what\b", re.IGNORECASE)
"""How a docstring begins that names no object: "Return what is due"."""

METHODS = ("classmethod", "staticmethod", "override", "abstractmethod", "contextmanager", "cache")
"""Decorators of functions that are called by name; others make an asset, a property, a route."""


def find_functions(modules: Sequence[Module]) -> Iterator[tuple[str, str]]:
    """Yield place and name of functions that should begin with a verb: no property or asset."""
    for module in modules:
        for function in iterate_functions(module):
            if not function.name.startswith("__") and all(
                _name_of(decorator) in METHODS for decorator in function.decorator_list
            ):
                yield f"{module.path}:{function.lineno}: {function.name}", function.name


def _name_of(decorator: ast.expr) -> str:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(called).rpartition(".")[2].removeprefix("lru_").removeprefix("async")


def has_verb(name: str) -> bool:
    """Whether a function's name begins with a verb, or with ``is`` or ``has``."""
    return name.lstrip("_").partition("_")[0] in VERBS


def find_loops(modules: Sequence[Module]) -> Iterator[tuple[str, bool]]:
    """Yield the place of each loop and comprehension, and whether a variable of it is `each`."""
    for module in modules:
        for node in module.all_nodes:
            if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
                names = {part.id for part in ast.walk(node.target) if isinstance(part, ast.Name)}
                yield f"{module.path}:{node.target.lineno}", "each" in names


def find_assignments(modules: Sequence[Module]) -> Iterator[tuple[str, str]]:
    """Yield the place and the name of each assignment of a variable."""
    for module in modules:
        for node in module.all_nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield f"{module.path}:{node.lineno}: {node.id}", node.id


def find_other_limits(modules: Sequence[Module]) -> Iterator[str]:
    """Yield the place and the name of each limit that does not begin with `MAX_`."""
    return (place for place, name in find_assignments(modules) if OTHER_LIMIT.match(name))


def find_what(modules: Sequence[Module]) -> Iterator[str]:
    """Yield place and first line of the docstrings that begin without an object."""
    for module in modules:
        for node in module.all_nodes:
            if isinstance(node, Defined):
                first = (ast.get_docstring(node) or "").partition("\n")[0]
                if SAYS_WHAT.match(first):
                    yield f"{module.path}:{node.lineno}: {first}"
