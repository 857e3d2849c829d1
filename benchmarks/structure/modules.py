"""Modules of the package, parsed, and the domain that each belongs to."""

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from orchestration_project.settings import PROJECT_ROOT

PACKAGE = PROJECT_ROOT / "orchestration_project"

NOT_OWN = ("migrations/versions/",)
"""Folders whose modules are not counted as own ones: simulators, and generated versions."""

WEB_SERVER = "web_server"
"""Module of Dagster's web server, and not of the domain web."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Defined = ast.ClassDef | Function
NAMING = (ast.Import, ast.ImportFrom, ast.Attribute, ast.Constant, ast.ClassDef)


@dataclass(frozen=True)
class Module:
    """A Python file of the package: its path below the package's root, and its text."""

    path: str
    text: str = field(repr=False)

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text)

    @cached_property
    def all_nodes(self) -> Sequence[ast.AST]:
        """All nodes of its syntax tree."""
        return list(ast.walk(self.tree))

    @cached_property
    def nodes(self) -> Sequence[ast.AST]:
        """Syntax nodes that can name something: docstrings and comments cannot."""
        strings = {id(node.value) for node in self.all_nodes if isinstance(node, ast.Expr)}
        return [
            node
            for node in self.all_nodes
            if isinstance(node, NAMING)
            and not (isinstance(node, ast.Constant) and id(node) in strings)
        ]

    @property
    def line_count(self) -> int:
        """Number of its lines, blank ones and docstrings included."""
        return len(self.text.splitlines())

    @property
    def is_own(self) -> bool:
        """Whether it is neither an ``__init__.py`` nor a version of the tables."""
        return not self.path.endswith("__init__.py") and not self.path.startswith(NOT_OWN)

    @property
    def folder(self) -> str:
        """Its folder below the package's root; a module at the root is its own."""
        return self.path.partition("/")[0]

    @property
    def dotted(self) -> str:
        """Its name for an import."""
        parts = (PACKAGE.name, *Path(self.path).with_suffix("").parts)
        return ".".join(parts).removesuffix(".__init__")

    def domain(self, domains: Collection[str]) -> str | None:
        """Return the domain that a name of its path is, or begins with."""
        for part in Path(self.path).with_suffix("").parts:
            for domain in domains:
                if part == domain or (part.startswith(f"{domain}_") and part != WEB_SERVER):
                    return domain
        return None


def read_modules(root: Path = PACKAGE) -> list[Module]:
    """Return all modules below a folder, by path."""
    files = sorted(root.rglob("*.py"))
    return [Module(file.relative_to(root).as_posix(), file.read_text()) for file in files]


def find_domains(modules: Sequence[Module]) -> list[str]:
    """Return the business domains: folders and modules of `domains/`."""
    paths = [module.path.removesuffix(".py") for module in modules]
    parts = [path.split("/") for path in paths]
    names = {part[1] for part in parts if part[0] == "domains" and len(part) > 1}
    return sorted(names - {"__init__"})


def iterate_functions(module: Module) -> Iterator[Function]:
    """Yield the functions and methods of a module, nested ones included."""
    for node in module.all_nodes:
        if isinstance(node, Function):
            yield node
