"""A folder that somebody else fills: its files are read, and nothing that lies outside of it."""

import errno
import stat
from pathlib import Path

from orchestration_project.errors import SourceError

LARGEST_FILE_BYTES = 256 * 1024 * 1024
"""A thousand times what a weekly file of FINRA's has; a file is held in memory as a whole."""

LOOP = "a loop of links"


def file_bytes(folder: Path, name: str, *, setting: str) -> bytes:
    """Read a regular file of ``folder``, which ``setting`` names.

    A link to one is followed, unless out of the folder: what a link elsewhere leads to would be
    quoted in errors, for all to read.

    Raises:
        SourceError: It cannot be read.
    """
    try:
        path = (folder / name).resolve(strict=True)
        if not path.is_relative_to(folder.resolve()):
            raise _refused(name, f"a link out of {setting}", setting)
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise _refused(name, "no regular file", setting)
        if found.st_size > LARGEST_FILE_BYTES:
            raise _refused(name, f"{found.st_size} bytes", setting)
        return path.read_bytes()
    except RuntimeError as error:  # how Python before 3.13 tells of a loop
        raise _refused(name, LOOP, setting) from error
    except OSError as error:
        raise unreadable(name, error, setting=setting) from error


def unreadable(name: str, error: OSError, *, setting: str) -> SourceError:
    """Return the error of a file at which the system failed."""
    reason = LOOP if error.errno == errno.ELOOP else error.strerror
    return _refused(name, reason or str(error), setting)


def _refused(name: str, found: str, setting: str) -> SourceError:
    return SourceError(
        f"the file {name} cannot be read",
        expected=f"a regular file of at most {LARGEST_FILE_BYTES} bytes that this user may read, "
        f"or a link to one within {setting}",
        found=found,
        remedy="correct the file's permissions or its link, or put the file itself into the folder",
    )
