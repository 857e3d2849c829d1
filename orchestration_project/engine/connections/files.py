"""Files: private to their user, renamed into place, listed; STATE_DIR; SQLite's write-ahead log."""

import errno
import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

from orchestration_project.errors import ConfigurationError, SourceError

if TYPE_CHECKING:
    from orchestration_project.settings import Settings

PRIVATE_UMASK = 0o077
"""Umask for files of mode 0600, and folders of mode 0700."""

_given: list[int] = []


def make_files_private() -> None:
    """Have this process, and what it starts, make files and folders for its user alone.

    Files that are there keep their modes. SQLite gives its `-wal` and `-shm` the mode of the
    database.
    """
    before = os.umask(PRIVATE_UMASK)
    if before != PRIVATE_UMASK:
        _given[:] = [before]


def find_default_mode() -> int:
    """Return the mode of a file that a user names: what the umask lets that the user gave."""
    present = os.umask(PRIVATE_UMASK)
    os.umask(present)
    number = _given[0] if _given and present == PRIVATE_UMASK else present
    return 0o666 & ~number


PRIVATE_FILE_MODE = 0o600
"""Permissions of a file while it is written: only this user."""


def ensure_secret(file: Path, make: Callable[[], str], name: str, remedy: str) -> str:
    """Return the secret that a file holds; where none is stored, a new one, stored first.

    Args:
        file: Its folder must exist.
        make: Returns a new secret.
        name: What the secret is, for the error.
        remedy: What to do if others may read the file.

    Raises:
        ConfigurationError: Others than the owner may read the file.
    """
    if not file.exists():
        with NamedTemporaryFile("w", dir=file.parent) as whole:  # made with mode 0600
            whole.write(make())
            whole.flush()
            with suppress(FileExistsError):  # another process was first
                file.hardlink_to(whole.name)
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        raise ConfigurationError(
            f"the {name} may be read by others",
            expected=f"{file} with mode 0600",
            found=f"mode {mode:04o}",
            remedy=remedy,
        )
    return file.read_text()


@contextmanager
def open_partial_file(
    folder: Path, *, prefix: str = "", suffix: str = ""
) -> Iterator[tuple[BinaryIO, Path]]:
    """Give a new file in ``folder``, to be renamed; an error in the block removes it.

    A lock on the file shows that its writer runs: the system frees it with the process, however
    that ends. So files of killed writers differ from those that are written, and are removed here.
    ``prefix`` and ``suffix`` separate such files from others in the folder.

    Raises:
        OSError: The folder or a file in it cannot be read or written.
    """
    for path in folder.glob(f"{prefix}*{suffix}"):
        _remove_if_abandoned(path)
    descriptor, partial = _lock_new_file(folder, prefix, suffix)
    with os.fdopen(descriptor, "wb") as file:
        try:
            yield file, partial
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _lock_new_file(folder: Path, prefix: str, suffix: str) -> tuple[int, Path]:
    while True:
        partial = folder / f"{prefix}{uuid4().hex}{suffix}"
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_FILE_MODE)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, partial
        os.close(descriptor)  # another writer took it for abandoned, before it was locked


def _remove_if_abandoned(partial: Path) -> None:
    try:
        descriptor = os.open(partial, os.O_RDWR)
    except (FileNotFoundError, PermissionError):  # renamed meanwhile, or another user's
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        partial.unlink(missing_ok=True)
    except BlockingIOError:  # its writer runs
        pass
    finally:
        os.close(descriptor)


MAX_FILE_BYTES = 256 * 1024 * 1024
"""A thousand times what a weekly file of FINRA's has; a file is held in memory as a whole."""

LOOP = "a loop of links"


def read_file_bytes(folder: Path, name: str, *, setting: str) -> bytes:
    """Read a regular file of ``folder``, which ``setting`` names.

    A link to one is followed, unless out of the folder: what a link elsewhere leads to would be
    quoted in errors, for all to read.

    Raises:
        SourceError: It cannot be read.
    """
    try:
        path = (folder / name).resolve(strict=True)
        if not path.is_relative_to(folder.resolve()):
            raise _build_error(name, f"a link out of {setting}", setting)
        stat_result = path.stat()
        if not stat.S_ISREG(stat_result.st_mode):
            raise _build_error(name, "no regular file", setting)
        if stat_result.st_size > MAX_FILE_BYTES:
            raise _build_error(name, f"{stat_result.st_size} bytes", setting)
        return path.read_bytes()
    except RuntimeError as error:  # how Python before 3.13 reports a loop
        raise _build_error(name, LOOP, setting) from error
    except OSError as error:
        raise build_read_error(name, error, setting=setting) from error


def build_read_error(name: str, error: OSError, *, setting: str) -> SourceError:
    """Return the error of a file at which the system failed."""
    reason = LOOP if error.errno == errno.ELOOP else error.strerror
    return _build_error(name, reason or str(error), setting)


def _build_error(name: str, found: str, setting: str) -> SourceError:
    return SourceError(
        f"the file {name} cannot be read",
        expected=f"a regular file of at most {MAX_FILE_BYTES} bytes that this user may read, "
        f"or a link to one within {setting}",
        found=found,
        remedy="correct the file's permissions or its link, or put the file itself into the folder",
    )


def use_write_ahead_log(connection: Any, *, timeout_seconds: float) -> None:
    """Let the file of a connection of sqlite3 have such a log.

    Processes that make the file at the same time collide here, where SQLite itself does not wait.

    Raises:
        sqlite3.OperationalError: Another held the file for so long, or it cannot be used.
    """
    until = time.monotonic() + timeout_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(0.02)


def ensure_state_folder(settings: "Settings", *names: str) -> Path:
    """Return the folder ``names`` below STATE_DIR, made when it is missing.

    What this process makes from now on is for its user alone.

    Raises:
        ConfigurationError: STATE_DIR cannot be made or written.
    """
    make_files_private()
    folder = settings.state_path.joinpath(*names)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder):  # a disk may be read-only whatever the permissions
            return folder
    except OSError as error:
        raise ConfigurationError(
            "STATE_DIR cannot be used",
            expected="a folder that this user may create and write",
            found=f"{error.strerror} at {error.filename}",
            remedy="set STATE_DIR to a folder that is yours",
            state_dir=settings.state_path,
        ) from error
