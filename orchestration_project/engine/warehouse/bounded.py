"""Read with a time limit that the database enforces: no other process can end it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Timer
from time import monotonic
from typing import Any, TypeVar

from sqlalchemy import Connection, exc, text

from orchestration_project.engine.warehouse.connecting import find_sql_state

STEPS = 10_000
"""Steps of SQLite's virtual machine between two clock checks: well below a millisecond."""

Batch = TypeVar("Batch")

CANCELED, INTERRUPTED = "57014", "SQLITE_INTERRUPT"


NO_LONGER = text(
    "SELECT set_config('statement_timeout', :limit, true) "
    "WHERE current_setting('statement_timeout')::interval "
    "NOT BETWEEN interval '1ms' AND CAST(:limit AS interval)"
)
"""A shorter limit that the user, the role or the URL has set stays; none is 0."""


@contextmanager
def use_time_limit(connection: Connection, seconds: float) -> Iterator[None]:
    """Have PostgreSQL or SQLite end what runs on ``connection`` longer; others go on.

    PostgreSQL counts for each statement, SQLite for all of them; PostgreSQL's limit ends with the
    transaction.

    Raises:
        TimeoutError: A statement was ended.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(NO_LONGER, {"limit": f"{max(1, int(seconds * 1000))}ms"})
        with _raise_timeout(connection):
            yield
    else:
        with use_idle_limit(connection, seconds):
            yield


@contextmanager
def use_idle_limit(connection: Connection, seconds: float) -> Iterator[Callable[[], None]]:
    """Have PostgreSQL or SQLite end what runs ``seconds`` after the last progress.

    Gives the function that notes progress.

    Raises:
        TimeoutError: A statement was ended.
    """
    driver: Any = connection.connection.driver_connection
    with ExitStack() as stack:
        stack.enter_context(_raise_timeout(connection))
        note_progress: Callable[[], None] = _ignore_progress
        if connection.dialect.name == "sqlite":
            deadline = _Deadline(seconds)
            driver.set_progress_handler(deadline.is_over, STEPS)
            stack.callback(driver.set_progress_handler, None, 0)  # the pool gives it to others
            note_progress = deadline.restart
        elif hasattr(driver, "cancel_safe"):  # psycopg
            alarm = _Alarm(seconds, driver.cancel_safe)
            stack.callback(alarm.stop)
            alarm.restart()
            note_progress = alarm.restart
        yield note_progress


def report_progress(batches: Iterator[Batch], note_progress: Callable[[], None]) -> Iterator[Batch]:
    """Give ``batches``; each is progress."""
    for batch in batches:
        note_progress()
        yield batch


def _ignore_progress() -> None:
    """Note no progress: others than PostgreSQL and SQLite have no limit."""


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        self._end = monotonic() + self._seconds

    def is_over(self) -> bool:
        return monotonic() > self._end


class _Alarm:
    """Calls ``action`` in a thread, ``seconds`` after the last restart."""

    def __init__(self, seconds: float, action: Callable[[], object]) -> None:
        self._seconds, self._action = seconds, action
        self._timer: Timer | None = None

    def restart(self) -> None:
        self.stop()
        self._timer = Timer(self._seconds, self._action)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


@contextmanager
def _raise_timeout(connection: Connection) -> Iterator[None]:
    try:
        yield
    except (exc.DBAPIError, connection.dialect.loaded_dbapi.Error) as error:
        if not _was_ended(getattr(error, "orig", None) or error):
            raise
        raise TimeoutError("the query exceeded its time limit and was canceled") from error


def _was_ended(error: BaseException) -> bool:
    return (
        find_sql_state(error) == CANCELED or getattr(error, "sqlite_errorname", "") == INTERRUPTED
    )
