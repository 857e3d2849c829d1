"""Runs those tests that the change since `main` can reach, the nearest first, for about a minute.

An import map leads from a changed file to tests: a module depends on what it imports, on modules
and data files that its texts name, and a test on the conftest.py of its folders. The run prints
which test modules it left out, and why. No test begins after the deadline; those tests are named
as well. `SECONDS=300` gives it more time.
"""

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from heapq import heappop, heappush
from pathlib import Path, PurePath
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SECONDS_FILE = Path(".pytest_cache") / "module_seconds.json"
MENTIONS_FILE = Path(".pytest_cache") / "mentions.json"

REACH_ALL = ("pyproject.toml", "requirements/*.lock", "tests/conftest.py", "tests/__init__.py")
"""A change of these reaches every test, in ways that no map shows."""

CONFTEST_STEPS = 3
"""Steps that the way by a conftest.py counts: most of its tests use one of many fixtures."""

FOLDER_STEPS = 2
"""Steps that the way to a file by the name of its folder counts."""

MAX_NAME_LENGTH = 300
"""Characters of a text that may name a file; longer ones are prose."""

DEFAULT_SECONDS = 3.0
"""Seconds of a test module that was never timed; a run keeps its times for the next."""

START_SECONDS = 12.0
"""Seconds until the workers have imported the definitions."""

LEAST_SHARE = 0.5
"""Share of the time that tests have at least: the first run of a checkout parses all modules."""

SHOWN = 12
"""Names that a line of the report lists."""

OTHERS_ONLY = re.compile(r"^pytestmark = \[?pytest\.mark\.(slow|histories|faults)\b", re.MULTILINE)
"""Stands in a module of which `make test` runs no test."""


@dataclass(frozen=True)
class Reached:
    """A test module that a change reaches, the file before it on the way, and the steps."""

    path: str
    by: str
    steps: int


def git(*arguments: str, root: Path = ROOT) -> list[str]:
    """Return the lines that git prints; none where it fails."""
    command = ["git", "-c", "core.quotepath=off", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603 - git
    return done.stdout.splitlines() if done.returncode == 0 else []


def changed_files(root: Path = ROOT, main: str = "main") -> tuple[str, list[str]]:
    """Return the merge base with ``main`` and the files that differ from it, also untracked."""
    bases = [*git("merge-base", "HEAD", main, root=root), *git("rev-parse", "HEAD", root=root)]
    changed = git("diff", "--name-only", "--no-renames", bases[0], root=root)
    untracked = git("ls-files", "--others", "--exclude-standard", root=root)
    return bases[0], sorted({*changed, *untracked})


def listed_files(root: Path = ROOT) -> list[str]:
    """Return all files of a checkout that git does not ignore."""
    names = git("ls-files", "--cached", "--others", "--exclude-standard", root=root)
    return sorted(name for name in set(names) if (root / name).is_file())


Mentions = Mapping[str, Sequence[str]]
"""What a module mentions: `imports`, dotted names, and `texts`, parts of its texts."""


def read_mentions(source: str) -> Mentions:
    """Return what a module mentions outside its docstrings."""
    imports: list[str] = []
    texts: set[str] = set()
    nodes = list(ast.walk(ast.parse(source)))
    docs = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        match node:
            case ast.Constant() if id(node) in docs:
                pass
            case ast.Import(names=names):
                imports += [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), names=names):
                imports += [f"{module}.{alias.name}" for alias in names]
            case ast.Constant(value=str(text)) if len(text) < MAX_NAME_LENGTH:
                texts.update(re.split(r"[/\s`]+", text))
    return {"imports": imports, "texts": sorted(texts)}


def mentions_of(source: str, known: MutableMapping[str, Mentions]) -> Mentions:
    """Return what a module mentions, parsed only where its text is not known."""
    key = hashlib.sha256(source.encode()).hexdigest()
    if key not in known:
        known[key] = read_mentions(source)
    return known[key]


