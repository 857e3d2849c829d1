"""Sides of the measures of routing: rules that are compared, and requests that webhooks lead to."""

import json
import time
import urllib.request
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from benchmarks.gateway import HOST, PATIENCE_SECONDS, SECONDS_APART, SOURCE, webhook
from orchestration_project.catalog import REGISTRY
from orchestration_project.domains.events.routing import (
    FORM,
    ActiveRule,
    RoutedDelivery,
    RoutingRule,
    RuleSet,
    plan_delivery,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.resources.events.routing.rules import edit_rules, rules_in_effect
from orchestration_project.resources.events.routing.targets import RoutingTargets
from orchestration_project.settings import load_settings

TARGET = "partner"
RECEIVED_AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
RULE: dict[str, Any] = {
    "rule_id": "partner",
    "source": SOURCE,
    "action": "http_request",
    "target": TARGET,
    "mappings": [{"target_field": "id", "source_type": "path", "value": "payload.id"}],
}


def rules(rule_count: int, delivery_count: int) -> dict[str, Any]:
    """Return the milliseconds that each delivery of a source with so many rules takes.

    All rules are of one source and kind. Every second one is found by an index of its text; the
    others have to be compared, and ten of all match.
    """
    settings = load_settings()
    targets = RoutingTargets.of(settings, REGISTRY)
    given = [_rule(number, rule_count) for number in range(rule_count)]
    read = FORM.text_of(given).read(targets.problems_of)
    compiled = RuleSet.of(ActiveRule(each, 1) for each in read)
    payload = {"id": 7, "order": {"country": "c0", "note": "a text with n0 in it"}, "x": "y" * 900}
    found, spent = [], []
    for number in range(delivery_count + 1):
        body = json.dumps(payload)
        started = time.perf_counter()
        delivery = RoutedDelivery(SOURCE, str(number), "order", RECEIVED_AT, json.loads(body))
        found = plan_delivery(compiled, delivery, targets.fields_of)
        spent.append(1000 * (time.perf_counter() - started))
    return {"milliseconds": spent[1:], "matched": len(found)}  # the first one compiles


def _rule(number: int, count: int) -> dict[str, Any]:
    is_indexed, group = number % 2 == 0, number // 2 % (count // 10)
    condition = (
        {"field": "payload.order.country", "value": f"c{group}"}
        if is_indexed
        else {"field": "payload.order.note", "operator": "contains", "value": f"n{group} "}
    )
    return {**RULE, "rule_id": f"r{number}", "kind": "order", "conditions": [condition]}


def requests(count: int, gateway_port: int, receiver_port: int) -> dict[str, Any]:
    """Return how long after it was sent each of ``count`` webhooks led to a request, seconds.

    `ui` runs on this STATE_DIR; the first of one webhook more waits until all of it has started.
    """
    settings = load_settings()
    targets = RoutingTargets.of(settings, REGISTRY)
    with open_warehouse(settings) as warehouse:
        with warehouse.reading() as connection:
            version = rules_in_effect(connection).version
        rule = RoutingRule.model_validate(RULE)
        FORM.text_of([RULE]).read(targets.problems_of)
        edit_rules(warehouse, [rule], based_on=version, by="bench", at=Clock().now())
    arrived: dict[str, float] = {}
    came = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            arrived[body["data"]["id"]] = time.monotonic()
            self.send_response(204)
            self.end_headers()
            came.set()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    waits = []
    with ThreadingHTTPServer((HOST, receiver_port), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        for number in range(count + 1):
            time.sleep(number * SECONDS_APART)  # not in step with the daemon
            came.clear()
            sent = time.monotonic()
            _send(gateway_port, f"routed-{number}")
            if not came.wait(PATIENCE_SECONDS):
                raise RuntimeError(f"no request within {PATIENCE_SECONDS} s")
            waits.append(arrived[f"routed-{number}"] - sent)
        server.shutdown()
    return {"seconds": waits[1:]}


def _send(port: int, delivery_id: str) -> None:
    path, body, headers = webhook(delivery_id)
    requested = urllib.request.Request(
        f"http://{HOST}:{port}{path}", data=body, headers=headers, method="POST"
    )
    urllib.request.urlopen(requested, timeout=30).close()  # noqa: S310 - our own gateway
