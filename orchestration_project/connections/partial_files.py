"""Files that are being written: locked by their writers, cleared away once those are dead."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

OURS_ALONE = 0o600
"""Who may read what is being written: our user."""


@contextmanager
def partial_file(
    folder: Path, *, prefix: str = "", suffix: str = ""
) -> Iterator[tuple[BinaryIO, Path]]:
    """Give a new file in ``folder``, to be renamed; an error in the block removes it.

    A lock on the file says that its writer lives: the system frees it with the process, however
    that ends. So what killed writers left is told from what others are writing, and removed here.
    ``prefix`` and ``suffix`` tell such files from what else is in the folder.

    Raises:
        OSError: The folder or a file in it cannot be read or written.
    """
    for each in folder.glob(f"{prefix}*{suffix}"):
        _remove_if_abandoned(each)
    descriptor, partial = _locked_file(folder, prefix, suffix)
    with os.fdopen(descriptor, "wb") as file:
        try:
            yield file, partial
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _locked_file(folder: Path, prefix: str, suffix: str) -> tuple[int, Path]:
    while True:
        partial = folder / f"{prefix}{uuid4().hex}{suffix}"
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, OURS_ALONE)
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
    except BlockingIOError:  # its writer lives
        pass
    finally:
        os.close(descriptor)
