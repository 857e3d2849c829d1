"""One delivery into one table, in one transaction, with what it replaced kept as history.

A table's coarsest scope (its partition) has a row in `fences`: the lock, and a token that counts
deliveries. Who wants to land reads the token first, fetches, and must find it unchanged under
the lock: a process that was paused cannot commit over its successor.
"""

import time
from datetime import UTC, datetime, timedelta

import polars as pl
from sqlalchemy import Connection, Table, delete, select, update

from orchestration_project.contracts import Checked, content_sha256
from orchestration_project.resources.warehouse.delivery import (
    Delivery,
    Fenced,
    Landed,
    Order,
    Prepared,
    ScopeState,
    SupersededError,
    Told,
    group_id,
)
from orchestration_project.resources.warehouse.difference import (
    BOOKKEEPING,
    Difference,
    difference,
    no_difference,
)
from orchestration_project.resources.warehouse.evidence import (
    capture_ids,
    record_evidence,
    record_landing,
)
from orchestration_project.resources.warehouse.frames import (
    Scope,
    delete_rows,
    insert_absent,
    insert_frame,
    range_of,
    read_scope,
    shown_scope,
    within,
)
from orchestration_project.tables.kinds import schema_of
from orchestration_project.tables.spine import fences, landings

FEW = 10
"""Up to one in so many rows are replaced one by one; more are faster replaced with all the rest."""


def read_state(connection: Connection, table: Table, partition_key: str) -> ScopeState:
    """Return the token and the latest landing of a partition."""
    token = connection.execute(
        select(fences.c.token).where(
            fences.c.table_name == table.name, fences.c.scope_key == partition_key
        )
    ).scalar()
    latest = connection.execute(
        select(
            landings.c.source,
            landings.c.source_version,
            landings.c.content_sha256,
            landings.c.rule_version,
            landings.c.scope,
            landings.c.run_id,
        )
        .where(landings.c.table_name == table.name, landings.c.partition_key == partition_key)
        .order_by(landings.c.landed_at.desc())
        .limit(1)
    ).first()
    return ScopeState(token or 0, *(latest or ()))


def take_fence(
    connection: Connection, order: Fenced, now: datetime, source_version: str | None
) -> datetime:
    """Lock the partition, move its token on, and return the next ``known_from``.

    ``source_version`` is the delivery's, None for one that could not be audited; of a derived
    partition it names what that is made of.

    Raises:
        SupersededError: The token is not the one of the order any more.
    """
    at = {"table_name": order.table.name, "scope_key": order.partition_key}
    epoch = datetime.fromtimestamp(0, tz=now.tzinfo)
    insert_absent(
        connection, fences, [{**at, "token": 0, "known_from": epoch, "source_version": None}]
    )
    fence = connection.execute(
        select(fences.c.token, fences.c.known_from).where(within(fences, at)).with_for_update()
    ).one()
    if fence.token != order.token:
        raise SupersededError(
            "another run delivered the same partition first",
            expected=f"delivery {order.token + 1}",
            found=f"{fence.token} deliveries",
            remedy="nothing: the partition is looked at once more",
            partition=order.partition_key,
        )
    known_from = max(now, fence.known_from + timedelta(microseconds=1))
    connection.execute(
        update(fences)
        .where(within(fences, at))
        .values(token=order.token + 1, known_from=known_from, source_version=source_version)
    )
    return known_from


def land(
    connection: Connection,
    order: Order[Told],
    delivery: Delivery,
    prepared: Prepared,
    known_from: datetime,
) -> Landed[Told]:
    """Bring the checked rows in, move what they replace to the history, derive, and record it."""
    started = time.monotonic()
    checked, content = prepared.checked, prepared.content_sha256
    group = group_id(order)
    scope = {**order.partition, **delivery.scope}
    incoming = _with_captures(checked.rows, order.table, group, known_from)
    before = order.before or read_state(connection, order.table, order.partition_key)
    is_same = (before.content_sha256, before.rule_version, before.scope) == (
        content,
        order.rule_version,
        shown_scope(scope),
    )
    change = no_difference(incoming) if is_same else _write(connection, order, scope, incoming)
    derived: dict[str, float] = {}
    if change.is_any or before.rule_version != order.rule_version:
        _keep_history(
            connection, order, change, known_from, _cause_of_value(before, delivery, order)
        )
        derived = _derive(connection, order, prepared)
    landed = Landed(
        group,
        _cause(before, delivery, order, change),
        change.added,
        change.changed,
        change.removed,
        change.unchanged,
        derived,
        time.monotonic() - started,
        known_from,
        _summary(order, change, known_from),
        [audit.name for audit in checked.audits if audit.warns],
    )
    record_evidence(connection, order, delivery, checked, known_from, "landed")
    record_landing(connection, order, delivery, checked, landed, content, shown_scope(scope))
    return landed


