"""Reports a full disk or a read-only database of Dagster's own state, instead of a traceback."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import Settings

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SQLITE_FULL = (10, 13)  # SQLITE_IOERR, SQLITE_FULL
DISK_FULL = "53100"  # PostgreSQL's
FULL_BELOW_BYTES, ENOUGH_BYTES = 2**20, 2**24


@contextmanager
def full_disk_explained(settings: Settings) -> Iterator[None]:
    """Raise our error for writes that Dagster's storage refuses, and let it reach the terminal.

    While a step runs, Dagster writes what is printed to files of STATE_DIR; where the disk is full
    it cannot undo that.

    Raises:
        ConfigurationError: The state of Dagster's own could not be written.
    """
    streams = {number: os.dup(number) for number in (1, 2)}
    try:
        yield
    except Exception as error:
        cause = _find_cause(error)
        if cause is None:
            raise
        for number, count in streams.items():
            os.dup2(count, number)
        raise ConfigurationError(
            "Dagster could not write its own state",
            expected=f"free space and permission to write at {settings.state_path}, or the "
            "database of DAGSTER_DATABASE_URL",
            found=str(cause).strip(),
            remedy=f"{_choose_remedy(cause)}; what is loaded stays; run it again",
        ) from error
    finally:
        for count in streams.values():
            os.close(count)


def _find_cause(error: Exception) -> BaseException | None:
    """Return the error of a refused write; None: it is another error."""
    if isinstance(error, OSError):
        return error if error.errno in NO_SPACE else None
    from orchestration_project.services.dagster_instance import (  # imports Dagster
        find_driver_error,
        list_outage_errors,
        list_storage_errors,
    )

    if not isinstance(error, list_storage_errors()):
        return None
    cause = find_driver_error(error)
    return cause if isinstance(error, list_outage_errors()) or _is_read_only(cause) else None


def _choose_remedy(cause: BaseException) -> str:
    """Put the remedy first: SQLite reports a full disk by two codes, PostgreSQL by one."""
    from orchestration_project.services.dagster_instance import READ_ONLY_REMEDY

    sqlite_code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # an extended code holds it
    sql_state = getattr(cause, "pgcode", None)
    if _is_read_only(cause):
        return READ_ONLY_REMEDY
    is_full = isinstance(cause, OSError) or sqlite_code in SQLITE_FULL or sql_state == DISK_FULL
    return "make space" if is_full else "see that the database runs and answers"


def _is_read_only(cause: BaseException) -> bool:
    from orchestration_project.services.dagster_instance import READ_ONLY

    return getattr(cause, "pgcode", None) == READ_ONLY


class DiskWatch:
    """Reports that the disk of a folder is full, and that it has space again, each of them once."""

    def __init__(self, folder: Path, report: Callable[[str], object]) -> None:
        self._folder = folder
        self._report = report
        self._is_full = False

    def poll(self) -> None:
        """Ask how much is free."""
        self.saw(shutil.disk_usage(self._folder).free)

    def saw(self, free_bytes: int) -> None:
        """Report a change; a report that fails, as it may be written to that disk, is repeated."""
        is_full = free_bytes < (ENOUGH_BYTES if self._is_full else FULL_BELOW_BYTES)
        if is_full == self._is_full:
            return
        try:
            self._report(
                f"The disk of {self._folder} is full: Dagster cannot record what runs do, and they "
                "end. Make space; then they are retried.\n"
                if is_full
                else f"The disk of {self._folder} has space again.\n"
            )
        except OSError:
            return
        self._is_full = is_full
