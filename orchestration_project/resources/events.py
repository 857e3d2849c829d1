"""Webhook deliveries of the inbox, loaded into `events_webhooks` as all that is fetched is loaded.

Each delivery is a work item, and a partition with a capture, a fence and a row; `run_items` loads
and settles many in one transaction.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import polars as pl
from sqlalchemy import Connection

from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.rules import Validated
from orchestration_project.contracts.work_items import ItemSettlement
from orchestration_project.domains.events import RULE_VERSION, WebhookEvent, checked_events
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.pools import ItemT, ResultT
from orchestration_project.engine.run_items import ItemSummary
from orchestration_project.engine.warehouse import (
    ScopeState,
    TableSpec,
    Warehouse,
    WriteOutcome,
    WriteTarget,
    prepare_all,
)
from orchestration_project.engine.warehouse.capture_log import read_blobs
from orchestration_project.engine.warehouse.delivery import no_note, no_warnings
from orchestration_project.engine.warehouse.fencing import read_states
from orchestration_project.engine.warehouse.landing import is_landed, land_all
from orchestration_project.engine.warehouse.target import no_summary
from orchestration_project.errors import OrchestrationError
from orchestration_project.services.inbox.rows import Content, capture_of, delivery_of
from orchestration_project.services.inbox.work import ClaimedDelivery
from orchestration_project.services.links import link, rows_path
from orchestration_project.services.metadata import table_of
from orchestration_project.tables.conditions import write_condition
from orchestration_project.tables.webhooks import events_webhooks

EVENTS = TableSpec(table=events_webhooks, rule_version=RULE_VERSION, summarise=no_summary)

OUTCOMES = ("landed", "unchanged", "rejected", "failed", "lost")
"""Counts of a run's deliveries. Another run claimed a lost one meanwhile."""

MAX_DELIVERIES_SHOWN = 100
MAX_REASON_LENGTH = 500


@dataclass(frozen=True)
class CapturePool:
    """Stores the captures of a batch together. A failure is one of the store: it fails all items.

    It is for functions that make captures which are not stored yet, such as a loader's `extract`.
    """

    captures: Captures
    warehouse: Warehouse

    def run(
        self, function: Callable[[ItemT], ResultT], items: Iterable[ItemT], *, timeout: timedelta
    ) -> Iterator[tuple[ItemT, ResultT]]:
        """Yield the items in their order; the store limits the time.

        Raises:
            OrchestrationError: The store does not take the bytes.
        """
        batch = list(items)
        fetched = cast(Sequence[Capture], [function(item) for item in batch])
        stored = self.captures.keep_all(fetched, self._known)
        without = [each.without_body() for each in stored]
        yield from zip(batch, cast(Sequence[ResultT], without), strict=True)

    def _known(self, wanted: Sequence[str]) -> Mapping[str, Blob]:
        with self.warehouse.reading() as connection:
            return read_blobs(connection, wanted)


def _plan_nothing(_: Connection, __: Sequence[Content]) -> int:
    return 0


@dataclass(frozen=True)
class DeliveryLoader:
    """Captures, checks and loads deliveries; doing so again changes nothing.

    Attributes:
        plan: Plans the actions that follow from loaded deliveries, in the same transaction.
    """

    clock: Clock
    run_id: str
    plan: Callable[[Connection, Sequence[Content]], int] = _plan_nothing

    def ready(self) -> None:
        """Open nothing: the run has its database and its store."""

    def extract(self, item: ClaimedDelivery) -> Capture:
        """Return the capture of a delivery, which the pool stores."""
        return capture_of(item.content)

    def load(
        self, connection: Connection, batch: Sequence[tuple[ClaimedDelivery, Capture]]
    ) -> Sequence[ItemSettlement]:
        """Check deliveries and load what is new; one that is loaded already is skipped."""
        events = [_event(item.content) for item, _ in batch]
        keys = [f"{event.source}|{event.delivery_id}" for event in events]
        states = read_states(connection, events_webhooks, keys)
        batches = prepare_all(
            [
                (
                    self._target(item.content, key, states[key]),
                    delivery_of(item.content, capture),
                    validated,
                )
                for (item, capture), key, validated in zip(
                    batch, keys, checked_events(events), strict=True
                )
            ]
        )
        new = [each for each in batches if not is_landed(each.target.state, each)]
        ended = land_all(connection, new, self.clock.now(), no_warnings, no_note)
        outcomes = {each.target.partition_key: end for each, end in zip(new, ended, strict=True)}
        settlements = [
            _settlement(item, each.validated, outcomes.get(each.target.partition_key))
            for (item, _), each in zip(batch, batches, strict=True)
        ]
        self.plan(connection, [each.item.content for each in settlements if _is_loaded(each)])
        return settlements

    def _target(self, content: Content, key: str, state: ScopeState) -> WriteTarget[None]:
        partition = {"delivery_id": content.delivery_id, "source": content.source}
        return EVENTS.target(key, partition, state, run_id=self.run_id)


