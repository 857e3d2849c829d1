"""Declared dependencies: their purpose, weight and users, for docs/reference/dependencies.md."""

import ast
import resource
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "orchestration_project"
PURPOSES = ROOT / ".ci" / "purposes.txt"
EXTRAS = ("browser", "celery", "db2", "dlt", "documents", "k8s", "otel", "web")

HEAD = """
## Declared dependencies

Those that `pyproject.toml` names, for all installations or for an extra. MB are those of the
installed files, without what they depend on in turn. Seconds are the processor time of the first
import, with what it imports. Both are measured once, and again when the version in
`requirements/runtime.lock` changes. Users are the folders of the package whose modules import it.

| dependency | extra | what it does for us | MB | import, s | users |
|---|---|---|---|---|---|
"""

MAX_FOLDERS = 4

Weight = tuple[str, str]
"""MB and seconds, as they are written."""


def purposes() -> dict[str, str]:
    """Return what each declared dependency does for us."""
    lines = [line for line in PURPOSES.read_text().splitlines() if not line.startswith("#")]
    return {name: text for name, _, text in (line.partition(": ") for line in lines)}


def extras() -> dict[str, str]:
    """Return the declared dependencies, and the extras that each belongs to."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {_name(each): list[str]() for each in project["dependencies"]}
    for extra in EXTRAS:
        for each in project["optional-dependencies"][extra]:
            found.setdefault(_name(each), []).append(extra)
    return {name: ", ".join(found[name]) for name in sorted(found)}


def _name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


@cache
def _modules() -> Mapping[str, frozenset[str]]:
    """Return the modules that each installed distribution brings."""
    found = defaultdict[str, set[str]](set)
    for module, names in packages_distributions().items():
        for name in names:
            found[canonicalize_name(name)].add(module)
    return {name: frozenset(modules) for name, modules in found.items()}


@cache
def _users() -> Mapping[str, frozenset[Path]]:
    """Return the modules of ours that import each module."""
    found = defaultdict[str, set[Path]](set)
    for file in PACKAGE.rglob("*.py"):
        for name in _imported(ast.parse(file.read_text())):
            found[name].add(file.relative_to(PACKAGE))
    return {name: frozenset(files) for name, files in found.items()}


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def users(dependency: str) -> str:
    """Return the folders whose modules import a dependency; of many, their number."""
    files = frozenset[Path]().union(*(_users().get(each, ()) for each in _modules()[dependency]))
    folders = sorted({f"`{file.parts[0]}`" for file in files})
    return ", ".join(folders) if len(folders) <= MAX_FOLDERS else f"{len(folders)} folders"


def measure(dependency: str) -> Weight:
    """Return MB of a dependency, and seconds of its import."""
    found = distribution(dependency)
    files = [Path(str(found.locate_file(each))) for each in found.files or ()]
    size = sum(file.stat().st_size for file in files if file.exists()) / 1e6
    names = sorted(_modules()[dependency], key=lambda name: (name.startswith("_"), len(name)))
    return f"{size:.1f}", f"{max(_seconds(f'import {names[0]}') - _seconds(''), 0):.2f}"


def _seconds(program: str) -> float:
    """Return the least processor time of three executions of a program."""
    return min(_seconds_once(program) for _ in range(3))


def _seconds_once(program: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)  # noqa: S603 - ours
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def weights(page: str) -> dict[str, Weight]:
    """Return MB and seconds of each dependency on a page."""
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return {name: (size, seconds) for name, _, _, size, seconds, *_ in lines[1:]}


def section(before: Mapping[str, Weight], is_new: Mapping[str, bool]) -> str:
    """Return the section of the page; dependencies of a new version are measured.

    Raises:
        KeyError: One has no purpose in `.ci/purposes.txt`.
    """
    known = purposes()
    return HEAD + "".join(
        f"| {name} | {extra} | {known[name]} | "
        f"{' | '.join(measure(name) if is_new[name] else before[name])} | {users(name)} |\n"
        for name, extra in extras().items()
    )
