"""Date deliveries and ends of rows by publication, filled from the rows of loaded deliveries."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from alembic import op

from orchestration_project.migrations.changes import AddColumn, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import TYPES, Column

revision = "0060"
down_revision = "0059"

# fmt: off
CHANGES = [
    AddColumn("deliveries", Column("published_on", "date", "Publication day: latest last_update_date of its rows up to the day of the load, else that day; NULL: not loaded, or without such dates", optional=True)),
    AddColumn("deliveries", Column("is_load_day", "boolean", "Whether published_on is the day of the load in New York: the source dates no later change", optional=True)),
    AddColumn("finra_otc_weekly_history", Column("ended_on", "date", "Publication day of the delivery that replaced or removed the row; NULL: unknown", optional=True)),
    AddColumn("finra_otc_weekly_history", Column("is_load_day", "boolean", "Whether ended_on is the day of the load, as the source dates no later change", optional=True)),
]
# fmt: on


NEW_YORK = ZoneInfo("America/New_York")
TABLE = "finra_otc_weekly"

Publication = tuple[date, bool]
"""A publication day, and whether it is the day of the load."""


def _table(name: str, **columns: str) -> sa.TableClause:
    return sa.table(name, *(sa.column(each, TYPES[kind]) for each, kind in columns.items()))


_ROW = {
    "week_start": "date",
    "tier": "text",
    "market": "text",
    "last_update_date": "date",
    "known_from": "timestamp",
}
_weekly = _table(TABLE, **_ROW)
_history = _table(
    f"{TABLE}_history", **_ROW, known_to="timestamp", ended_on="date", is_load_day="boolean"
)
_deliveries = _table(
    "deliveries",
    group_id="text",
    table_name="text",
    partition_key="text",
    scope="text",
    outcome="text",
    replay_of="text",
    recorded_at="timestamp",
    published_on="date",
    is_load_day="boolean",
)


def upgrade() -> None:
    """Make the changes, and fill the new columns."""
    upgrade_by(CHANGES)
    if op.get_context().as_sql:  # there is no database to read
        return
    columns = _deliveries.c
    found = op.get_bind().execute(
        sa.select(
            *(
                columns[name]
                for name in ("group_id", "partition_key", "scope", "replay_of", "recorded_at")
            )
        )
        .where(columns.table_name == TABLE, columns.outcome == "landed")
        .order_by(columns.partition_key, columns.recorded_at)
    )
    for key, loaded in groupby(found.all(), lambda row: row.partition_key):
        tier, _, monday = key.partition("|")
        _date_partition(tier, date.fromisoformat(monday), list(loaded))


def _date_partition(tier: str, week_start: date, loaded: Sequence[sa.Row[Any]]) -> None:
    """Date the loaded deliveries of a week and tier, in their order, and the rows they ended."""
    by_group: dict[str, Publication] = {}
    earlier: list[tuple[set[str], date]] = []
    for row in loaded:
        markets = set(json.loads(row.scope).get("market", ()))
        of_scope = [
            sa.and_(
                rows.c.week_start == week_start,
                rows.c.tier == tier,
                rows.c.market.in_(markets) if markets else sa.true(),
            )
            for rows in (_weekly, _history)
        ]
        days = [day for others, day in earlier if not (markets and others) or markets & others]
        published = by_group.get(row.replay_of) or _publication(row, of_scope, days)
        by_group[row.group_id] = published
        earlier.append((markets, published[0]))
        own = _deliveries.c.group_id == row.group_id, _deliveries.c.table_name == TABLE
        day = dict(zip(("published_on", "is_load_day"), published, strict=True))
        op.execute(sa.update(_deliveries).where(*own).values(day))
        ended = of_scope[1], _history.c.known_to == row.recorded_at
        day = dict(zip(("ended_on", "is_load_day"), published, strict=True))
        op.execute(sa.update(_history).where(*ended).values(day))


def _publication(
    row: sa.Row[Any], of_scope: Sequence[sa.ColumnElement[bool]], earlier: Sequence[date]
) -> Publication:
    """Return the publication of a delivery, by its rows and the days of those before it."""
    at: datetime = row.recorded_at
    load_day = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(NEW_YORK).date()
    present, past = of_scope
    held = [
        sa.and_(present, _weekly.c.known_from <= at),
        sa.and_(past, _history.c.known_from <= at, _history.c.known_to > at),
    ]
    latest = max(
        (
            day
            for rows, is_held in zip((_weekly, _history), held, strict=True)
            if (day := _latest(rows, is_held, load_day)) is not None
        ),
        default=None,
    )
    before = max(earlier, default=None)
    adds = _has(_weekly, present, _weekly.c.known_from == at) or _has(
        _history, past, _history.c.known_from == at
    )
    if before and not adds and not _has(_history, past, _history.c.known_to == at):
        return before, False
    if latest is None or (before and latest < before) or (latest == before and not adds):
        return load_day, True
    return latest, False


def _latest(rows: sa.TableClause, is_held: sa.ColumnElement[bool], load_day: date) -> date | None:
    day = rows.c.last_update_date
    statement = sa.select(sa.func.max(day)).where(is_held, day <= load_day)
    return op.get_bind().execute(statement).scalar_one()


def _has(rows: sa.TableClause, *conditions: sa.ColumnElement[bool]) -> bool:
    statement = sa.select(sa.literal(1)).select_from(rows).where(*conditions).limit(1)
    return op.get_bind().execute(statement).first() is not None


def downgrade() -> None:
    """Undo them; the rows that they were filled from stay."""
    downgrade_by(CHANGES)
