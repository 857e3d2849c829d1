"""Pages executed as a newcomer reads them, in one clone: README, tutorial, then how-to."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests import pages
from tests.clones import kill_programs_of, make_clone, run
from tests.pages import Block

pytestmark = pytest.mark.slow

TODAY = {"DEMO_CLOCK_NOW": "2026-11-24T15:00:00Z"}
"""The day of the outputs of README and how-to; the tutorial sets the clock itself."""

QUARANTINED = 1
"""Exit status of commands that the pages have fail: some partitions are quarantined."""

MAKE_FAILED = 2
"""The same of make, whatever the status of its command."""

WITH_OUTPUTS = re.compile(r"README\.md|docs/tutorial\.md|docs/how-to/[\w-]+\.md")
"""Pages whose blocks of text are outputs; in others, they are diagrams and examples."""


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """A clone with everything installed: its own copy of the project, and this Python."""
    folder = tmp_path / "orchestration_project"
    make_clone(folder)
    yield folder
    kill_programs_of(folder)


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
            has_failed_partitions = status == MAKE_FAILED and "did not load" in output
            if not (status in (0, QUARANTINED) or has_failed_partitions) or "Traceback" in output:
                yield f"{block.page}: status {status} of\n{script}{output[-1500:]}"
        elif block.language == "text" and script and WITH_OUTPUTS.fullmatch(block.page):
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
