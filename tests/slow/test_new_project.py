"""A project that `orchestrate init` wrote passes its own tests, and Dagster's `dg` reads it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration_project.settings import PROJECT_ROOT

PROGRAMS = Path(sys.executable).parent

COMPONENT = """\
type: orchestration_project.HttpDataset
attributes:
  name: rates_daily
  key: [currency]
  partitions: {every: day, since: 2026-11-02}
  fields:
    - {name: currency, type: text, description: ISO 4217}
  source:
    url: "https://api.example/{partition}"
    format: csv
    bearer: RATES_TOKEN
"""


@pytest.fixture
def run(tmp_path):
    """Return what runs a program in a new project, and gives its exit status and output."""
    environment = {
        "PATH": f"{PROGRAMS}:{os.defpath}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(PROJECT_ROOT),
        "COLUMNS": "200",
    }

    def in_folder(program, *arguments, folder=tmp_path / "my_data"):
        done = subprocess.run(  # noqa: S603 - programs of the tests' environment
            [PROGRAMS / program, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    assert in_folder("orchestrate", "init", "my_data", folder=tmp_path)[0] == 0
    return in_folder


@pytest.mark.slow
def test_a_new_project_passes_its_own_tests(run):
    status, said = run("pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert status == 0, said
    assert "2 passed" in said


@pytest.mark.slow
def test_dg_scaffolds_checks_and_lists_the_sources_of_a_new_project(run, tmp_path):
    status, said = run("dg", "scaffold", "defs", "orchestration_project.HttpDataset", "rates")
    assert status == 0, said
    file = tmp_path / "my_data" / "defs" / "rates" / "defs.yaml"
    assert file.read_text().startswith("type: orchestration_project.HttpDataset")
    wrong = COMPONENT.replace("RATES_TOKEN", '"{{ env.RATES_TOKEN }}"').replace("text,", "txt,")
    file.write_text(wrong)
    status, said = run("dg", "check", "yaml")
    assert status == 1
    assert "defs/rates/defs.yaml:7" in said
    assert "'txt' does not match '^(text|integer|" in said
    assert "defs/rates/defs.yaml:11" in said
    file.write_text(COMPONENT)
    status, said = run("dg", "check", "yaml")
    assert status == 0, said
    status, said = run("dg", "list", "defs", "--json")
    assert status == 0, said
    for key in ("my_data/rates_daily", "my_data/temperatures"):
        assert f'"{key}"' in said
