"""A small source and target in memory, people who work in them, and what goes wrong with calls.

They answer as the embedded demo of PeopleForce and Jira does over HTTP: both are asked the same in
`test_saas_histories.py`. `saas_demo_world.py` has the other one.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestration_project.domains.saas.records import (
    FieldSpec,
    Issue,
    StatusCategory,
    Task,
    Transition,
    User,
)
from orchestration_project.engine.captures import Capture
from orchestration_project.errors import MovedError, TransientError
from orchestration_project.resources.saas.systems import (
    DigestScheme,
    RefusedError,
    SourcePage,
    UnreadableRecord,
)

BEGINNING = datetime(2026, 1, 5, 8, tzinfo=UTC)
PAGE = 2

STATUSES: Mapping[str, StatusCategory] = {
    "To Do": "new",
    "In Progress": "indeterminate",
    "Cancelled": "done",
    "Done": "done",
}
WORKFLOW = {
    "41": ("Cancel", "Cancelled", tuple(STATUSES)),
    "11": ("Reopen", "To Do", ("In Progress", "Done", "Cancelled")),
    "21": ("Start", "In Progress", ("To Do",)),
    "31": ("Done", "Done", ("In Progress",)),
}
"""Transitions by id: name, where to, from where. No issue goes from To Do to Done at once."""

IDS = {name: number for number, (name, _, _) in WORKFLOW.items()}

PROJECT, ISSUE_TYPE = "IT", "Task"

FIELDS = (
    FieldSpec("summary", "Summary", True, "string"),
    FieldSpec("description", "Description", False, "string"),
    FieldSpec("assignee", "Assignee", False, "user"),
    FieldSpec("labels", "Labels", False, "array"),
    FieldSpec("priority", "Priority", False, "priority", ("High", "Medium", "Low")),
)

USERS = (
    User("712020:olena", "olena@example.org", True),
    User("712020:anna", "anna@example.org", True),
    User("712020:twin1", "twin@example.org", True),
    User("712020:twin2", "twin@example.org", True),
    User("712020:gone", "gone@example.org", False),
)

WRITES = ("complete", "create", "update", "transition")


class Killed(BaseException):
    """The process ends here."""


BEFORE: Mapping[str, Callable[[], BaseException]] = {
    "throttled": lambda: TransientError("too many requests", retry_in_seconds=90),
    "down": lambda: TransientError("HTTP 503"),
    "moved": lambda: MovedError("pages repeat tasks"),
    "killed": Killed,
}
AFTER: Mapping[str, Callable[[], BaseException]] = {
    "unanswered": lambda: TransientError("no answer came within 10 s"),
    "killed after": Killed,
}
"""Errors that a call raises instead of its effect, and after it."""


@dataclass
class Faults:
    """Faults of calls: declared by operation, or those of a random history.

    A random history has a fault, or none, for each of the next calls in their order. Its creates
    have a list of their own: few calls are one, and most can go wrong with them.
    """

    random: list[str] = field(default_factory=list)
    random_of_creates: list[str] = field(default_factory=list)
    on_call: Callable[[], object] = lambda: None
    reads: int = 0
    writes: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    declared: dict[tuple[str, int], str | Callable[[], object]] = field(default_factory=dict)
    lasting: dict[str, str] = field(default_factory=dict)

    def on(self, operation: str, fault: str | Callable[[], object], *, call: int = 1) -> None:
        """Have a fault with the next call of an operation, or a later one.

        Args:
            operation: Method of the system.
            fault: Name of the fault, or what happens while the call is under way.
            call: Number of the call, counted from now.
        """
        self.declared[operation, self.calls[operation] + call] = fault

    def on_each(self, operation: str, fault: str) -> None:
        """Have a fault with each call of an operation until it is cleared."""
        self.lasting[operation] = fault

    def clear(self) -> None:
        """Have no fault any more."""
        self.declared.clear()
        self.lasting.clear()

    def around(self, name: str, effect: Callable[[], Any]) -> Any:
        """Have a call's effect, or not, or lose its answer."""
        if name in WRITES:
            self.writes += 1
        else:
            self.reads += 1
        fault = self._next_fault(name)
        if callable(fault):
            fault()
            return effect()
        if fault in BEFORE:
            raise BEFORE[fault]()
        found = effect()
        if fault in AFTER:
            raise AFTER[fault]()
        return found

    def _next_fault(self, name: str) -> str | Callable[[], object]:
        self.calls[name] += 1
        fault = self.random.pop(0) if self.random else ""
        if name == "create" and self.random_of_creates:
            fault = self.random_of_creates.pop(0)
        if fault:
            return self.on_call if fault == "meanwhile" else fault
        return self.declared.pop((name, self.calls[name]), self.lasting.get(name, ""))


