"""Metrics of the database server, and of work items, which are counted by an index alone."""

from collections.abc import Mapping

from prometheus_client.core import Metric
from sqlalchemy import Connection, func, select, text

from orchestration_project.engine.contracts.work_items import OPEN_STATES
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import DATABASE_SIZE
from orchestration_project.services.metrics.families import gauge
from orchestration_project.tables.spine import work_items

CONNECTIONS = text(
    "SELECT coalesce(state, 'other'), count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() GROUP BY 1"
)
OLDEST_TRANSACTION = text(
    "SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0) "
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
CONNECTION_STATES = ("active", "idle", "idle in transaction")


def measure_database(warehouse: Warehouse) -> list[Metric]:
    """Return figures of the database's server; SQLite has none but its size.

    Raises:
        OrchestrationError: The database cannot be read.
    """
    with warehouse.reading() as connection:
        name = connection.dialect.name
        size = (
            connection.execute(DATABASE_SIZE[name]).scalar_one() if name in DATABASE_SIZE else None
        )
        is_server = name == "postgresql"
        states = _count_connections(connection) if is_server else {}
        age = connection.execute(OLDEST_TRANSACTION).scalar_one() if is_server else None
    return [
        gauge(
            "database_size_bytes",
            "Size of the database.",
            (),
            {} if size is None else {(): float(size)},
        ),
        gauge(
            "database_connections",
            "PostgreSQL: connections to the database, by state.",
            ("state",),
            {(state,): count for state, count in states.items()},
        ),
        gauge(
            "database_oldest_transaction_seconds",
            "PostgreSQL: age of the oldest open transaction; 0: none is open.",
            (),
            {} if age is None else {(): max(0.0, float(age))},
        ),
    ]


def _count_connections(connection: Connection) -> Mapping[str, int]:
    counted: dict[str, int] = dict.fromkeys((*CONNECTION_STATES, "other"), 0)
    for state, count in connection.execute(CONNECTIONS):
        counted[state if state in CONNECTION_STATES else "other"] += count
    return counted


def measure_work_items(warehouse: Warehouse) -> list[Metric]:
    """Return the number of work items that are not done.

    Raises:
        OrchestrationError: The database cannot be read.
    """
    items = work_items.c
    query = (
        select(items.topic, items.state, func.count())
        .where(items.state.in_(OPEN_STATES))
        .group_by(items.topic, items.state)
    )
    with warehouse.reading() as connection:
        rows = connection.execute(query).all()
    topics = {topic for topic, *_ in rows}
    counts = {(topic, state): 0.0 for topic in topics for state in OPEN_STATES}
    return [
        gauge(
            "work_items",
            "Work items that are not done, by topic and state.",
            ("topic", "state"),
            counts | {(topic, state): count for topic, state, count in rows},
            together=lambda one, other: one + other,
        )
    ]
