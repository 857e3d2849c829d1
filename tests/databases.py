"""Contents of databases, for comparing two of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, create_engine, inspect, select, text, true

from orchestration_project.engine.contracts.chain import ChainProblem
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.chain_checking import check_table, list_chained_tables
from orchestration_project.engine.warehouse.connecting import parse_url
from orchestration_project.migrations import VERSION_TABLE
from orchestration_project.tables import catalogue  # noqa: F401 - declares the tables
from orchestration_project.tables.schema import METADATA
from orchestration_project.tables.spine import balances, load_chain

Rows = list[tuple[Any, ...]]

SURROUNDINGS = (
    *("access_", "operations_readiness", "operations_verified_configs"),
    *("pending_announcements", "load_chain", "chain_heads"),  # salts and keys are random
)
ATTEMPTS = ("attempt_count", "allowed_count", "lease_token")
"""Columns of work items: of two runs of the same, one may have had to attempt more."""


def store_version(connection: Connection, version: str) -> None:
    """Store another version of the tables, which stay as they are."""
    stored = text(f"UPDATE {VERSION_TABLE} SET version_num = :version")  # noqa: S608 - our own name
    connection.execute(stored, {"version": version})


def sqlite_url(state_dir: Path, source: str = "demo") -> str:
    """Return the URL of a source's default database."""
    return f"sqlite:///{state_dir}/{source}.sqlite"


def contents(url: str) -> Mapping[str, Rows]:
    """Return every table's rows, sorted, without what differs between two runs of the same.

    Left out are results of checks of the surroundings, visits, events that Dagster is not known to
    have, and the equations of runs.
    """
    engine = create_engine(parse_url(url))
    with engine.connect() as connection:
        found = {
            table.name: sorted(
                tuple(row)
                for row in connection.execute(
                    select(*(column for column in table.columns if not _varies(column))).where(
                        true() if table is not balances else balances.c.subject != balances.c.run_id
                    )
                )
            )
            for table in METADATA.sorted_tables
            if not table.name.startswith(SURROUNDINGS)
        }
    engine.dispose()
    return found


def stored(warehouse: Warehouse) -> dict[str, Rows]:
    """Return all rows of all tables as the driver gives them: no statement is compiled for that."""
    with warehouse.reading() as connection:
        return {
            name: [tuple(row) for row in connection.exec_driver_sql(f'SELECT * FROM "{name}"')]  # noqa: S608 - names of ours
            for name in METADATA.tables
        }


def chain_problems(warehouse: Warehouse) -> list[ChainProblem]:
    """Return the records of loads that do not fit their rows; each key that signed is trusted."""
    with warehouse.reading() as connection:
        signed = select(load_chain.c.public_key).where(load_chain.c.public_key.is_not(None))
        trusted = frozenset(connection.scalars(signed))
        return [
            problem
            for table in list_chained_tables(connection)
            for problem in check_table(connection, table, trusted).problems
        ]


def _varies(column: Column[Any]) -> bool:
    name = column.name
    if column.table.name == "work_items" and name in ATTEMPTS:
        return True
    return (
        name == "url" or name.endswith(("run_id", "trace_id", "_at")) or name.startswith("known_")
    )


def rows(url: str, statement: Any) -> Rows:
    """Return what a query finds."""
    engine = create_engine(parse_url(url))
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(statement)]
    engine.dispose()
    return found


def execute(url: str, *statements: Any) -> None:
    """Execute statements in one transaction."""
    engine = create_engine(parse_url(url))
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement) if isinstance(statement, str) else statement)
    engine.dispose()


def has_table(url: str, name: str) -> bool:
    """Say whether there is such a table."""
    engine = create_engine(parse_url(url))
    found = inspect(engine).has_table(name)
    engine.dispose()
    return found


def forbid_two_weeks(url: str, table: str, *key: str) -> None:
    """Have the database refuse a second week of ``table``, as no rule of ours expects it."""
    execute(url, f"CREATE UNIQUE INDEX one_week ON {table} ({', '.join(key)})")
