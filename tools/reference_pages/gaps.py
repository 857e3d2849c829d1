"""Names in the source of the package that the generated pages lack.

Pages are written from values that the code has at run time: a class that no list has, a metric
that an empty installation does not collect, a key of metadata on a path that no test takes would
be left out. These functions read the source instead, and name what a page lacks.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import PurePath

from orchestration_project.definitions import defs
from orchestration_project.services.alerts.rules.decisions import KINDS, UNRULED_KINDS
from orchestration_project.settings import settings_class
from orchestration_project.tables.catalogue import known_tables
from tools.reference_pages.error_messages import FUNCTIONS, PACKAGE, Module, name_of
from tools.reference_pages.metadata_keys import key_named

Gaps = Iterator[tuple[str, str]]
"""Place, such as `assets/fx.py:20`, and the name that a page lacks."""

METRICS = {"counter", "gauge"}
FAMILIES = re.compile(r"(Counter|Gauge|Histogram|Info|Summary)(MetricFamily)?")
"""Classes of prometheus_client; a `Counter` of collections takes no name."""

EVENTS = {
    "AssetCheckResult",
    "AssetMaterialization",
    "AssetObservation",
    "Failure",
    "MaterializeResult",
    "ObserveResult",
    "Output",
}
METADATA_FUNCTIONS = {"add_output_metadata", "as_metadata", "normalise_metadata"}
CONSTANT = re.compile(r'^([A-Z][A-Z0-9_]*)(?:: [^=\n]+)? = "([^"\n]*)"$', re.MULTILINE)
ALERTS = {"AlertCondition", "Message", "Notice", "Problem"}
ASSET_JOB = "__ASSET_JOB"
"""Dagster's own job of all assets."""

NOTICE_KIND = "notice_kind"
KNOWN_KINDS = (*KINDS, *UNRULED_KINDS, "check_error", "check_warning")
ALERT_MODULES = re.compile(
    r"domains\.operations\.(alerts|messages) import|services\.alerts\.conditions import"
)


class Constants:
    """Texts that modules bind to names in capitals, also for the modules that import them."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        """Read the constants of the modules, by their paths below the package."""
        self._texts: dict[tuple[str, str], str] = {}
        for path, source in sources.items():
            module = ".".join([PACKAGE.name, *PurePath(path).with_suffix("").parts])
            for name, text in CONSTANT.findall(source):
                self._texts[module.removesuffix(".__init__"), name] = text

    def imported(self, module: Module, name: str) -> Iterator[str]:
        """Yield the text of a constant that a module imports."""
        for node in module.nodes:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if name == (alias.asname or alias.name):
                        text = self._texts.get((str(node.module), alias.name))
                        yield from [] if text is None else [text]

    def texts_of(self, module: Module, node: ast.expr) -> Iterator[str]:
        """Yield the texts that an expression may have; `*` stands for what data decides."""
        match node:
            case ast.Constant(value=str(text)):
                yield text
            case ast.JoinedStr(values=values):
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "*" for part in values
                )
            case ast.IfExp(body=body, orelse=orelse):
                yield from self.texts_of(module, body)
                yield from self.texts_of(module, orelse)
            case ast.Name(id=name):
                values = module.values(name, node)
                for value in values:
                    yield from self.texts_of(module, value)
                if not values:
                    yield from self.imported(module, name)


def metric_gaps(sources: Mapping[str, str], page: str) -> Gaps:
    """Yield the metrics that the code collects and the page does not list."""
    names = set(re.findall(r"^\| `(\w+)`", page, re.M))
    constants = Constants(sources)
    for module in _modules(sources, "gauge(", "counter(", "prometheus_client"):
        for call in _calls(module):
            name = name_of(call.func)
            is_family = FAMILIES.fullmatch(name) and "prometheus_client" in ast.unparse(module.tree)
            if not call.args or not (name in METRICS or is_family):
                continue
            for text in constants.texts_of(module, call.args[0]):
                metric = text if is_family else f"orchestration_{text}"
                if metric.strip("*_") == "orchestration":
                    continue  # the functions that every module calls
                if not any(fnmatchcase(known, f"{metric}*") for known in names):
                    yield f"{module.path}:{call.lineno}", metric


def alert_gaps(sources: Mapping[str, str]) -> Gaps:
    """Yield the kinds of alerts that the code raises and the page does not list."""
    constants = Constants(sources)
    for module in _modules(sources, *ALERTS, NOTICE_KIND):
        for node in _kinds(module):
            for kind in constants.texts_of(module, node):
                if not any(fnmatchcase(known, kind) for known in KNOWN_KINDS):
                    yield f"{module.path}:{node.lineno}", kind


def _kinds(module: Module) -> Iterator[ast.expr]:
    """Yield the expressions that are kinds of alerts in a module."""
    knows_alerts = ALERT_MODULES.search(ast.unparse(module.tree)) or "/alerts" in module.path
    for node in module.nodes:
        match node:
            case ast.Call(func=function, args=arguments, keywords=keywords):
                if knows_alerts and name_of(function) in ALERTS:
                    yield from arguments[:1]
                    yield from (word.value for word in keywords if word.arg == "kind")
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == NOTICE_KIND:
                        yield value


def metadata_gaps(sources: Mapping[str, str]) -> Gaps:
    """Yield the keys of metadata that the code reports and the page does not describe."""
    constants = Constants(sources)
    for module in _modules(sources, "metadata"):
        for value in _metadata_values(module):
            for key in _keys(module, value, set()):
                for name in constants.texts_of(module, key):
                    if key_named(name) is None:
                        yield f"{module.path}:{key.lineno}", name


def _metadata_values(module: Module) -> Iterator[ast.expr]:
    """Yield the expressions that a module passes as metadata of an event."""
    for call in _calls(module):
        name = name_of(call.func)
        if name in EVENTS:
            yield from (word.value for word in call.keywords if word.arg == "metadata")
        elif name in METADATA_FUNCTIONS:
            yield from call.args[:1]
    for node in module.nodes:
        if isinstance(node, FUNCTIONS) and node.name.endswith("_metadata"):
            yield from _returned(node)


def _keys(module: Module, node: ast.expr, seen: set[int]) -> Iterator[ast.expr]:
    """Yield the keys of a mapping, which may be a variable or what a function returns."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, ast.Dict):
        yield from (key for key in node.keys if key is not None)
    if isinstance(node, ast.Name):
        yield from _assigned_keys(module, node)
    for part in _parts(module, node):
        yield from _keys(module, part, seen)


