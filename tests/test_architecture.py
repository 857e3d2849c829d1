"""Each architecture contract catches an import that it is there to refuse."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.settings.profile import DEMO_PACKAGE

PACKAGE = "orchestration_project"
CONFIG = PROJECT_ROOT / "pyproject.toml"
CONTRACTS = tomllib.loads(CONFIG.read_text())["tool"]["importlinter"]["contracts"]

PLANTED = {
    "Imports point down the layers": ("engine/leases.py", "services.presets"),
    "Plots, domains, contracts and tables are pure: no Dagster, no I/O": (
        "domains/finra/calendar.py",
        "os",
    ),
    "Domains use the pure part of the engine": ("domains/prices/days.py", "engine.leases"),
    "The engine's lower parts import down their layers": (
        "engine/contracts/cron.py",
        "engine.connections.clock",
    ),
    "Rules of services are pure: no Dagster, no I/O": ("services/gate/rules.py", "os"),
    "Domains do not know each other (rules)": ("domains/prices/calendar.py", "domains.saas.jira"),
    "Domains do not know each other (assets): depend by key, not by import": (
        "assets/prices/charts.py",
        "assets.finra.catalogue",
    ),
    "Domains do not know each other (outside systems)": (
        "resources/prices/yahoo.py",
        "resources.finra.api",
    ),
    "Services import down their layers": ("services/ledger/recording.py", "services.export"),
    "No module imports the demo sources": ("resources/saas/answers.py", "orchestration_demo.saas"),
    "The demo sources import no module": (
        "../orchestration_demo/__main__.py",
        "domains.finra.calendar",
    ),
}
"""Contract → a module, and what it must not import."""


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Report of the import contracts on a copy of the package with all of these imports."""
    folder = tmp_path_factory.mktemp("planted")
    ignored = shutil.ignore_patterns("__pycache__")
    for package in (PROJECT_ROOT / PACKAGE, PROJECT_ROOT / "demo" / DEMO_PACKAGE):
        shutil.copytree(package, folder / package.name, ignore=ignored)
    shutil.copy(CONFIG, folder)
    for file, imported in PLANTED.values():
        planted = folder / PACKAGE / file
        is_outside = imported.partition(".")[0] in ("os", DEMO_PACKAGE)
        line = f"import {imported}" if is_outside else f"import {PACKAGE}.{imported}"
        planted.write_text(f"{planted.read_text()}\n{line}\n")
    program = Path(sys.executable).with_name("lint-imports")
    said = subprocess.run(  # noqa: S603 - a program of our own environment
        [program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert said.returncode == 1
    return " ".join(said.stdout.split())


def test_each_contract_has_an_import_that_it_refuses():
    assert {contract["name"] for contract in CONTRACTS} == set(PLANTED)


@pytest.mark.parametrize("contract", PLANTED)
def test_a_planted_import_breaks_its_contract(broken: str, contract: str):
    assert f"{contract} BROKEN" in broken


def ruff_findings(text: str) -> str:
    """Return what the lint rules find in a module of the package with this text."""
    program = Path(sys.executable).with_name("ruff")
    command = [program, "check", "--no-cache", "--stdin-filename", f"{PACKAGE}/planted.py", "-"]
    return subprocess.run(  # noqa: S603 - a program of our own environment
        command, cwd=PROJECT_ROOT, input=text, capture_output=True, text=True, check=False
    ).stdout


@pytest.mark.parametrize("line", ["import pandas as pd", "from pandas import DataFrame"])
def test_pandas_is_imported_where_it_is_used_and_never_with_a_module(line: str):
    assert "TID253" in ruff_findings(f"{line}\n")
    assert "TID253" not in ruff_findings(f"def frame():\n    {line}\n")
