"""Modules that name a domain or private Dagster, and those that load, replay and derive tables."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.structure.modules import PACKAGE, Module, find_domains

PRIVATE_PLACES = ("engine/dagster_private", "gateway/dagster_web", "instance")
"""Modules or packages that may use private Dagster; each is one place."""

PRIVATE = re.compile(r"dagster(\._\w|_graphql\b|_shared\b|_webserver\b)")
DAGSTER_NAMES = ("dagster", "dg")

SHARED_CODE = ("engine/", "services/", "registry.py")
"""Code that every domain uses, and that knows none."""

DERIVING = ("Derivation", "write_derived")
REPLAYING = ("select_effective", "build_layers", "build_part_layers", "find_own_days", "read_parts")
WRITING = ("record_loads",)
TARGETS = "engine/warehouse/target.py"
"""Makes the targets of writes, as tables declare them."""

RUN_OPTIONS = "LoadOptions"
STORE_FIELDS = "engine/deliveries.py"
"""Stores with `write_derived` which fields a source lists: no table that is derived of others."""


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
    calls = (node for node in module.all_nodes if isinstance(node, ast.Call))
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


def naming_a_domain(modules: Sequence[Module]) -> dict[str, list[str]]:
    """Return by path the domains that modules outside of them name, `migrations/` left out.

    A module names a domain that imports a module of it, or that uses one of its settings: a field
    of a class in `domains/<domain>/settings.py`, as an attribute or, in capitals, within a string.
    """
    domains = find_domains(modules)
    packages = _packages(modules, domains)
    settings = {
        field: domain
        for module in modules
        for domain in domains
        if module.path == f"domains/{domain}/settings.py"
        for field in _fields(module)
    }
    named = {
        module.path: sorted(_domains_in(module, packages, settings))
        for module in modules
        if module.domain(domains) is None and not module.path.startswith("migrations/")
    }
    return {path: names for path, names in named.items() if names}


def domain_imports(modules: Sequence[Module]) -> list[str]:
    """Return the imports of a domain's modules by the shared ones, as ``path: imported name``."""
    packages = _packages(modules, find_domains(modules))
    return [
        f"{module.path}: {name}"
        for module in modules
        if module.path.startswith(SHARED_CODE)
        for node in module.nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in _names(node)
        if _package_of(name, packages)
    ]


def _packages(modules: Sequence[Module], domains: Sequence[str]) -> dict[str, str]:
    """Return the domains of modules and of their packages, by the names for an import."""
    packages = {f"{PACKAGE.name}.domains.{domain}": domain for domain in domains}
    for module in modules:
        if domain := module.domain(domains):
            packages[module.dotted] = domain
    return packages


def _package_of(name: str, packages: Mapping[str, str]) -> str | None:
    return packages.get(name) or packages.get(name.rpartition(".")[0])


SOURCE_SETTINGS = ("source", "api_url", "first_day", "max_reject_ratio")
"""Fields of the class that `source_settings` makes, each after the name of the domain."""


def _fields(module: Module) -> Iterator[str]:
    for node in module.nodes:
        if isinstance(node, ast.keyword) and node.arg == "domain":
            domain = ast.literal_eval(node.value)
            yield from (f"{domain}_{name}" for name in SOURCE_SETTINGS)
        if isinstance(node, ast.ClassDef):
            declared = (line for line in node.body if isinstance(line, ast.AnnAssign))
            fields = (line for line in declared if "ClassVar" not in ast.unparse(line.annotation))
            yield from (line.target.id for line in fields if isinstance(line.target, ast.Name))


def _domains_in(
    module: Module, packages: Mapping[str, str], settings: Mapping[str, str]
) -> set[str]:
    found: set[str | None] = set()
    for node in module.nodes:
        match node:
            case ast.Import() | ast.ImportFrom():
                found |= {_package_of(name, packages) for name in _names(node)}
            case ast.Attribute(attr=name):
                found.add(settings.get(name))
            case ast.Constant(value=str(text)):
                found |= {
                    settings.get(word.lower()) for word in re.findall(r"[A-Z][A-Z0-9_]+", text)
                }
    return {domain for domain in found if domain}