class ImportMap:
    """What each module of a checkout depends on, by path."""

    def __init__(
        self,
        sources: Mapping[str, str],
        data: Iterable[str],
        known: MutableMapping[str, Mentions],
    ) -> None:
        """Read the modules; ``data`` are the paths of all other files.

        ``known`` holds what modules mention by the SHA-256 of their text; new ones are added.
        """
        self._known = known
        self._modules = {module_name(path): path for path in sources}
        self._files: dict[str, list[str]] = {}
        self._folders: dict[tuple[str, ...], list[str]] = {}
        code_folders = {str(PurePath(path).parent) for path in sources}
        for path in map(PurePath, sources):
            if path.name != "__init__.py":
                self._files.setdefault(path.name, []).append(str(path))
        for path in map(PurePath, data):
            self._files.setdefault(path.name, []).append(str(path))
            if str(path.parent) not in code_folders:
                self._folders.setdefault(path.parent.parts, []).append(str(path))
        self.uses = {path: set(self._used(path, source)) for path, source in sources.items()}
        self._users: dict[str, list[tuple[str, int]]] = {}
        for path, used in self.uses.items():
            for name, steps in used:
                self._users.setdefault(name, []).append((path, steps))

    def _used(self, path: str, source: str) -> Iterator[tuple[str, int]]:
        """Yield the files that a module depends on, each with its steps."""
        mentions = mentions_of(source, self._known)
        yield from self._imported(mentions["imports"])
        yield from self._named(set(mentions["texts"]))
        if "iter_modules" in source:
            yield from self._below(f"{PurePath(path).parent}/")
        for folder in PurePath(path).parents if path.startswith("tests/") else ():
            conftest = str(folder / "conftest.py")
            if conftest in self._modules.values() and conftest != path:
                yield conftest, CONFTEST_STEPS

    def _imported(self, names: Iterable[str]) -> Iterator[tuple[str, int]]:
        """Yield the modules of dotted names, which may be of objects in them."""
        for parts in (name.split(".") for name in names):
            prefixes = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
            path = next((self._modules[name] for name in prefixes if name in self._modules), None)
            if path is not None:
                yield path, 1

    def _named(self, parts: set[str]) -> Iterator[tuple[str, int]]:
        """Yield what texts name: modules by dotted names or their beginning, files, folders."""
        for part in parts:
            if re.fullmatch(r"[a-z_]+(\.[a-z_0-9]+)+\.?", part):
                yield from self._imported([part])
                if part.endswith("."):
                    yield from self._below(part.replace(".", "/"))
            yield from ((path, 1) for path in self._files.get(part, ()))
        for folder, paths in self._folders.items():
            if folder and parts.issuperset(folder):
                yield from ((path, FOLDER_STEPS) for path in paths)

    def _below(self, folder: str) -> Iterator[tuple[str, int]]:
        return ((path, 1) for path in self._modules.values() if path.startswith(folder))

    def reached(self, changed: Iterable[str]) -> dict[str, Reached]:
        """Return what depends on the changed files, with the shortest way to each."""
        found: dict[str, Reached] = {}
        waiting = [(0, path, "changed") for path in changed]
        while waiting:
            steps, path, by = heappop(waiting)
            if path not in found:
                found[path] = Reached(path, by, steps)
                for user, more in self._users.get(path, ()):
                    heappush(waiting, (steps + more, user, path))
        return found


