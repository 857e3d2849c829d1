"""Lines, classes and imports of modules: how the package is built, without running it."""

import ast
import io
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from benchmarks.structure.modules import Function, Module

SHORT = 60
"""Lines; a module that has no more counts as short."""

BLANK = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)
"""Tokens that make no line one of code."""


@cache
def count_code_lines(text: str) -> int:
    """Return the number of lines with code: no blank ones, comments and docstrings."""
    lines: set[int] = set()
    is_first = True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in BLANK:
            is_first = is_first or token.type != tokenize.COMMENT
            continue
        if not (is_first and token.type == tokenize.STRING):
            lines |= set(range(token.start[0], token.end[0] + 1))
        is_first = False
    return len(lines)


def find_single_children(modules: Sequence[Module]) -> dict[str, str]:
    """Return the one child of each class of the package that has one, by class."""
    classes = [
        (module.path, node)
        for module in modules
        for node in module.nodes
        if isinstance(node, ast.ClassDef)
    ]
    names = {node.name for _, node in classes}
    children: dict[str, set[tuple[str, str]]] = {}
    for path, node in classes:
        for base in node.bases:
            name = ast.unparse(base).partition("[")[0]  # `dg.Config` is none of the package
            if name in names and name != node.name:
                children.setdefault(name, set()).add((node.name, path))
    return {name: min(own)[0] for name, own in sorted(children.items()) if len(own) == 1}


def read_domain_fields(modules: Sequence[Module]) -> dict[str, list[str]]:
    """Return the fields of `Domain`, each with the modules of `catalog/` that set it."""
    fields: dict[str, list[str]] = {}
    for module in modules:
        if module.path == "registry.py":
            [domain] = [
                node
                for node in module.nodes
                if isinstance(node, ast.ClassDef) and node.name == "Domain"
            ]
            declared = [line for line in domain.body if isinstance(line, ast.AnnAssign)]
            fields = {ast.unparse(line.target): [] for line in declared}
    for module in modules:
        if module.path.startswith("catalog/"):
            for name in _arguments(module, "Domain"):
                fields[name].append(module.path)
    return fields


def _arguments(module: Module, called: str) -> Iterator[str]:
    for node in module.all_nodes:
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == called
        ):
            yield from (keyword.arg for keyword in node.keywords if keyword.arg)


def find_cycles(modules: Sequence[Module]) -> set[str]:
    """Return the modules that lie in a cycle of imports at their top level, or between two."""
    known = {module.dotted: module.path for module in modules}
    imports = {module.path: set(_imported(module, known)) for module in modules}
    while True:
        used = set().union(*imports.values())
        ends = {path for path, targets in imports.items() if not targets or path not in used}
        if not ends:
            return set(imports)
        imports = {path: targets - ends for path, targets in imports.items() if path not in ends}
        if not imports:
            return set()


def _imported(module: Module, known: Mapping[str, str]) -> Iterator[str]:
    for node in module.tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                path = known.get(f"{node.module}.{alias.name}") or known.get(node.module)
                if path and path != module.path:
                    yield path
        elif isinstance(node, ast.Import):
            yield from (known[alias.name] for alias in node.names if alias.name in known)


def find_functions_named_once(modules: Sequence[Module]) -> list[str]:
    """Return the functions of modules that the package names once beside their definition."""
    names = Counter[str]()
    for module in modules:
        for node in module.all_nodes:
            if isinstance(node, ast.Name):
                names[node.id] += 1
            elif isinstance(node, ast.Attribute):
                names[node.attr] += 1
    return [
        f"{module.path}: {node.name}"
        for module in modules
        for node in module.tree.body
        if isinstance(node, Function) and names[node.name] == 1
    ]


def count_by_folder(modules: Sequence[Module]) -> dict[str, tuple[int, int]]:
    """Return modules and code lines of each folder of the package."""
    counts: dict[str, tuple[int, int]] = {}
    for module in modules:
        module_count, line_count = counts.get(module.folder, (0, 0))
        lines = count_code_lines(module.text)
        counts[module.folder] = (module_count + 1, line_count + lines)
    return counts
