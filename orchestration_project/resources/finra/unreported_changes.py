"""Changes by loads of a week that were not reported to Dagster, read from the tables.

Dagster stores the events of a step when the step ends. A process that exits before has loaded weeks
without an event; the next run that reads these weeks reports their changes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Literal

import polars as pl
from sqlalchemy import Connection, RowMapping, func, select

from orchestration_project.domains.finra.contract import KEY
from orchestration_project.domains.finra.ranges import ROWS_AT_ONCE, spans_of
from orchestration_project.domains.finra.restatement import (
    ReportedChange,
    WeekChange,
    merged,
    sentence,
    week_change,
)
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.engine.warehouse import Recorded, ScopeState, Warehouse
from orchestration_project.engine.warehouse.frames import (
    Scope,
    read_frame,
    shown_scope,
    within,
)
from orchestration_project.engine.warehouse.recorded import read_recorded
from orchestration_project.tables.finra import finra_otc_weekly, finra_otc_weekly_history
from orchestration_project.tables.spine import landings

IsReported = Callable[[str, str, datetime], Literal["yes", "no", "not yet"]]
"""Whether the history of runs has an event of a run's load of a partition, known from a time; "not
yet": that run goes on, and reports when it ends."""

Changes = tuple[datetime | None, Sequence[ReportedChange]]
"""Since when the current rows are known, None if their run still reports them; and the changes to
report."""

COMPARED = (*KEY, "share_quantity", "trade_count")
SHOWN_OF_A_RUN = 8
"""Characters of a run's id, as Dagster shows it."""


@dataclass(frozen=True)
class UnreportedChanges:
    """Finds what loads changed that was not reported to Dagster.

    A change is reported at least once: twice if two runs read a week at the same time, or if a run
    goes on that was thought to be gone.
    """

    warehouse: Warehouse
    knows: IsReported

    def changes(self, partition: TierWeek, before: ScopeState, *, stays: bool) -> Changes:
        """Return what the loads up to ``before`` changed and did not report, the oldest first.

        If the partition ``stays`` as it is, a running run may report its own load. Loads before a
        reported one were reported too. Loads from before deliveries were recorded are left out.
        """
        landed_at, run_id = before.landed_at, before.run_id
        if landed_at is None or run_id is None:
            return None, ()
        known = self.knows(run_id, partition.key, landed_at)
        if known == "yes":
            return landed_at, ()
        if known == "not yet" and stays:
            return None, ()
        with self.warehouse.reading() as connection:
            found = _landings(connection, partition, landed_at)
            recorded = read_recorded(connection, finra_otc_weekly, partition.key)
        groups = [each.group_id for each in recorded]
        owed = takewhile(
            lambda each: (
                each["group_id"] in groups
                and self.knows(each["run_id"], partition.key, each["landed_at"]) != "yes"
            ),
            found,
        )
        changed = [each for each in owed if each["change_cause"] != "none"]
        with self.warehouse.reading() as connection:
            return landed_at, [
                _reported_change(
                    connection, partition, each, recorded[: groups.index(each["group_id"]) + 1]
                )
                for each in reversed(changed)
            ]


def _landings(connection: Connection, partition: TierWeek, until: datetime) -> Sequence[RowMapping]:
    """Return the landings of a partition up to one, the latest first."""
    found = select(
        landings.c.group_id, landings.c.run_id, landings.c.landed_at, landings.c.change_cause
    ).where(
        landings.c.table_name == finra_otc_weekly.name,
        landings.c.partition_key == partition.key,
        landings.c.landed_at <= until,
    )
    return connection.execute(found.order_by(landings.c.landed_at.desc())).mappings().all()


def _reported_change(
    connection: Connection, partition: TierWeek, landed: RowMapping, until: Sequence[Recorded]
) -> ReportedChange:
    """Return what a load changed, whose delivery is the last of those ``until`` then.

    Rows are read by ranges of symbols, never too many at once.
    """
    *before, own = until
    scope = {"tier": partition.tier, "week_start": partition.week_start, **own.scope}
    spans = spans_of(_counts(connection, scope), ROWS_AT_ONCE)
    change = merged(
        [_change(connection, {**scope, "symbol": span}, landed["landed_at"]) for span in spans]
    )
    said = sentence(
        landed["change_cause"],
        change,
        partition,
        part=shown_scope(own.scope),
        turns_back=_turned_back(own, before),
    )
    run = landed["run_id"][:SHOWN_OF_A_RUN]
    late = f"(Told late: run {run}, which landed it, had not told of it.)"
    return ReportedChange(landed["change_cause"], change, f"{said} {late}")


def _turned_back(own: Recorded, before: Sequence[Recorded]) -> bool:
    """Whether what was landed before a delivery had been fetched later."""
    landed = [each for each in before if each.outcome == "landed"]
    return bool(landed) and own.fetched_number < landed[-1].fetched_number


def _counts(connection: Connection, scope: Scope) -> pl.DataFrame:
    """Return how many rows each symbol has, and had."""
    found = [
        tuple(row)
        for table in (finra_otc_weekly, finra_otc_weekly_history)
        for row in connection.execute(
            select(table.c.symbol, func.count()).where(within(table, scope)).group_by("symbol")
        )
    ]
    counts = pl.DataFrame(found, {"symbol": pl.String, "row_count": pl.Int64}, orient="row")
    return counts.group_by("symbol").agg(pl.col("row_count").sum())


def _change(connection: Connection, scope: Scope, at: datetime) -> WeekChange:
    """Compare what was current right before a landing and with it."""
    now, then = finra_otc_weekly, finra_otc_weekly_history
    columns = (*COMPARED, "known_from")
    current = select(*(now.c[name] for name in columns)).where(
        within(now, scope), now.c.known_from <= at
    )
    earlier = select(*(then.c[name] for name in (*columns, "known_to", "change_cause"))).where(
        within(then, scope), then.c.known_from <= at, then.c.known_to >= at
    )
    history = read_frame(connection, earlier, then)
    ends = pl.col("known_to") == pl.lit(at, pl.Datetime("us", "UTC"))
    with_it = pl.concat(
        [read_frame(connection, current, now), history.filter(~ends).select(columns)]
    )
    is_written = pl.col("known_from") == pl.lit(at, pl.Datetime("us", "UTC"))
    is_metadata = pl.col("change_cause") == "metadata"
    return week_change(
        replaced=history.filter(ends).with_columns(is_metadata=is_metadata),
        written=with_it.filter(is_written),
        kept=with_it.filter(~is_written),
    )
