"""`python -m benchmarks.structure`: measures of how this project is built, and how each counts.

`tests/test_structure.py` holds those that need no run. What is counted are the Python modules of
`orchestration_project`; "own" modules leave out `__init__.py`, `demo/` and `migrations/versions/`.
"""

import ast
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType
from typing import Any, NamedTuple

from benchmarks.child import call
from orchestration_project.settings import PROJECT_ROOT

PACKAGE = PROJECT_ROOT / "orchestration_project"
NOT_OWN = ("demo/", "migrations/versions/")
SHORT = 60
"""Lines; a module that has no more counts as short."""

SHARED_IN_CATALOG = ("__init__", "configuration", "factory", "operations", "resources")
DOMAINS = tuple(
    sorted(
        {
            "documents",  # its extraction is used by a command, and has no assets yet
            *(
                each.stem
                for each in (PACKAGE / "catalog").glob("*.py")
                if each.stem not in SHARED_IN_CATALOG
            ),
        }
    )
)
"""The business domains, each by the module of its value."""

WEB_SERVER = "web_server"
"""Module of Dagster's web server, and not of the domain web."""

PRIVATE_PLACES = ("engine/dagster_private", "gateway/dagster_web", "instance")
"""Modules or packages that may use private Dagster; each is one place."""

PRIVATE = re.compile(r"dagster(\._\w|_graphql\b|_shared\b|_webserver\b)")
DAGSTER_NAMES = ("dagster", "dg")
NAMING = (ast.Import, ast.ImportFrom, ast.Attribute, ast.Constant, ast.ClassDef)

DERIVING = ("Derivation", "write_derived")
REPLAYING = ("effective_deliveries", "layers_of", "part_layers_of", "own_days", "read_parts")
WRITING = ("record_landings",)
TARGETS = "engine/warehouse/target.py"
"""Makes the targets of writes, as tables declare them."""

RUN_OPTIONS = "LoadOptions"
STORE_FIELDS = "engine/deliveries.py"
"""Stores with `write_derived` which fields a source lists: no table that is derived of others."""

TREASURY, WEEK = "finra_treasury_weekly", "2023-01-30"
DEMO = {
    "DEMO_CLOCK_NOW": "2026-03-02T15:00:00+00:00",
    "DEMO_ROWS_PER_WEEK": "600",
    "DEMO_REQUESTS_PER_SECOND": "0",
    "DEMO_IDLE_SECONDS": "60",
    "FINRA_REQUESTS_PER_SECOND": "500",
    "LOG_LEVEL": "ERROR",
}
LOADS = 5


@dataclass(frozen=True)
class Module:
    """A Python file of the package: its path below the package's root, and its text."""

    path: str
    text: str

    @cached_property
    def nodes(self) -> Sequence[ast.AST]:
        """Syntax nodes that can name something: docstrings and comments cannot."""
        nodes = list(ast.walk(ast.parse(self.text)))
        alone = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # their values
        return [
            node
            for node in nodes
            if isinstance(node, NAMING)
            and not (isinstance(node, ast.Constant) and id(node) in alone)
        ]

    @property
    def line_count(self) -> int:
        """How many lines it has, blank ones and docstrings included."""
        return len(self.text.splitlines())

    @property
    def is_own(self) -> bool:
        """Whether it is neither an ``__init__.py``, nor a demo, nor a version of the tables."""
        return not self.path.endswith("__init__.py") and not self.path.startswith(NOT_OWN)

    @property
    def domain(self) -> str | None:
        """The domain that it belongs to: its name or a folder's is the domain's, or begins so."""
        for part in Path(self.path).with_suffix("").parts:
            for domain in DOMAINS:
                if part == domain or (part.startswith(f"{domain}_") and part != WEB_SERVER):
                    return domain
        return None


class Measure(NamedTuple):
    """Counted items: their name, number, and way of counting."""

    name: str
    value: str
    how: str


def modules(root: Path = PACKAGE) -> list[Module]:
    """Return all modules below a folder, by path."""
    files = sorted(root.rglob("*.py"))
    return [Module(file.relative_to(root).as_posix(), file.read_text()) for file in files]


def short_share(found: Sequence[Module]) -> float:
    """Return the share of short modules among the own ones."""
    own = [module for module in found if module.is_own]
    return sum(module.line_count <= SHORT for module in own) / len(own)


def outside_domains(found: Sequence[Module]) -> list[str]:
    """Return the own modules that belong to no domain."""
    return [module.path for module in found if module.is_own and module.domain is None]


