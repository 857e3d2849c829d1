"""What a reader can do about what a database refuses, by the code that it gives.

Codes: https://sqlite.org/rescode.html and the appendix "PostgreSQL Error Codes" of its manual.
"""

from orchestration_project.engine.warehouse.pooler import REFUSES_OPTION, WITHOUT_OPTION

ANY = "check that it runs, that DATABASE_URL is right, and that its disk has space"

MAKE_SPACE = "make space on its disk, and run it again; what is landed stays"

OF_SQLITE = {
    5: "see which process has the file open (`fuser FILE`), and end it; it was waited for as long "
    "as `timeout` in DATABASE_URL says, {patience} seconds without that",
    10: "make space on its disk, or see whether that is damaged, and run it again",
    13: MAKE_SPACE,
}
"""SQLITE_BUSY, SQLITE_IOERR (how a full disk shows where a file is to be made) and SQLITE_FULL."""

OF_SQL_STATES = {
    "22P05": "use a database that holds every letter: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE "
    "template0",
    "25P0": "nothing, unless it happens again; then raise the role's "
    "idle_in_transaction_session_timeout or transaction_timeout",
    "40": "nothing, unless it happens again; then see what else writes to our tables",
    "42501": "have the tables' owner grant the role its rights, as docs/databases.md tells",
    "53100": MAKE_SPACE,
    "55P03": "nothing, unless it happens again; then end the session that holds the lock, as "
    "pg_blocking_pids() tells",
    "57014": "nothing, unless it happens again; then see what slows the database, or raise the "
    "role's statement_timeout",
}
"""By how they begin."""


def remedy(
    sqlite_code: int | None, sql_state: str | None, *, found: str = "", patience: int
) -> str:
    """Return what to do.

    Args:
        sqlite_code: SQLite's code, if it is SQLite.
        sql_state: The SQLSTATE, if the driver gives one.
        found: The driver's words.
        patience: For how many seconds SQLite waits for another process.
    """
    if REFUSES_OPTION in found:
        return WITHOUT_OPTION.format(setting="DATABASE_URL")
    if sqlite_code is not None:
        return OF_SQLITE.get(sqlite_code, ANY).format(patience=patience)
    of_state = (
        text for start, text in OF_SQL_STATES.items() if (sql_state or "").startswith(start)
    )
    return next(of_state, ANY)
