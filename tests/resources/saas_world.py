"""Two small systems in memory, and people who work in them.

They answer as the embedded demo servers do: `test_saas_worlds.py` asks both the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestration_project.contracts import SourceName
from orchestration_project.domains.saas.records import (
    FieldSpec,
    Issue,
    StatusCategory,
    Task,
    Transition,
    User,
)
from orchestration_project.errors import MovedError, TransientError
from orchestration_project.resources.captures import Capture
from orchestration_project.resources.saas.systems import RefusedError, Unreadable

BEGINNING = datetime(2026, 1, 5, 8, tzinfo=UTC)
PAGE = 2

STATUSES: Mapping[str, StatusCategory] = {
    "To Do": "new",
    "In Progress": "indeterminate",
    "Cancelled": "done",
    "Done": "done",
}
STEPS = {
    "To Do": ("Cancelled", "In Progress"),
    "In Progress": ("Cancelled", "To Do", "Done"),
    "Done": ("To Do",),
    "Cancelled": ("To Do",),
}
"""What each status offers: nobody goes from To Do to Done at once."""

FIELDS = [
    FieldSpec("summary", "Summary", True, "string"),
    FieldSpec("description", "Description", False, "string"),
    FieldSpec("assignee", "Assignee", False, "user"),
    FieldSpec("labels", "Labels", False, "array"),
    FieldSpec("customfield_1", "Team", False, "option", ("Payroll", "Travel")),
]

USERS = [
    User("a-ana", "ana@example.org", True),
    User("a-bob", "bob@example.org", True),
    User("a-twin1", "twin@example.org", True),
    User("a-twin2", "twin@example.org", True),
    User("a-left", "left@example.org", False),
]


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Faults:
    """What happens to the next calls, in their order; none: all is well."""

    coming: list[str] = field(default_factory=list)
    on_call: Callable[[], None] = lambda: None

    def around(self, effect: Callable[[], Any]) -> Any:
        """Have a call's effect, or not, or not be told of it."""
        fault = self.coming.pop(0) if self.coming else ""
        match fault:
            case "throttled":
                raise TransientError("too many requests", retry_in_seconds=90)
            case "down":
                raise TransientError("HTTP 503")
            case "killed":
                raise Killed
            case "unanswered":
                effect()
                raise TransientError("no answer came within 10 s")
            case "killed after":
                effect()
                raise Killed
            case "meanwhile":
                self.on_call()
        return effect()


@dataclass
class Tasks:
    """The source, as people and as programs see it."""

    system: str
    faults: Faults
    rows: dict[str, Task] = field(default_factory=dict)
    number: int = 0
    origin: SourceName = "demo"
    unreadable: Sequence[Unreadable] = ()
    writes: int = 0

    def add(self, title: str | None, **changes: Any) -> str:
        """Add a task; return its id."""
        self.number += 1
        entity_id = str(self.number)
        usual = Task(
            system=self.system,
            entity_type="task",
            entity_id=entity_id,
            title=title,
            description_html="<p>one</p>",
            is_completed=False,
            created_at=BEGINNING,
            assignee_email=None,
            assignee_name=None,
            associated_name=None,
            fields={"id": self.number, "views": 0},
        )
        self.rows[entity_id] = replace(usual, **changes)
        return entity_id

    def change(self, entity_id: str, **changes: Any) -> None:
        """Change a task, if it is there."""
        if entity_id in self.rows:
            row = replace(self.rows[entity_id], **changes)
            self.rows[entity_id] = replace(
                row, fields={**row.fields, "views": row.fields["views"] + 1}
            )

    def tasks(self, *, completed: bool | None, kept: list[Capture]) -> Iterator[Sequence[Task]]:
        found = [row for row in self.rows.values() if completed in (None, row.is_completed)]
        for start in range(0, max(len(found), 1), PAGE):
            ids = [row.entity_id for row in found[start : start + PAGE]]
            if self.faults.coming[:1] == ["moved"]:
                self.faults.coming.pop(0)
                raise MovedError("pages repeat tasks")
            yield self.faults.around(lambda ids=ids: [self.rows[i] for i in ids if i in self.rows])

    def task(self, entity_id: str) -> Task | None:
        return self.faults.around(lambda: self.rows.get(entity_id))

    def complete(self, entity_id: str) -> None:
        def effect() -> None:
            if entity_id not in self.rows:
                raise RefusedError("no such task", http_status=404)
            self.change(entity_id, is_completed=True)

        self.writes += 1
        self.faults.around(effect)


