"""What landings of a week changed of which nobody was told, once more from the tables.

Dagster stores what a step says when the step ends. A process that dies in between has landed weeks
in silence; the next run that looks at them tells it in its place.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

import polars as pl
from sqlalchemy import Connection, RowMapping, func, select

from orchestration_project.domains.finra.ranges import ROWS_AT_ONCE, spans_of
from orchestration_project.domains.finra.restatement import (
    KEY,
    ToldChange,
    WeekChange,
    merged,
    sentence,
    week_change,
)
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.resources.warehouse import Recorded
from orchestration_project.resources.warehouse.frames import (
    Scope,
    read_frame,
    shown_scope,
    within,
)
from orchestration_project.resources.warehouse.recorded import read_recorded
from orchestration_project.tables.finra import finra_otc_weekly, finra_otc_weekly_history
from orchestration_project.tables.spine import landings

Knows = Callable[[str, str, datetime], Literal["yes", "no", "not yet"]]
"""Whether who keeps the history of runs was told of a run's landing of a partition, then known from
a time; "not yet": that run goes on, and tells when it ends."""

COMPARED = (*KEY, "share_quantity", "trade_count")
SHOWN_OF_A_RUN = 8
"""Characters of a run's id, as Dagster shows it."""


def untold_changes(
    connection: Connection, partition: TierWeek, knows: Knows
) -> Sequence[ToldChange]:
    """Return what the latest landings of a partition changed, as far as nobody was told of them.

    The oldest comes first; one that wrote no row changed nothing. What is older than one that was
    told of was told of, too; a run that goes on tells of what came before its own. Nothing is told
    of what landed before deliveries were recorded.
    """
    recorded = read_recorded(connection, finra_otc_weekly, partition.key)
    places = {each.group_id: place for place, each in enumerate(recorded)}
    told: list[ToldChange] = []
    for landed in _landings(connection, partition):
        known = knows(landed["run_id"], partition.key, landed["landed_at"])
        if known != "no" or landed["group_id"] not in places:
            break
        if landed["change_cause"] != "none":
            until = recorded[: places[landed["group_id"]] + 1]
            told.append(_told(connection, partition, landed, until))
    return told[::-1]


def _landings(connection: Connection, partition: TierWeek) -> Sequence[RowMapping]:
    """Return the landings of a partition, the latest first."""
    found = select(
        landings.c.group_id, landings.c.run_id, landings.c.landed_at, landings.c.change_cause
    ).where(
        landings.c.table_name == finra_otc_weekly.name, landings.c.partition_key == partition.key
    )
    return connection.execute(found.order_by(landings.c.landed_at.desc())).mappings().all()


def _told(
    connection: Connection, partition: TierWeek, landed: RowMapping, until: Sequence[Recorded]
) -> ToldChange:
    """Say what a landing changed, whose delivery is the last of those ``until`` then.

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
    late = f"(Told late: run {landed['run_id'][:SHOWN_OF_A_RUN]}, which landed it, ended before.)"
    return ToldChange(landed["change_cause"], change, f"{said} {late}")


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
