"""The fences of partitions: read before anything is fetched, and taken to write."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    delete,
    func,
    select,
    update,
)

from orchestration_project.engine.warehouse.delivery import Fenced, ScopeState, SupersededError
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.tables.spine import fences, landings

A_MICROSECOND = timedelta(microseconds=1)


def read_states(
    connection: Connection, table: Table, partition_keys: Sequence[str]
) -> Mapping[str, ScopeState]:
    """Return the token and the latest landing of each partition."""
    if not partition_keys:
        return {}
    newest = (
        select(func.max(landings.c.landed_at))
        .where(
            landings.c.table_name == fences.c.table_name,
            landings.c.partition_key == fences.c.scope_key,
        )
        .scalar_subquery()
    )
    found = connection.execute(
        select(fences.c.scope_key, fences.c.token, newest.label("landed_at")).where(
            _of(table, partition_keys)
        )
    ).all()
    latest = {(row.scope_key, row.landed_at): row.token for row in found}
    states = {row.scope_key: ScopeState(row.token) for row in found}
    landed = connection.execute(
        select(
            landings.c.partition_key,
            landings.c.landed_at,
            landings.c.source,
            landings.c.source_version,
            landings.c.content_sha256,
            landings.c.rule_version,
            landings.c.scope,
            landings.c.run_id,
        ).where(
            landings.c.table_name == table.name,
            landings.c.partition_key.in_(partition_keys),
            landings.c.landed_at.in_({at for _, at in latest if at is not None}),
        )
    )
    for key, at, *told in landed:
        if (key, at) in latest:
            states[key] = ScopeState(latest[key, at], at, *told)
    return {key: states.get(key, ScopeState(0)) for key in partition_keys}


def take_fence(
    connection: Connection, order: Fenced, now: datetime, source_version: str | None
) -> datetime:
    """Lock a partition as `take_fences` does, and return the next ``known_from``.

    Raises:
        SupersededError: The token is not the one of the order any more.
    """
    known_from, overtaken = take_fences(connection, [(order, source_version)], now)
    for error in overtaken.values():
        raise error
    return known_from


def take_fences(
    connection: Connection, wanted: Sequence[tuple[Fenced, str | None]], now: datetime
) -> tuple[datetime, dict[str, SupersededError]]:
    """Lock partitions of a table and move their tokens on.

    Each comes with the version of its delivery, None for one that could not be audited; of a
    derived partition it names what that is made of.

    Returns the next ``known_from``, later than that of any of them, and an error for each partition
    whose token is not the one of its order any more: that one's fence is left as it is.
    """
    table = wanted[0][0].table
    epoch = datetime.fromtimestamp(0, tz=now.tzinfo)
    new = {"table_name": table.name, "token": 0, "known_from": epoch, "source_version": None}
    keys = [order.partition_key for order, _ in wanted]
    insert_absent(connection, fences, [{**new, "scope_key": key} for key in keys])
    locked = (
        select(fences.c.scope_key, fences.c.token, fences.c.known_from)
        .where(_of(table, keys))
        .order_by(fences.c.scope_key)  # all lock in one order, so that no two deadlock
        .with_for_update()
    )
    found = {row.scope_key: row for row in connection.execute(locked)}
    overtaken = {
        order.partition_key: _superseded(order, found[order.partition_key].token)
        for order, _ in wanted
        if found[order.partition_key].token != order.token
    }
    if unheard := [key for key in overtaken if not found[key].token]:
        connection.execute(delete(fences).where(_of(table, unheard)))
    own = [each for each in wanted if each[0].partition_key not in overtaken]
    earlier = [found[order.partition_key].known_from for order, _ in own]
    known_from = max([now, *(each + A_MICROSECOND for each in earlier)])
    if own:
        connection.execute(
            update(fences)
            .where(fences.c.table_name == table.name, fences.c.scope_key == bindparam("key"))
            .values(
                token=bindparam("next_token"),
                known_from=known_from,
                source_version=bindparam("version"),
            ),
            [
                {"key": order.partition_key, "next_token": order.token + 1, "version": version}
                for order, version in own
            ],
        )
    return known_from, overtaken


def _of(table: Table, keys: Sequence[str]) -> ColumnElement[bool]:
    return and_(fences.c.table_name == table.name, fences.c.scope_key.in_(keys))


def _superseded(order: Fenced, token: int) -> SupersededError:
    return SupersededError(
        "another run delivered the same partition first",
        expected=f"delivery {order.token + 1}",
        found=f"{token} deliveries",
        remedy="nothing: the partition is looked at once more",
        partition=order.partition_key,
    )
