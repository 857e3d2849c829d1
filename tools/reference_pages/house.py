"""Diagram of the package's folders: an arrow leads to what a folder imports."""

import ast
from collections import Counter
from collections.abc import Collection, Mapping

from benchmarks.structure.modules import PACKAGE, Module, read_modules
from tools.reference_pages.diagram import draw

MIN_MODULES = 2
"""A part with fewer modules is a module of its own at the top of the package."""

Imports = Mapping[str, Collection[str]]


def write() -> Mapping[str, str]:
    """Return the diagram by the name of its file."""
    modules = read_modules()
    counts = Counter(module.folder for module in modules)
    imports = nearest(find_imports(modules))
    boxes = {part: [_count(counts[part])] for part in imports}
    arrows = [(part, below) for part, parts in imports.items() for below in parts]
    title = "The package: folders and what they import"
    return {"diagrams/house.svg": draw(title, boxes, arrows, is_down=True)}


def _count(number: int) -> str:
    return f"{number} modules" if number >= MIN_MODULES else "a module"


def find_imports(modules: Collection[Module]) -> Imports:
    """Return the folders and single modules that each one imports, at the top or in a function."""
    parts = {module.folder for module in modules}
    found: dict[str, set[str]] = {
        part.removesuffix(".py"): set() for part in sorted(parts) if part != "__init__.py"
    }
    for module in modules:
        part = module.folder.removesuffix(".py")
        if part in found:
            named = {name for node in module.all_nodes for name in _imported(node)}
            found[part] |= (named & found.keys()) - {part}
    return found


def _imported(node: ast.AST) -> Collection[str]:
    """Return the parts of the package that a statement imports."""
    match node:
        case ast.ImportFrom(module=PACKAGE.name):
            names = [f"{PACKAGE.name}.{alias.name}" for alias in node.names]
        case ast.ImportFrom(module=str(name)):
            names = [name]
        case ast.Import():
            names = [alias.name for alias in node.names]
        case _:
            return ()
    return [name.split(".")[1] for name in names if name.startswith(f"{PACKAGE.name}.")]


def nearest(imports: Imports) -> Imports:
    """Leave out what a part imports that another one which it imports leads to."""
    return {
        part: sorted(
            below
            for below in parts
            if not any(below in reached(imports, other) for other in parts if other != below)
        )
        for part, parts in imports.items()
    }


def reached(imports: Imports, part: str) -> set[str]:
    """Return all parts that a part imports, directly or by others."""
    found: set[str] = set()
    waiting = [part]
    while waiting:
        for below in imports[waiting.pop()]:
            if below not in found:
                found.add(below)
                waiting.append(below)
    return found
