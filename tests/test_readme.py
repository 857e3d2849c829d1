"""The README's commands, run as they stand there."""

import re
import shlex
import subprocess

import pytest

from orchestration_project.__main__ import COMMANDS, main
from orchestration_project.domains.finra import datasets as finra_datasets
from orchestration_project.settings import PROJECT_ROOT
from tests import programs

README = (PROJECT_ROOT / "README.md").read_text()
MAKEFILE = (PROJECT_ROOT / "Makefile").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def dagster_commands() -> list[str]:
    """Return the README's commands of Dagster that end by themselves."""
    lines = "\n".join(BLOCKS).replace("\\\n", " ").splitlines()
    commands = [line.split("  #")[0].strip() for line in lines]
    return [line for line in commands if re.match(r"\.venv/bin/dagster (job|asset)", line)]


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme") / "state"
    yield folder
    programs.kill_all_of(folder)


DATASETS = re.compile(
    r" -j finra_(" + "|".join(each.noun for each in finra_datasets.DATASETS) + ") "
)
"""The jobs of declared datasets: the same load, which other tests run without a process each."""

WAYS = [each for each in dagster_commands() if not DATASETS.search(each)]
OF_DATASETS = [each for each in dagster_commands() if DATASETS.search(each)]


def test_the_readme_names_three_ways_of_dagsters_own_to_load_prices_and_each_dataset():
    assert len(WAYS) == 4
    assert len(OF_DATASETS) == len(finra_datasets.DATASETS)


@pytest.mark.parametrize(
    "command",
    [*WAYS, *(pytest.param(each, marks=pytest.mark.slow) for each in OF_DATASETS)],
    ids=lambda line: line[:40],
)
def test_a_command_of_dagster_alone_loads_in_a_new_shell_at_the_root(command, state_dir):
    clock = {"DEMO_CLOCK_NOW": "2026-11-20T15:00:00+00:00"}  # the weeks that the README names
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(state_dir), "STATE_DIR": str(state_dir)}
    done = subprocess.run(  # noqa: S603 - a command of our README
        shlex.split(command),
        cwd=PROJECT_ROOT,
        env=environment | programs.DEMO | clock,
        capture_output=True,
        text=True,
        timeout=programs.PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_every_make_target_is_in_the_readme_and_in_make_help():
    documented = set(re.findall(r"^\| `make ([\w-]+)", README, re.MULTILINE))
    with_help = set(re.findall(r"^([\w-]+):.*## ", MAKEFILE, re.MULTILINE))
    assert documented == with_help - {"help"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_takes(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"Usage: orchestrate {command} ")
