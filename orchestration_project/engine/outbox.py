"""Intended changes of outside systems: recorded, due, claimed, and settled after each attempt.

An entry is claimed by a later due time: a process that ends during an attempt leaves a claim that
expires, and the next attempt has the same key. Where the versions of an entity exclude each other,
a lease of the entity is the claim. What one process alone sends, because it has a lease of its own,
needs no claim: `OutboxWindow` sends such entries, whose receiver answers each of them later.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from sqlalchemy import Column, Connection, Select, bindparam, insert, or_, select, update

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.attempts import (
    FIRST_WAIT,
    MAX_ATTEMPTS,
    REQUEST_LEASE,
    wait_after,
)
from orchestration_project.engine.leases import (
    Lease,
    LostLeaseError,
    give_back,
    lock_row,
    require_lease,
    take,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import clean_text
from orchestration_project.errors import (
    ConfigurationError,
    OrchestrationError,
    TransientError,
)
from orchestration_project.tables.spine import outbox


class Intention(NamedTuple):
    """A version of what is intended for an entity; one with ``refusal`` is dead from the start."""

    topic: str
    entity: str
    version_number: int
    payload: str = "{}"
    cause: str = "source"
    refusal: str | None = None


class Latest(NamedTuple):
    """Number, state and payload of the latest version of an entity."""

    version_number: int
    state: str
    payload: str


class Entry(NamedTuple):
    """A row of the outbox that waits; ``due_at`` is the end of its claim once it is claimed."""

    topic: str
    entity: str
    version_number: int
    payload: str
    attempt_count: int
    due_at: datetime


class Outcome(NamedTuple):
    """State of an entry after an attempt, why that failed, and how long the next one waits."""

    state: Literal["done", "waiting", "dead", "superseded"]
    reason: str | None = None
    wait: timedelta = timedelta(0)

    @property
    def is_failed(self) -> bool:
        """Whether an attempt failed."""
        return self.state in ("waiting", "dead")


DONE = Outcome("done")

MAX_REASON = 1_000
"""Characters that are stored of an answer."""

_UNCHANGED = (
    outbox.c.topic == bindparam("entry_topic"),
    outbox.c.entity == bindparam("entry_entity"),
    outbox.c.version_number == bindparam("entry_version_number"),
    outbox.c.due_at == bindparam("entry_due_at"),
    outbox.c.state == "waiting",
)
"""Condition of an entry that was neither settled nor claimed since it was read or claimed."""


def add_intentions(
    connection: Connection, intentions: Iterable[Intention], *, now: datetime, run_id: str
) -> None:
    """Record intentions; those that are not refused are due at once."""
    rows = [
        {
            "topic": intention.topic,
            "entity": intention.entity,
            "version_number": intention.version_number,
            "payload": intention.payload,
            "cause": intention.cause,
            "state": "waiting" if intention.refusal is None else "dead",
            "attempt_count": 0,
            "reason": intention.refusal,
            "planned_at": now,
            "due_at": now,
            "changed_at": now,
            "run_id": run_id,
        }
        for intention in intentions
    ]
    if rows:
        connection.execute(insert(outbox), rows)


def read_latest(connection: Connection, topic: str, entity: str) -> Latest:
    """Return the latest version of an entity; version 0: it has none."""
    row = outbox.c
    latest = (
        select(row.version_number, row.state, row.payload)
        .where(row.topic == topic, row.entity == entity)
        .order_by(row.version_number.desc())
        .limit(1)
    )
    columns = connection.execute(latest).first()
    return Latest(0, "", "") if columns is None else Latest(*columns)


def read_due(
    connection: Connection,
    topics: Sequence[str],
    now: datetime,
    *,
    entity: str | None = None,
    limit: int | None = None,
) -> list[Entry]:
    """Return the entries of topics that are due, the oldest first.

    Args:
        connection: A transaction.
        topics: Their topics.
        now: The present.
        entity: Only entries of this entity; None: of all.
        limit: Maximum of entries; None: all.
    """
    due = _select_due([outbox.c[name] for name in Entry._fields], topics, now).limit(limit)
    if entity is not None:
        due = due.where(outbox.c.entity == entity)
    return [Entry(*columns) for columns in connection.execute(due)]


def read_due_entities(
    connection: Connection, topic: str, now: datetime, *, among: Sequence[str] | None = None
) -> list[str]:
    """Return the entities of a topic with entries that are due, the oldest first.

    ``among``: only these; None: all, which may be too many to hold their payloads.
    """
    due = _select_due([outbox.c.entity], [topic], now)
    if among is not None:
        due = due.where(outbox.c.entity.in_(among))
    return list(connection.execute(due).scalars())


def claim(connection: Connection, entry: Entry, *, now: datetime, run_id: str) -> Entry | None:
    """Claim an entry for the time of an attempt; return None if another process has it."""
    until = now + REQUEST_LEASE
    claimed = connection.execute(
        update(outbox).where(*_UNCHANGED).values(due_at=until, changed_at=now, run_id=run_id),
        _build_key(entry),
    )
    return entry._replace(due_at=until) if claimed.rowcount else None


def settle(
    connection: Connection,
    entries: Sequence[Entry],
    outcome: Outcome,
    *,
    now: datetime,
    run_id: str | None = None,
) -> int:
    """Record the outcome of attempts; return how many entries it holds for.

    An entry that was superseded meanwhile, or that another process has claimed, stays as it is.
    ``run_id``: Dagster's run; None: that of the latest change stays.
    """
    changes = {"state": outcome.state, "reason": outcome.reason, "changed_at": now}
    if run_id is not None:
        changes["run_id"] = run_id
    if outcome.is_failed:
        changes["attempt_count"] = outbox.c.attempt_count + 1
        changes["due_at"] = now + outcome.wait
    unchanged = update(outbox).where(*_UNCHANGED).values(**changes)
    return connection.execute(unchanged, [_build_key(entry) for entry in entries]).rowcount


def fail(
    entry: Entry,
    reason: str,
    *,
    may_pass: bool = True,
    retry_in_seconds: float = 0,
    max_attempts: int | None = MAX_ATTEMPTS,
    first_wait: timedelta = FIRST_WAIT,
) -> Outcome:
    """Return the outcome of a failed attempt: the entry waits for the next one, or is dead.

    Args:
        entry: The entry.
        reason: Why the attempt failed.
        may_pass: Whether another attempt may succeed.
        retry_in_seconds: Wait that the receiver requests; a longer one of ours has precedence.
        max_attempts: Attempts after which the entry is dead; None: it never is.
        first_wait: Wait before the second attempt, doubled for each further one.
    """
    failed_count = entry.attempt_count + 1
    if not may_pass or (max_attempts is not None and failed_count >= max_attempts):
        return Outcome("dead", reason)
    wait = max(wait_after(failed_count, first_wait), timedelta(seconds=retry_in_seconds))
    return Outcome("waiting", reason, wait)


def may_pass_later(error: OrchestrationError) -> bool:
    """Whether another attempt may succeed after an error."""
    return isinstance(error, TransientError | ConfigurationError)


def fail_with(entry: Entry, error: OrchestrationError, reason: str) -> Outcome:
    """Return the outcome of an attempt that an error ended; it may say when to try again."""
    seconds = error.retry_in_seconds if isinstance(error, TransientError) else 0
    may_pass = may_pass_later(error)
    return fail(entry, reason, may_pass=may_pass, retry_in_seconds=seconds)


@dataclass
class Claim:
    """An entry that this process alone attempts.

    Attributes:
        entry: The entry, due at the end of its claim.
        lease: Lease of the entity; None: the entry alone is claimed.
        run_id: Dagster run that an attempt found or started; None: that of the loop.
    """

    entry: Entry
    lease: Lease | None = None
    run_id: str | None = None


Key = TypeVar("Key")
ClaimT = TypeVar("ClaimT", bound=Claim)


class Ended(NamedTuple, Generic[Key, ClaimT]):
    """End of an attempt, or why none began.

    Attributes:
        key: The entry, or what it was found by.
        outcome: State of the entry, ``overtaken``, or in a word why no attempt began.
        claim: The claim of the attempt.
        is_current: Whether the entry was settled, because no other process has changed it.
    """

    key: Key
    outcome: str
    claim: ClaimT | None = None
    is_current: bool = False


@dataclass(frozen=True)
class OutboxLoop:
    """The loop over entries that are due: each is claimed, sent and settled.

    Attributes:
        warehouse: The database.
        clock: Times of attempts.
        run_id: Dagster's run.
    """

    warehouse: Warehouse
    clock: Clock
    run_id: str

    def claim(self, connection: Connection, entry: Entry) -> Claim | Ended[Entry, Claim]:
        """Claim an entry alone, whatever becomes of others of its entity."""
        claimed = claim(connection, entry, now=self.clock.now(), run_id=self.run_id)
        return Ended(entry, "busy") if claimed is None else Claim(claimed)

    def apply(
        self,
        keys: Iterable[Key],
        begin: Callable[[Connection, Key], ClaimT | Ended[Key, ClaimT]],
        send: Callable[[ClaimT], Outcome | None],
        record: Callable[[Connection, ClaimT, Outcome, bool], None] | None = None,
    ) -> Iterator[Ended[Key, ClaimT]]:
        """Attempt entries one by one, and settle each before the next one begins.

        Args:
            keys: Entries, or what ``begin`` finds them by; more may be added meanwhile.
            begin: Claims an entry in a transaction, or returns why no attempt begins.
            send: Attempts it outside of a transaction; raises `LostLeaseError` once another
                process has it. None: the outcome is not known yet, and the entry stays as it is.
            record: Records more than the outbox does, in the transaction that settles it; the last
                argument is whether it is current.

        Raises:
            OrchestrationError: The database cannot be used.
        """
        for key in keys:
            with self.warehouse.writing() as connection:
                claimed = begin(connection, key)
            if isinstance(claimed, Ended):
                yield claimed
                continue
            try:
                outcome = send(claimed)
                if outcome is None:
                    yield Ended(key, "sent", claimed)
                    continue
                with self.warehouse.writing() as connection:
                    if claimed.lease is not None:
                        _hold(connection, claimed)
                        give_back(connection, claimed.lease)
                    now, entries = self.clock.now(), [claimed.entry]
                    run_id = claimed.run_id or self.run_id
                    settled = settle(connection, entries, outcome, now=now, run_id=run_id)
                    if record is not None:
                        record(connection, claimed, outcome, settled == 1)
            except LostLeaseError:
                yield Ended(key, "overtaken", claimed)
            else:
                yield Ended(key, outcome.state, claimed, settled == 1)

    def verify_lease(self, claimed: Claim) -> None:
        """Verify, right before a request, that the lease of an entity is valid.

        Raises:
            LostLeaseError: Another process has it, or it has expired.
        """
        lease = claimed.lease
        if lease is None:
            raise AssertionError("the entry alone is claimed")
        with self.warehouse.reading() as connection:
            require_lease(connection, lease)
        if self.clock.now() >= lease.expires_at:
            raise LostLeaseError(
                f"the lease of {lease.name} has run out",
                expected=f"all requests within {REQUEST_LEASE}",
                remedy="nothing: the next run does it",
            )

    @contextmanager
    def recording(self, claimed: Claim) -> Iterator[Connection]:
        """Give a transaction that records during an attempt what the next one needs.

        Raises:
            LostLeaseError: Another process has taken over the entry.
        """
        with self.warehouse.writing() as connection:
            _hold(connection, claimed)
            yield connection


@dataclass
class OutboxWindow:
    """Entries on their way to a receiver that answers each of them later; none is claimed.

    Attributes:
        warehouse: The database.
        clock: Times of attempts.
        read_topics: Returns the topics of the entries.
        max_entries: Maximum of entries on their way.
        first_wait: Wait after the first failed attempt. An entry never becomes dead, as the
            receiver may return.
    """

    warehouse: Warehouse
    clock: Clock
    read_topics: Callable[[Connection], Sequence[str]]
    max_entries: int
    first_wait: timedelta
    _sent: dict[int, Entry] = field(default_factory=dict, init=False)
    _outcomes: list[tuple[Entry, Outcome]] = field(default_factory=list, init=False)

    def send_due(self, send: Callable[[Entry], int]) -> int:
        """Send entries that are due and not on their way, the oldest first; return how many.

        An entry that failed before is sent alone: it may end the connection of the others.

        Args:
            send: Sends an entry, and returns the number of its answer; a ValueError is a failed
                attempt.

        Raises:
            OrchestrationError: The database cannot be used, or ``send`` cannot go on.
        """
        room = self.max_entries - len(self._sent)
        if room <= 0:
            return 0
        unsettled = {*self._sent.values(), *(entry for entry, _ in self._outcomes)}
        limit = room + len(unsettled)
        with self.warehouse.reading() as connection:
            due = read_due(connection, self.read_topics(connection), self.clock.now(), limit=limit)
        waiting = [entry for entry in due if entry not in unsettled]
        sent = [*takewhile(lambda entry: not entry.attempt_count, waiting)]
        if not sent and not self._sent:
            sent = waiting[:1]
        for entry in sent:
            try:
                self._sent[send(entry)] = entry
            except ValueError as error:
                self._fail(entry, f"not sent: {error}")
        return len(sent)

    def answer(self, number: int, problem: str = "") -> None:
        """Note the receiver's answer to an entry: that it has it, or a problem."""
        entry = self._sent.pop(number, None)
        if entry is not None and problem:
            self._fail(entry, problem)
        elif entry is not None:
            self._outcomes.append((entry, DONE))

    def close(self, problem: str | None) -> None:
        """Expect no further answers; with a problem, each that is missing is a failed attempt."""
        for entry in self._sent.values() if problem else ():
            self._fail(entry, str(problem))
        self._sent.clear()

    def settle(self) -> int:
        """Record the outcomes that are known; return how many.

        Raises:
            OrchestrationError: The database cannot be used; the next call records them.
        """
        windows: dict[Outcome, list[Entry]] = defaultdict(list)
        for entry, outcome in self._outcomes:
            windows[outcome].append(entry)
        if windows:
            with self.warehouse.writing() as connection:
                for outcome, entries in windows.items():
                    settle(connection, entries, outcome, now=self.clock.now())
        count = len(self._outcomes)
        self._outcomes.clear()
        return count

    def _fail(self, entry: Entry, problem: str) -> None:
        reason = clean_text(problem)[:MAX_REASON]
        outcome = fail(entry, reason, max_attempts=None, first_wait=self.first_wait)
        self._outcomes.append((entry, outcome))


