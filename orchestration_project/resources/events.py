"""Webhook deliveries of the inbox, loaded into `events_webhooks` as all that is fetched is loaded.

Each delivery is a partition with a capture, a fence and a row; many are written in one transaction,
which also settles their work items.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from orchestration_project.contracts.work_items import ClaimedItem, ItemSettlement
from orchestration_project.domains.events import RULE_VERSION, Event, checked_events
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.warehouse import (
    ScopeState,
    ValidatedBatch,
    Warehouse,
    WriteOutcome,
    WriteTarget,
    prepare_all,
)
from orchestration_project.engine.warehouse.delivery import group_id, no_summary
from orchestration_project.engine.warehouse.fencing import read_states
from orchestration_project.engine.warehouse.landing import is_landed
from orchestration_project.errors import OrchestrationError
from orchestration_project.services.inbox.rows import Content, delivery_of, fetched_of
from orchestration_project.services.inbox.work import ClaimedDelivery, InboxQueue
from orchestration_project.tables.webhooks import events_webhooks, events_webhooks_history

CAPTURE_THREADS = 8
"""Bodies that are flushed to disk, or sent to S3, at the same time."""

MAX_DELIVERIES_PER_BATCH = 500
MAX_DELIVERIES_PER_RUN = 10_000
"""After which a run ends, so that its events and metadata are seen; the next one continues."""

SHOWN = 100
"""Deliveries that a summary lists."""


@dataclass(frozen=True)
class LandedEvent:
    """What came of a delivery: its rows, or why it has none; nothing new where it had landed."""

    row_count: int
    reject: str
    is_new: bool
    group_id: str
    reject_code: str = ""

    @property
    def outcome(self) -> str:
        """One word."""
        if self.reject:
            return "rejected"
        return "landed" if self.is_new else "unchanged"


EventOutcome = LandedEvent | OrchestrationError
"""How a delivery of a batch ended."""

AfterLoad = Callable[[Connection, Sequence[EventOutcome]], None]
"""Records how the deliveries of a batch ended, in the transaction that loads them."""


def record_nothing(_: Connection, ended: Sequence[EventOutcome]) -> None:
    """Record nothing: the tables of the load say all."""


@dataclass(frozen=True)
class _Staged:
    """A delivery that is captured and checked, and what is loaded of it already."""

    batch: ValidatedBatch[None]
    before: ScopeState

    @property
    def is_new(self) -> bool:
        """Whether loading it would write a row."""
        return not is_landed(self.before, self.batch)

    def outcome(self, written: WriteOutcome[None] | None) -> EventOutcome:
        """Return how it ended: ``written`` is None where there was nothing to write."""
        if isinstance(written, OrchestrationError):
            return written
        validated = self.batch.validated
        return LandedEvent(
            len(validated.rows),
            "".join(validated.rejects["reason"]),
            written is not None,
            written.group_id if written else group_id(self.batch.target),
            "".join(validated.rejects["reason_code"]),
        )


@dataclass(frozen=True)
class EventLanding:
    """Captures, checks and lands deliveries; doing so again changes nothing."""

    warehouse: Warehouse
    captures: Captures
    run_id: str

    def land(self, content: Content) -> LandedEvent:
        """Land a delivery.

        Raises:
            SupersededError: Another run landed it meanwhile.
        """
        [ended] = self.land_all([content])
        if isinstance(ended, OrchestrationError):
            raise ended
        return ended

    def land_all(
        self, contents: Sequence[Content], after: AfterLoad = record_nothing
    ) -> Sequence[EventOutcome]:
        """Land several deliveries in one transaction, and return how each ended.

        Args:
            contents: The deliveries, each once.
            after: Is called in that transaction, also where nothing is written.

        Raises:
            OrchestrationError: The bytes cannot be stored, or the database does not take them;
                nothing is landed.
        """
        staged = self._stage(contents)
        new = [each for each in staged if each.is_new]
        ended: list[EventOutcome] = []

        def settle(connection: Connection, outcomes: Sequence[WriteOutcome[None]]) -> None:
            written = {id(each): outcome for each, outcome in zip(new, outcomes, strict=True)}
            ended.extend(each.outcome(written.get(id(each))) for each in staged)
            after(connection, ended)

        self.warehouse.land_all([each.batch for each in new], note=settle)
        return ended

    def _stage(self, contents: Sequence[Content]) -> Sequence[_Staged]:
        """Store the bytes, check them, and read what is landed of them."""
        keys = [_key(content) for content in contents]
        with self.warehouse.reading() as connection:
            states = read_states(connection, events_webhooks, keys)
        with ThreadPoolExecutor(min(CAPTURE_THREADS, len(contents))) as pool:
            captures = list(pool.map(self.captures.keep, map(fetched_of, contents)))
        deliveries = [
            (
                self._target(content, key, states[key].token),
                delivery_of(content, capture.without_body()),
                validated,
            )
            for content, key, capture, validated in zip(
                contents, keys, captures, checked_events(list(map(_event, contents))), strict=True
            )
        ]
        return [
            _Staged(batch, states[batch.target.partition_key]) for batch in prepare_all(deliveries)
        ]

    def _target(self, content: Content, key: str, token: int) -> WriteTarget[None]:
        return WriteTarget(
            table=events_webhooks,
            history=events_webhooks_history,
            partition_key=key,
            partition={"delivery_id": content.delivery_id, "source": content.source},
            token=token,
            metadata_columns=(),
            rule_version=RULE_VERSION,
            run_id=self.run_id,
            derive={},
            summarise=no_summary,
        )


def _key(content: Content) -> str:
    return f"{content.source}|{content.delivery_id}"


def _event(content: Content) -> Event:
    return Event(
        content.source, content.delivery_id, content.received_at, content.kind, content.body
    )


@dataclass
class LoadSummary:
    """What a run made of the deliveries that it claimed.

    Attributes:
        counts: Deliveries by outcome: landed, unchanged, rejected or failed.
        row_count: Rows of the table that they have.
        byte_count: Size of their bodies.
        overtaken_count: Deliveries that another run had claimed before this one settled them.
        shown: The first of them, as rows of a table.
    """

    counts: Counter[str] = field(default_factory=Counter)
    row_count: int = 0
    byte_count: int = 0
    overtaken_count: int = 0
    shown: list[Mapping[str, str | int | datetime]] = field(default_factory=list)

    @property
    def delivery_count(self) -> int:
        """How many were claimed."""
        return self.counts.total()

    @property
    def outcome(self) -> str:
        """Their outcome, if it is one."""
        if not self.counts:
            return "nothing was due"
        return next(iter(self.counts)) if len(self.counts) == 1 else "mixed"

    def add(self, content: Content, ended: EventOutcome) -> None:
        """Count a delivery."""
        is_error = isinstance(ended, OrchestrationError)
        outcome = "failed" if is_error else ended.outcome
        self.counts[outcome] += 1
        self.row_count += 0 if is_error else ended.row_count
        self.byte_count += len(content.body)
        if len(self.shown) < SHOWN:
            self.shown.append(
                {
                    "delivery_id": content.delivery_id,
                    "kind": content.kind or "",
                    "received_at": content.received_at,
                    "bytes": len(content.body),
                    "outcome": outcome,
                    "reason": ended.what if is_error else ended.reject,
                }
            )


def load_due(
    queue: InboxQueue,
    landing: EventLanding,
    source: str,
    *,
    in_order: bool,
    limit: int = MAX_DELIVERIES_PER_RUN,
) -> LoadSummary:
    """Claim, land and settle the deliveries of a source, batch by batch, until none is due.

    Raises:
        OrchestrationError: A batch cannot be landed. It stays claimed: the sensor ends the leases
            of a run that failed, which counts as an attempt at each of its deliveries.
    """
    summary = LoadSummary()
    while (left := limit - summary.delivery_count) > 0:
        batch = queue.claim(
            source,
            run_id=landing.run_id,
            in_order=in_order,
            limit=min(left, MAX_DELIVERIES_PER_BATCH),
        )
        if not batch:
            break
        _load_batch(queue, landing, batch, summary)
    return summary


def _load_batch(
    queue: InboxQueue,
    landing: EventLanding,
    batch: Sequence[ClaimedDelivery],
    summary: LoadSummary,
) -> None:
    def settle(connection: Connection, ended: Sequence[EventOutcome]) -> None:
        results = [_settlement(each.item, end) for each, end in zip(batch, ended, strict=True)]
        summary.overtaken_count += len(queue.settle(connection, results))

    ended = landing.land_all([each.content for each in batch], settle)
    for each, end in zip(batch, ended, strict=True):
        summary.add(each.content, end)


def _settlement(item: ClaimedItem, ended: EventOutcome) -> ItemSettlement:
    """Return the settlement of a delivery; one that is rejected would be rejected again: done."""
    if isinstance(ended, OrchestrationError):
        return ItemSettlement.of_error(item, ended)
    return ItemSettlement(
        item,
        "done",
        result_version=RULE_VERSION,
        reason_code=ended.reject_code or None,
        reason=ended.reject or None,
    )
