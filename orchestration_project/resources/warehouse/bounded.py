"""A read that the database itself ends when it takes too long: nobody else can end it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, exc, text

from orchestration_project.resources.warehouse.connecting import sql_state

STEPS = 10_000
"""Of SQLite's virtual machine between two looks at the clock: well below a millisecond."""

CANCELED, INTERRUPTED = "57014", "SQLITE_INTERRUPT"


NO_LONGER = text(
    "SELECT set_config('statement_timeout', :limit, true) "
    "WHERE current_setting('statement_timeout')::interval "
    "NOT BETWEEN interval '1ms' AND CAST(:limit AS interval)"
)
"""A shorter limit that the user, the role or the URL has set stays; none is 0."""


@contextmanager
def ended_after(connection: Connection, seconds: float) -> Iterator[None]:
    """Have PostgreSQL or SQLite end what runs on ``connection`` longer; others go on.

    PostgreSQL counts for each statement, SQLite for all of them; PostgreSQL's limit ends with the
    transaction.

    Raises:
        TimeoutError: A statement was ended.
    """
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "postgresql":
        connection.execute(NO_LONGER, {"limit": f"{max(1, int(seconds * 1000))}ms"})
    elif connection.dialect.name == "sqlite":
        end = time.monotonic() + seconds
        driver.set_progress_handler(lambda: time.monotonic() > end, STEPS)
    try:
        yield
    except (exc.DBAPIError, connection.dialect.loaded_dbapi.Error) as error:
        if not _was_ended(getattr(error, "orig", None) or error):
            raise
        raise TimeoutError("the database took too long, and was told to stop") from error
    finally:
        if connection.dialect.name == "sqlite":
            driver.set_progress_handler(None, 0)  # the pool gives the connection to others


def _was_ended(error: BaseException) -> bool:
    return sql_state(error) == CANCELED or getattr(error, "sqlite_errorname", "") == INTERRUPTED
