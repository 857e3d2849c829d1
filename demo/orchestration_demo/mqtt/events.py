"""Synthetic events of projects by a seed, and the state that follows from them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

PROJECTS = 20
COMPONENTS_OF_A_PROJECT = 6
SECONDS = 240
"""Time that all events together take, by their own times."""

PROJECT_STATUSES = ("planning", "active", "paused", "done")
COMPONENT_STATUSES = ("pending", "in_progress", "completed", "blocked")
TASK_STATUSES = ("todo", "in_progress", "review", "done")
PEOPLE = tuple(f"user-{number:02}" for number in range(1, 13))
NAMES = ("Apollo", "Borealis", "Cobalt", "Delta", "Ember", "Fjord", "Garnet", "Harbor")
PARTS = ("design", "backend", "frontend", "import", "export", "reports", "search", "billing")
METRICS = (("velocity", "points"), ("coverage", "%"), ("cost", "USD"), ("lead_time", "days"))

Row = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """An event as it is published."""

    topic: str
    body: bytes
    is_retained: bool = False


def time_text(moment: datetime) -> str:
    """Return a UTC time as envelopes have it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class Story:
    """Events in the order of their times, and what is expected of them.

    Attributes:
        count: Number of events.
        start: Time of the first.
    """

    seed: int
    count: int
    start: datetime
    projects: dict[str, Row] = field(default_factory=dict)
    components: dict[str, Row] = field(default_factory=dict)
    tasks: dict[str, Row] = field(default_factory=dict)
    metrics: dict[str, Row] = field(default_factory=dict)
    dependencies: set[tuple[str, str]] = field(default_factory=set)
    last_of_project: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = Random(f"{self.seed} {self.start.isoformat()}")  # noqa: S311 - no secret
        self._step = timedelta(seconds=SECONDS) / self.count
        self._numbers = {"project": 0, "component": 0, "task": 0}
        self.events: list[Event] = []
        for number in range(self.count):
            self._now = self.start + self._step * number
            self._next_event()

    def state(self) -> dict[str, Any]:
        """Return the expected rows by table and key, without what only the pipeline adds."""
        return {
            "projects": self.projects,
            "components": self.components,
            "component_dependencies": sorted(map(list, self.dependencies)),
            "tasks": self.tasks,
            "metrics": self.metrics,
        }

    def _next_event(self) -> None:
        if len(self.projects) < PROJECTS and self._numbers["project"] < PROJECTS:
            self._create_project()
            return
        choices: list[tuple[int, Callable[[], None]]] = [
            (34, self._update_task),
            (16, self._create_task),
            (12, self._update_component),
            (8, self._create_component),
            (8, self._update_project),
            (6, self._change_dependency),
            (14, self._record_metric),
            (2, self._delete_task),
        ]
        weights = [weight for weight, _ in choices]
        [(_, chosen)] = self._random.choices(choices, weights)
        chosen()

    def _add(self, kind: str, folder: str, entity_id: str, payload: Row) -> None:
        envelope = {
            "trace_id": str(UUID(int=self._random.getrandbits(128), version=4)),
            "ts": time_text(self._now),
            "kind": kind,
            "idempotency_key": str(UUID(int=self._random.getrandbits(128), version=4)),
            "payload": payload,
        }
        body = json.dumps(envelope, ensure_ascii=False).encode()
        self.events.append(Event(f"tracker/events/{folder}/{entity_id}", body))

    def _new_id(self, entity_type: str) -> str:
        self._numbers[entity_type] += 1
        return f"{entity_type}-{self._numbers[entity_type]:05}"

    def _pick(self, rows: dict[str, Row]) -> str:
        return self._random.choice(list(rows))

    def _person(self) -> str:
        return self._random.choice(PEOPLE)

    def _some_of(self, values: Row) -> Row:
        """Return one to all of the values, and always who changed them."""
        names = self._random.sample(sorted(values), self._random.randint(1, len(values)))
        return {name: values[name] for name in names} | {"updated_by": self._person()}

    def _create_project(self) -> None:
        number = len(self.projects)
        values: Row = {
            "name": f"{NAMES[number % len(NAMES)]} {number + 1}",
            "description": f"Synthetic project, {self._random.choice(PARTS)} first, with ünïcode",
            "status": "planning",
            "owner_id": self._person(),
            "metadata": {"budget": self._random.randint(10, 900), "tags": ["synthetic"]},
            "updated_by": self._person(),
        }
        self._put("project", "projects", self.projects, values)

    def _put(self, entity_type: str, folder: str, rows: dict[str, Row], values: Row) -> None:
        """Create an entity."""
        entity_id = self._new_id(entity_type)
        rows[entity_id] = dict(values)
        self._note_project(entity_type, entity_id)
        payload = {f"{entity_type}_id": entity_id, **values}
        self._add(f"{entity_type}.created", folder, entity_id, payload)

    def _change(self, entity_type: str, folder: str, rows: dict[str, Row], values: Row) -> None:
        """Change some fields of an entity."""
        entity_id = self._pick(rows)
        changed = self._some_of(values)
        rows[entity_id] |= changed
        self._note_project(entity_type, entity_id)
        payload = {f"{entity_type}_id": entity_id, **changed}
        self._add(f"{entity_type}.updated", folder, entity_id, payload)

    def _note_project(self, entity_type: str, entity_id: str) -> None:
        if entity_type == "project":
            self.last_of_project[entity_id] = len(self.events)

    def _update_project(self) -> None:
        values = {
            "status": self._random.choice(PROJECT_STATUSES),
            "owner_id": self._person(),
            "description": self._random.choice(("shortened", None)),
        }
        self._change("project", "projects", self.projects, values)

    def _create_component(self) -> None:
        if len(self.components) >= PROJECTS * COMPONENTS_OF_A_PROJECT:
            self._update_component()
            return
        values: Row = {
            "project_id": self._pick(self.projects),
            "name": self._random.choice(PARTS),
            "status": "pending",
            "progress": 0,
            "position": self._random.randint(0, 9),
            "updated_by": self._person(),
        }
        self._put("component", "components", self.components, values)

    def _update_component(self) -> None:
        if not self.components:
            self._create_component()
            return
        values: Row = {
            "status": self._random.choice(COMPONENT_STATUSES),
            "progress": self._random.randint(0, 100),
            "position": self._random.choice((None, 1, 2, 3)),
        }
        self._change("component", "components", self.components, values)

    def _change_dependency(self) -> None:
        if len(self.components) < 2:
            self._create_component()
            return
        pair = (self._pick(self.components), self._pick(self.components))
        if pair[0] == pair[1]:
            self._record_metric()
            return
        is_there = pair in self.dependencies
        (self.dependencies.remove if is_there else self.dependencies.add)(pair)
        self._add(
            f"component_dependency.{'removed' if is_there else 'added'}",
            "component_dependencies",
            pair[0],
            {"component_id": pair[0], "depends_on_id": pair[1], "updated_by": self._person()},
        )

    def _create_task(self) -> None:
        values: Row = {
            "project_id": self._pick(self.projects),
            "component_id": self._pick(self.components) if self.components else None,
            "title": f"{self._random.choice(PARTS)} task",
            "status": "todo",
            "assignee_id": self._random.choice((None, *PEOPLE)),
            "due_at": time_text(self._now + timedelta(days=self._random.randint(1, 30))),
            "completed_at": None,
            "updated_by": self._person(),
        }
        self._put("task", "tasks", self.tasks, values)

    def _update_task(self) -> None:
        if not self.tasks:
            self._create_task()
            return
        status = self._random.choice(TASK_STATUSES)
        values: Row = {
            "status": status,
            "assignee_id": self._random.choice((None, *PEOPLE)),
            "completed_at": time_text(self._now) if status == "done" else None,
        }
        self._change("task", "tasks", self.tasks, values)

    def _delete_task(self) -> None:
        if not self.tasks:
            self._create_task()
            return
        entity_id = self._pick(self.tasks)
        del self.tasks[entity_id]
        payload = {"task_id": entity_id, "updated_by": self._person()}
        self._add("task.deleted", "tasks", entity_id, payload)

    def _record_metric(self) -> None:
        name, unit = self._random.choice(METRICS)
        payload: Row = {
            "subject_id": self._pick(self.projects),
            "name": name,
            "value": round(self._random.uniform(0, 100), 2),
            "unit": unit,
            "measured_at": time_text(self._now),
        }
        key = f"{payload['subject_id']}|{name}|{payload['measured_at']}"
        self.metrics[key] = dict(payload)
        self._add("metric.recorded", "metrics", payload["subject_id"], payload)
