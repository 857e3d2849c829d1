"""The commands of docs/tutorial.md, run in their order, print what the page says."""

import re
import shlex
import subprocess
import sys

import pytest

from orchestration_project.settings import PROJECT_ROOT
from tests import programs

pytestmark = pytest.mark.slow

PAGE = (PROJECT_ROOT / "docs" / "tutorial.md").read_text()
BLOCKS = re.findall(r"^```(sh|text)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ELSEWHERE = ("git ", "make ui", ".venv/bin/orchestrate alerts")
"""Commands that other tests run: alerts need the daemon of `make ui`."""


def steps() -> list[tuple[list[str], str]]:
    """Return the commands of each block, and the output that the page shows after it."""
    found: list[tuple[list[str], str]] = []
    for kind, text in BLOCKS:
        if kind == "sh":
            found.append((text.replace("\\\n", " ").splitlines(), ""))
        else:
            found[-1] = (found[-1][0], text)
    return found


def settings_of(command: str) -> dict[str, str]:
    """Return the settings that a command writes into .env."""
    lines = shlex.split(command)[1].split(r"\n")
    return dict(line.split("=", 1) for line in lines if line)


def arguments_of(command: str) -> list[str]:
    """Return what `orchestrate` is called with, also of `make run`."""
    program, *arguments = shlex.split(
        command.replace("make run WEEKS=", "orchestrate run --weeks ")
    )
    assert program.endswith("orchestrate"), command
    return arguments


def missing(shown: str, output: str) -> list[str]:
    """Return the lines of the page that the output lacks; … stands for any text."""
    patterns = [
        ".*".join(re.escape(part.strip()) for part in line.split("…"))
        for line in shown.splitlines()
        if line.strip("… ")
    ]
    return [each for each in patterns if not re.search(each, output)]


def test_each_command_prints_what_the_page_shows(tmp_path):
    settings: dict[str, str] = {}
    ran = 0
    for commands, shown in steps():
        for command in commands:
            if command.startswith("printf"):
                settings = settings_of(command)
            elif not command.startswith(ELSEWHERE):
                clean = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
                done = subprocess.run(  # noqa: S603 - a command of our page
                    [sys.executable, "-m", "orchestration_project", *arguments_of(command)],
                    cwd=tmp_path,
                    env={**clean, **settings, "STATE_DIR": str(tmp_path / "state")},
                    capture_output=True,
                    text=True,
                    timeout=3 * programs.PATIENCE_SECONDS,
                )
                assert missing(shown, done.stdout + done.stderr) == [], done.stderr[-2000:]
                ran += 1
    programs.kill_all_of(tmp_path / "state")
    assert ran == 10
