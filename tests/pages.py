"""Blocks of the hand-written pages: shell commands, settings and outputs, and who runs them."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from orchestration_project.settings import PROJECT_ROOT

DOCS = PROJECT_ROOT / "docs"
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)

COMMAND = re.compile(r"^(?:.*<<'(\w+)'\n(?s:.*?)^\1$|.+)", re.MULTILINE)
"""A line, or one with the lines that it passes as its input."""


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        page: Path of its page below the project's root.
        language: Word after the fence.
    """

    page: str
    language: str
    text: str

    @property
    def name(self) -> str:
        """Page and first command."""
        return f"{self.page}: {self.text.splitlines()[0]}"


def blocks(path: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page in their order."""
    page = str(path.relative_to(PROJECT_ROOT))
    for _, language, text in FENCED.findall(path.read_text()):
        yield Block(page, language, textwrap.dedent(text))


def pages() -> Sequence[Path]:
    """Return README, tutorial, how-to and the other hand-written pages, in reading order."""
    first = [PROJECT_ROOT / "README.md", DOCS / "tutorial.md", *sorted(DOCS.glob("how-to/*.md"))]
    others = [
        *sorted(DOCS.glob("how-to/runbooks/*.md")),
        *sorted(DOCS.glob("*.md")),
        *sorted(DOCS.glob("explanation/*.md")),
        PROJECT_ROOT / "CONTRIBUTING.md",
        PROJECT_ROOT / ".github/SECURITY.md",
        PROJECT_ROOT / "docs/reference/rest-api.md",
    ]
    return list(dict.fromkeys([*first, *others]))


NOT_EXECUTED = {
    r"^make (test|check|ui|stack)\b": "tests/slow starts it; it runs long",
    r"^PUBLIC_HOST=|^CODE_SERVERS=|^dagster(-webserver| dev)": "runs until it is ended",
    r"^orchestrate (worker|code-server)": "runs until it is ended; tests/slow starts it",
    r"^orchestrate alerts": "needs the daemon; a slow test has it",
    r"^git (clone|fetch|switch)|^make release": "needs a repository",
    r"\bsudo |^curl https://pipelines|^cd /opt|^journalctl": "changes or reads the system, as root",
    r"^timedatectl|^ss |^rabbitmq|^openssl|^psql|^chmod o= FILE|^ls -l": "inspects a machine",
    r"^curl |^key='X-API-Key": "needs the key and a running gateway; tests/gateway sends requests",
    r"^FINRA_SOURCE=|/var/backups/": "needs a vendor, or another folder of the machine",
    r"\barchive\.zip\b": "needs an archive that the reader exported; tests/oracle recomputes it",
    r"\b(RUN_ID|KEY_ID|CAPTURE_ID|SYMBOL|DIR|ID|SESSION|ENTRY|CURSOR)\b|…|subject\.txt": (
        "names a record"
    ),
    r"^rsync|aws s3|^for bucket|^done$|/mnt/copy|s3://bucket/heads|archive\.example": (
        "needs a bucket, or another disk"
    ),
    r"trace 4bf9|documents timeline|reports/|PUBLIC_URL": "names a record",
    r"lamps|letters\.yaml|trial\.yaml|rules\.yaml": "needs a file that the reader writes",
    r"finra_corporate_market_breadth|weather": "needs code that the reader writes",
    r"pip install|DATABASE_URL=|copy-database|up\.sql": "needs another database",
    r"objectives rules|make observe": "changes deploy/; tests/slow/test_observe.py has it",
    r"plugins (add|grant|enable)|plugins_my_feed": "needs the code of a plugin",
    r"pytest tests/|\.venv/installed-dev": "installs or runs the tests",
}
"""Patterns of the shell commands that no test executes as they stand, and why."""


OF_A_PROJECT = {
    "docs/first-source.md": "tests/slow/test_first_source.py",
    "docs/how-to/add-a-source.md": "tests/slow/test_add_a_source.py",
    "docs/how-to/derive-a-table.md": "tests/slow/test_derive_a_table.py",
    "docs/how-to/use-a-dlt-source.md": "tests/slow/test_use_a_dlt_source.py",
}
"""Pages whose commands run in a project folder of a reader's own, and the tests that do so."""


def commands(block: Block) -> Sequence[str]:
    """Return the commands of a shell block, each whole with its further lines."""
    joined = re.sub(r"\\\n *", " ", block.text)
    return [match[0] for match in COMMAND.finditer(joined)]


def reason_not_executed(command: str) -> str:
    """Return why a command is not executed; empty: it is."""
    found = (reason for pattern, reason in NOT_EXECUTED.items() if re.search(pattern, command))
    return next(found, "")


def script(block: Block) -> str:
    """Return the commands of a shell block that are executed as they stand in the clone."""
    if block.page in OF_A_PROJECT:
        return ""
    return "\n".join(command for command in commands(block) if not reason_not_executed(command))
