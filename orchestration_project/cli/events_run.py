"""`make run-routing`: payloads of three systems routed to each kind of action, offline.

The demo has the receiver of signed requests, Jira and the broker; all state is in STATE_DIR.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from sqlalchemy import select

from orchestration_project.catalog import REGISTRY
from orchestration_project.cli import console
from orchestration_project.cli.execution import execute
from orchestration_project.domains.events.routing import FORM
from orchestration_project.domains.events.tables import events_routed_states
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.events.routing.applying import open_applier
from orchestration_project.resources.events.routing.planning import RoutingPlanner
from orchestration_project.resources.events.routing.rules import edit_rules, rules_in_effect
from orchestration_project.resources.events.routing.runs import RunRequester, runnable_jobs
from orchestration_project.resources.events.routing.targets import RoutingTargets
from orchestration_project.resources.mqtt.opening import open_bridge
from orchestration_project.resources.mqtt.reading import waiting_outbox
from orchestration_project.services.inbox.rows import Content
from orchestration_project.settings import Settings, load_settings

MAX_PUBLISHING_SECONDS = 60
POLL_SECONDS = 0.1

WEBHOOKS = """
sources:
  github: {{scheme: github, job: events_webhooks}}
  pay: {{scheme: stripe, job: events_webhooks}}
  people: {{scheme: peopleforce, job: events_webhooks}}
targets:
  payments: {{action: row, columns: {{charge: text, cents: integer, paid_at: timestamp}}}}
  partner: {{action: http_request, url: "{url}", type: issue.opened}}
  tickets: {{action: jira_issue, project: IT, issue_type: Task}}
  freshness: {{action: run_job, job: finra_daily}}
  tasks: {{action: mqtt_event, topic: people/tasks, kind: task.created}}
"""

RULES = """
- {rule_id: payments, source: pay, kind: charge.succeeded, action: row, target: payments,
   mappings: [
    {target_field: charge, source_type: path, value: payload.data.object.id},
    {target_field: cents, source_type: path, value: payload.data.object.amount},
    {target_field: paid_at, source_type: path, value: payload.created}]}
- {rule_id: partner, source: github, kind: issues, action: http_request, target: partner,
   conditions: [{field: payload.action, value: opened}], mappings: [
    {target_field: title, source_type: path, value: payload.issue.title}]}
- {rule_id: tickets, source: people, kind: task_created, action: jira_issue, target: tickets,
   mappings: [{target_field: summary, source_type: path, value: payload.data.attributes.title}]}
- {rule_id: tasks, source: people, kind: task_created, action: mqtt_event, target: tasks,
   mappings: [
    {target_field: task_id, source_type: path, value: payload.data.id},
    {target_field: project_id, source_type: static, value: people},
    {target_field: title, source_type: path, value: payload.data.attributes.title}]}
- {rule_id: refresh, source: github, kind: push, action: run_job, target: freshness}
"""

CHARGE: dict[str, Any] = {
    "type": "charge.succeeded",
    "created": 1_793_620_800,
    "data": {"object": {"id": "ch_1", "amount": 1250}},
}

DELIVERIES: list[tuple[str, str, dict[str, Any]]] = [
    ("pay", "charge.succeeded", CHARGE),
    ("pay", "charge.succeeded", {**CHARGE, "data": {"object": {"id": "ch_2", "amount": "n/a"}}}),
    ("github", "issues", {"action": "opened", "issue": {"number": 1, "title": "Broken build"}}),
    ("github", "push", {"ref": "refs/heads/main"}),
    ("people", "task_created", {"data": {"id": 7, "attributes": {"title": "Order a laptop"}}}),
]
"""Source, kind and payload; the second has an amount that is not an integer."""


@contextmanager
def _serve_receiver() -> Iterator[str]:
    """Give the URL of a receiver that accepts all requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hooks"
        server.shutdown()


def main() -> int:
    """Route the deliveries, and print a row for each action; return 0 if all ended as expected."""
    settings = load_settings()
    if not settings.is_demo:
        raise ConfigurationError(
            "the demo of routing writes into a database with real data",
            expected="the settings of the demo",
            remedy="start it by `make run-routing`",
        )
    with _serve_receiver() as url:
        settings.webhooks_path.write_text(WEBHOOKS.format(url=url), encoding="utf-8")
        outcomes = _apply_rules(settings)
    return int(outcomes != {"done": 5, "dead": 1})


def _apply_rules(settings: Settings) -> dict[str, int]:
    clock = Clock()
    targets = RoutingTargets.of(settings, REGISTRY)
    rules = FORM.text_of(RULES).read(targets.problems_of)
    with open_instance() as instance, open_warehouse(settings) as warehouse:
        with warehouse.reading() as connection:
            version = rules_in_effect(connection).version
        edit_rules(warehouse, rules, based_on=version, by="demo", at=clock.now())
        contents = [
            Content(source, f"demo-{number}", kind, json.dumps(value).encode(), {}, clock.now())
            for number, (source, kind, value) in enumerate(DELIVERIES, start=1)
        ]
        with warehouse.writing() as connection:
            RoutingPlanner(targets, clock, "demo").plan(connection, contents)
        with open_applier(warehouse, clock, settings, REGISTRY, run_id="demo") as applier:
            applier.apply_due()
        requester = RunRequester(warehouse, clock, targets, dict.fromkeys(runnable_jobs(REGISTRY)))
        for request in requester.requests(instance):
            ended = execute(instance, str(request.job_name))
            instance.add_run_tags(ended.run_id, dict(request.tags))
        requester.requests(instance)  # finds the runs, and settles their actions
        left = _publish(settings, warehouse, clock)
        with warehouse.reading() as connection:
            routed = select(events_routed_states).order_by(events_routed_states.c.delivery_id)
            return _print(connection.execute(routed).all()) | (
                {"unpublished": left} if left else {}
            )


def _publish(settings: Settings, warehouse: Warehouse, clock: Clock) -> int:
    """Have the bridge publish what waits in the outbox; return how many events are left."""
    stop = Event()
    bridge = open_bridge(settings, warehouse, clock)
    thread = Thread(target=bridge.run, args=(stop,), name="mqtt-bridge", daemon=True)
    thread.start()
    deadline = time.monotonic() + MAX_PUBLISHING_SECONDS
    while (left := _count_unpublished(warehouse)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    stop.set()
    thread.join()
    return left


def _count_unpublished(warehouse: Warehouse) -> int:
    with warehouse.reading() as connection:
        return waiting_outbox(connection).row_count


def _print(rows: Any) -> dict[str, int]:
    outcomes: dict[str, int] = {}
    line = "{:<8} {:<7} {:<9} {:<13} {:<10} {:<5} {}"
    console.echo(
        line.format("delivery", "source", "rule", "action", "target", "state", "result or reason")
    )
    for row in rows:
        outcomes[row.outcome] = outcomes.get(row.outcome, 0) + 1
        detail = row.result or row.reason or ""
        console.echo(
            line.format(
                row.delivery_id,
                row.source,
                row.rule_id,
                row.action,
                row.target,
                row.outcome,
                detail.partition("\n")[0][:60],
            )
        )
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
