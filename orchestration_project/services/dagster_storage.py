"""What Dagster's own storage raises where its database cannot be used.

dagster-postgres tries to connect for some seconds, and then raises an error of its own.
"""

from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import OperationalError, SQLAlchemyError

STORAGE_ERRORS = (SQLAlchemyError, DagsterPostgresException)

OUTAGES = (OperationalError, DagsterPostgresException)
"""Those of them that are not caused by a statement."""


def driver_error(error: Exception) -> BaseException:
    """Return what the database's driver said, without the frames that others put around it."""
    cause = error.__cause__ or error
    return getattr(cause, "orig", None) or cause
