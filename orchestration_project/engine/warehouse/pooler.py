"""A pooler such as PgBouncer between us and PostgreSQL, and what must not be done through it.

In its transaction mode each transaction may come to another session of the server, and what a
session was told stays there for whoever comes next. Ours need no session: locks and settings end
with their transaction.
"""

from typing import Any

REFUSES_OPTION = "unsupported startup parameter"
"""What PgBouncer answers to an option of the URL that it does not hand on."""

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
