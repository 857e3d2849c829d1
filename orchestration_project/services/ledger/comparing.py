"""Runs that differ between Dagster and the ledger, found without reading their bodies.

Each database adds up its runs by status and by the hour of their last change. Where these sums
differ, ids, statuses and times are compared run by run.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import dagster as dg
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    String,
    Table,
    cast,
    func,
    select,
    true,
    type_coerce,
)

from orchestration_project.engine.dagster_private.storage import connect_to_runs, get_runs_table
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.ledger.recording import Ledger
from orchestration_project.services.ledger.rules.entries import HourSum, iterate_differences
from orchestration_project.tables.operations_runs import operations_runs
from orchestration_project.tables.schema import UtcTimestamp

AN_HOUR, A_SECOND = timedelta(hours=1), timedelta(seconds=1)

RUNS_PER_QUERY = 500


class LedgerDifference(NamedTuple):
    """How many runs Dagster has, and the ids of those that the ledger lacks or has differently."""

    run_count: int
    differing: list[str]


def compare(
    instance: dg.DagsterInstance, ledger: Ledger, since: datetime | None
) -> LedgerDifference:
    """Compare all runs that were created after ``since`` (None: all) by id, status and time.

    Raises:
        ConfigurationError: Dagster's storage has no table of runs.
    """
    runs = connect_to_runs(instance)
    if runs is None:
        raise ConfigurationError(
            "invalid only_changed: the runs of this Dagster storage cannot be compared",
            expected="runs in SQLite or PostgreSQL",
            found=type(instance.run_storage).__name__,
            remedy="run operations_checks with only_changed: false",
        )
    with ledger.warehouse.reading() as connection:
        of_ledger = _sum_by_hour(connection, operations_runs, "created_at", "changed_at", since)
    with runs as connection:
        of_dagster = _sum_by_hour(
            connection, get_runs_table(), "create_timestamp", "update_timestamp", _drop_zone(since)
        )
        rows = [
            row
            for status, first, last in iterate_differences(of_dagster, of_ledger)
            for row in _read_states(connection, status, first, last, _drop_zone(since))
        ]
    run_count = sum(hour_sum.run_count for hour_sum in of_dagster.values())
    return LedgerDifference(run_count, _find_differing(ledger, dict(rows)))


def _find_differing(ledger: Ledger, states: Mapping[str, tuple[str, datetime]]) -> list[str]:
    ids = list(states)
    names: dict[str, tuple[str, datetime]] = {}
    for start in range(0, len(ids), RUNS_PER_QUERY):
        names |= ledger.states(ids[start : start + RUNS_PER_QUERY])
    return [run_id for run_id in ids if names.get(run_id) != states[run_id]]


def _read_states(
    connection: Connection, status: str, first: str, last: str, since: datetime | None
) -> list[tuple[str, tuple[str, datetime]]]:
    """Return id, status and last change of the runs that changed from one hour to another."""
    runs = get_runs_table().c
    start, end = (datetime.fromisoformat(hour) for hour in (first, last))
    changed = runs.update_timestamp.between(start - A_SECOND, end + AN_HOUR)
    query = select(runs.run_id, runs.update_timestamp).where(
        runs.status == status, changed, _is_later(runs.create_timestamp, since)
    )
    return [(run_id, (status, at.replace(tzinfo=UTC))) for run_id, at in connection.execute(query)]


def _sum_by_hour(
    connection: Connection, runs: Table, created: str, changed: str, since: datetime | None
) -> dict[tuple[str, str], HourSum]:
    """Return the sums by status and hour, the latter as in ``2026-11-23 20``.

    A database that has no function for this answers nothing: all hours differ then.
    """
    if connection.dialect.name not in ("sqlite", "postgresql"):
        return {}
    hour, within = _split_moment(connection.dialect.name, runs.c[changed])
    query = (
        select(runs.c.status, hour, func.count(), func.sum(cast(within, BigInteger)))
        .where(_is_later(runs.c[created], since))
        .group_by(hour, runs.c.status)  # by status first, SQLite would read the runs of all times
    )
    return {
        (status, at): HourSum(count, int(total))
        for status, at, count, total in connection.execute(query)
    }


def _split_moment(
    dialect: str, moment: ColumnElement[datetime]
) -> tuple[ColumnElement[str], ColumnElement[str]]:
    """Return the hour of a moment, and minutes, seconds and microseconds in it as digits."""
    if dialect == "postgresql":
        is_utc = isinstance(moment.type, UtcTimestamp)  # Dagster's column has no time zone
        utc = func.timezone("UTC", moment) if is_utc else moment
        return func.to_char(utc, "YYYY-MM-DD HH24"), func.to_char(utc, "MISSUS")
    text = type_coerce(moment, String)
    minute, second = func.substr(text, 15, 2), func.substr(text, 18, 2)
    microsecond = func.substr(text.concat("000000"), 21, 6)  # Dagster writes milliseconds, too
    return func.substr(text, 1, 13), minute.concat(second).concat(microsecond)


def _is_later(created: ColumnElement[datetime], since: datetime | None) -> ColumnElement[bool]:
    return true() if since is None else created > since


def _drop_zone(moment: datetime | None) -> datetime | None:
    return moment and moment.astimezone(UTC).replace(tzinfo=None)
