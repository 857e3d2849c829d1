"""Changes of a table between two times by cause, and the tables and exports made of it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, Table, func, select
from sqlalchemy.sql import visitors

from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.plans import TableDifference, compare_rows
from orchestration_project.engine.warehouse.frames import read_frame
from orchestration_project.engine.warehouse.target import BOOKKEEPING
from orchestration_project.registry import Registry
from orchestration_project.services.exports import read_all_exports
from orchestration_project.settings import Settings
from orchestration_project.tables.catalogue import (
    asset_of,
    known_tables,
    table_of,
    table_with_history,
)
from orchestration_project.tables.queries.row_diff import CHANGE, row_diff
from orchestration_project.tables.schema import HISTORY, key_names
from orchestration_project.tables.spine import landings
from orchestration_project.tables.views import VIEWS

OURS = "ours"
"""Cause of changes by other rules."""

BY_SOURCE = frozenset({"first", "more", "source", "metadata"})
"""Causes of changes by the source."""

CAUSE, CHANGED_AT = "change_cause", "changed_at"


@dataclass(frozen=True)
class Load:
    """A load that changed rows."""

    landed_at: datetime
    partition_key: str
    cause: str
    rule_version: str
    added: int
    changed: int
    removed: int


@dataclass(frozen=True)
class Downstream:
    """Tables, exports and routes with the rows of a table.

    Attributes:
        names: Assets and views that are made of it, sorted.
        exports: Exports of any of these or the table.
        routes: Routes of the API with rows of any of these or the table.
    """

    names: Sequence[str]
    exports: Sequence[str]
    routes: Sequence[str]


@dataclass(frozen=True)
class TimeDifference:
    """Changes of a table between two times.

    Attributes:
        table: Its name.
        since, until: The times.
        row_counts: Rows that differ between the two states, by change.
        by_cause: All changes of loads, by cause; a row may change more than once.
        loads: The loads that made them, in order of time.
        downstream: Tables, exports and routes with them.
    """

    table: str
    since: datetime
    until: datetime
    row_counts: Mapping[str, int]
    by_cause: Mapping[str, TableDifference]
    loads: Sequence[Load]
    downstream: Downstream

    def group_causes(self) -> Mapping[str, Mapping[str, TableDifference]]:
        """Return the changes by cause, under a heading that says who made them."""
        ours = {cause: item for cause, item in self.by_cause.items() if cause == OURS}
        by_source = {cause: item for cause, item in self.by_cause.items() if cause in BY_SOURCE}
        groups = {"Changes by the source": by_source, "Changes by our rules": ours}
        remaining = self.by_cause.keys() - ours.keys() - by_source.keys()
        if remaining:
            unclear = {cause: self.by_cause[cause] for cause in sorted(remaining)}
            groups["Changes of several or unknown causes"] = unclear
        return groups


def read_time_difference(
    connection: Connection, name: str, since: datetime, until: datetime, downstream: Downstream
) -> TimeDifference:
    """Return the changes of a table between two times.

    Args:
        connection: Reads one state of the database.
        name: A table with history.
        since: The first time.
        until: The second time, not before the first.
        downstream: Tables, exports and routes with its rows.

    Raises:
        ConfigurationError: The table has no history, or the times are in the wrong order.
    """
    table = table_with_history(name)
    differing = row_diff(name, since, until).select([*key_names(table), CHANGE], ()).order_by(None)
    changes = differing.subquery()
    counts = select(changes.c[CHANGE], func.count().label("row_count")).group_by(changes.c[CHANGE])
    row_counts = {row.change: row.row_count for row in connection.execute(counts)}
    loads = list(_read_loads(connection, name, since, until))
    by_cause = _compare_by_cause(connection, table, since, until, loads)
    return TimeDifference(name, since, until, row_counts, by_cause, loads, downstream)


def _read_loads(
    connection: Connection, name: str, since: datetime, until: datetime
) -> Iterator[Load]:
    counts = [landings.c[column] for column in ("rows_added", "rows_changed", "rows_removed")]
    columns = ("landed_at", "partition_key", "change_cause", "rule_version")
    statement = (
        select(*(landings.c[column] for column in columns), *counts)
        .where(
            landings.c.table_name == name,
            landings.c.landed_at > since,
            landings.c.landed_at <= until,
        )
        .order_by(landings.c.landed_at, landings.c.partition_key)
    )
    for row in connection.execute(statement):
        load = Load(*row)
        if load.added or load.changed or load.removed:
            yield load


def _compare_by_cause(
    connection: Connection, table: Table, since: datetime, until: datetime, loads: Sequence[Load]
) -> dict[str, TableDifference]:
    ended, begun = _read_states(connection, table, since, until)
    key = [*key_names(table), CHANGED_AT]
    begun = begun.join(ended.select(*key, CAUSE), on=key, how="left", nulls_equal=True)
    begun = begun.with_columns(pl.col(CAUSE).fill_null(_find_causes(begun, loads)))
    columns = [name for name in derive_schema(table) if name not in BOOKKEEPING]
    parts = [
        frame.partition_by(CHANGED_AT, CAUSE, as_dict=True, include_key=True)
        for frame in (ended, begun)
    ]
    found: dict[str, TableDifference] = {}
    for group in sorted({*parts[0], *parts[1]}):
        before, after = (part.get(group, begun.clear()).select(columns) for part in parts)
        cause = str(group[1])
        total = found.get(cause, TableDifference(table.name))
        found[cause] = total + compare_rows(table, before, after)
    return found


def _find_causes(begun: pl.DataFrame, loads: Sequence[Load]) -> pl.Series:
    """Return the cause of the load of each row; loads at one time may have several."""
    causes: dict[datetime, set[str]] = {}
    for load in loads:
        causes.setdefault(load.landed_at, set()).add(load.cause)
    texts = [" or ".join(sorted(causes.get(at, {"unknown"}))) for at in begun[CHANGED_AT]]
    return pl.Series(CAUSE, texts, dtype=pl.String)


def _read_states(
    connection: Connection, table: Table, since: datetime, until: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows that loads ended between two times, and those that they wrote."""
    history: Table = table.info[HISTORY]
    names = list(derive_schema(table))
    ended = read_frame(
        connection,
        select(history).where(history.c.known_to > since, history.c.known_to <= until),
        history,
    )
    written = [
        read_frame(
            connection,
            select(*(part.c[column.key] for column in table.columns)).where(
                part.c.known_from > since, part.c.known_from <= until
            ),
            part,
        ).select(names)
        for part in (table, history)
    ]
    return (
        ended.with_columns(pl.col("known_to").alias(CHANGED_AT)),
        pl.concat(written).with_columns(pl.col("known_from").alias(CHANGED_AT)),
    )


