"""Modules that a week, a document and a webhook enter, by tracing, and the values that they make.

Each way runs in a process of its own with the demo source, on tables that were made before.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NamedTuple

from benchmarks.child import call
from benchmarks.structure.modules import PACKAGE

IS_OPTIMIZED = 1
"""Flag of the code of functions; the bodies of modules and classes, which imports run, lack it."""

TREASURY = ("finra_treasury_weekly", "2023-01-30")
WEEK = ("finra_otc_weekly", "OTCE|2026-01-26")
DOCUMENT = ("documents_load", "2026-03-02")
INBOX, SOURCE, JOB = "papers", "shop", "events_webhooks"

DEMO = {
    "DEMO_CLOCK_NOW": "2026-03-02T15:00:00+00:00",
    "DEMO_ROWS_PER_WEEK": "600",
    "DEMO_REQUESTS_PER_SECOND": "0",
    "DEMO_IDLE_SECONDS": "60",
    "DOCUMENTS_INBOX": INBOX,
    "DISK_HEADROOM_MIB": "0",
    "FINRA_REQUESTS_PER_SECOND": "500",
    "LOG_LEVEL": "ERROR",
}
FILES = {
    "INBOXES_FILE": f"inboxes: {{{INBOX}: {{}}}}",
    "WEBHOOKS_FILE": f"""
sources:
  {SOURCE}: {{scheme: stripe, job: {JOB}}}
targets:
  orders: {{action: row, columns: {{number: integer}}}}
""",
}
RULE = {
    "rule_id": "orders",
    "source": SOURCE,
    "action": "row",
    "target": "orders",
    "mappings": [{"target_field": "number", "source_type": "path", "value": "payload.id"}],
}
LOADS = 5


class Way(NamedTuple):
    """Modules that are entered, and the classes of the package of which instances are made."""

    modules: list[str]
    values: list[str]


def trace(name: str) -> Way:
    """Return what one of the functions of this module enters: a week, a document, a webhook."""
    traced = _call(name)
    return Way(traced["modules"], traced["values"])


def load_seconds() -> float:
    """Return how long the code location takes to load: the best of several new processes."""
    return min(_call("load")["seconds"] for _ in range(LOADS))


def _call(name: str) -> Any:
    with TemporaryDirectory(prefix="structure_") as folder:
        environment = {**DEMO, "STATE_DIR": folder, "DAGSTER_HOME": f"{folder}/dagster"}
        for setting, content in FILES.items():
            file = Path(folder, f"{setting.lower()}.yaml")
            file.write_text(content)
            environment[setting] = str(file)
        return call(f"{__name__}:{name}", environment)


def load() -> dict[str, float]:
    """Import the definitions and resolve them; what this module imports itself is not timed."""
    start = time.perf_counter()
    from orchestration_project.definitions import defs

    defs.get_repository_def()
    return {"seconds": time.perf_counter() - start}


def load_treasury() -> dict[str, list[str]]:
    """Load a partition of a dataset that is only declared."""
    return _trace_job(*TREASURY)


def load_week() -> dict[str, list[str]]:
    """Load a week of one tier."""
    return _trace_job(*WEEK)


def load_document() -> dict[str, list[str]]:
    """Store an upload, and load it as a document."""
    from orchestration_project.engine.connections.artifacts import open_store
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.engine.contracts.uploads import FileInbox
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.services.inbox.uploads import NewFile, Reservations, Uploads
    from orchestration_project.settings import load_settings

    settings = load_settings()
    (settings.state_path / "documents_demo" / "files").mkdir(parents=True)

    def upload() -> None:
        new = NewFile(INBOX, "ada", "report.txt", "text/plain")
        with open_warehouse(settings) as warehouse:
            store = open_store(settings)
            uploads = Uploads(warehouse, store, Clock(), settings, Reservations())
            with uploads.whole(new, FileInbox()) as incoming:
                incoming.reserve(22)
                incoming.write(b"Figures of the quarter")
                uploads.store(incoming)

    return _trace_job(*DOCUMENT, before=upload)


def load_webhook() -> dict[str, list[str]]:
    """Take a delivery, load it, and write the row that a routing rule requests."""
    from orchestration_project.catalog import REGISTRY
    from orchestration_project.domains.events.routing import FORM
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.resources.events.routing.rules import edit_rules, rules_in_effect
    from orchestration_project.resources.events.routing.targets import RoutingTargets
    from orchestration_project.services.inbox.rows import Inbox, NewDelivery
    from orchestration_project.services.inbox.work import SOURCE_TAG
    from orchestration_project.settings import load_settings

    settings, clock = load_settings(), Clock()
    rules = FORM.text_of([RULE]).read(RoutingTargets.of(settings, REGISTRY).problems_of)
    with open_warehouse(settings) as warehouse:
        with warehouse.reading() as connection:
            version = rules_in_effect(connection).version
        edit_rules(warehouse, rules, based_on=version, by="ada", at=clock.now())

    def deliver() -> None:
        with open_warehouse(settings) as warehouse:
            body = json.dumps({"id": 7}).encode()
            Inbox(warehouse, clock).take([NewDelivery(SOURCE, "1", "order", body, {}, 1)])

    return _trace_job(JOB, before=deliver, tags={SOURCE_TAG: SOURCE})


def _trace_job(
    name: str,
    partition: str | None = None,
    before: Callable[[], None] = lambda: None,
    tags: dict[str, str] | None = None,
) -> dict[str, list[str]]:
    """Run a job in this process, and return what it and the step before it enter and make.

    Raises:
        RuntimeError: The run loaded nothing.
    """
    from orchestration_project.definitions import defs
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.instance.storage import open_instance
    from orchestration_project.settings import load_settings

    with open_warehouse(load_settings()):
        pass  # which makes the tables
    job = defs.resolve_job_def(name)
    calls = Calls()
    with open_instance() as instance, calls:
        before()
        done = job.execute_in_process(instance=instance, partition_key=partition, tags=tags)
    if not done.success:
        raise RuntimeError(f"{name} failed")
    return {"modules": sorted(calls.modules), "values": sorted(calls.values)}


class Calls:
    """Records the functions of the package that are called meanwhile, in all threads.

    Attributes:
        modules: Paths of the modules of these functions, below the package's root.
        values: Classes of the package whose generated ``__init__`` or ``__new__`` is called: value
            types, as dataclasses and named tuples.
    """

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.values: set[str] = set()

    def __enter__(self) -> None:
        threading.setprofile(self._record)
        sys.setprofile(self._record)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _record(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code.co_filename == "<string>":
            self._record_value(frame)
        elif code.co_flags & IS_OPTIMIZED and code.co_filename.startswith(f"{PACKAGE}/"):
            self.modules.add(code.co_filename.removeprefix(f"{PACKAGE}/"))

    def _record_value(self, frame: FrameType) -> None:
        names = frame.f_locals
        made = names.get("_cls") or type(names.get("self"))
        if made.__module__.startswith(f"{PACKAGE.name}."):
            self.values.add(f"{made.__module__.removeprefix(f'{PACKAGE.name}.')}.{made.__name__}")
