"""A disk that fills up while Dagster writes its own state, told instead of a traceback."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import OperationalError

from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import Settings

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def full_disk_explained(settings: Settings) -> Iterator[None]:
    """Turn what Dagster's storage refuses into our error, and have it reach the terminal.

    While a step runs, Dagster writes what is printed to files of STATE_DIR; where the disk is full
    it cannot undo that.

    Raises:
        ConfigurationError: The state of Dagster's own could not be written.
    """
    streams = {number: os.dup(number) for number in (1, 2)}
    try:
        yield
    except (OSError, OperationalError) as error:
        if isinstance(error, OSError) and error.errno not in NO_SPACE:
            raise
        for number, kept in streams.items():
            os.dup2(kept, number)
        raise ConfigurationError(
            "Dagster could not write its own state",
            expected=f"free space and permission to write at {settings.state_path}, or the "
            "database of DAGSTER_DATABASE_URL",
            found=str(getattr(error, "orig", error)),
            remedy="make space; what is landed stays; run it again",
        ) from error
    finally:
        for kept in streams.values():
            os.close(kept)
