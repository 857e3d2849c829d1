"""Work items: what is worked on one by one, each with its own state, attempts and lease.

A message, a document or an address is enqueued under a topic, claimed by a run, and settled in the
transaction that loads it. How an item is fetched and loaded does not belong here.

    ready ──claim──► leased ──settle──► done or skipped
      ▲                 │ it failed, or its run ended
      └─────retry─── failed (claimed again from due_at on), or dead
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from datetime import datetime, timedelta
from functools import cache
from itertools import takewhile
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    update,
)

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.work_items import (
    ALLOWED_ATTEMPTS,
    FAILED_STATES,
    OPEN_STATES,
    RETRY_PAUSES,
    WAITING_STATES,
    ClaimedItem,
    ItemChange,
    ItemSettlement,
    ItemState,
    NewItem,
    WorkItem,
    abandon_item,
    expire_item,
    put_back,
    settle_item,
)
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.tables.queries.paging import is_after
from orchestration_project.tables.spine import work_items

KEYS_PER_STATEMENT = 5_000
"""Keys that one statement names: databases bound its parameters."""

COLUMNS = [work_items.c[field.name] for field in fields(WorkItem)]


class NamedClaim(NamedTuple):
    """Result of a claim of items by key: its leases, and the runs that hold the others."""

    claimed: Mapping[str, ClaimedItem]
    held_by: Mapping[str, str]


class WorkItems:
    """Enqueues, claims and settles items.

    A method that takes a ``connection`` writes in its transaction; without one, in its own.

    Args:
        warehouse: The database.
        clock: Its time.
        pauses: Pauses after the first, second and later failed attempts.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        clock: Clock,
        *,
        pauses: Sequence[timedelta] = RETRY_PAUSES,
    ) -> None:
        self._warehouse = warehouse
        self._clock = clock
        self._pauses = pauses

    def enqueue(
        self,
        topic: str,
        items: Iterable[NewItem],
        *,
        are_new: bool = False,
        connection: Connection | None = None,
    ) -> int:
        """Enqueue items; one that is there in the same version stays as it is, whatever its state.

        One that is there in another version is ready in the new one, without attempts; whoever has
        claimed the older version cannot settle it. Of items with the same key, the last one counts.

        Args:
            topic: What kind of work they are.
            items: The items.
            are_new: Whether none of them is expected to be there, so that none is looked up first.
            connection: A transaction that writes.

        Returns:
            How many are new or have a new version.
        """
        new = {item.key: item for item in items}
        now, count, keys = self._clock.now(), 0, sorted(new)
        with self._transaction(connection) as writing:
            for start in range(0, len(keys), KEYS_PER_STATEMENT):
                some = [new[key] for key in keys[start : start + KEYS_PER_STATEMENT]]
                count += _enqueue(writing, topic, some, now, are_new=are_new)
        return count

    def claim(
        self,
        topic: str,
        *,
        limit: int,
        run_id: str,
        until: datetime,
        in_order: bool = False,
        retries_alone: bool = False,
        connection: Connection | None = None,
    ) -> Sequence[ClaimedItem]:
        """Lease the first items that are due to a run; no other run has them at the same time.

        Leases that have expired end before: each was an attempt.

        Args:
            topic: Whose items.
            limit: How many, at most.
            run_id: Dagster's run.
            until: When the lease expires. Until another run claims the item, it stays valid.
            in_order: Whether items are claimed in the order of ``enqueued_at``: none while others
                are leased, and none behind one that waits for its next attempt.
            retries_alone: Whether an item that failed before is claimed alone, so that one which
                ends its run fails no others.
            connection: A transaction that writes.
        """
        now = self._clock.now()
        with self._transaction(connection) as writing:
            if in_order:
                lock_row(writing, f"work_items|{topic}")
            overdue = _select_overdue(writing, topic, now, until)
            self._write(writing, topic, ((item, expire_item(item, now)) for item in overdue))
            items = (
                _select_in_order(writing, topic, limit, now)
                if in_order
                else _select_due(writing, topic, limit, now)
            )
            if retries_alone:
                items = [*takewhile(lambda item: not item.attempt_count, items)] or items[:1]
            change = ItemChange("leased", now, run_id, expires_at=until)
            self._write(writing, topic, ((item, change) for item in items))
        return [item.claimed_by(run_id) for item in items]

    def claim_named(
        self,
        topic: str,
        items: Iterable[NewItem],
        *,
        run_id: str,
        until: datetime,
        is_under_way: Callable[[str], bool],
        connection: Connection | None = None,
    ) -> NamedClaim:
        """Enqueue items and lease them to a run at once, whatever state they are in.

        One that is done, dead or waits is worked on again. One that a run under way has
        claimed stays with it, unless the version here is a later one: versions are compared as
        text. Any other lease ends, as an attempt.

        Args:
            topic: Whose items.
            items: At most `KEYS_PER_STATEMENT`, in the versions that are to be worked on.
            run_id: Dagster's run.
            until: When the leases expire.
            is_under_way: Whether a run, by its id, has not ended.
            connection: A transaction that writes.
        """
        now = self._clock.now()
        rows = {new_item.key: _build_new_row(topic, new_item, now) for new_item in items}
        is_alive = cache(is_under_way)

        def is_held(item: WorkItem) -> bool:
            is_other = item.state == "leased" and item.lease_holder not in (None, run_id)
            return (
                is_other
                and not _is_overdue(item, now, until)
                and rows[item.item_key]["version"] <= item.version
                and is_alive(str(item.lease_holder))
            )

        with self._transaction(connection) as writing:
            _insert_missing(writing, topic, rows)
            locked = _lock_items(writing, _match_keys(topic, list(rows)))
            held_by = {item.item_key: str(item.lease_holder) for item in locked if is_held(item)}
            free = [item for item in locked if item.item_key not in held_by]
            if self._make_ready(writing, topic, free, rows, now):
                free = _lock_items(writing, _match_keys(topic, [item.item_key for item in free]))
            change = ItemChange("leased", now, run_id, expires_at=until)
            self._write(writing, topic, ((item, change) for item in free))
        return NamedClaim({item.item_key: item.claimed_by(run_id) for item in free}, held_by)

    def _make_ready(
        self,
        connection: Connection,
        topic: str,
        items: Sequence[WorkItem],
        rows: Mapping[str, Mapping[str, Any]],
        now: datetime,
    ) -> int:
        """Make items claimable that are not, or have another version; return how many were."""
        outdated = [item for item in items if item.version != rows[item.item_key]["version"]]
        _replace(connection, topic, [rows[item.item_key] for item in outdated])
        same = [item for item in items if item.version == rows[item.item_key]["version"]]
        changes = [(item, change) for item in same if (change := put_back(item, now))]
        self._write(connection, topic, changes)
        return len(outdated) + len(changes)

    def unsettled(self, connection: Connection, topic: str, keys: Sequence[str]) -> set[str]:
        """Return those of the keys that have an item which is neither done nor skipped."""
        is_open = work_items.c.state.in_(OPEN_STATES)
        query = select(work_items.c.item_key).where(_match_keys(topic, keys), is_open)
        return set(connection.execute(query).scalars())

    def settle(
        self, connection: Connection, results: Sequence[ItemSettlement]
    ) -> Sequence[ItemSettlement]:
        """Record how claimed items ended, in the transaction that loads them.

        Returns:
            The settlements that were not recorded, as their lease is not the current one: another
            run has claimed the item, or it has a newer version.
        """
        now, stale = self._clock.now(), list[ItemSettlement]()
        by_topic: dict[str, list[ItemSettlement]] = {}
        for result in results:
            by_topic.setdefault(result.item.topic, []).append(result)
        for topic, of_topic in by_topic.items():
            locked = _lock_items(
                connection,
                _match_keys(topic, [item_settlement.item.key for item_settlement in of_topic]),
            )
            work_items_by_name = {item.item_key: item for item in locked}
            changes: list[tuple[WorkItem, ItemChange]] = []
            for result in of_topic:
                item = work_items_by_name.get(result.item.key)
                if item is None or not result.item.is_current(item):
                    stale.append(result)
                else:
                    changes.append((item, settle_item(result, item, now, self._pauses)))
            self._write(connection, topic, changes)
        return stale

    def count_waiting(self, topic_prefix: str, limit: int) -> int:
        """Return how many items are to be worked on, up to a limit.

        Args:
            topic_prefix: Prefix of their topics, whose last character is ASCII.
            limit: The greatest count.
        """
        columns, last = work_items.c, chr(ord(topic_prefix[-1]) + 1)
        are_own = and_(columns.topic > topic_prefix, columns.topic < topic_prefix[:-1] + last)
        some = select(literal(1)).where(columns.state.in_(WAITING_STATES), are_own).limit(limit)
        with self._warehouse.reading() as connection:
            counted = select(func.count()).select_from(some.subquery())
            return connection.execute(counted).scalar_one()

    def lease_holders(self, topic: str) -> Sequence[str]:
        """Return the runs that have claimed items of a topic and not settled them."""
        query = select(work_items.c.lease_holder).where(_are(topic, "leased")).distinct()
        with self._warehouse.reading() as connection:
            return [holder for holder in connection.execute(query).scalars() if holder]

    def end_leases(self, topic: str, is_at_work: Callable[[str], bool]) -> None:
        """End the leases of runs that have ended, each of which was a failed attempt.

        Args:
            topic: Whose items.
            is_at_work: Whether a run, by its ID, may still settle them.
        """
        ended = [holder for holder in self.lease_holders(topic) if not is_at_work(holder)]
        if ended:
            self.expire(topic, dict.fromkeys(ended))

    def expire(self, topic: str, ended_runs: Mapping[str, datetime | None]) -> Sequence[ItemState]:
        """End the leases of runs that have ended, each of which was a failed attempt.

        Args:
            topic: Whose items.
            ended_runs: When each run ended; None: now.

        Returns:
            The states of these items by it.
        """
        now, is_held = self._clock.now(), work_items.c.lease_holder.in_(list(ended_runs))
        with self._warehouse.writing() as connection:
            changes = [
                (item, abandon_item(item, min(ended_runs[holder] or now, now), self._pauses))
                for item in _lock_items(connection, and_(_are(topic, "leased"), is_held))
                if (holder := item.lease_holder)
            ]
            self._write(connection, topic, changes)
        return [change.state for _, change in changes]

    def record_run(
        self,
        connection: Connection,
        topic: str,
        key: str,
        change: ItemChange,
        *,
        seen: tuple[ItemState, int],
    ) -> bool:
        """Record the result of an item's run, for topics with a run per item.

        Args:
            connection: A transaction that writes.
            topic: The item's topic.
            key: The item.
            change: What became of it.
            seen: The state and the attempts that ``change`` follows from.

        Returns:
            Whether the item still had them; otherwise nothing is recorded.
        """
        items = _lock_items(connection, _match_keys(topic, [key]))
        as_seen = [item for item in items if (item.state, item.attempt_count) == seen]
        self._write(connection, topic, [(item, change) for item in as_seen])
        return bool(as_seen)

    def retry(
        self,
        topic: str,
        *,
        keys: Sequence[str] | None = None,
        states: Sequence[ItemState] = FAILED_STATES,
        except_reasons: Collection[str] = (),
        attempts: int = ALLOWED_ATTEMPTS,
        connection: Connection | None = None,
    ) -> Sequence[WorkItem]:
        """Make items ready again that are in one of ``states``, with so many further attempts.

        Args:
            topic: Whose items.
            keys: These of them; None: all.
            states: Which are put back.
            except_reasons: Kinds of failure, as ``reason_code``, whose items stay as they are.
            attempts: How many attempts they have from now on.
            connection: A transaction that writes.

        Returns:
            The items as they were.
        """
        condition = _are(topic, *states)
        if keys is not None:
            condition = and_(condition, work_items.c.item_key.in_(keys))
        if except_reasons:
            code = func.coalesce(work_items.c.reason_code, "")
            condition = and_(condition, code.not_in(except_reasons))
        change = ItemChange("ready", self._clock.now(), attempts_allowed=attempts)
        with self._transaction(connection) as writing:
            items = _lock_items(writing, condition)
            self._write(writing, topic, ((item, change) for item in items))
        return items

    def list_items(
        self,
        *,
        topic: str | None = None,
        state: ItemState | None = None,
        after: tuple[str, str] | None = None,
        limit: int = 100,
    ) -> Sequence[WorkItem]:
        """Return items in the order of topic and key.

        Args:
            topic: Items of this topic; None: of all.
            state: Items in this state; None: in all.
            after: Topic and key of the last item of the page before.
            limit: How many, at most.
        """
        key = (work_items.c.topic, work_items.c.item_key)
        conditions = [] if topic is None else [work_items.c.topic == topic]
        if state is not None:
            conditions.append(work_items.c.state == state)
        if after is not None:
            conditions.append(is_after(*key, *map(literal, after)))
        query = select(*COLUMNS).where(*conditions).order_by(*key).limit(limit)
        with self._warehouse.reading() as connection:
            return [WorkItem(*row) for row in connection.execute(query)]

    def _transaction(self, connection: Connection | None) -> AbstractContextManager[Connection]:
        return self._warehouse.writing() if connection is None else nullcontext(connection)

    def _write(
        self, connection: Connection, topic: str, changes: Iterable[tuple[WorkItem, ItemChange]]
    ) -> None:
        """Write changes of a topic's items, equal ones together."""
        groups: dict[ItemChange, list[str]] = {}
        for item, change in changes:
            groups.setdefault(change, []).append(item.item_key)
        for change, keys in groups.items():
            for start in range(0, len(keys), KEYS_PER_STATEMENT):
                some = keys[start : start + KEYS_PER_STATEMENT]
                written = (
                    update(work_items).where(_match_keys(topic, some)).values(_build_values(change))
                )
                connection.execute(written)


