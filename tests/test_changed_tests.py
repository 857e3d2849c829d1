"""`make test-changed` runs the tests that a change can reach, and says which it leaves out."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestration_project.settings import PROJECT_ROOT

PROGRAM = runpy.run_path(str(PROJECT_ROOT / ".ci" / "changed_tests.py"))

FILES = {
    "pyproject.toml": "",
    "config/rules.yaml": "a: 1\n",
    "templates/one.txt": "one\n",
    "notes.md": "notes\n",
    "app/__init__.py": "",
    "app/loads.py": "from app.rules import read\n",
    "app/rules.py": "from pathlib import Path\n\nread = Path('config/rules.yaml').read_text\n",
    "app/lazy.py": "from importlib import import_module\n\nimport_module('app.plugin')\n",
    "app/plugin.py": "",
    "app/alone.py": '"""Differs from app/rules.py."""\n',
    "tests/__init__.py": "",
    "tests/conftest.py": "import app.lazy\n",
    "tests/test_loads.py": "from app import loads\n",
    "tests/test_rules.py": "import app.rules\n",
    "tests/test_templates.py": "from pathlib import Path\n\nFOLDER = Path('templates')\n",
    "tests/test_alone.py": "import app.alone\n",
    "tests/slow/test_daemon.py": "import app.rules\n\npytestmark = pytest.mark.slow\n",
}

FOLDERS_FIRST = (
    "def pytest_collection_modifyitems(items):\n    items.sort(key=lambda item: item.path)\n"
)
"""A conftest.py that begins with the tests of a folder that are not the nearest."""

WITHOUT_PLUGINS = {
    "PATH": os.defpath,
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_PLUGINS": "xdist.plugin",
}
"""The environment of a run of pytest that imports no plugin of the installed packages."""


def git(root: Path, *arguments: str) -> None:
    """Run git in a checkout, as a user without a configuration."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True)  # noqa: S603, S607 - git