def take_entity(
    connection: Connection, topic: str, entity: str, *, now: datetime, run_id: str
) -> Lease | None:
    """Take the lease of an entity whose versions exclude each other; None: another process has it.

    Read its entries afterwards: another process may have settled them before.
    """
    return take(connection, f"{topic}|{entity}", holder=run_id, now=now, until=now + REQUEST_LEASE)


def _hold(connection: Connection, claimed: Claim) -> None:
    """Keep others from an entry until the transaction ends; planners lock an entity's topic.

    Raises:
        LostLeaseError: Another process has taken it over.
    """
    if claimed.lease is not None:
        require_lease(connection, claimed.lease)
        lock_row(connection, claimed.entry.topic)
        return
    query = select(outbox.c.due_at).where(*_UNCHANGED).with_for_update()
    if connection.execute(query, _build_key(claimed.entry)).first() is None:
        raise LostLeaseError(
            f"another process has changed the entry {claimed.entry.entity}",
            expected="the entry as it was claimed",
            remedy="nothing: what the other process does counts",
        )


def supersede(
    connection: Connection, topic: str, entities: Sequence[str], *, now: datetime, run_id: str
) -> None:
    """Have nothing sent of what waits for entities of a topic."""
    row = outbox.c
    connection.execute(
        update(outbox)
        .where(row.topic == topic, row.state == "waiting", row.entity.in_(entities))
        .values(state="superseded", changed_at=now, run_id=run_id)
    )


def _select_due(
    columns: Sequence[Column[Any]], topics: Sequence[str], now: datetime
) -> Select[Any]:
    """Return the query of entries that are due.

    A row that was changed later than a lease from now is of before the clock was set back: it
    waits for no time that the clock may reach much later.
    """
    row = outbox.c
    is_due = or_(row.due_at <= now, row.changed_at > now + REQUEST_LEASE)
    return (
        select(*columns)
        .where(row.topic.in_(topics), row.state == "waiting", is_due)
        .order_by(row.due_at, row.entity, row.version_number, row.topic)
    )


def _build_key(entry: Entry) -> dict[str, Any]:
    """Return an entry's key and due time as parameters of `_UNCHANGED`."""
    names = ("topic", "entity", "version_number", "due_at")
    return {f"entry_{name}": getattr(entry, name) for name in names}
