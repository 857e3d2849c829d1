"""Protocols of both sides of a sync, independent of the product.

All methods raise a TransientError where the same call may work later: unreachable, throttled (with
``retry_in_seconds``), 5xx, or a write whose answer never came, which may have had its effect. What
the system refused, and would refuse again, is a `RefusedError`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from orchestration_project.domains.saas.records import FieldSpec, Issue, Task, Transition, User
from orchestration_project.engine.captures import Capture
from orchestration_project.errors import SourceError


class RefusedError(SourceError):
    """A system answered a request with a status that says: not like this, however often."""

    def __init__(self, what: str, *, http_status: int, **said: Any) -> None:
        super().__init__(what, **said)
        self.http_status = http_status


@dataclass(frozen=True)
class UnreadableRecord:
    """Record of a page that is not a task: its bytes, position from 1, and reason.

    ``entity_id`` is the task's, where that at least can be read.
    """

    sha256: str
    line_number: int
    record: str
    reason: str
    entity_id: str | None = None


@dataclass(frozen=True)
class DigestScheme:
    """How a task becomes a digest, and a name that is another one once that differs."""

    name: str
    digest: Callable[[Task], str]


@dataclass(frozen=True)
class SourcePage:
    """Tasks that came together.

    Attributes:
        digests: Theirs, by their id; a task that an earlier page had is left out.
        read: Returns the tasks themselves, of which a look in which nothing changed needs none.
    """

    digests: Mapping[str, str]
    read: Callable[[], Sequence[Task]]


class SourceSystem(Protocol):
    """Source of tasks."""

    @property
    def system(self) -> str:
        """Its name in our tables, such as peopleforce."""
        ...

    @property
    def origin(self) -> str:
        """Source name in captures."""
        ...

    @property
    def unreadable(self) -> Sequence[UnreadableRecord]:
        """Records of the latest pages that are not tasks; the others are processed without them."""
        ...

    def pages(self, digesting: DigestScheme, *, kept: list[Capture]) -> Iterator[SourcePage]:
        """Yield all tasks page by page.

        All that came is appended to ``kept`` too, also what turned out unusable.

        Raises:
            MovedError: Pages repeat or skip tasks, so that this is not all of them.
        """
        ...

    def task(self, entity_id: str) -> Task | None:
        """Return a task as it is now; None: it was deleted."""
        ...

    def complete(self, entity_id: str) -> None:
        """Say that a task is completed; one that is already stays so."""
        ...


class TargetSystem(Protocol):
    """Target of issues."""

    @property
    def system(self) -> str:
        """Its name in our tables, such as jira."""
        ...

    @property
    def unreadable(self) -> Mapping[str, str]:
        """The issues of the latest search that cannot be read: why, by their keys."""
        ...

    def find(self, source_id: str) -> Issue | None:
        """Return the issue whose entity property says ``source_id``; of several the oldest."""
        ...

    def get(self, key: str) -> Issue | None:
        """Return an issue as it is now; None: there is none of that key."""
        ...

    def mark(self, project: str) -> str:
        """Return a place in the order of a project's issues that all made from now on come after.

        It may lie further back than need be.
        """
        ...

    def find_after(self, mark: str, source_id: str) -> Issue | None:
        """Return the issue of ``source_id`` among all that were made after a mark.

        It is sure also of those that `find` cannot find yet, and so may request many.
        """
        ...

    def create(
        self, project: str, issue_type: str, fields: Mapping[str, Any], source_id: str
    ) -> Issue:
        """Make an issue whose entity property says ``source_id``; asked once, never again.

        Raises:
            RefusedError: None was made, or one that we may not see.
        """
        ...

    def update(self, key: str, fields: Mapping[str, Any]) -> None:
        """Set just these fields."""
        ...

    def transitions(self, key: str) -> Sequence[Transition]:
        """Return the steps that an issue may take now."""
        ...

    def transition(self, key: str, transition_id: str) -> None:
        """Have an issue take a step."""
        ...

    def create_fields(self, project: str, issue_type: str) -> Sequence[FieldSpec]:
        """Return the fields that an issue of that kind can be created with; asked once a run.

        Raises:
            RefusedError: The project or type does not exist for us.
        """
        ...

    def user_by_email(self, email: str) -> User | None:
        """Return the one active user of exactly that address; None: there is none, or several.

        Asked once a run.
        """
        ...

    def search(self, jql: str) -> Iterator[Sequence[Issue]]:
        """Yield the issues that a query finds, page by page, without fields of mappings alone.

        Issues that cannot be read are left out: the others go on without them.
        """
        ...

    def permissions(self, project: str) -> frozenset[str]:
        """Return our permissions in a project, in the target's words."""
        ...