class Faulty:
    """A system as our programs meet it: every call, and every page, may meet a fault."""

    def __init__(self, system: Any, faults: Faults) -> None:
        self._system = system
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        found: Any = getattr(self._system, name)
        if name in ("pages", "search"):
            return lambda *args, **named: self._pages(name, found(*args, **named))
        if not callable(found):
            return found
        return lambda *args, **named: self._faults.around(name, lambda: found(*args, **named))

    def _pages(self, name: str, pages: Iterator[Any]) -> Iterator[Any]:
        while (page := self._faults.around(name, lambda: next(pages, None))) is not None:
            yield page


def page_of(tasks: Sequence[Task], digesting: DigestScheme) -> SourcePage:
    """Return these tasks as a page."""
    return SourcePage({task.entity_id: digesting.digest(task) for task in tasks}, lambda: tasks)


@dataclass
class Tasks:
    """The source, as people and as programs see it."""

    system: str
    rows: dict[str, Task] = field(default_factory=dict)
    number: int = 999
    origin: str = "demo"
    unreadable: Sequence[UnreadableRecord] = ()

    def add(self, title: str | None, **changes: Any) -> str:
        """Add a task; return its id."""
        self.number += 1
        usual = Task(
            system=self.system,
            entity_type="task",
            entity_id=str(self.number),
            title=title,
            description_html="<p>one</p>",
            is_completed=False,
            created_at=BEGINNING,
            assignee_email=None,
            assignee_name=None,
            associated_name=None,
            fields={"id": self.number, "views": 0},
        )
        self.rows[usual.entity_id] = replace(usual, **changes)
        return usual.entity_id

    def change(self, entity_id: str, **changes: Any) -> None:
        """Change a task, if it is there."""
        if entity_id in self.rows:
            row = replace(self.rows[entity_id], **changes)
            seen = {**row.fields, "views": row.fields["views"] + 1}
            self.rows[entity_id] = replace(row, fields=seen)

    def remove(self, entity_id: str) -> None:
        """Delete a task, if it is there."""
        self.rows.pop(entity_id, None)

    def pages(self, digesting: DigestScheme, *, kept: list[Capture]) -> Iterator[SourcePage]:
        ids = list(self.rows)
        for start in range(0, max(len(ids), 1), PAGE):
            page = ids[start : start + PAGE]
            yield page_of([self.rows[key] for key in page if key in self.rows], digesting)

    def task(self, entity_id: str) -> Task | None:
        return self.rows.get(entity_id)

    def complete(self, entity_id: str) -> None:
        if entity_id not in self.rows:
            raise RefusedError("no such task", http_status=404)
        self.change(entity_id, is_completed=True)