def _enqueue(
    connection: Connection, topic: str, items: Sequence[NewItem], now: datetime, *, are_new: bool
) -> int:
    """Insert new items, replace those of another version; return the number of both."""
    rows = {item.key: _build_new_row(topic, item, now) for item in items}
    inserted = _insert_missing(connection, topic, rows, are_new=are_new)
    other_names = rows.keys() - inserted
    if not other_names:
        return len(inserted)
    key, version = work_items.c.item_key, work_items.c.version
    there = select(key, version).where(_match_keys(topic, list(other_names))).order_by(key)
    records = connection.execute(there.with_for_update()).all()
    replaced = [
        rows[row.item_key] for row in records if row.version != rows[row.item_key]["version"]
    ]
    _replace(connection, topic, replaced)
    return len(inserted) + len(replaced)


def _insert_missing(
    connection: Connection,
    topic: str,
    rows: Mapping[str, Mapping[str, Any]],
    *,
    are_new: bool = False,
) -> set[str]:
    """Insert those of the rows, by key, that are not there; return their keys."""
    missing = rows.keys()
    if not are_new:
        there = select(work_items.c.item_key).where(_match_keys(topic, list(rows)))
        missing -= set(connection.execute(there).scalars())
    inserted = insert_absent(connection, work_items, [rows[name] for name in missing])
    return {key for _, key in inserted}


