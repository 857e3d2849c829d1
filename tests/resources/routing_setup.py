"""Routing over one database, with a receiver of requests and a Jira in memory."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from orchestration_project.catalog import REGISTRY
from orchestration_project.domains.events.routing import FORM, RoutingRule
from orchestration_project.domains.events.tables import (
    events_routed_states,
)
from orchestration_project.domains.saas.records import Issue
from orchestration_project.engine.contracts.rule_edits import Problem
from orchestration_project.engine.contracts.webhooks.sources import (
    HOPS_HEADER,
    read_sources,
    read_targets,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import TransientError
from orchestration_project.resources.events.routing.applying import (
    ActionApplier,
    ApplySummary,
)
from orchestration_project.resources.events.routing.planning import RoutingPlanner
from orchestration_project.resources.events.routing.replaying import LetterFilter, replay_letters
from orchestration_project.resources.events.routing.rules import (
    edit_rules,
    rules_in_effect,
)
from orchestration_project.resources.events.routing.targets import RoutingTargets
from orchestration_project.services.inbox.rows import Content, Inbox, NewDelivery
from orchestration_project.settings import load_settings
from tests.faulty_server import FaultyServer, Reply, Request
from tests.resources.saas_systems import Issues
from tests.resources.weeks import StoppedClock

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"
WEBHOOKS = """
sources:
  shop: {{scheme: stripe, job: events_webhooks}}
  hr: {{scheme: peopleforce, job: saas_reconcile}}
targets:
  orders:
    action: row
    columns: {{number: integer, country: text}}
    required: [number]
  partner: {{action: http_request, url: "{url}"}}
  tickets: {{action: jira_issue, project: IT, issue_type: Task}}
  prices: {{action: run_job, job: documents_freshness}}
  totals: {{action: mqtt_event, topic: shop/orders, kind: metric.recorded}}
  anything: {{action: mqtt_event, topic: shop/orders, kind: order.paid}}
  wildcard: {{action: mqtt_event, topic: shop/#, kind: metric.recorded}}
  broken: {{action: row, columns: {{number: money}}}}
"""
TICKETS: dict[str, Any] = {
    "rule_id": "tickets",
    "source": "shop",
    "action": "jira_issue",
    "target": "tickets",
    "mappings": [
        {"target_field": "summary", "source_type": "template", "value": "Order {payload.id}"}
    ],
}
ORDERS: dict[str, Any] = {
    "rule_id": "orders",
    "source": "shop",
    "action": "row",
    "target": "orders",
    "mappings": [
        {"target_field": "number", "source_type": "path", "value": "payload.id"},
        {"target_field": "country", "source_type": "path", "value": "payload.country"},
    ],
}
PARTNER: dict[str, Any] = {
    "rule_id": "partner",
    "source": "shop",
    "conditions": [{"field": "payload.country", "value": "DE"}],
    "action": "http_request",
    "target": "partner",
    "mappings": [{"target_field": "order", "source_type": "path", "value": "payload.id"}],
}


TOTALS: dict[str, Any] = {
    "rule_id": "totals",
    "source": "shop",
    "action": "mqtt_event",
    "target": "totals",
    "mappings": [
        {"target_field": "name", "source_type": "static", "value": "orders"},
        {"target_field": "subject_id", "source_type": "path", "value": "payload.country"},
        {"target_field": "value", "source_type": "path", "value": "payload.id"},
        {"target_field": "measured_at", "source_type": "path", "value": "received_at"},
    ],
}


class Receiver:
    """A receiver of requests that answers as it is set."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.status = 200

    def __call__(self, request: Request) -> Reply:
        self.requests.append(request)
        return Reply(self.status, {}, b"")


@dataclass
class UncertainIssues(Issues):
    """A Jira whose answer to a create is lost while ``is_silent``."""

    is_silent: bool = False

    def create(
        self, project: str, issue_type: str, fields: Mapping[str, Any], source_id: str
    ) -> Issue:
        made = super().create(project, issue_type, fields, source_id)
        if self.is_silent:
            raise TransientError("no answer")
        return made


class Router:
    """Routing over one database, with a receiver."""

    def __init__(
        self, warehouse: Warehouse, clock: StoppedClock, receiver: Receiver, url: str
    ) -> None:
        self.warehouse, self.clock, self.receiver = warehouse, clock, receiver
        self.issues = UncertainIssues()
        content = WEBHOOKS.format(url=url)
        self.targets = RoutingTargets(
            REGISTRY, load_settings(), read_sources(content), read_targets(content)
        )

    def edit(
        self,
        *rules: dict[str, Any],
        based_on: str | None = None,
        examine: Callable[[RoutingRule], Sequence[Problem]] = lambda _: (),
    ) -> Any:
        read = FORM.text_of(rules).read(self.targets.problems_of, examine)
        with self.warehouse.reading() as connection:
            present = rules_in_effect(connection).version
        return edit_rules(
            self.warehouse, read, based_on=based_on or present, by="ada", at=self.clock.now()
        )

    def deliver(self, delivery_id: str, hops: str = "", **payload: Any) -> None:
        body = json.dumps({"id": 1, "country": "DE", **payload}).encode()
        headers = {HOPS_HEADER: hops} if hops else {}
        new = NewDelivery("shop", delivery_id, "order", body, headers, 3)
        Inbox(self.warehouse, self.clock).take([new])
        content = Content("shop", delivery_id, "order", body, headers, self.clock.now())
        with self.warehouse.writing() as connection:
            RoutingPlanner(self.targets, self.clock, "loading").plan(connection, [content])

    def applier(self, run_id: str = "run") -> ActionApplier:
        settings = load_settings()
        return ActionApplier(
            self.warehouse, self.clock, self.targets, settings, run_id, {"jira": self.issues}.get
        )

    def apply(self) -> ApplySummary:
        return self.applier().apply_due()

    def rows(self, table: Any) -> list[Any]:
        with self.warehouse.reading() as connection:
            return list(connection.execute(select(table).order_by(*table.primary_key.columns)))

    def outcomes(self) -> dict[tuple[str, str], str]:
        return {
            (row.delivery_id, row.rule_id): row.outcome for row in self.rows(events_routed_states)
        }

    def replay(self, **wanted: Any) -> list[str]:
        chosen = LetterFilter(**wanted)
        found = replay_letters(
            self.warehouse, self.clock, self.targets, chosen, run_id="replay", dry_run=False
        )
        return [result.outcome for result in found]


@contextmanager
def routing(
    warehouse: Warehouse, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> Iterator[Router]:
    """Give routing to a receiver on this machine, with its state below a folder."""
    monkeypatch.setenv("HTTP_ALLOWED_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("ROUTING_SECRET_PARTNER", SECRET)
    monkeypatch.setenv("STATE_DIR", str(folder / "state"))
    receiver = Receiver()
    with FaultyServer(receiver) as server:
        yield Router(warehouse, clock, receiver, f"{server.url}/hooks")