def prepare(order: Order, delivery: Delivery, checked: Checked) -> Prepared:
    """Return ``checked`` with all that depends on it alone, so that its transaction is short."""
    values = [name for name in schema_of(order.table) if name not in BOOKKEEPING]
    is_whole = not delivery.scope and not checked.is_held_back
    derived = (
        {table: make(checked.rows) for table, make in order.derive.items()} if is_whole else None
    )
    return Prepared(checked, content_sha256(checked.rows.select(values)), derived)


def is_landed(before: ScopeState, order: Order, delivery: Delivery, prepared: Prepared) -> bool:
    """Whether landing would write no row: content, rules, scope and source are the landed ones."""
    return (
        before.source,
        before.source_version,
        before.content_sha256,
        before.rule_version,
        before.scope,
    ) == (
        delivery.source,
        delivery.source_version,
        prepared.content_sha256,
        order.rule_version,
        shown_scope({**order.partition, **delivery.scope}),
    )


def is_there(connection: Connection, order: Order, delivery: Delivery, prepared: Prepared) -> bool:
    """Whether landing would write no row, whichever deliveries landed those that are there."""
    scope = {**order.partition, **delivery.scope}
    at = datetime.fromtimestamp(0, tz=UTC)
    incoming = _with_captures(prepared.checked.rows, order.table, group_id(order), at)
    current = read_scope(connection, order.table, scope)
    return not difference(order.table, order.metadata_columns, current, incoming).is_any


def _with_captures(
    rows: pl.DataFrame, table: Table, group: str, known_from: datetime
) -> pl.DataFrame:
    return rows.with_columns(
        capture_id=capture_ids(rows, group),
        known_from=pl.lit(known_from, pl.Datetime("us", "UTC")),
    ).select(list(schema_of(table)))


def _write(
    connection: Connection, order: Order, scope: Scope, incoming: pl.DataFrame
) -> Difference:
    is_first = not order.token  # the fence says so: then there is nothing to read
    current = incoming.clear() if is_first else read_scope(connection, order.table, scope)
    change = difference(order.table, order.metadata_columns, current, incoming)
    if len(change.replaced) * FEW <= len(current):
        delete_rows(connection, order.table, change.replaced)
        insert_frame(connection, order.table, change.written)
    else:
        connection.execute(delete(order.table).where(within(order.table, scope)))
        insert_frame(connection, order.table, change.rows)
    return change


def _summary(order: Order[Told], change: Difference, known_from: datetime) -> Told | None:
    """Return what the order says of a change: its new and changed rows are known from now on."""
    if not change.is_any:
        return None
    is_kept = pl.col("known_from") != pl.lit(known_from, pl.Datetime("us", "UTC"))
    kept = change.rows.filter(is_kept) if change.unchanged else change.rows.clear()
    return order.summarise(replaced=change.replaced, written=change.written, kept=kept)


def _keep_history(
    connection: Connection, order: Order, change: Difference, known_to: datetime, cause: str
) -> None:
    if change.replaced.is_empty():
        return
    earlier = change.replaced.with_columns(
        known_to=pl.lit(known_to, pl.Datetime("us", "UTC")),
        change_cause=pl.when("is_metadata").then(pl.lit("metadata")).otherwise(pl.lit(cause)),
        rule_version=pl.lit(order.rule_version),
    )
    insert_frame(connection, order.history, earlier.select(list(schema_of(order.history))))


def _cause_of_value(before: ScopeState, delivery: Delivery, order: Order) -> str:
    same_source = before.source_version == delivery.source_version
    new_rules = before.rule_version != order.rule_version
    return "ours" if delivery.is_ours or (same_source and new_rules) else "source"


def _cause(before: ScopeState, delivery: Delivery, order: Order, change: Difference) -> str:
    if before.source is None:
        return "first"
    is_range = range_of(delivery.scope) is not None
    if change.added and change.replaced.is_empty() and is_range and not delivery.is_ours:
        return "more"  # days that follow, or precede, restate nothing
    if change.added or change.removed or change.changed > change.metadata_changed:
        return _cause_of_value(before, delivery, order)
    return "metadata" if change.metadata_changed else "none"


def _derive(connection: Connection, order: Order, prepared: Prepared) -> dict[str, float]:
    """Replace the partition in each derived table; return the seconds that each took.

    Of a part of the partition, the rows that the delivery left alone count too.
    """
    seconds: dict[str, float] = {}
    if not order.derive:
        return seconds
    derived = prepared.derived
    if derived is None:
        rows = read_scope(connection, order.table, order.partition)
        derived = {table: make(rows) for table, make in order.derive.items()}
    for table, rows in derived.items():
        started = time.monotonic()
        connection.execute(delete(table).where(within(table, order.partition)))
        insert_frame(connection, table, rows)
        seconds[table.name] = time.monotonic() - started
    return seconds
