"""One task and its issue, brought into agreement; nothing is recorded here.

What was done until something failed stays in `SyncState`, so that it can be recorded all the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from orchestration_project.domains.saas.intents import Intent, completion, fields_of, merged
from orchestration_project.domains.saas.records import Issue
from orchestration_project.domains.saas.transitions import MAX_STEPS, next_step
from orchestration_project.domains.saas.values import values_of
from orchestration_project.errors import ContractError, TransientError
from orchestration_project.resources.saas.audit import Entity, SyncLogEntry
from orchestration_project.resources.saas.systems import (
    RefusedError,
    SourceSystem,
    TargetSystem,
)

CREATE_GRACE_PERIOD = timedelta(minutes=1)
"""Time for which a create without a response may still take effect."""

INDEXED = timedelta(days=1)
"""Time after which a search finds a new issue; the target documents seconds to minutes."""


class NoStepError(ContractError):
    """No step that an issue may take leads to the status that it should have."""


class UnderWayError(TransientError):
    """A create whose answer never came may still have its effect: nothing is sure yet."""


@dataclass(frozen=True)
class PendingCreate:
    """Create request with an unknown outcome, sent or about to be sent.

    Attributes:
        mark: The target's place that its issue comes after, if it was made.
    """

    mark: str
    at: datetime


@dataclass
class SyncState:
    """Agreed state of both sides, and the actions that led to it.

    Attributes:
        target_key: The issue's key; None: there is none.
        fields: What we last wrote, in the target's types.
        is_completed: What both sides last said of completion; None: they never agreed.
        begun: A create that may have made an issue; None: there is none in doubt.
    """

    entity: Entity
    target_key: str | None
    fields: Mapping[str, Any]
    is_completed: bool | None
    unresolved_email: str | None = None
    begun: PendingCreate | None = None
    entries: list[SyncLogEntry] = field(default_factory=list)

    def note(self, operation: str, **detail: Any) -> None:
        """Add a log entry for an operation that was done."""
        self.entries.append(SyncLogEntry(self.entity, operation, self.target_key, detail))


@dataclass(frozen=True)
class SyncPair:
    """Both systems, and what is called before each write.

    Attributes:
        ahead: Called before a write, too, after which the known facts could not be found again: one
            that makes an issue, or overwrites what people wrote.
    """

    source: SourceSystem
    target: TargetSystem
    now: Callable[[], datetime]
    before_write: Callable[[], None]
    ahead: Callable[[SyncState], None]

    def agree(self, agreement: SyncState, intent: Intent) -> None:
        """Bring an issue to what is intended, and what people did with it back to the task.

        Raises:
            TransientError: It may go on later.
            RefusedError: A system takes it never.
            ContractError: The intent cannot be one of the target's.
        """
        form = self.target.create_fields(intent.project, intent.issue_type)
        values = values_of(
            intent.fields, {field_spec.field_id: field_spec for field_spec in form}, self._account
        )
        agreement.unresolved_email = values.unresolved_email
        issue = self._linked(agreement)
        if issue is None and intent.is_completed:
            agreement.note("not_needed")
            return
        if issue is None:
            issue = self._create(agreement, intent, values.fields)
        else:
            self._update(agreement, issue, values.fields)
        before = agreement.fields  # of what is left out now, it stays what we last wrote
        left_out = {name: before[name] for name in intent.fields if name in before}
        agreement.fields = {**left_out, **values.fields}
        self._complete(agreement, intent, issue)

    def _account(self, email: str) -> str | None:
        user = self.target.user_by_email(email)
        return user.account_id if user else None

    def _linked(self, agreement: SyncState) -> Issue | None:
        """Return the issue of a task: the one that we know, or one that we once made."""
        key = agreement.target_key
        issue = self.target.get(key) if key else None
        if issue is not None:
            agreement.target_key = issue.key  # it may have moved
            return issue
        issue = self._found(agreement.entity.source_id) or self._unheard_of(agreement)
        if key:
            agreement.note("lost", key=key)
        agreement.fields, agreement.is_completed = {}, None
        agreement.target_key = issue.key if issue else None
        if issue is not None:
            agreement.note("found")
        return issue

    def _found(self, source_id: str) -> Issue | None:
        """Return the issue that a search finds, as it is now: searches lag behind."""
        issue = self.target.find(source_id)
        return self.target.get(issue.key) if issue else None

    def _unheard_of(self, agreement: SyncState) -> Issue | None:
        """Return the issue of an earlier create whose answer never came, though no search finds it.

        Raises:
            UnderWayError: It may be made yet.
        """
        begun = agreement.begun
        passed = self.now() - begun.at if begun else INDEXED
        if begun is None or passed >= INDEXED:
            return None
        issue = self.target.find_after(begun.mark, agreement.entity.source_id)
        if issue is None and passed < CREATE_GRACE_PERIOD:
            raise UnderWayError(
                "an earlier request without a response may still create the issue",
                expected=f"{CREATE_GRACE_PERIOD} between it and the next one",
                found=f"{passed}",
                remedy="nothing: the next run searches for it, and then creates it",
            )
        return issue

    def _create(self, agreement: SyncState, intent: Intent, fields: Mapping[str, Any]) -> Issue:
        values = {name: value for name, value in fields.items() if value is not None}
        agreement.begun = PendingCreate(self.target.mark(intent.project), self.now())
        self.ahead(agreement)
        self.before_write()
        source_id = agreement.entity.source_id
        try:
            issue = self.target.create(intent.project, intent.issue_type, values, source_id)
        except RefusedError:
            agreement.begun = None  # so nothing was made
            raise
        agreement.target_key = issue.key
        agreement.fields = fields
        agreement.note("created", rule=intent.rule, fields=values)
        return issue

    def _update(self, agreement: SyncState, issue: Issue, fields: Mapping[str, Any]) -> None:
        values = fields_of(issue)
        merge = merged(fields, agreement.fields, values)
        if not merge.writes:
            return
        if merge.overwritten:
            agreement.note("overwritten", fields=merge.overwritten)
            self.ahead(agreement)
        self.before_write()
        self.target.update(issue.key, merge.writes)
        before = {name: values.get(name) for name in merge.writes}
        agreement.note("updated", fields=merge.writes, before=before)

    def _complete(self, agreement: SyncState, intent: Intent, issue: Issue) -> None:
        follows = completion(
            agreement.is_completed, source=intent.is_completed, target=intent.ends(issue)
        )
        if follows == "kept":
            return
        if follows == "to_target":
            self._step(agreement, issue, intent)
        elif follows == "to_source":
            self.before_write()
            self.source.complete(agreement.entity.entity_id)
            agreement.note("completed", status=issue.status_name)
        agreement.is_completed = True if follows == "to_source" else intent.is_completed

    def _step(self, agreement: SyncState, issue: Issue, intent: Intent) -> None:
        """Have an issue take the steps to the status that its task's state means.

        Raises:
            NoStepError: The way does not exist.
        """
        now, to_done = issue.status_category, intent.is_completed
        to_cancelled = to_done and intent.completed_task == "cancelled"
        for _ in range(MAX_STEPS):
            offered = self.target.transitions(issue.key)
            step = next_step(now, to_done=to_done, offered=offered, to_cancelled=to_cancelled)
            if step is None:
                break
            self.before_write()
            self.target.transition(issue.key, step.transition_id)
            agreement.note("transitioned", step=step.name, to=step.to_name or step.to_category)
            now = step.to_category
            if (now == "done") == to_done:
                return
        raise NoStepError(
            f"no step of {issue.key} leads to a status that {'ends' if to_done else 'opens'} it",
            expected="a transition to a cancelled status, as the rule's states say"
            if to_cancelled
            else "a transition to a status of that category, other than one like Cancelled",
            found=f"the status {issue.status_name}",
            remedy="add such a transition to the workflow, or move the issue manually; then replay",
        )