@dataclass
class Issues:
    """The target, as people and as programs see it."""

    system: str = "jira"
    rows: dict[str, Issue] = field(default_factory=dict)
    fields: Sequence[FieldSpec] = FIELDS
    users: Sequence[User] = USERS
    allowed: frozenset[str] = frozenset(
        {"BROWSE_PROJECTS", "CREATE_ISSUES", "EDIT_ISSUES", "TRANSITION_ISSUES"}
    )
    number: int = 0
    now: Callable[[], datetime] = lambda: BEGINNING
    index_lag: timedelta = timedelta(0)
    indexed_at: dict[str, datetime] = field(default_factory=dict)
    gone_projects: set[str] = field(default_factory=set)
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def edit(self, key: str, **fields: Any) -> None:
        """Have people fill fields of an issue, if it is there."""
        if key in self.rows:
            self.rows[key] = _with(self.rows[key], fields)

    def move(self, key: str, *names: str) -> None:
        """Have people take steps with an issue, as far as they are offered."""
        for name in names:
            offered = self.transitions(key) if key in self.rows else ()
            if IDS[name] in [each.transition_id for each in offered]:
                self.transition(key, IDS[name])

    def remove(self, key: str) -> None:
        """Delete an issue, if it is there."""
        self.rows.pop(key, None)

    def of(self, source_id: str) -> list[Issue]:
        """Return the issues made of a task."""
        return [row for row in self.rows.values() if row.source_id == source_id]

    def make(self, summary: str) -> None:
        """Have people make an issue, which is of no task."""
        self._add(PROJECT, ISSUE_TYPE, {"summary": summary}, None)

    def slow_down(self, seconds: int) -> None:
        """Have searches find issues so much later than they are made from now on."""
        self.index_lag = timedelta(seconds=seconds)

    def index(self) -> None:
        """Have searches find all that there is."""
        self.slow_down(0)
        self.indexed_at.clear()

    def _searchable(self) -> list[Issue]:
        now = self.now()
        return [row for key, row in self.rows.items() if self.indexed_at.get(key, now) <= now]

    def find(self, source_id: str) -> Issue | None:
        found = (each for each in self._searchable() if each.source_id == source_id)
        return next(found, None)

    def mark(self, project: str) -> str:
        return str(max((_number(each) for each in self._searchable()), default=0))

    def find_after(self, mark: str, source_id: str) -> Issue | None:
        return next((each for each in self.of(source_id) if _number(each) > int(mark)), None)

    def get(self, key: str) -> Issue | None:
        return self.rows.get(key)

    def create(
        self, project: str, issue_type: str, fields: Mapping[str, Any], source_id: str
    ) -> Issue:
        _refuse_wrong(fields)
        return self._add(project, issue_type, fields, source_id)

    def _add(
        self, project: str, issue_type: str, fields: Mapping[str, Any], source_id: str | None
    ) -> Issue:
        self.number += 1
        issue = Issue(
            key=f"{project}-{self.number}",
            issue_id=str(10_000 + self.number),
            project=project,
            issue_type=issue_type,
            summary="",
            description=None,
            status_name="To Do",
            status_category="new",
            assignee_account_id=None,
            updated_at=BEGINNING,
            source_id=source_id,
        )
        self.rows[issue.key] = _with(issue, fields)
        self.indexed_at[issue.key] = self.now() + self.index_lag
        return self.rows[issue.key]

    def update(self, key: str, fields: Mapping[str, Any]) -> None:
        _refuse_wrong(fields)
        self.rows[key] = _with(self._there(key), fields)

    def transitions(self, key: str) -> Sequence[Transition]:
        now = self._there(key).status_name
        return [
            Transition(number, name, STATUSES[to], to)
            for number, (name, to, froms) in WORKFLOW.items()
            if now in froms
        ]

    def transition(self, key: str, transition_id: str) -> None:
        _, to, froms = WORKFLOW[transition_id]
        issue = self._there(key)
        if issue.status_name not in froms:
            raise RefusedError("no such transition", http_status=400)
        self.rows[key] = replace(issue, status_name=to, status_category=STATUSES[to])

    def create_fields(self, project: str, issue_type: str) -> Sequence[FieldSpec]:
        if (project, issue_type) != (PROJECT, ISSUE_TYPE):
            raise RefusedError(f"{project} has no {issue_type}", http_status=404)
        return self.fields

    def user_by_email(self, email: str) -> User | None:
        found = [user for user in self.users if user.email == email and user.is_active]
        return found[0] if len(found) == 1 else None

    def search(self, jql: str) -> Iterator[Sequence[Issue]]:
        [project] = re.findall(r'project = "(\w+)"', jql)
        if project in self.gone_projects:
            raise RefusedError(f"no project {project}", http_status=400)
        found = [each.key for each in self._searchable()]
        keys = [key for key in found if key.startswith(f"{project}-")]
        for start in range(0, max(len(keys), 1), PAGE):
            page = keys[start : start + PAGE]
            there = [key for key in page if key in self.rows and key not in self.unreadable]
            yield [self.rows[key] for key in there]

    def permissions(self, project: str) -> frozenset[str]:
        return self.allowed

    def _there(self, key: str) -> Issue:
        if key not in self.rows:
            raise RefusedError("no such issue", http_status=404)
        return self.rows[key]


def _number(issue: Issue) -> int:
    return int(issue.key.rpartition("-")[2])


def _refuse_wrong(fields: Mapping[str, Any]) -> None:
    if "poison" in str(fields.get("summary")):
        raise RefusedError("summary: poison is refused", http_status=400)


def _with(issue: Issue, fields: Mapping[str, Any]) -> Issue:
    rest = dict(fields)
    changes: dict[str, Any] = {
        name: rest.pop(name) for name in ("summary", "description") if name in rest
    }
    if "assignee" in rest:
        account = rest.pop("assignee")
        changes["assignee_account_id"] = account["accountId"] if account else None
    changes["fields"] = {**issue.fields, **rest}
    changes["updated_at"] = issue.updated_at + timedelta(seconds=1)
    return replace(issue, **changes)


@dataclass
class SaasSystems:
    """Both systems: ``tasks`` and ``issues`` for people, ``source`` and ``target`` for programs."""

    tasks: Any
    issues: Any
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        self.source: Any = Faulty(self.tasks, self.faults)
        self.target: Any = Faulty(self.issues, self.faults)

    @property
    def writes(self) -> int:
        """Writes that were requested, had they an effect or not."""
        return self.faults.writes


def systems_in_memory(name: str) -> SaasSystems:
    """Return empty systems whose source is called ``name``."""
    return SaasSystems(Tasks(name), Issues())