def write(root: Path, name: str, text: str) -> None:
    """Write a file with its folders."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout on a branch beside `main`, without a change."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    for name, text in FILES.items():
        write(tmp_path, name, text)
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message=add all")
    git(tmp_path, "checkout", "--quiet", "-b", "branch")
    return tmp_path


def case(name: str) -> str:
    """Return the source of a test that passes."""
    return f"\n\ndef test_{name}():\n    assert app.rules.read()\n"


def plan_run(
    root: Path, changed: Sequence[str], seconds: float, timed: Mapping[str, float] | None = None
) -> Any:
    """Return the plan for a change, by a map that was read again."""
    imports = PROGRAM["read_map"](root, changed, {})
    return PROGRAM["plan_run"](imports, root, changed, seconds, timed or {})


def append(name: str) -> Callable[[Path], None]:
    """Return a change that adds a line to a file, uncommitted."""
    return lambda root: write(root, name, f"{FILES.get(name, '')}\n")


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("name", "tests"),
    [
        ("app/rules.py", ["test_rules", "test_loads"]),
        ("app/loads.py", ["test_loads"]),
        ("config/rules.yaml", ["test_rules", "test_loads"]),
        ("templates/one.txt", ["test_templates"]),
        ("templates/another.txt", ["test_templates"]),
        ("tests/test_alone.py", ["test_alone"]),
        ("app/plugin.py", ["test_alone", "test_loads", "test_rules", "test_templates"]),
        ("notes.md", []),
    ],
)
def test_a_change_reaches_tests_by_imports_names_of_modules_and_data(
    root: Path, name: str, tests: list[str]
):
    append(name)(root)
    _, changed = PROGRAM["changed_files"](root)
    assert changed == [name]
    plan = plan_run(root, changed, 60)
    assert [Path(test.path).stem for test in plan.run] == tests
    assert plan.unnamed == ([] if tests else [name])


def test_commits_since_main_and_uncommitted_changes_count_together(root: Path):
    append("app/loads.py")(root)
    git(root, "commit", "--quiet", "--all", "--message=change loads")
    (root / "app" / "alone.py").unlink()
    append("app/new.py")(root)
    _, changed = PROGRAM["changed_files"](root)
    assert changed == ["app/alone.py", "app/loads.py", "app/new.py"]
    plan = plan_run(root, changed, 60)
    assert [test.path for test in plan.run] == ["tests/test_alone.py", "tests/test_loads.py"]
    assert plan.unnamed == ["app/new.py"]


def test_what_is_left_out_is_named_with_its_reason(root: Path):
    append("app/rules.py")(root)
    plan = plan_run(root, ["app/rules.py"], 5, {"tests/test_rules.py": 4.5})
    assert list(PROGRAM["report"](plan, ["app/rules.py"])) == [
        "1 of 5 test modules run:",
        "  tests/test_rules.py (app/rules.py)",
        "left out, reached, too many for the time; SECONDS=300 runs more: 1 "
        "(tests/test_loads.py by app/loads.py)",
        "left out, reached, but slow, histories or faults: see `make help`: 1 "
        "(tests/slow/test_daemon.py by app/rules.py)",
        "left out, not reached by any change: 2 (tests/test_alone.py, tests/test_templates.py)",
    ]


@pytest.mark.parametrize(
    ("name", "slow", "run", "late"),
    [
        ("app/plugin.py", "test_loads", ["test_alone", "test_rules", "test_templates"], True),
        ("app/rules.py", "test_rules", ["test_rules", "test_loads"], False),
    ],
    ids=["one_of_several", "the_nearest"],
)
def test_a_module_that_takes_longer_than_the_time_leaves_room_for_others(
    root: Path, name: str, slow: str, run: list[str], *, late: bool
):
    append(name)(root)
    plan = plan_run(root, [name], 60, {f"tests/{slow}.py": 100})
    assert [Path(test.path).stem for test in plan.run] == run
    assert [Path(test.path).stem for test in plan.late] == [slow] * late


@pytest.mark.parametrize("name", ["pyproject.toml", "tests/conftest.py"])
def test_a_change_that_reaches_everything_is_named(root: Path, name: str):
    append(name)(root)
    plan = plan_run(root, [name], 60)
    first = next(PROGRAM["report"](plan, [name]))
    assert first == f"{name} reaches every test: run `make test` before you push"


def test_tests_named_after_a_change_come_first_and_then_those_beside_it(root: Path):
    """`api/parcels.py` is reached over two steps by its own test, over one by others."""
    files = {
        "app/api/parcels.py": "",
        "app/api/routes.py": "import app.api.parcels\n",
        "tests/api/test_parcels.py": "import app.api.routes\n",
        "tests/api/test_zones.py": "import app.api.parcels\n",
        "tests/test_export.py": "import app.api.parcels\n",
        "tests/test_api_lots.py": "import app.api.parcels\n",
        "tests/test_api_parcels.py": "import app.api.routes\n",
        "tests/test_routes.py": "import app.api.routes\n",
    }
    for name, text in files.items():
        write(root, name, text)
    plan = plan_run(root, ["app/api/parcels.py"], 60)
    assert [Path(test.path).stem for test in plan.run] == [
        "test_parcels",
        "test_api_parcels",
        "test_zones",
        "test_api_lots",
        "test_export",
        "test_routes",
    ]


def test_only_a_text_that_is_not_known_is_parsed(root: Path):
    known: dict[str, Any] = {}
    first = PROGRAM["read_map"](root, [], known)
    count = len(known)
    append("app/alone.py")(root)
    write(root, "app/rules.py", "import app.plugin\n")
    second = PROGRAM["read_map"](root, [], known)
    assert len(known) == count + 2
    assert ("app/plugin.py", 1) in second.uses["app/rules.py"] - first.uses["app/rules.py"]
    assert second.uses["tests/test_rules.py"] == first.uses["tests/test_rules.py"]


@pytest.mark.parametrize(("elapsed", "seconds"), [(0, 48), (10, 38), (100, 30)])
def test_a_slow_first_reading_leaves_half_of_the_time_to_tests(elapsed: int, seconds: int):
    assert PROGRAM["remaining_seconds"](60, elapsed) == seconds


def test_seconds_of_a_run_are_kept_for_the_next(tmp_path: Path):
    watch = PROGRAM["Stopwatch"](tmp_path / "cache" / "seconds.json")
    report = pytest.TestReport("tests/test_a.py::test_b", ("", 0, ""), {}, "passed", None, "call")
    report.duration = 1.25
    watch.pytest_runtest_logreport(report)
    watch.pytest_runtest_logreport(report)
    watch.store()
    assert PROGRAM["Stopwatch"](tmp_path / "cache" / "seconds.json").earlier == {
        "tests/test_a.py": 2.5
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "printed", "times"),
    [
        (
            "60",
            ["test_one", "test_two", "test_three", "3 passed"],
            ["tests/sensors/test_loads.py", "tests/test_rules.py"],
        ),
        (
            "0",
            [
                "left out, reached, too many for the time; SECONDS=300 runs more: 1 "
                "(tests/sensors/test_loads.py by app/rules.py)",
                "left out, not begun after 0 s: 2 tests (tests/test_rules.py)",
            ],
            [],
        ),
    ],
    ids=["within_the_time", "the_time_is_over"],
)
def test_no_test_begins_after_the_deadline_and_those_left_out_are_named(
    root: Path, seconds: str, printed: list[str], times: list[str]
):
    folder = PROJECT_ROOT / ".ci"
    for name in ("changed_tests.py", "time_limit.py"):
        write(root, f".ci/{name}", (folder / name).read_text())
    for name in FILES:
        if name.startswith("tests/test_"):
            (root / name).unlink()
    write(root, "tests/conftest.py", FOLDERS_FIRST)
    write(root, "tests/test_rules.py", f"import app.rules\n{case('one')}{case('two')}")
    write(root, "tests/sensors/test_loads.py", f"import app.rules\n{case('three')}")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=add tests")
    git(root, "branch", "--force", "main")
    append("app/rules.py")(root)
    done = subprocess.run(
        [sys.executable, ".ci/changed_tests.py", "-n1", "-vv"],
        cwd=root,
        env=WITHOUT_PLUGINS | {"SECONDS": seconds},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    places = [done.stdout.rfind(text) for text in printed]
    assert (min(places) > 0, places) == (True, sorted(places)), done.stdout
    assert sorted(PROGRAM["Stopwatch"](root / PROGRAM["SECONDS_FILE"]).earlier) == times
