"""Commands that need no definitions import neither Dagster nor what they do not use."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.structure.commands import (
    ABSENT,
    ABSENT_WITH_DEFINITIONS,
    CLIENTS,
    COMMANDS,
    FRAMES,
    WITH_DEFINITIONS,
    WITH_DOMAINS,
    WITH_SOURCES,
    read_modules_of,
    read_modules_with_sources,
)
from orchestration_project.settings import PROJECT_ROOT

BOUNDS = json.loads((PROJECT_ROOT / ".ci/bounds.json").read_text())["falls"]


VARIOUS = ("--version", "alerts list", "config show", "schema diff", "completion bash")
"""Commands that need nothing, rows, settings, tables and words; others are as these."""


@pytest.fixture(scope="module")
def installation(tmp_path_factory) -> Path:
    """STATE_DIR of an installation whose tables are made."""
    folder = tmp_path_factory.mktemp("state")
    read_modules_of("keys list", folder)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        command if command in VARIOUS else pytest.param(command, marks=pytest.mark.slow)
        for command in COMMANDS
    ],
)
def test_a_command_without_definitions_imports_no_heavy_package(
    command: str, installation: Path, record_property
):
    modules = read_modules_of(command, installation)
    record_property("modules", len(modules))
    assert len(modules) <= BOUNDS["modules_of_a_command"]
    packages = {name.partition(".")[0] for name in modules}
    assert sorted(packages & {*ABSENT, *FRAMES}) == []


@pytest.mark.parametrize("command", WITH_DOMAINS)
def test_a_command_that_reads_domains_imports_no_heavy_package(command: str, installation: Path):
    modules = read_modules_of(command, installation)
    assert len(modules) <= BOUNDS["modules_of_a_command_with_domains"]
    packages = {name.partition(".")[0] for name in modules}
    assert sorted(packages & {*ABSENT}) == []


@pytest.mark.parametrize("command", WITH_SOURCES)
def test_a_command_that_requests_sources_imports_their_clients_alone(
    command: str, installation: Path
):
    modules = read_modules_with_sources(command, installation)
    assert len(modules) <= BOUNDS["modules_of_a_command_with_sources"]
    packages = {name.partition(".")[0] for name in modules}
    assert sorted(packages & {*ABSENT}.difference(CLIENTS)) == []


@pytest.mark.slow
@pytest.mark.parametrize("command", WITH_DEFINITIONS)
def test_a_command_that_reads_definitions_imports_no_storage_of_dagster(
    command: str, installation: Path
):
    packages = {name.partition(".")[0] for name in read_modules_of(command, installation)}
    assert "dagster" in packages
    assert sorted(packages & {*ABSENT_WITH_DEFINITIONS}) == []


def test_what_needs_a_person_is_read_without_domains_that_are_off(installation: Path):
    modules = read_modules_of("attention", installation, domains="finra")
    assert "orchestration_project.catalog.finra" in modules
    assert not {"dagster", "httpx", "orchestration_project.assets"}.intersection(modules)
    off = ("documents", "events", "mqtt", "plugins", "prices", "saas", "web")
    assert not {f"orchestration_project.catalog.{name}" for name in off}.intersection(modules)


@pytest.mark.parametrize("module", ["ui", "stack"])
def test_what_watches_the_programs_as_long_as_they_live_imports_no_dagster(module: str):
    program = f"import orchestration_project.cli.{module}, sys; sys.exit('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT_ROOT, check=False)  # noqa: S603 - our own
    assert done.returncode == 0


def test_the_package_that_projects_import_is_cheap(tmp_path: Path):
    own = [name for name in read_modules_of("--version", tmp_path) if "orchestration" in name]
    assert "orchestration_project.registry" not in own
    assert len(own) <= 14


def test_garbage_is_first_collected_after_a_small_command(installation: Path):
    program = """
import gc, sys
from orchestration_project.__main__ import main, MAX_START_OBJECTS

thresholds, phases = gc.get_threshold(), []
gc.callbacks.append(lambda phase, _: phases.append(phase))
main()
print(len(phases))
kept = [[] for _ in range(2 * MAX_START_OBJECTS)]
print(gc.get_threshold() == thresholds, gc.get_freeze_count() > 0, len(phases) > 0)
"""
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-c", program, "keys", "list"],
        cwd=PROJECT_ROOT,
        env={"STATE_DIR": str(installation), "DOMAINS": "all"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-2:] == ["0", "True True True"]