def private_uses(module: Module) -> list[str]:
    """Return what a module uses of private Dagster, as ``line: name``.

    That are imports, also where only types are checked; ``dagster._name``, also by the short name
    dg; and strings that name such a module, as `import_module` or ``python -m`` take one.
    """
    if "dagster" not in module.text:
        return []
    return [
        f"{getattr(node, 'lineno', 0)}: {name}"
        for node in module.nodes
        for name in _names(node)
        if PRIVATE.match(name)
    ]


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the names of modules and of their attributes that a node has."""
    match node:
        case ast.Import():
            yield from (each.name for each in node.names)
        case ast.ImportFrom(module=str(source)):
            yield from (f"{source}.{each.name}" for each in node.names)
        case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in DAGSTER_NAMES:
            yield f"dagster.{attribute}"
        case ast.Constant(value=str(text)):
            yield from (each.group() for each in PRIVATE.finditer(text))


def private_places(found: Sequence[Module]) -> set[str]:
    """Return the places that use private Dagster; any other than `PRIVATE_PLACES` is a module."""
    return {_place(module.path) for module in found if private_uses(module)}


def _place(path: str) -> str:
    inside = (
        each for each in PRIVATE_PLACES if path in (f"{each}.py",) or path.startswith(f"{each}/")
    )
    return next(inside, path)


def deriving(found: Sequence[Module]) -> list[str]:
    """Return the modules that write derived tables, without `engine/warehouse/` and `STORE_FIELDS`.

    They import one of `DERIVING`, or use ``derive`` of what is called ``warehouse``.
    """
    return [
        module.path
        for module in found
        if not module.path.startswith("engine/warehouse/") and module.path != STORE_FIELDS
        if any(_is_deriving(node) for node in module.nodes)
    ]


def _is_deriving(node: ast.AST) -> bool:
    match node:
        case ast.ImportFrom():
            return _imports(node, DERIVING)
        case ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name), attr="derive"):
            return name == "warehouse"
    return False


def replaying(found: Sequence[Module]) -> list[str]:
    """Return the modules that put recorded deliveries together, without `engine/warehouse/`.

    They import one of `REPLAYING`.
    """
    return [
        module.path
        for module in found
        if not module.path.startswith("engine/warehouse/")
        if any(_imports(node, REPLAYING) for node in module.nodes)
    ]


def loading(found: Sequence[Module]) -> list[str]:
    """Return the modules that load: they import one of `WRITING`, or make a `WriteTarget`."""
    return [
        module.path
        for module in found
        if any(_imports(node, WRITING) for node in module.nodes)
        or ("WriteTarget(" in module.text and module.path != TARGETS and _makes_target(module))
    ]


def _makes_target(module: Module) -> bool:
    calls = (node for node in ast.walk(ast.parse(module.text)) if isinstance(node, ast.Call))
    return any(ast.unparse(each.func).endswith("WriteTarget") for each in calls)


def run_options(found: Sequence[Module]) -> list[str]:
    """Return the classes of how a run loads or replays: `RUN_OPTIONS` and what is based on it."""
    names = [RUN_OPTIONS]
    bases = {
        node.name: [ast.unparse(base) for base in node.bases]
        for module in found
        for node in module.nodes
        if isinstance(node, ast.ClassDef)
    }
    for name in names:
        names += [each for each, of in bases.items() if name in of]
    return names


def _imports(node: ast.AST, names: Sequence[str]) -> bool:
    return isinstance(node, ast.ImportFrom) and any(each.name in names for each in node.names)


def naming_a_domain(found: Sequence[Module]) -> dict[str, list[str]]:
    """Return by path the domains that modules outside of them name, `migrations/` left out.

    A module names a domain that imports a module of it, or that uses one of its settings: a field
    of a class in `settings/domains/<domain>.py`, as an attribute or, in capitals, within a string.
    """
    packages = {_dotted(module): module.domain for module in found if module.domain}
    settings = {name: module.domain for module in found for name in _fields(module)}
    named = {
        module.path: sorted(_domains_in(module, packages, settings))
        for module in found
        if module.domain is None and not module.path.startswith(("demo/", "migrations/"))
    }
    return {path: domains for path, domains in named.items() if domains}


def _dotted(module: Module) -> str:
    parts = (PACKAGE.name, *Path(module.path).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def _fields(module: Module) -> Iterator[str]:
    if module.path in [f"settings/domains/{domain}.py" for domain in DOMAINS]:
        for node in module.nodes:
            if isinstance(node, ast.ClassDef):
                stated = (each for each in node.body if isinstance(each, ast.AnnAssign))
                fields = (each for each in stated if "ClassVar" not in ast.unparse(each.annotation))
                yield from (each.target.id for each in fields if isinstance(each.target, ast.Name))


def _domains_in(
    module: Module, packages: Mapping[str, str | None], settings: Mapping[str, str | None]
) -> set[str]:
    found: set[str | None] = set()
    for node in module.nodes:
        match node:
            case ast.Import() | ast.ImportFrom():
                found |= {
                    packages.get(name) or packages.get(name.rpartition(".")[0])
                    for name in _names(node)
                }
            case ast.Attribute(attr=name):
                found.add(settings.get(name))
            case ast.Constant(value=str(text)):
                found |= {
                    settings.get(word.lower()) for word in re.findall(r"[A-Z][A-Z0-9_]+", text)
                }
    return {domain for domain in found if domain}


def entered_by_treasury() -> list[str]:
    """Return the modules that a run of one partition of `finra_treasury_weekly` enters.

    It runs in a process of its own with the demo source, on tables that were made before.
    """
    with TemporaryDirectory(prefix="structure_") as folder:
        environment = {**DEMO, "STATE_DIR": folder, "DAGSTER_HOME": f"{folder}/dagster"}
        found: Any = call("benchmarks.structure:run_treasury", environment)
    return found["modules"]


def run_treasury() -> dict[str, list[str]]:
    """Load a week and return the modules of the package of which any function was called.

    The bodies of modules and classes, which an import executes, are no functions.
    """
    from orchestration_project.definitions import defs
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.instance.storage import open_instance
    from orchestration_project.settings import load_settings

    with open_warehouse(load_settings()):
        pass  # which makes the tables
    job = defs.resolve_job_def(TREASURY)
    with open_instance() as instance:
        codes = _called(lambda: job.execute_in_process(instance=instance, partition_key=WEEK))
    files = {Path(code.co_filename) for code in codes if code.co_flags & 1}  # CO_OPTIMIZED
    inside = (file for file in files if file.is_relative_to(PACKAGE))
    return {"modules": sorted(file.relative_to(PACKAGE).as_posix() for file in inside)}


def _called(function: Callable[[], object]) -> set[CodeType]:
    """Call a function and return the code of all that was called meanwhile, in all threads."""
    codes: set[CodeType] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            codes.add(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return codes


def load_seconds() -> float:
    """Return how long the code location takes to load: the best of several new processes."""
    with TemporaryDirectory(prefix="structure_") as folder:
        environment = {**DEMO, "STATE_DIR": folder, "DAGSTER_HOME": f"{folder}/dagster"}
        found = [call("benchmarks.structure:load", environment) for _ in range(LOADS)]
    return min(each["seconds"] for each in found)


def load() -> dict[str, float]:
    """Import the definitions and resolve them; what this module imports itself is not timed."""
    start = time.perf_counter()
    from orchestration_project.definitions import defs

    defs.get_repository_def()
    return {"seconds": time.perf_counter() - start}


def measures() -> Iterator[Measure]:
    """Yield what is counted, then what has to be run."""
    found = modules()
    own = [module for module in found if module.is_own]
    short = [module for module in own if module.line_count <= SHORT]
    yield Measure(
        "modules and lines",
        f"{len(found)} and {sum(module.line_count for module in found):,}",
        "all .py files of orchestration_project, all lines",
    )
    yield Measure(
        f"own modules of {SHORT} lines or less *",
        f"{len(short)} of {len(own)}, {short_share(found):.1%}",
        "target 12 %; own: without __init__, demo/, migrations/versions/",
    )
    yield Measure(
        "own modules outside the domains *",
        str(len(outside_domains(found))),
        f"neither name nor folder is, or begins with, {', '.join(DOMAINS)}",
    )
    yield Measure(
        "places that use private Dagster *",
        ", ".join(sorted(private_places(found))),
        "target 3; imports and names of dagster._*, dagster_graphql, _shared, _webserver",
    )
    named = naming_a_domain(found)
    yield Measure(
        "modules elsewhere that name a domain *",
        str(len(named)),
        "target 1; they import a module of it or use one of its settings:\n    "
        + "\n    ".join(f"{path}: {', '.join(domains)}" for path, domains in named.items()),
    )
    yield Measure(
        "engines of derived tables *",
        ", ".join(deriving(found)),
        f"target 1; they import {' or '.join(DERIVING)}, or use warehouse.derive; without "
        f"engine/warehouse/, and {STORE_FIELDS}, which stores the fields that sources list",
    )
    yield Measure(
        "modules that replay *",
        ", ".join(replaying(found)),
        f"target 1; they import one of {', '.join(REPLAYING)}; without engine/warehouse/",
    )
    yield Measure(
        "load engines *",
        ", ".join(loading(found)),
        f"target 1; they import {', '.join(WRITING)}, or make a WriteTarget; without {TARGETS}",
    )
    yield Measure(
        "classes of a run's load options *",
        ", ".join(run_options(found)),
        f"target 2; {RUN_OPTIONS} and what is based on it",
    )
    entered = entered_by_treasury()
    yield Measure(
        f"modules entered by a run of {TREASURY} *",
        str(len(entered)),
        "target 45; a function of them is called while one partition loads:\n    "
        + "\n    ".join(entered),
    )
    yield Measure(
        "time to load the code location",
        f"{load_seconds():.2f} s",
        f"best of {LOADS} new processes, from the first import to the resolved repository",
    )


def main() -> None:
    """Print the measures; `*` marks those that a test holds."""
    for each in measures():
        print(f"{each.name}: {each.value}\n  {each.how}", flush=True)


if __name__ == "__main__":
    main()
