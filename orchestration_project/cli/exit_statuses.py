"""The exit statuses of all commands."""

import sys
import traceback
from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING

from orchestration_project.cli import console
from orchestration_project.errors import OrchestrationError

if TYPE_CHECKING:
    from orchestration_project.engine.contracts.partitioning import LoadOutcome


class ExitStatus(IntEnum):
    """Exit status of a command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_PUBLISHED = 3
    CHANGES = 4
    INTERRUPTED = 130
    UNREAD = 141


MEANINGS: Mapping[ExitStatus, str] = {
    ExitStatus.DONE: "done; of a load: every partition is loaded, unchanged or not asked for",
    ExitStatus.FAILED: "refused or failed; the message names what to do; of a load: something "
    "failed or is quarantined; of a check: a finding",
    ExitStatus.USAGE: "usage error: an unknown command, option or value, or a name that does not "
    "exist, such as that of a dataset, partition, table, column, source, site, domain, key, plugin "
    "or alert",
    ExitStatus.NOT_PUBLISHED: "of a load: something is not published yet, and nothing failed",
    ExitStatus.CHANGES: "of a plan, also of an upgrade: something would change",
    ExitStatus.INTERRUPTED: "interrupted by Ctrl-C",
    ExitStatus.UNREAD: "the reader closed the pipe, as `head` does",
}
"""The meaning of each, as in the reference."""

EXIT_STATUSES: "Mapping[LoadOutcome, ExitStatus]" = {
    "loaded": ExitStatus.DONE,
    "not_published": ExitStatus.NOT_PUBLISHED,
    "failed": ExitStatus.FAILED,
}
"""Exit status of a load by its outcome."""

EXIT_STATUS_TEXT = (
    "Exit status: 0 loaded, all is loaded or unchanged; 3 not_published, something is not "
    "published yet; 1 failed, something failed or is quarantined; 2 usage or not configured."
)
"""For the help of commands that load; the words are those of `LoadOutcome`."""


def status_of_error(error: OrchestrationError) -> ExitStatus:
    """Return the exit status of a command that an error ended."""
    return ExitStatus.USAGE if error.is_unknown_name else ExitStatus.FAILED


def report_error(error: Exception) -> ExitStatus:
    """Write an error of ours, or of a database, and return the exit status; raise a defect."""
    from orchestration_project.engine.warehouse.connecting import explain_error

    explained = explain_error(error)
    if explained is None:
        raise error
    if console.OUTPUT.is_verbose:
        traceback.print_exception(error)
    sys.stderr.write(f"{explained}\n")
    return status_of_error(explained)
