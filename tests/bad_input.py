"""Promises of `docs/bad-input.md` for each bad input, and the outcome of one."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from orchestration_project.errors import OrchestrationError
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.tables.spine import audits, captures, landings, rejects
from tests.resources.weeks import PartitionLoader

DOCUMENT = PROJECT_ROOT / "docs" / "bad-input.md"

EVERY_ROW = "every row"
REJECTS = "every good row; the bad line as a reject"
HELD_BACK = "the bytes, the rejects and the audits"
BYTES = "the bytes"
NOTHING = "nothing: nothing came"
ISSUE = "the task, as one issue"
REJECTED = "the other tasks; this one as a reject"
LETTER = "the other tasks; a dead letter of this one"
DELIVERY = "the delivery; the tasks as they were"
AS_IT_WAS = "all as it was"
ROUTING_LETTER = "the other actions; a dead letter of this one"
WAITING = "the action, as it waits"
LINES = "the log lines"
OUTCOMES = {
    *(EVERY_ROW, REJECTS, HELD_BACK, BYTES, NOTHING),
    *(ISSUE, REJECTED, LETTER, DELIVERY, AS_IT_WAS, ROUTING_LETTER, WAITING, LINES),
}


@dataclass(frozen=True)
class Promise:
    """One row of the document; ``test`` is the name of a case or of a test's function."""

    bad_input: str
    seen: str
    kept: str
    remedy: str
    test: str

    @property
    def quoted(self) -> list[str]:
        """The texts in backticks."""
        return re.findall(r"`([^`]+)`", self.seen)

    def is_seen_in(self, message: str) -> bool:
        """Whether every text in backticks is in the message; … stands for anything."""
        return all(_pattern(quoted).search(message) for quoted in self.quoted)


def _pattern(quoted: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(piece) for piece in quoted.split("…")), re.DOTALL)


def promises() -> list[Promise]:
    """Return the rows of all tables of the document that name a test."""
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    rows = [re.split(r"(?<!\\)\|", line.strip("|")) for line in lines]
    cells = [[cell.strip().replace(r"\|", "|") for cell in row] for row in rows]
    return [
        Promise(bad_input, seen, kept, remedy, test.strip("`"))
        for bad_input, seen, kept, remedy, test in (row for row in cells if len(row) == 5)
        if test != "Test"
    ]


def promise(test: str) -> Promise:
    """Return the row that names ``test``."""
    (found,) = [made_promise for made_promise in promises() if made_promise.test == test]
    return found


@contextmanager
def watched(partition_loader: PartitionLoader) -> Iterator[Callable[[], str]]:
    """Give a function that returns what was kept since; what is published stays, or is loaded."""
    before = {
        table: partition_loader.count(table) for table in (captures, audits, rejects, landings)
    }
    published = partition_loader.quantities()

    def check_published_and_describe() -> str:
        new = {table: partition_loader.count(table) - count for table, count in before.items()}
        if new[landings]:
            return REJECTS if new[rejects] else EVERY_ROW
        assert partition_loader.quantities() == published
        if new[audits]:
            return HELD_BACK
        return BYTES if new[captures] else NOTHING

    yield check_published_and_describe


def error_or_outcome(load: Callable[[], object]) -> str:
    """Return the message that a user reads of a load: its error, or how it went."""
    try:
        return str(load())
    except OrchestrationError as error:
        return str(error)
