"""Remedies for errors of the database, and limits of a pooler (PgBouncer)."""

from typing import Any

REFUSES_OPTION = "unsupported startup parameter"
"""Error of PgBouncer for an option of the URL that it does not pass on."""

WITHOUT_OPTION = (
    "take that option out of {setting} and give it to the role, as ALTER ROLE … SET does; or name "
    "the server's own port in {setting}"
)


def is_pooled(connection: Any) -> bool:
    """Whether a driver's new connection leads to a pooler, in whichever mode.

    The server names its process to who connects. A pooler answers in its place, by a number of its
    own, while what it hands on is answered by the process itself.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (answering,) = cursor.fetchone()
    connection.rollback()
    return answering != connection.info.backend_pid


def prepare_no_statements(connection: Any, _: Any) -> None:
    """Have psycopg prepare no statement in a session that others get as well."""
    if is_pooled(connection):
        connection.prepare_threshold = None


ANY = "check that it runs, that DATABASE_URL is right, and that its disk has space"

MAKE_SPACE = "make space on its disk, and run it again; what is loaded stays"

SQLITE_REMEDIES = {
    5: "see which process has the file open (`fuser FILE`), and end it; it was waited for as long "
    "as `timeout` in DATABASE_URL says, {timeout_seconds} seconds without that",
    10: "make space on its disk, or see whether that is damaged, and run it again",
    13: MAKE_SPACE,
}
"""SQLITE_BUSY, SQLITE_IOERR (how a full disk shows where a file is to be made) and SQLITE_FULL."""

SQL_STATE_REMEDIES = {
    "22P05": "use a database that holds every letter: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE "
    "template0",
    "25006": "let it take writes again (default_transaction_read_only), or name the primary in "
    "DATABASE_URL if this server is a standby; what is loaded stays",
    "25P0": "nothing, unless it happens again; then raise the role's "
    "idle_in_transaction_session_timeout or transaction_timeout",
    "40": "nothing, unless it happens again; then see what else writes to our tables",
    "42501": "have the tables' owner grant the role its rights; see docs/how-to/use-postgresql.md",
    "53100": MAKE_SPACE,
    "55P03": (
        "nothing, unless it happens again; then end the session that holds the lock: "
        "pg_blocking_pids() finds it"
    ),
    "57014": "nothing, unless it happens again; then see what slows the database, or raise the "
    "role's statement_timeout",
}
"""Remedies by prefix of the SQLSTATE."""


def find_remedy(
    sqlite_code: int | None, sql_state: str | None, *, found: str = "", timeout_seconds: int
) -> str:
    """Return the remedy of a database error.

    Args:
        sqlite_code: SQLite's code, if it is SQLite.
        sql_state: The SQLSTATE, if the driver gives one.
        found: The driver's words.
        timeout_seconds: For how many seconds SQLite waits for another process.
    """
    if REFUSES_OPTION in found:
        return WITHOUT_OPTION.format(setting="DATABASE_URL")
    if sqlite_code is not None:
        return SQLITE_REMEDIES.get(sqlite_code, ANY).format(timeout_seconds=timeout_seconds)
    of_state = (
        text for start, text in SQL_STATE_REMEDIES.items() if (sql_state or "").startswith(start)
    )
    return next(of_state, ANY)
