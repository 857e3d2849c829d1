"""What the latest landing of a week changed, once more from the tables: its run died untold.

Dagster stores what a step says when the step ends. A process that dies in between has landed weeks
of which nobody was told; the next run that looks at them tells it in its place.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

import polars as pl
from sqlalchemy import Connection, func, select

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
from orchestration_project.resources.warehouse import Recorded, ScopeState
from orchestration_project.resources.warehouse.frames import (
    Scope,
    read_frame,
    shown_scope,
    within,
)
from orchestration_project.resources.warehouse.recorded import number_of, read_recorded
from orchestration_project.tables.finra import finra_otc_weekly, finra_otc_weekly_history
from orchestration_project.tables.spine import landings

Knows = Callable[[str, str, datetime], Literal["yes", "no", "not yet"]]
"""Whether who keeps the history of runs was told of a run's landing of a partition, then known from
a time; "not yet": that run goes on, and tells when it ends."""

COMPARED = (*KEY, "share_quantity", "trade_count")
SHOWN_OF_A_RUN = 8
"""Characters of a run's id, as Dagster shows it."""


def change_of_landing(
    connection: Connection, partition: TierWeek, landed: ScopeState
) -> ToldChange | None:
    """Return what the latest landing of a partition changed; None where it wrote no row.

    Its rows are known since then, and so is the end of those that it replaced. They are read by
    ranges of symbols, as many rows at once as a week may have that is held in memory.
    """
    cause = connection.execute(
        select(landings.c.change_cause).where(
            landings.c.table_name == finra_otc_weekly.name, landings.c.group_id == landed.group_id
        )
    ).scalar_one()
    if cause == "none":
        return None
    recorded = read_recorded(connection, finra_otc_weekly, partition.key)
    own = next(each for each in recorded if each.group_id == landed.group_id)
    scope = {"tier": partition.tier, "week_start": partition.week_start, **own.scope}
    spans = spans_of(_counts(connection, scope), ROWS_AT_ONCE)
    change = merged(
        [_change(connection, {**scope, "symbol": span}, landed.landed_at) for span in spans]
    )
    said = sentence(
        cause,
        change,
        partition,
        part=shown_scope(own.scope),
        turns_back=_turned_back(own, recorded),
    )
    run = str(landed.run_id)[:SHOWN_OF_A_RUN]
    return ToldChange(cause, change, f"{said} (Told late: run {run}, which landed it, died.)")


def _turned_back(own: Recorded, recorded: list[Recorded]) -> bool:
    """Whether what was landed before a delivery had been fetched later."""
    before = [
        each
        for each in recorded
        if each.outcome == "landed" and number_of(each.group_id) < number_of(own.group_id)
    ]
    return bool(before) and own.fetched_number < before[-1].fetched_number


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


def _change(connection: Connection, scope: Scope, landed_at: datetime | None) -> WeekChange:
    now, then = finra_otc_weekly.c, finra_otc_weekly_history.c
    current = read_frame(
        connection,
        select(*(now[name] for name in (*COMPARED, "known_from"))).where(
            within(finra_otc_weekly, scope)
        ),
        finra_otc_weekly,
    )
    replaced = read_frame(
        connection,
        select(*(then[name] for name in (*COMPARED, "change_cause"))).where(
            within(finra_otc_weekly_history, scope), then.known_to == landed_at
        ),
        finra_otc_weekly_history,
    )
    is_written = pl.col("known_from") == pl.lit(landed_at, pl.Datetime("us", "UTC"))
    return week_change(
        replaced=replaced.with_columns(is_metadata=pl.col("change_cause") == "metadata"),
        written=current.filter(is_written),
        kept=current.filter(~is_written),
    )