@dataclass
class Issues:
    """The target, as people and as programs see it."""

    system: str
    faults: Faults
    rows: dict[str, Issue] = field(default_factory=dict)
    fields: Sequence[FieldSpec] = tuple(FIELDS)
    users: Sequence[User] = tuple(USERS)
    number: int = 0
    writes: int = 0
    reads: int = 0

    def change(self, key: str, **changes: Any) -> None:
        """Change an issue, if it is there."""
        if key in self.rows:
            row = self.rows[key]
            self.rows[key] = replace(
                row, updated_at=row.updated_at + timedelta(seconds=1), **changes
            )

    def move(self, key: str, status: str) -> None:
        """Have an issue be in a status, as people may who skip steps."""
        self.change(key, status_name=status, status_category=STATUSES[status])

    def label(self, key: str, value: object) -> None:
        """Have people fill a field of an issue that no rule knows."""
        if key in self.rows:
            self.change(key, fields={**self.rows[key].fields, "customfield_9": value})

    def of(self, source_id: str) -> list[Issue]:
        """Return the issues made of a task."""
        return [row for row in self.rows.values() if row.source_id == source_id]

    def find(self, source_id: str) -> Issue | None:
        return self._read(lambda: next(iter(self.of(source_id)), None))

    def get(self, key: str) -> Issue | None:
        return self._read(lambda: self.rows.get(key))

    def create(
        self, project: str, issue_type: str, fields: Mapping[str, Any], source_id: str
    ) -> Issue:
        def effect() -> Issue:
            self._refuse_wrong(fields)
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
            return self.rows[issue.key]

        return self._write(effect)

    def update(self, key: str, fields: Mapping[str, Any]) -> None:
        def effect() -> None:
            self._refuse_wrong(fields)
            self.rows[key] = _with(self._there(key), fields)

        self._write(effect)

    def transitions(self, key: str) -> Sequence[Transition]:
        def effect() -> Sequence[Transition]:
            return [
                Transition(str(number), f"To {name}", STATUSES[name], name)
                for number, name in enumerate(STEPS[self._there(key).status_name], start=11)
            ]

        return self._read(effect)

    def transition(self, key: str, transition_id: str) -> None:
        def effect() -> None:
            offered = STEPS[self._there(key).status_name]
            place = int(transition_id) - 11
            if place >= len(offered):
                raise RefusedError("no such transition", http_status=400)
            self.move(key, offered[place])

        self._write(effect)

    def create_fields(self, project: str, issue_type: str) -> Sequence[FieldSpec]:
        return self._read(lambda: self.fields)

    def user_by_email(self, email: str) -> User | None:
        def effect() -> User | None:
            found = [each for each in self.users if each.email == email]
            return found[0] if len(found) == 1 else None

        return self._read(effect)

    def search(self, jql: str, fields: Sequence[str]) -> Iterator[Sequence[Issue]]:
        keys = list(self.rows)
        for start in range(0, max(len(keys), 1), PAGE):
            chosen = keys[start : start + PAGE]
            yield self._read(lambda keys=chosen: [self.rows[k] for k in keys if k in self.rows])

    def permissions(self, project: str) -> frozenset[str]:
        return self._read(
            lambda: frozenset(
                {"BROWSE_PROJECTS", "CREATE_ISSUES", "EDIT_ISSUES", "TRANSITION_ISSUES"}
            )
        )

    def _there(self, key: str) -> Issue:
        if key not in self.rows:
            raise RefusedError("no such issue", http_status=404)
        return self.rows[key]

    def _refuse_wrong(self, fields: Mapping[str, Any]) -> None:
        if "poison" in str(fields.get("summary")):
            raise RefusedError("summary: poison is refused", http_status=400)

    def _read(self, effect: Callable[[], Any]) -> Any:
        self.reads += 1
        return self.faults.around(effect)

    def _write(self, effect: Callable[[], Any]) -> Any:
        self.writes += 1
        return self.faults.around(effect)


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
class World:
    """Both systems, and what happens to the calls of both."""

    source: Tasks
    target: Issues
    faults: Faults

    @classmethod
    def of(cls, name: str) -> "World":
        """Return an empty world whose systems are called ``name`` and so on."""
        faults = Faults()
        return cls(Tasks(name, faults), Issues("jira", faults), faults)

    @property
    def writes(self) -> int:
        """Writes that were asked for, had they an effect or not."""
        return self.source.writes + self.target.writes
