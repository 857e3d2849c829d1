"""Webhook deliveries of the inbox, loaded into `events_webhooks` as all that is fetched is loaded.

Each delivery is a work item, and a partition with a capture, a fence and a row; `run_items` loads
and settles many in one transaction.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection

from orchestration_project.domains.events.deliveries import (
    RULE_VERSION,
    WebhookEvent,
    checked_events,
)
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.work_items import ItemSettlement
from orchestration_project.engine.run_items import ItemSummary
from orchestration_project.engine.warehouse import TableSpec, Warehouse, WriteOutcome
from orchestration_project.engine.warehouse.loading import ScopeDelivery, load_scopes
from orchestration_project.engine.warehouse.target import skip_summary
from orchestration_project.errors import OrchestrationError
from orchestration_project.services.inbox.rows import (
    Content,
    build_delivery,
    capture_of,
    remove_loaded_bodies,
)
from orchestration_project.services.inbox.work import ClaimedDelivery
from orchestration_project.services.links import build_rows_path, link
from orchestration_project.services.metadata import build_table
from orchestration_project.tables.conditions import write_condition
from orchestration_project.tables.webhooks import events_webhooks

EVENTS = TableSpec(table=events_webhooks, rule_version=RULE_VERSION, summarise=skip_summary)

OUTCOMES = ("landed", "unchanged", "rejected", "failed", "lost")
"""Counts of a run's deliveries. Another run claimed a lost one meanwhile."""

MAX_DELIVERIES_SHOWN = 100
MAX_REASON_LENGTH = 500


def _plan_nothing(_: Connection, __: Sequence[Content]) -> int:
    return 0


@dataclass(frozen=True)
class DeliveryLoader:
    """Captures, checks and loads deliveries; doing so again changes nothing.

    Attributes:
        warehouse: Knows which bytes are stored.
        captures: The store of their bytes.
        clock: Its time.
        run_id: Dagster's run.
        plan: Plans the actions that follow from loaded deliveries, in the same transaction.
    """

    warehouse: Warehouse
    captures: Captures
    clock: Clock
    run_id: str
    plan: Callable[[Connection, Sequence[Content]], int] = _plan_nothing

    def ready(self) -> None:
        """Open nothing: the run has its database and its store."""

    def extract(
        self, items: Sequence[ClaimedDelivery]
    ) -> Iterator[tuple[ClaimedDelivery, Capture]]:
        """Store the bytes of deliveries together; yield each with its capture.

        Raises:
            OrchestrationError: The store does not take the bytes.
        """
        fetched = [capture_of(item.content) for item in items]
        stored = self.captures.keep_all(fetched, self.warehouse.known_blobs)
        for item, capture in zip(items, stored, strict=True):
            yield item, capture.without_body()

    def load(
        self, connection: Connection, batch: Sequence[tuple[ClaimedDelivery, Capture]]
    ) -> Sequence[ItemSettlement]:
        """Check deliveries and load what is new; one that is loaded already is skipped."""
        events = [_build_event(item.content) for item, _ in batch]
        deliveries = [
            ScopeDelivery(
                f"{event.source}|{event.delivery_id}",
                {"delivery_id": event.delivery_id, "source": event.source},
                build_delivery(item.content, capture),
                validated,
            )
            for (item, capture), event, validated in zip(
                batch, events, checked_events(events), strict=True
            )
        ]
        scopes = load_scopes(
            connection, EVENTS, deliveries, run_id=self.run_id, now=self.clock.now()
        )
        settlements = [
            _settle_delivery(item, scope.batch.validated, scope.outcome)
            for (item, _), scope in zip(batch, scopes, strict=True)
        ]
        loaded = [settlement.item.content for settlement in settlements if _is_loaded(settlement)]
        self.plan(connection, loaded)
        for source in {content.source for content in loaded}:
            remove_loaded_bodies(
                connection, source, [content for content in loaded if content.source == source]
            )
        return settlements


def _build_event(content: Content) -> WebhookEvent:
    return WebhookEvent(
        content.source, content.delivery_id, content.received_at, content.kind, content.body
    )


def _is_loaded(settlement: ItemSettlement[ClaimedDelivery]) -> bool:
    return settlement.state in ("done", "skipped") and settlement.reason_code is None


def _settle_delivery(
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
        for settlement in settlements:
            content, outcome = settlement.item.content, _name_outcome(settlement)
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
                        "reason": settlement.error.what
                        if settlement.error
                        else settlement.reason or "",
                    }
                )

    def _conditions(self) -> list[str]:
        """Return the conditions that all rows of the deliveries meet; a single one is named."""
        ids = [write_condition("delivery_id", row["delivery_id"]) for row in self.shown]
        return [f"source={self.source}", *(ids if len(ids) == 1 else [])]

    def as_metadata(self) -> dict[str, Any]:
        """Return the outcomes, counts and deliveries as Dagster metadata."""
        names = [name for name in OUTCOMES if self.counts[name]]
        reasons = dict.fromkeys(str(row["reason"]) for row in self.shown if row["reason"])
        return {
            "outcome": "mixed" if len(names) > 1 else "".join(names) or "nothing was due",
            "reason": "; ".join(reasons)[:MAX_REASON_LENGTH],
            "source": self.source,
            "deliveries_count": self.counts.total(),
            **{f"{outcome}_count": self.counts[outcome] for outcome in OUTCOMES},
            "bytes": self.byte_count,
            "rows": self.counts["landed"] + self.counts["unchanged"],
            "deliveries": build_table(pl.DataFrame(self.shown)),
            "table_rows": link(build_rows_path(events_webhooks.name, *self._conditions())),
        }


def _name_outcome(settlement: ItemSettlement) -> str:
    """Return how a delivery ended, in one word."""
    if settlement.state == "failed":
        return "failed"
    if settlement.reason_code:
        return "rejected"
    return "unchanged" if settlement.state == "skipped" else "landed"