def _parts(module: Module, node: ast.expr) -> Iterator[ast.expr]:
    """Yield the mappings that a mapping is made of."""
    match node:
        case ast.Dict(keys=keys, values=values):
            yield from (value for key, value in zip(keys, values, strict=True) if key is None)
        case ast.IfExp(body=left, orelse=right) | ast.BinOp(left=left, right=right):
            yield from (left, right)
        case ast.Name(id=name):
            yield from module.values(name, node)
        case ast.Call(func=function, args=arguments) if name_of(function) in METADATA_FUNCTIONS:
            yield from arguments[:1]
        case ast.Call(func=ast.Name(id=name)):
            named = (node for node in module.nodes if isinstance(node, FUNCTIONS))
            yield from chain.from_iterable(_returned(node) for node in named if node.name == name)


def _assigned_keys(module: Module, node: ast.Name) -> Iterator[ast.expr]:
    """Yield the keys that the function around a variable adds to its mapping one by one."""
    function = next((scope for scope in module.around(node) if isinstance(scope, FUNCTIONS)), None)
    for statement in ast.walk(function) if function else ():
        match statement:
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=target), slice=key)]):
                if target == node.id:
                    yield key


def _returned(function: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            yield node.value


def setting_gaps(sources: Mapping[str, str]) -> Gaps:
    """Yield the classes of settings that no process reads, as the class of all lacks them."""
    bases = {base.__name__ for base in settings_class().__mro__}
    known = {name for name in bases if name.endswith("Settings")} - {"BaseSettings"}
    for module in _modules(sources, "Settings"):
        for node in module.nodes:
            if not isinstance(node, ast.ClassDef) or node.name in bases:
                continue
            if {name_of(base) for base in node.bases} & {*known, "BaseSettings"}:
                yield f"{module.path}:{node.lineno}", node.name


def route_gaps(sources: Mapping[str, str], text: str) -> Gaps:
    """Yield the paths that the gateway answers and no page names."""
    constants = Constants(sources)
    for module in _modules(sources, "Route("):
        for call in _calls(module):
            if name_of(call.func) == "Route" and call.args:
                for path in constants.texts_of(module, call.args[0]):
                    if "*" not in path and path.partition("{")[0] not in text:
                        yield f"{module.path}:{call.lineno}", path


def table_gaps(declared: Iterable[str], page: str) -> Iterator[str]:
    """Yield the tables and views without a section of their own, but histories of others."""
    sections = set(re.findall(r"^### `(\w+)`$", page, re.M))
    histories = set(re.findall(r"^`(\w+)` has the same columns for each earlier", page, re.M))
    return (name for name in declared if name not in sections | histories)


def job_gaps(names: Iterable[str], page: str) -> Iterator[str]:
    """Yield the jobs without a row."""
    rows = {ASSET_JOB, *re.findall(r"^\| `(\w+)` \|", page, re.M)}
    return (name for name in names if name not in rows)


def _modules(sources: Mapping[str, str], *words: str) -> Iterator[Module]:
    """Yield the modules whose source has one of the words."""
    for path, source in sources.items():
        if any(word in source for word in words):
            yield Module(path, source)


def _calls(module: Module) -> Iterator[ast.Call]:
    return (node for node in module.nodes if isinstance(node, ast.Call))


def all_gaps(sources: Mapping[str, str], pages: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each name of the source or of the definitions that its page lacks.

    Args:
        sources: Source of each module by its path below the package.
        pages: Text of each page by its path below docs/reference.
    """
    for place, name in metric_gaps(sources, pages["metrics.md"]):
        yield f"{place}: metrics.md lacks {name}; the page's empty installation does not collect it"
    for place, name in alert_gaps(sources):
        yield f"{place}: alerts.md lacks the kind {name}; add it to KINDS"
    for place, name in metadata_gaps(sources):
        yield f"{place}: metadata.md lacks {name}; describe it in metadata_keys.py"
    for place, name in setting_gaps(sources):
        yield f"{place}: settings.md lacks the fields of {name}; name its domain, or inherit it"
    routes = "".join(pages[name] for name in ("rest-api.md", "metrics.md", "webhooks.md"))
    for place, name in route_gaps(sources, routes):
        yield f"{place}: rest-api.md lacks {name}; describe it in tools/reference_pages/rest_api.py"
    for name in table_gaps(known_tables(), pages["tables.md"]):
        yield f"tables.md lacks {name}; bind it to a name of a module of tables"
    for name in job_gaps(defs.get_repository_def().job_names, pages["jobs.md"]):
        yield f"jobs.md lacks {name}; list it in the jobs of its domain"