def _replace(connection: Connection, topic: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace items by new versions; a lease of an older one is not valid any more."""
    if not rows:
        return
    kept_columns = ("topic", "item_key", "lease_token", "result_version")
    fresh = {name: bindparam(f"new_{name}") for name in rows[0] if name not in kept_columns}
    connection.execute(
        update(work_items)
        .where(work_items.c.topic == topic, work_items.c.item_key == bindparam("new_item_key"))
        .values(lease_token=work_items.c.lease_token + 1)
        .values(fresh),
        [{f"new_{name}": value for name, value in row.items()} for row in rows],
    )


def _build_new_row(topic: str, item: NewItem, now: datetime) -> dict[str, Any]:
    enqueued_at = item.enqueued_at or now
    empty = dict.fromkeys(("lease_holder", "expires_at", "result_version", "reason_code", "reason"))
    return {
        **empty,
        "topic": topic,
        "item_key": item.key,
        "version": item.version,
        "state": "ready",
        "attempt_count": 0,
        "allowed_count": item.allowed_count,
        "enqueued_at": enqueued_at,
        "due_at": enqueued_at,
        "lease_token": 0,
        "input_sha256": item.input_sha256,
        "run_id": None,
        "changed_at": now,
    }


def _select_due(connection: Connection, topic: str, limit: int, now: datetime) -> list[WorkItem]:
    """Return the items that are due, those that have waited longest first.

    What changed later than now was changed before the clock was set back: it waits for nothing.
    """
    is_due = or_(work_items.c.due_at <= now, work_items.c.changed_at > now)
    ready = _lock_first(connection, _are(topic, "ready"), limit)
    failed = _lock_first(connection, and_(_are(topic, "failed"), is_due), limit)
    return sorted([*ready, *failed], key=lambda item: (item.due_at, item.item_key))[:limit]


def _select_in_order(
    connection: Connection, topic: str, limit: int, now: datetime
) -> list[WorkItem]:
    """Return the oldest items, up to one that waits; none while one is leased."""
    leased = select(literal(1)).where(_are(topic, "leased")).limit(1)
    if connection.execute(leased).first() is not None:
        return []
    ready = _lock_first(connection, _are(topic, "ready"), limit)
    failed = _lock_first(connection, _are(topic, "failed"), limit, work_items.c.enqueued_at)
    oldest = sorted([*ready, *failed], key=lambda item: (item.enqueued_at, item.item_key))
    return [*takewhile(lambda item: not item.waits(now), oldest[:limit])]


def _select_overdue(
    connection: Connection, topic: str, now: datetime, until: datetime
) -> Sequence[WorkItem]:
    """Return the items whose lease has expired, or is of before the clock was set back."""
    expires_at = work_items.c.expires_at
    is_over = or_(expires_at <= now, expires_at > until + (until - now))
    return _lock_first(connection, and_(_are(topic, "leased"), is_over), None)


def _is_overdue(item: WorkItem, now: datetime, until: datetime) -> bool:
    """Whether the same holds of an item."""
    return item.expires_at is not None and not now < item.expires_at <= until + (until - now)


def _build_values(change: ItemChange) -> dict[str, Any]:
    """Return the columns that a change writes."""
    is_leased, columns = change.state == "leased", work_items.c
    values: dict[str, Any] = {
        "state": change.state,
        "attempt_count": columns.attempt_count + change.attempts_added,
        "lease_holder": change.run_id if is_leased else None,
        "expires_at": change.expires_at if is_leased else None,
        "changed_at": change.at,
    }
    if is_leased:
        values["lease_token"] = columns.lease_token + 1
    else:
        values |= {"reason_code": change.reason_code, "reason": change.reason}
    if change.state == "ready":
        values["due_at"] = columns.enqueued_at
    if change.attempts_allowed is not None:
        values["allowed_count"] = columns.attempt_count + change.attempts_allowed
    entries = {
        "run_id": change.run_id,
        "due_at": change.due_at,
        "result_version": change.result_version,
    }
    return values | {name: value for name, value in entries.items() if value is not None}


def _lock_first(
    connection: Connection,
    condition: ColumnElement[bool],
    limit: int | None,
    order: ColumnElement[Any] = work_items.c.due_at,
) -> list[WorkItem]:
    """Lock and return the first items that no other transaction has locked."""
    query = select(*COLUMNS).where(condition).order_by(order, work_items.c.item_key).limit(limit)
    locking = query.with_for_update(skip_locked=connection.dialect.name == "postgresql")
    return [WorkItem(*row) for row in connection.execute(locking)]


def _lock_items(connection: Connection, condition: ColumnElement[bool]) -> list[WorkItem]:
    """Lock and return items, in the order of their keys, so that no two transactions deadlock."""
    query = select(*COLUMNS).where(condition).order_by(work_items.c.topic, work_items.c.item_key)
    return [WorkItem(*row) for row in connection.execute(query.with_for_update())]


def _are(topic: str, *states: ItemState) -> ColumnElement[bool]:
    return and_(work_items.c.topic == topic, work_items.c.state.in_(states))


def _match_keys(topic: str, keys: Sequence[str]) -> ColumnElement[bool]:
    return and_(work_items.c.topic == topic, work_items.c.item_key.in_(keys))