def find_downstream(name: str, registry: Registry, settings: Settings) -> Downstream:
    """Return the tables, exports and routes with the rows of a table, at any distance."""
    shown = {name, *_follow_assets(name, registry)}
    while new := {view for view in VIEWS if view not in shown and _reads_any(view, shown)}:
        shown |= new
    exports = read_all_exports(registry, settings)
    routes = [f"GET /tables/{one}" for one in sorted(shown & known_tables().keys())]
    return Downstream(
        sorted(shown - {name}),
        sorted(export for export, declared in exports.items() if declared.export.table in shown),
        [*routes, f"GET /tables/{name}/changes"],
    )


def _follow_assets(name: str, registry: Registry) -> set[str]:
    """Return the tables of all assets that depend on that of a table, at any distance."""
    followers: dict[str, set[str]] = {}
    for domain in registry.domains:
        for definition in domain.definitions.assets:
            for spec in getattr(definition, "specs", [definition]):
                for dependency in spec.deps:
                    source = dependency.asset_key.to_user_string()
                    followers.setdefault(source, set()).add(spec.key.to_user_string())
    reached: set[str] = set()
    pending = [asset_of(name)]
    while pending:
        new = followers.get(pending.pop(), set()) - reached
        reached |= new
        pending += new
    return {table_of(asset) for asset in reached} - {name}


def _reads_any(view: str, names: Collection[str]) -> bool:
    statement = VIEWS[view].select
    return any(
        isinstance(element, Table) and element.name in names
        for element in visitors.iterate(statement)
    )
