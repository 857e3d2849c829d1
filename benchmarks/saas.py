"""Measured parts of reconciliation: a look in which nothing changed, and webhooks.

Each function is called in a process of its own (`child.py`).
"""

import json
import time
import urllib.request
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import dagster as dg
from sqlalchemy import literal, update

from benchmarks.gateway import PATIENCE_SECONDS, SECONDS_APART
from benchmarks.rig import Rig
from orchestration_project.cli.saas_run import RULES
from orchestration_project.definitions import defs
from orchestration_project.domains.saas.rules import read_rules
from orchestration_project.domains.saas.tables import saas_source_states
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.resources.saas.connection import saas_demo
from orchestration_project.resources.saas.rules import put_in_effect
from orchestration_project.services.inbox.rows import Inbox, NewDelivery
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import outbox

EARLIER = datetime(2026, 1, 1, tzinfo=UTC)
IMPORTED_LATE = ("alembic.command", "numpy", "psycopg", "pyarrow", "zstandard")


def looks(*, url: str, repeats: int) -> dict[str, Any]:
    """Look at all tasks for a first time, have all of it be done, and look again so many times.

    Returns seconds of each look after the first, as a whole Dagster run in this process, and what
    was asked of either system meanwhile.
    """
    for name in IMPORTED_LATE:
        import_module(name)
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        put_in_effect(connection, read_rules(RULES), by="bench", at=EARLIER, run_id="bench")
    with dg.DagsterInstance.get() as instance:
        first = _look(instance, raise_on_error=False)  # nobody takes the issues
        issues = _have_all_done()
        _settle()
        _asked(url)
        busy = time.process_time()
        seconds = [_look(instance) for _ in range(repeats)]
        busy = (time.process_time() - busy) / repeats
    return {
        "first": first,
        "seconds": seconds,
        "look_cpu_seconds": busy,
        "issues": issues,
        "asked": _asked(url),
    }


def webhooks(*, count: int) -> dict[str, list[float]]:
    """Return how long after a webhook was received the other system had changed, seconds.

    Tasks and issues are those of the demo. A daemon runs on this STATE_DIR, with the sensor of
    webhooks on; the first webhook of one more waits until that has started.
    """
    settings = load_settings()
    demo = saas_demo(settings).url()
    with open_warehouse(settings) as warehouse, warehouse.writing() as connection:
        put_in_effect(connection, read_rules(RULES), by="bench", at=EARLIER, run_id="bench")
    with dg.DagsterInstance.get() as instance:
        _look(instance)
    with open_warehouse(settings) as warehouse:
        inbox, waits = Inbox(warehouse, Clock()), []
        for number in range(count + 1):
            time.sleep(number * SECONDS_APART)  # not in step with the daemon
            title = f"Onboarding {number}"
            task = _posted(f"{demo}/demo/tasks", {"title": title, "description": "as it was"})
            body = json.dumps({"action": "task_create", "data": task}).encode()
            received = time.perf_counter()
            inbox.take([NewDelivery("peopleforce", str(number), None, body, {}, 1)])
            _wait_for_issue(demo, title)
            waits.append(time.perf_counter() - received)
    return {"seconds": waits[1:]}


def _wait_for_issue(demo: str, title: str) -> None:
    """Return once there is an issue of a title.

    Raises:
        RuntimeError: There is none for too long.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        issues = _told(f"{demo}/demo/state")["issues"]
        if any(each["fields"]["summary"] == title for each in issues):
            return
        time.sleep(0.1)
    raise RuntimeError(f"there is no issue {title}")


def _posted(url: str, content: object) -> Any:
    requested = urllib.request.Request(url, json.dumps(content).encode(), method="POST")  # noqa: S310 - ours
    return _told(requested)


def _told(url: str | urllib.request.Request) -> Any:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own server
        return json.load(answer)


def _look(instance: dg.DagsterInstance, *, raise_on_error: bool = True) -> float:
    job = defs.resolve_job_def("saas_reconcile")
    started = time.perf_counter()
    config = {"ops": {"reconcile_saas": {"config": {"dry_run": False}}}}
    job.execute_in_process(instance=instance, run_config=config, raise_on_error=raise_on_error)
    return time.perf_counter() - started


def _have_all_done() -> int:
    """Say of all intentions that they were done: to make so many issues takes hours.

    Returns how many issues there are then.
    """
    issue = literal("HR-").concat(saas_source_states.c.entity_id)
    is_meant = saas_source_states.c.intended.is_not(None)
    applied = json.dumps({"fields": {}, "is_completed": False})
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        connection.execute(update(outbox).values(state="done", changed_at=Clock().now()))
        done = update(saas_source_states).where(is_meant)
        return connection.execute(done.values(target_key=issue, applied=applied)).rowcount


def _settle() -> None:
    """Do at once what PostgreSQL does by itself a minute after so many changes."""
    url = load_settings().database_url
    if url is not None:
        Rig.settle(url.get_secret_value())


def _asked(url: str) -> dict[str, int]:
    """Return how many requests there were by their first folder since this was last asked."""
    return _told(f"{url}/asked")
