"""Pages executed as a newcomer reads them, in one clone: README, tutorial, then how-to."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from orchestration_project.settings import PROJECT_ROOT
from tests import pages, programs
from tests.pages import Block

pytestmark = pytest.mark.slow

TODAY = {"DEMO_CLOCK_NOW": "2026-11-24T15:00:00Z"}
"""The day of the outputs of README and how-to; the tutorial sets the clock itself."""

MAX_SECONDS = 3 * programs.PATIENCE_SECONDS
QUARANTINED = 1
"""Exit status of commands that the pages have fail: some partitions are quarantined."""

MAKE_FAILED = 2
"""The same of make, whatever the status of its command."""

WITH_OUTPUTS = ("README.md", "docs/tutorial.md")
"""Pages whose blocks of text are outputs; in others, they are diagrams and examples."""


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """A clone with everything installed: its own copy of the project, and this Python."""
    folder = tmp_path / "orchestration_project"
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
        file.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec {command} "$@"\n')
        file.chmod(0o755)
    (binaries.parent / "editable").write_text(f"{folder}\n")  # or make installs it here
    for name in ("installed", "installed-dev"):
        (binaries.parent / name).touch()
    yield folder
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in argument for argument in process.info["cmdline"] or ()):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def run(clone: Path, script: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """Return exit status and output of a script in the clone."""
    done = subprocess.run(  # noqa: S603 - commands of our pages
        ["/bin/bash", "-eu", "-c", script],
        cwd=clone,
        env={"PATH": f"{clone}/.venv/bin:/usr/bin:/bin", "HOME": str(clone.parent), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=MAX_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout


def missing(shown: str, output: str) -> list[str]:
    """Return the lines of a page that an output lacks; … stands for any text."""
    patterns = [
        ".*".join(r"\s+".join(map(re.escape, part.split())) for part in line.split("…"))
        for line in shown.splitlines()
        if line.strip("… ")
    ]
    return [pattern for pattern in patterns if not re.search(pattern, output)]


def problems_of(
    clone: Path, blocks: Sequence[Block], environment: Mapping[str, str]
) -> Iterator[str]:
    """Execute a page, and yield each command that fails and each line that is not printed."""
    script, output, functions = "", "", ""
    for block in blocks:
        if block.language == "sh" and (script := pages.script(block)):
            status, output = run(clone, functions + script, environment)
            functions += "".join(f"{line}\n" for line in script.splitlines() if "() {" in line)
            has_failed_partitions = status == MAKE_FAILED and "did not land" in output
            if not (status in (0, QUARANTINED) or has_failed_partitions) or "Traceback" in output:
                yield f"{block.page}: status {status} of\n{script}{output[-1500:]}"
        elif block.language == "text" and script and block.page in WITH_OUTPUTS:
            yield from (
                f"{block.page}: not printed: {line}\n{output[-1500:]}"
                for line in missing(block.text, output)
            )


def test_pages_print_what_they_show_in_the_order_in_which_people_read(clone: Path):
    readme, tutorial, *others = pages.pages()
    problems = list(problems_of(clone, list(pages.blocks(readme)), TODAY))
    problems += problems_of(clone, list(pages.blocks(tutorial)), {})
    (clone / ".env").unlink()
    for page in others:
        problems += problems_of(clone, list(pages.blocks(page)), TODAY)
    assert not problems, "\n\n".join(problems)
