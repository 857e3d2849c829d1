"""The skeleton of a new source: which names it takes, what it writes, and that this works."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration_project.errors import ConfigurationError
from orchestration_project.new_source.__main__ import main, skeleton, write
from orchestration_project.settings import PROJECT_ROOT

NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", "__pycache__", "node_modules", "site", "var", "worktrees"
)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("", "NAME is missing"),
        ("Weather", "invalid NAME 'Weather'"),
        ("air_quality", "invalid NAME 'air_quality'"),
        ("w", "invalid NAME 'w'"),
        ("w" * 21, f"invalid NAME '{'w' * 21}'"),
        ("../etc", "invalid NAME '../etc'"),
        ("import", "invalid NAME 'import'"),
    ],
)
def test_an_invalid_name_is_refused_with_what_is_expected(name: str, what: str, capsys):
    assert main(name) == 1
    said = capsys.readouterr().err
    assert what in said
    assert "expected: 2 to 20 lower-case letters, not a keyword of Python" in said
    assert "e.g. make new-source NAME=weather" in said


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("fx", "orchestration_project/catalog/fx.py"),
        ("saas", "orchestration_project/domains/saas"),
        ("spine", "orchestration_project/tables/spine.py"),
        ("factory", "orchestration_project/catalog/factory.py"),
        ("market", "orchestration_project/demo/market.py"),
    ],
)
def test_a_name_that_is_taken_is_refused_with_the_file_that_has_it(name: str, found: str):
    with pytest.raises(ConfigurationError, match=f"invalid NAME '{name}'") as refused:
        skeleton(name, PROJECT_ROOT)
    assert found in refused.value.found
    assert "the name of a domain that the project does not have" in refused.value.expected


@pytest.mark.parametrize("name", ["date", "daily", "day", "series"])
def test_a_name_that_would_hide_one_of_the_skeleton_is_refused(name: str):
    with pytest.raises(ConfigurationError, match=f"invalid NAME '{name}'") as refused:
        skeleton(name, PROJECT_ROOT)
    assert "a word that the skeleton does not use itself" in refused.value.expected


def test_four_modules_a_simulator_and_a_test_are_written_and_one_file_gets_a_line():
    found = {
        path.relative_to(PROJECT_ROOT).as_posix(): text
        for path, text in skeleton("weather", PROJECT_ROOT).items()
    }
    assert list(found) == [
        "orchestration_project/tables/weather.py",
        "orchestration_project/domains/weather.py",
        "orchestration_project/settings/domains/weather.py",
        "orchestration_project/catalog/weather.py",
        "orchestration_project/demo/weather.py",
        "tests/assets/test_weather.py",
        "orchestration_project/demo/__main__.py",
    ]
    for path, text in found.items():
        compile(text, path, "exec")
        assert "$" not in text
    path, text = list(found.items())[-1]
    before = (PROJECT_ROOT / path).read_text().splitlines()
    of_demo = sorted(set(text.splitlines()) - set(before))
    assert len(of_demo) == 2
    assert of_demo[0].strip() == "*Weather(options.seed, clock).routes,"
    assert not (PROJECT_ROOT / "orchestration_project" / "tables" / "weather.py").exists()


def test_a_file_of_another_shape_is_refused_before_anything_is_written(tmp_path: Path):
    demo = tmp_path / "orchestration_project" / "demo" / "__main__.py"
    demo.parent.mkdir(parents=True)
    demo.write_text("from orchestration_project.demo.fx import Rates\n\nROUTES = [Rates]\n")
    with pytest.raises(ConfigurationError, match="cannot register the source"):
        write("weather", tmp_path)
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [demo]


@pytest.mark.slow
def test_the_skeleton_passes_its_own_test_and_the_checks_of_the_project(tmp_path: Path):
    root = tmp_path / "project"
    shutil.copytree(PROJECT_ROOT, root, ignore=NOT_COPIED, symlinks=True)
    programs = Path(sys.executable).parent
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "PYTHONPATH": str(root),
        "HOME": str(tmp_path),
        "POLARS_MAX_THREADS": "1",
    }

    def run(*command: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own programs
            command, cwd=root, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    python = sys.executable
    said = run(python, "-m", "orchestration_project.new_source", "weather")
    written = [line.removeprefix("written: ") for line in said.splitlines()[:-1]]
    assert len(written) == 12
    assert all((root / each).is_file() for each in written)
    modules = [each for each in written if each.endswith(".py") and "versions" not in each]
    assert "2 passed" in run(python, "-m", "pytest", "-q", "tests/assets/test_weather.py")
    run(python, "-m", "pytest", "-q", "tests/test_definition_surface.py")
    run(python, "-m", "ruff", "check", ".")
    run(python, "-m", "ruff", "format", "--check", ".")
    run(str(programs / "lint-imports"))
    run(str(programs / "pyright"), "--pythonpath", python, *modules)
