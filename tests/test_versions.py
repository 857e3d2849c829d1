"""One source of the version, and the table of versions that the project supports."""

import re
import runpy
import tomllib

import pytest

from orchestration_project import release
from orchestration_project.__main__ import main
from orchestration_project.gateway.api.openapi import document
from orchestration_project.instance import logs
from orchestration_project.settings import PROJECT_ROOT

PYPROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())
PAGE = (PROJECT_ROOT / "docs/explanation/versions.md").read_text()
ROWS = dict(re.findall(r"^\| (\w+) \| ([^|]+) \|", PAGE, re.MULTILINE))


def test_every_place_shows_the_version_of_the_package(capsys):
    assert release() == PYPROJECT["project"]["version"]
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith(f"orchestrate {release()} (")
    assert document([])["info"]["x-release"] == logs.RELEASE == release()


def test_versions_that_files_repeat_are_those_of_the_package():
    version = re.escape(release())
    demo = tomllib.loads((PROJECT_ROOT / "demo/pyproject.toml").read_text())
    assert demo["project"]["version"] == release()
    extras = PYPROJECT["project"]["optional-dependencies"]
    assert extras["demo"] == [f"orchestration_demo=={release()}"]
    for name, pattern in {
        "README.md": rf"^Version {version}\b",
        "CHANGELOG.md": rf"^## {version}\b",
        "deploy/Dockerfile": rf"^ARG VERSION={version}$",
        "deploy/compose/compose.yaml": rf"orchestration_project:{version}-",
        "deploy/kubernetes/base/kustomization.yaml": rf"newTag: {version}-full",
        "deploy/kubernetes/dagster-chart.yaml": rf"tag: {version}\b",
    }.items():
        assert re.search(pattern, (PROJECT_ROOT / name).read_text(), re.MULTILINE), name


def test_the_table_has_the_pythons_of_the_package_and_of_the_locks():
    pythons = runpy.run_path(str(PROJECT_ROOT / ".ci/locks.py"))["PYTHONS"]
    assert tuple(ROWS["Python"].split(", ")) == pythons
    last = int(pythons[-1].partition(".")[2])
    assert PYPROJECT["project"]["requires-python"] == f">={pythons[0]},<3.{last + 1}"
    assert f"Python {pythons[0]} to {pythons[-1]}" in (PROJECT_ROOT / "Makefile").read_text()


def test_the_table_has_the_pinned_dagster_and_the_tested_postgresql_and_kubernetes():
    assert f"dagster=={ROWS['Dagster']}" in PYPROJECT["project"]["dependencies"]
    first, *_, last = ROWS["PostgreSQL"].split(", ")
    assert f"PostgreSQL {first} to {last}" in (PROJECT_ROOT / "README.md").read_text()
    page = (PROJECT_ROOT / "docs/how-to/use-postgresql.md").read_text()
    assert f"PostgreSQL {first} or newer" in page
    named = {version.partition(".")[0] for version in re.findall(r"\b1\d(?:\.\d+)?\b", page[:500])}
    assert named == set(ROWS["PostgreSQL"].split(", "))
    assert f"-k {ROWS['Kubernetes']} " in (PROJECT_ROOT / "Makefile").read_text()


def test_commands_of_the_table_run_tests_that_exist_in_ignored_environments():
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    commands = re.findall(r"`make ([a-z-]+)`", PAGE.partition("## See also")[0])
    assert {"test-lowest", "test-newest", "test-dagster"} <= set(commands)
    assert [name for name in commands if f"\n{name}: " not in makefile] == []
    environments = re.findall(r"^[A-Z_]*VENV := (\S+)$", makefile, re.MULTILINE)
    assert {".venv-lowest", ".venv-newest", ".venv-dagster"} <= set(environments)
    ignored = (PROJECT_ROOT / ".gitignore").read_text().splitlines()
    assert [name for name in environments if name not in ignored] == []
    listed = re.search(r"VERSION_TESTS := \$\(addprefix tests/,([^)]+)\)", makefile)
    assert listed is not None
    paths = [PROJECT_ROOT / "tests" / name for name in re.findall(r"[\w./]+", listed[1])]
    assert [path for path in paths if not path.exists()] == []
