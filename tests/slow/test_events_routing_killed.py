"""Processes that route webhooks killed at any time: nothing is lost, nothing has effect twice.

ROUTING_KILLS=200 kills on each database two hundred times, which takes ten minutes.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from orchestration_demo.saas.jira import EMAIL, TOKEN
from sqlalchemy import Table, select

from orchestration_project.catalog import REGISTRY
from orchestration_project.domains.events.routing import FORM
from orchestration_project.domains.events.tables import (
    events_routed_rows,
    events_routed_states,
    events_routing_dead_letters,
)
from orchestration_project.domains.mqtt.tables import mqtt_mirror
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.events.routing.applying import open_applier
from orchestration_project.resources.events.routing.rules import edit_rules, rules_in_effect
from orchestration_project.resources.events.routing.runs import ROUTING_TAG
from orchestration_project.resources.events.routing.targets import RoutingTargets
from orchestration_project.settings import PROJECT_ROOT, child_environment, load_settings
from orchestration_project.tables.spine import outbox
from tests.faulty_server import FaultyServer
from tests.prepared import Prepared
from tests.programs import kill_after
from tests.resources.routing_setup import (
    ORDERS,
    PARTNER,
    SECRET,
    TICKETS,
    TOTALS,
    WEBHOOKS,
    Receiver,
)
from tests.saas_demo import SaasDemo
from tests.slow.killed_routing import BASE, deliver

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("ROUTING_KILLS", "6"))  # noqa: TID251 - of the test alone
MINUTES_BETWEEN = 10
"""For longer than a claim of an action."""

REFRESH: dict[str, Any] = {
    "rule_id": "refresh",
    "source": "shop",
    "action": "run_job",
    "target": "prices",
}


class Forks:
    """Has a program fork workers, and kills them."""

    def __init__(self, lines: "subprocess.Popen[str]") -> None:
        self._lines = lines
        self.done = -1
        """The last number that a worker printed."""

    def kill_after_and_check(self, seconds: float | None, *numbers: int) -> float:
        """Have a worker begin, and kill it so much later; None: after its first step.

        Returns the seconds from its beginning to its first step, or to the kill.
        """
        assert self._lines.stdin is not None
        assert self._lines.stdout is not None
        self._lines.stdin.write(" ".join(map(str, numbers)) + "\n")
        self._lines.stdin.flush()
        process, started, lasted = int(self._lines.stdout.readline()), 0.0, 0.0
        while (line := self._lines.stdout.readline().strip()) != "ended":
            assert line, "the process that forks has ended"
            if line != "-1":
                self.done = int(line)
            elif not started:
                started = time.monotonic()
            if started and not lasted and (line == "-1") is (seconds is not None):
                kill_after(process, seconds or 0)
                lasted = time.monotonic() - started
        assert lasted, "the worker ended by itself"
        return lasted


@contextmanager
def forking(module: str) -> Iterator[Forks]:
    """Start the program that forks workers."""
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT_ROOT,
        env=child_environment(),
    )
    try:
        yield Forks(process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    found = Receiver()
    with FaultyServer(found) as server:
        yield found, f"{server.url}/hooks"


@pytest.fixture
def jira() -> Iterator[SaasDemo]:
    with SaasDemo() as demo:
        yield demo


@pytest.fixture(params=["sqlite", "postgresql"])
def warehouse(
    request: pytest.FixtureRequest,
    prepared: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    receiver: tuple[Receiver, str],
    jira: SaasDemo,
) -> Iterator[Warehouse]:
    """The database of settings that name a receiver, a Jira and a broker that is away."""
    file = tmp_path / "tables.sqlite"
    url = prepared.sqlite(file) if request.param == "sqlite" else prepared.postgresql()
    (tmp_path / "webhooks.yaml").write_text(WEBHOOKS.format(url=receiver[1]))
    for name, value in {
        "DATA_PROFILE": "real",
        "STATE_DIR": str(tmp_path / "state"),
        "DATABASE_URL": url,
        "WEBHOOKS_FILE": str(tmp_path / "webhooks.yaml"),
        "HTTP_ALLOWED_NETWORKS": "127.0.0.0/8",
        "ROUTING_SECRET_PARTNER": SECRET,
        "MQTT_URL": "mqtt://127.0.0.1:1",
        "SAAS_SOURCE": "api",
        "PEOPLEFORCE_API_KEY": "x" * 20,
        "JIRA_URL": f"{jira.url}/jira",
        "JIRA_EMAIL": EMAIL,
        "JIRA_TOKEN": TOKEN,
        "JIRA_REQUESTS_PER_SECOND": "0",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DEMO_CLOCK_NOW", raising=False)
    if request.param == "postgresql":
        monkeypatch.setenv("DAGSTER_DATABASE_URL", prepared.postgresql())
    with Warehouse(url, clock=Clock()) as opened:
        opened.prepare(holds="real")
        yield opened


def edit(warehouse: Warehouse, *rules: dict[str, Any]) -> RoutingTargets:
    """Put rules into effect; return what they may name."""
    targets = RoutingTargets.of(load_settings(), REGISTRY)
    with warehouse.reading() as connection:
        version = rules_in_effect(connection).version
    read = FORM.text_of(rules).read(targets.problems_of)
    edit_rules(warehouse, read, based_on=version, by="ada", at=BASE)
    return targets


def rows(warehouse: Warehouse, table: Table) -> list[Any]:
    """Return the rows of a table by its key."""
    with warehouse.reading() as connection:
        return list(connection.execute(select(table).order_by(*table.primary_key.columns)))


def test_actions_of_killed_processes_have_effect_once(
    warehouse: Warehouse,
    receiver: tuple[Receiver, str],
    jira: SaasDemo,
    request: pytest.FixtureRequest,
):
    moments = Random(f"{request.config.getoption('seed')} {request.node.name}")  # noqa: S311 - a seed
    targets = edit(warehouse, ORDERS, PARTNER, TICKETS, TOTALS)
    with forking("tests.slow.killed_routing") as forks:
        longest = 0.0
        for number in range(1, KILLS + 1):
            begun_with = forks.done + 1, number * MINUTES_BETWEEN
            if number % 3 == 1:  # the machine may be busier than before
                longest = 1.2 * forks.kill_after_and_check(None, *begun_with)
            else:
                forks.kill_after_and_check(moments.uniform(0.0, longest), *begun_with)
    assert forks.done > 0
    last = forks.done + 1
    clock = Clock(BASE + timedelta(minutes=(KILLS + 1) * MINUTES_BETWEEN))
    deliver(warehouse, clock, targets, last)  # the sender repeats what was under way
    settings = load_settings()
    with open_applier(warehouse, clock, settings, REGISTRY, run_id="last") as applier:
        applier.apply_due()
    numbers = list(range(last + 1))
    outcomes = Counter(row.outcome for row in rows(warehouse, events_routed_states))
    assert outcomes == {"done": 4 * len(numbers)}
    assert rows(warehouse, events_routing_dead_letters) == []
    written = [json.loads(row.data)["number"] for row in rows(warehouse, events_routed_rows)]
    assert sorted(written) == numbers
    effects: dict[str, set[bytes]] = {}
    for each in receiver[0].requests:
        effects.setdefault(each.headers["webhook-id"], set()).add(each.body)
    assert {len(bodies) for bodies in effects.values()} == {1}
    orders = [json.loads(body)["data"]["order"] for [body] in effects.values()]
    assert sorted(orders) == numbers, "a receiver that honours the key has each once"
    summaries = [issue["fields"]["summary"] for issue in jira.issues()]
    assert sorted(summaries) == sorted(f"Order {number}" for number in numbers)
    mirrored = [json.loads(row.payload)["value"] for row in rows(warehouse, mqtt_mirror)]
    assert sorted(mirrored) == numbers
    published = [row for row in rows(warehouse, outbox) if row.topic == "mqtt/events"]
    assert len(published) == len(numbers)


def test_killed_ticks_request_one_run_per_action(
    warehouse: Warehouse, request: pytest.FixtureRequest
):
    moments = Random(f"{request.config.getoption('seed')} {request.node.name}")  # noqa: S311 - a seed
    targets = edit(warehouse, REFRESH)
    delivered = rounds = 0

    def has_waiting() -> bool:
        return any(row.outcome != "done" for row in rows(warehouse, events_routed_states))

    with forking("tests.slow.killed_routing_runs") as forks:
        longest = 0.0
        while delivered < 2 * KILLS:
            for _ in range(2):
                deliver(warehouse, Clock(), targets, delivered)
                delivered += 1
            if delivered % 20 == 2:  # the machine may be busier than before
                longest = 1.2 * forks.kill_after_and_check(None, 0)
            else:
                forks.kill_after_and_check(moments.uniform(0.0, longest), 0)
        while has_waiting():
            rounds += 1
            assert rounds < 10 + delivered
            forks.kill_after_and_check(3 * longest, 0)
    with open_instance() as instance:
        runs = [run for run in instance.get_runs() if ROUTING_TAG in run.tags]
    routed = rows(warehouse, events_routed_states)
    assert len(routed) == delivered
    expected = {action.idempotency_key: action.result for action in routed}
    assert {run.tags[ROUTING_TAG]: run.run_id for run in runs} == expected
    assert len(runs) == delivered, "one run per action"
