"""A clone of the project with everything installed: this Python, and its own copy of the files."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from orchestration_project.settings import PROJECT_ROOT
from tests import programs

MAX_SECONDS = 3 * programs.PATIENCE_SECONDS


def make_clone(folder: Path) -> None:
    """Copy what git lists to ``folder``, with commands that run this Python there."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    for name in names.stdout.split("\0"):
        if name and (PROJECT_ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT_ROOT / name, folder / name)
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name, command in {
        "python": sys.executable,
        "dagster": f"{sys.executable} -m dagster",
        "orchestrate": f"{sys.executable} -P -m orchestration_project",
    }.items():
        file = binaries / name
        file.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}:{folder}/demo" exec {command} "$@"\n')
        file.chmod(0o755)
    (binaries / "activate").touch()  # its commands are on PATH already
    (binaries.parent / "editable").write_text(f"{folder}\n")  # or make installs it here
    for name in ("installed", "installed-dev"):
        (binaries.parent / name).touch()


def kill_programs_of(clone: Path) -> None:
    """End each program that names a file of the clone."""
    for process in psutil.process_iter(["cmdline"]):
        if any(str(clone) in argument for argument in process.info["cmdline"] or ()):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def environment_of(clone: Path) -> dict[str, str]:
    """Return that of a shell with the environment activated; the home is beside the clone."""
    path = f"{clone}/.venv/bin:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(clone.parent)}


def run(clone: Path, script: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """Return exit status and output of a script in the clone."""
    done = subprocess.run(  # noqa: S603 - commands of our pages
        ["/bin/bash", "-eu", "-c", script],
        cwd=clone,
        env={**environment_of(clone), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=MAX_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout
