"""Who may read the files of this process: our user alone, but for files that a user names."""

import os

PRIVATE_UMASK = 0o077
"""With which files are made with mode 0600, and folders with 0700."""

_given: list[int] = []


def make_files_private() -> None:
    """Have this process, and what it starts, make files and folders for its user alone.

    Files that are there keep their modes. SQLite gives its `-wal` and `-shm` the mode of the
    database.
    """
    before = os.umask(PRIVATE_UMASK)
    if before != PRIVATE_UMASK:
        _given[:] = [before]


def usual_mode() -> int:
    """Return the mode of a file that a user names: what the umask lets that the user gave."""
    present = os.umask(PRIVATE_UMASK)
    os.umask(present)
    given = _given[0] if _given and present == PRIVATE_UMASK else present
    return 0o666 & ~given