def module_name(path: str) -> str:
    """Return the dotted name of a module: `a.b` of `a/b.py` and of `a/b/__init__.py`."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def read_map(root: Path, changed: Sequence[str], known: MutableMapping[str, Mentions]) -> ImportMap:
    """Return the import map of a checkout, with the places of deleted files."""
    files = listed_files(root)
    sources = {name: (root / name).read_text() for name in files if name.endswith(".py")}
    gone = {name: "" for name in changed if name.endswith(".py") and name not in sources}
    return ImportMap(sources | gone, {*files, *changed} - sources.keys() - gone.keys(), known)


def is_test_module(path: str) -> bool:
    """Return whether a file has tests."""
    return path.startswith("tests/") and fnmatch(PurePath(path).name, "test_*.py")


def is_named_after(test: str, changed: str) -> bool:
    """Return whether a test module has the name of a changed one, such as `test_api_uploads.py`.

    Tests of `app/api/uploads.py` are `test_uploads.py` and `test_api_uploads.py`.
    """
    path = PurePath(changed)
    return PurePath(test).stem in (f"test_{path.stem}", f"test_{path.parent.name}_{path.stem}")


def is_beside(test: str, changed: str) -> bool:
    """Return whether a test module has the folder of a changed one in its path or name.

    Those of `app/api/uploads.py` are `tests/api/test_zones.py` and `tests/test_api_zones.py`.
    """
    path = PurePath(test)
    names = "_".join([*path.parts[1:-1], path.stem.removeprefix("test_")])
    return names.startswith("".join(f"{folder}_" for folder in PurePath(changed).parts[1:-1]))


@dataclass(frozen=True)
class Plan:
    """Test modules that run, and those that do not.

    Attributes:
        run: The nearest that fit the time.
        late: Those that are reached, and do not fit it.
        elsewhere: Reached ones of which `make test` runs no test.
        untouched: Those that no change reaches.
        unnamed: Changed files that no test depends on.
    """

    run: list[Reached]
    late: list[Reached]
    elsewhere: list[Reached]
    untouched: list[str]
    unnamed: list[str]


def plan_run(
    imports: ImportMap,
    root: Path,
    changed: Sequence[str],
    seconds: float,
    timed: Mapping[str, float],
) -> Plan:
    """Return which test modules run within some seconds of all workers together.

    Those named after a changed module come first, then the nearest. Of those as near, the ones in
    its folder come first, then the quickest. One that does not fit leaves its time to the next.
    """
    reached = imports.reached(changed)
    tests = [path for path in imports.uses if is_test_module(path) and (root / path).is_file()]
    costs = {path: timed.get(path, DEFAULT_SECONDS) for path in tests}
    near = [reached[path] for path in tests if path in reached]
    plan = Plan([], [], [], [path for path in tests if path not in reached], [])

    def order(test: Reached) -> tuple[int, bool, float, str]:
        is_own = any(is_named_after(test.path, path) for path in changed)
        is_near = any(is_beside(test.path, path) for path in changed)
        return (0 if is_own else test.steps, not is_near, costs[test.path], test.path)

    for test in sorted(near, key=order):
        cost = costs[test.path]
        if OTHERS_ONLY.search((root / test.path).read_text()):
            plan.elsewhere.append(test)
        elif not plan.run:  # however long it takes: another worker runs the others beside it
            plan.run.append(test)
            seconds -= min(cost, seconds / 2)
        elif cost <= seconds:
            plan.run.append(test)
            seconds -= cost
        else:
            plan.late.append(test)
    for path in changed:
        alone = imports.reached([path])
        if not any(is_test_module(name) for name in alone):
            plan.unnamed.append(path)
    return plan


def report(plan: Plan, changed: Sequence[str]) -> Iterator[str]:
    """Yield the lines that say what runs, and what does not and why."""
    for path in changed:
        if any(fnmatch(path, pattern) for pattern in REACH_ALL):
            yield f"{path} reaches every test: run `make test` before you push"
    count = sum(map(len, (plan.run, plan.late, plan.elsewhere, plan.untouched)))
    yield f"{len(plan.run)} of {count} test modules run:"
    yield from (f"  {test.path} ({test.by})" for test in plan.run)
    reasons = {
        "reached, too many for the time; SECONDS=300 runs more": _names(plan.late),
        "reached, but slow, histories or faults: see `make help`": _names(plan.elsewhere),
        "not reached by any change": plan.untouched,
    }
    for reason, names in reasons.items():
        if names:
            yield f"left out, {reason}: {len(names)} ({_shortened(names)})"
    if plan.unnamed:
        yield f"changed, but named by no test: {len(plan.unnamed)} ({_shortened(plan.unnamed)})"


def _names(tests: Iterable[Reached]) -> list[str]:
    return [f"{test.path} by {test.by}" for test in tests]


def _shortened(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


class Stopwatch:
    """A plugin of pytest that keeps the seconds of each test module, for the next plan.

    Attributes:
        earlier: Seconds of each test module in earlier runs.
        limits: What each worker gets for `time_limit.py`.
        late: Tests that no worker began before the deadline.
    """

    def __init__(self, file: Path) -> None:
        """Read the seconds of earlier runs, if there are any."""
        self._file = file
        self.earlier: dict[str, float] = json.loads(file.read_text()) if file.is_file() else {}
        self.limits: dict[str, Any] = {}
        self.late: list[str] = []
        self._seconds: dict[str, float] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Send the limits to a worker of xdist."""
        node.workerinput["limits"] = self.limits

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Receive the tests that a worker left out."""
        self.late += getattr(node, "workeroutput", {}).get("late", [])

    def pytest_runtest_logreport(self, report: object) -> None:
        """Add the time of a test."""
        path = str(getattr(report, "nodeid", "")).partition("::")[0]
        duration = float(getattr(report, "duration", 0.0))
        self._seconds[path] = self._seconds.get(path, 0.0) + duration

    def store(self) -> None:
        """Store the times, beside those of modules that did not run.

        One that the deadline has cut takes at least as long as before.
        """
        self._file.parent.mkdir(exist_ok=True)
        cut = {path: self.earlier.get(path, 0.0) for path in modules_of(self.late)}
        seconds = {
            path: round(max(value, cut.get(path, 0.0)), 1) for path, value in self._seconds.items()
        }
        self._file.write_text(json.dumps(self.earlier | seconds, indent=0, sort_keys=True))


def modules_of(tests: Iterable[str]) -> list[str]:
    """Return the modules of tests, each once, in order of their first test."""
    return list(dict.fromkeys(test.partition("::")[0] for test in tests))


def read_map_with_cache(changed: Sequence[str]) -> ImportMap:
    """Return the import map of this checkout; it parses what changed since the last run."""
    file = ROOT / MENTIONS_FILE
    known: dict[str, Mentions] = json.loads(file.read_text()) if file.is_file() else {}
    imports = read_map(ROOT, changed, known)
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(known))
    return imports


def remaining_seconds(limit: float, elapsed: float) -> float:
    """Return the seconds that are left for tests, at least a share of the limit."""
    return max(limit - START_SECONDS - elapsed, limit * LEAST_SHARE)


def main(arguments: Sequence[str]) -> int:
    """Print the plan, run its tests, and return pytest's exit code."""
    began = time.monotonic()
    limit = float(os.environ.get("SECONDS") or 60)  # noqa: TID251 - an option of make
    base, changed = changed_files()
    print(f"{len(changed)} files changed since {base[:10]} and in the working tree")
    watch = Stopwatch(ROOT / SECONDS_FILE)
    cores = os.cpu_count() or 1
    imports = read_map_with_cache(changed)
    left = remaining_seconds(limit, time.monotonic() - began)
    plan = plan_run(imports, ROOT, changed, left * cores, watch.earlier)
    print(*report(plan, changed), sep="\n", flush=True)
    if not plan.run or "--plan" in arguments:
        return 0
    modules = [test.path for test in plan.run]
    watch.limits = {"deadline": began + limit, "order": modules}
    options = ["-q", "-n", str(cores), "--dist", "loadfile", "--no-loadscope-reorder"]
    code = pytest.main([*options, "-p", "time_limit", *arguments, *modules], plugins=[watch])
    watch.store()
    if watch.late:
        names = _shortened(modules_of(watch.late))
        print(f"left out, not begun after {limit:g} s: {len(watch.late)} tests ({names})")
    return 0 if watch.late and code == pytest.ExitCode.NO_TESTS_COLLECTED else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
