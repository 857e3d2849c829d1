"""Webhook deliveries of the inbox, landed in `events_webhooks` as all that is fetched lands."""

from dataclasses import dataclass

from orchestration_project.contracts.rules import Validated
from orchestration_project.domains.events import RULE_VERSION, checked_event
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.loads import Intake, take
from orchestration_project.engine.warehouse import Delivery, Warehouse, WriteTarget
from orchestration_project.engine.warehouse.delivery import no_summary
from orchestration_project.engine.warehouse.landing import is_landed
from orchestration_project.services.inbox.work import Content, delivery_of, fetched_of
from orchestration_project.tables.webhooks import events_webhooks, events_webhooks_history


@dataclass(frozen=True)
class LandedEvent:
    """What came of a delivery: its rows, or why it has none; nothing new where it had landed."""

    row_count: int
    reject: str
    is_new: bool
    group_id: str

    @property
    def outcome(self) -> str:
        """One word."""
        if self.reject:
            return "rejected"
        return "landed" if self.is_new else "unchanged"


@dataclass(frozen=True)
class EventLanding:
    """Captures, checks and lands one delivery; doing so again changes nothing."""

    warehouse: Warehouse
    captures: Captures
    run_id: str

    def land(self, content: Content) -> LandedEvent:
        """Land a delivery.

        Raises:
            SupersededError: Another run landed it meanwhile.
        """
        key = f"{content.source}|{content.delivery_id}"
        state = self.warehouse.state(events_webhooks, key)
        order = self._order(content, key, state.token)
        intake = self._intake(content, order)
        group = f"{events_webhooks.name}:{key}#{state.token + 1}"
        is_new = not is_landed(state, order, intake.delivery, intake.prepared)
        if is_new:
            group = self.warehouse.land(order, intake.delivery, intake.prepared).group_id
        rejects = intake.checked.rejects["reason"].to_list()
        return LandedEvent(len(intake.checked.rows), "".join(rejects), is_new, group)

    def _intake(self, content: Content, order: WriteTarget[None]) -> Intake:
        def read(kept: list[Capture]) -> Delivery:
            kept.append(self.captures.keep(fetched_of(content)))
            return delivery_of(content, *kept[-1:])

        def check(delivery: Delivery) -> Validated:
            return checked_event(
                content.body,
                source=content.source,
                delivery_id=content.delivery_id,
                received_at=content.received_at,
                kind=content.kind,
            )

        return take(self.warehouse, order, delivery_of(content), read, check)

    def _order(self, content: Content, key: str, token: int) -> WriteTarget[None]:
        return WriteTarget(
            table=events_webhooks,
            history=events_webhooks_history,
            partition_key=key,
            partition={"source": content.source, "delivery_id": content.delivery_id},
            token=token,
            metadata_columns=(),
            rule_version=RULE_VERSION,
            run_id=self.run_id,
            derive={},
            summarise=no_summary,
        )
