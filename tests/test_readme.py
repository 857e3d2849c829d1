"""The commands of the README and of the pages that it leads to, run as they stand there."""

import re
import shlex
import subprocess
import tomllib

import pytest

from orchestration_project.__main__ import COMMANDS, main
from orchestration_project.domains.finra import datasets as finra_datasets
from orchestration_project.settings import PROJECT_ROOT
from tests import programs

BIN = PROJECT_ROOT / ".venv" / "bin"
README = (PROJECT_ROOT / "README.md").read_text()
COMMANDS_OF_MAKE = (PROJECT_ROOT / "docs" / "explanation" / "make.md").read_text()
DAGSTER = (PROJECT_ROOT / "docs" / "how-to" / "run-with-dagster.md").read_text()
MAKEFILE = (PROJECT_ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([\w-]+):.*## ", MAKEFILE, re.MULTILINE))


def commands_of(page: str) -> list[str]:
    """Return the shell commands of a page, each in one line and without its comment."""
    blocks = "\n".join(re.findall(r"^ *```sh\n(.*?)```", page, re.DOTALL | re.MULTILINE))
    lines = blocks.replace("\\\n", " ").splitlines()
    return [each for each in (line.split("  #")[0].strip() for line in lines) if each]


def dagster_commands() -> list[str]:
    """Return the page's commands of Dagster that end by themselves."""
    return [line for line in commands_of(DAGSTER) if re.match(r"dagster (job|asset)", line)]


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme") / "state"
    yield folder
    programs.kill_all_of(folder)


DATASETS = re.compile(
    r" -j finra_(" + "|".join(dataset.noun for dataset in finra_datasets.DATASETS) + ") "
)
"""The jobs of declared datasets: the same load, which other tests run without a process each."""

WAYS = [
    dagster_command
    for dagster_command in dagster_commands()
    if not DATASETS.search(dagster_command)
]
OF_DATASETS = [
    dagster_command for dagster_command in dagster_commands() if DATASETS.search(dagster_command)
]


def test_the_page_has_ways_of_dagsters_own_to_load_prices_and_each_kind_of_partition():
    assert len(WAYS) == 4
    kinds = {
        (dataset.partitioning.calendar.cron, len(dataset.partitioning.columns))
        for dataset in finra_datasets.DATASETS
        if dataset.partitioning.calendar.last_day is None
    }
    assert len(OF_DATASETS) == len(kinds) == 5


@pytest.mark.parametrize(
    "command",
    [WAYS[0], *(pytest.param(way, marks=pytest.mark.slow) for way in WAYS[1:] + OF_DATASETS)],
    ids=lambda line: line[:40],
)
def test_a_command_of_dagster_alone_loads_in_a_new_shell_at_the_root(command, state_dir):
    clock = {"DEMO_CLOCK_NOW": "2026-11-20T15:00:00+00:00"}  # the weeks that the page names
    environment = {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "HOME": str(state_dir),
        "STATE_DIR": str(state_dir),
    }
    done = subprocess.run(  # noqa: S603 - a command of our page
        shlex.split(command),
        cwd=PROJECT_ROOT,
        env=environment | programs.DEMO | clock,
        capture_output=True,
        text=True,
        timeout=programs.PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_every_make_target_is_in_its_page_and_in_make_help():
    documented = set(re.findall(r"^\| `make ([\w-]+)` \|", COMMANDS_OF_MAKE, re.MULTILINE))
    assert documented == TARGETS - {"help"}


def test_make_check_checks_the_types_of_each_folder_that_pyright_names():
    settings = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())
    checked = " ".join(re.findall(r"^\t.*/pyright (.+)$", MAKEFILE, re.MULTILINE)).split()
    assert sorted(checked) == sorted(settings["tool"]["pyright"]["include"])


def test_the_readme_is_short_with_one_table_and_names_the_commands_of_a_first_session():
    assert 700 <= len(README.split()) <= 900
    assert len(re.findall(r"^\|[-|]+\|$", README, re.MULTILINE)) == 1
    named = [command.split()[1] for command in commands_of(README) if command.startswith("make ")]
    assert named == ["run", "test", "ui"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_takes(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"Usage: orchestrate {command} ")