def _event(content: Content) -> WebhookEvent:
    return WebhookEvent(
        content.source, content.delivery_id, content.received_at, content.kind, content.body
    )


def _is_loaded(settlement: ItemSettlement[ClaimedDelivery]) -> bool:
    return settlement.state in ("done", "skipped") and settlement.reason_code is None


def _settlement(
    item: ClaimedDelivery, validated: Validated, outcome: WriteOutcome[None] | None
) -> ItemSettlement[ClaimedDelivery]:
    """Return the settlement of a delivery; one that is rejected would be rejected again: done.

    Args:
        item: The delivery.
        validated: Its row or reject.
        outcome: How it was written; None: nothing of it was new.
    """
    if isinstance(outcome, OrchestrationError):
        return ItemSettlement.of_error(item, outcome)
    return ItemSettlement(
        item,
        "skipped" if outcome is None and validated.rejects.is_empty() else "done",
        result_version=RULE_VERSION,
        reason_code="".join(validated.rejects["reason_code"]) or None,
        reason="".join(validated.rejects["reason"]) or None,
    )


@dataclass
class DeliverySummary(ItemSummary):
    """Outcomes of a run's deliveries.

    Attributes:
        source: Whose deliveries.
        byte_count: Size of their bodies.
        shown: The first of them, as rows of a table.
    """

    source: str = ""
    byte_count: int = 0
    shown: list[Mapping[str, str | int | datetime]] = field(default_factory=list)

    def add(self, settlements: Sequence[ItemSettlement[ClaimedDelivery]]) -> None:
        """Count how deliveries ended."""
        for each in settlements:
            content, outcome = each.item.content, _outcome_of(each)
            self.counts[outcome] += 1
            self.byte_count += len(content.body)
            if len(self.shown) < MAX_DELIVERIES_SHOWN:
                self.shown.append(
                    {
                        "delivery_id": content.delivery_id,
                        "kind": content.kind or "",
                        "received_at": content.received_at,
                        "bytes": len(content.body),
                        "outcome": outcome,
                        "reason": each.error.what if each.error else each.reason or "",
                    }
                )

    def _conditions(self) -> list[str]:
        """Return what the rows of the deliveries have in common; of one alone, what names it."""
        ids = [write_condition("delivery_id", row["delivery_id"]) for row in self.shown]
        return [f"source={self.source}", *(ids if len(ids) == 1 else [])]

    def as_metadata(self) -> dict[str, Any]:
        """Return what Dagster shows of it."""
        found = [each for each in OUTCOMES if self.counts[each]]
        reasons = dict.fromkeys(str(row["reason"]) for row in self.shown if row["reason"])
        return {
            "outcome": "mixed" if len(found) > 1 else "".join(found) or "nothing was due",
            "reason": "; ".join(reasons)[:MAX_REASON_LENGTH],
            "source": self.source,
            "deliveries_count": self.counts.total(),
            **{f"{outcome}_count": self.counts[outcome] for outcome in OUTCOMES},
            "bytes": self.byte_count,
            "rows": self.counts["landed"] + self.counts["unchanged"],
            "deliveries": table_of(pl.DataFrame(self.shown)),
            "table_rows": link(rows_path(events_webhooks.name, *self._conditions())),
        }


def _outcome_of(settlement: ItemSettlement) -> str:
    """Return how a delivery ended, in one word."""
    if settlement.state == "failed":
        return "failed"
    if settlement.reason_code:
        return "rejected"
    return "unchanged" if settlement.state == "skipped" else "landed"
