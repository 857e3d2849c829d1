"""Entries that need a person, through the API: list, retry, accept, close and ignore."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request

from orchestration_project.engine.contracts.api.attention import (
    AttentionEntries,
    AttentionEntry,
    AttentionExpectation,
    AttentionMark,
    AttentionPreview,
    AttentionResult,
)
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.environment import open_clock
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.audit import record
from orchestration_project.gateway.api.jobs import Launch, launch
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError, problem_of, require_known
from orchestration_project.gateway.api.runs import (
    Name,
    Retry,
    RetryItems,
    RunId,
    retry_failed_items,
    retry_run,
)
from orchestration_project.gateway.api.services import Services
from orchestration_project.gateway.request import REQUEST_ID
from orchestration_project.services.attention.failed_runs import QUARANTINE_CATEGORIES
from orchestration_project.services.attention.marks import Marks
from orchestration_project.services.attention.reading import AttentionReader
from orchestration_project.services.attention.rules import (
    KINDS,
    MAX_REASON_CHARACTERS,
    RETRIED_TOGETHER,
    ActionName,
    Entry,
    Inbox,
    Kind,
    Selection,
    require_end,
    require_reason,
)
from orchestration_project.services.attention.rules import Launch as PlannedRun
from orchestration_project.services.probes import open_alerts

PATH = "/attention"

USUAL_ENTRIES, MAX_ENTRIES = 100, 500

MAX_RERUNS = 20
"""Failed runs without partitions that one request launches again."""

MAX_TOPICS = 100


class EntriesWanted(Parameters):
    """Filter of entries, the most important and newest first."""

    kind: Kind | None = Field(None, description="Kind; default: all")
    domain: Name | None = Field(None, description="Domain; default: all")
    ignored: bool = Field(False, description="Ignored entries, in place of the others")
    page: int = Field(1, ge=1, le=10_000, description="Number of the page, from 1")
    limit: int = Field(USUAL_ENTRIES, ge=1, le=MAX_ENTRIES, description="Entries on a page")

    @property
    def selection(self) -> Selection:
        """The filter."""
        return Selection(self.kind, self.domain, self.ignored)


class EntryId(Parameters):
    """Entry to answer."""

    entry_id: Name = Field(description="Id of an entry, as the list has it")


class EntryAction(Body):
    """Action on an entry."""

    action: ActionName = Field(description="Action, one of those that the entry has")
    reason: str = Field(
        "",
        max_length=MAX_REASON_CHARACTERS,
        description="Reason in words; accept, acknowledge and ignore need one",
    )
    until: Moment | None = Field(
        None,
        description="End; ignore needs one. accept: time from which the acceptance is not applied "
        "any more, default: a day from now",
    )


class RetriedKind(Body):
    """Entries to retry together."""

    kind: Literal["quarantined", "failed_run", "failed_item", "refused_upload"] = Field(
        description="Kind"
    )
    domain: Name | None = Field(None, description="Domain; default: all")


async def list_attention(call: Call[EntriesWanted, Body]) -> AttentionEntries:
    """List entries that need a person, the most important and newest first."""
    entries_wanted = call.query
    await require_domain(call, entries_wanted.domain)
    inbox = await read_inbox(call)
    chosen = inbox.select(entries_wanted.selection)
    first = (entries_wanted.page - 1) * entries_wanted.limit
    return AttentionEntries(
        entries=[
            entry_shown(entry, call.caller.role)
            for entry in chosen[first : first + entries_wanted.limit]
        ],
        count=len(chosen),
        by_kind=dict(inbox.counts("kind", entries_wanted.selection)),
        by_domain=dict(inbox.counts("domain", entries_wanted.selection)),
        cut_kinds=[kind for kind in KINDS if kind in inbox.cut_kinds],
    )


async def get_attention(call: Call[EntryId, Body]) -> AttentionEntry:
    """Return an entry."""
    return entry_shown(await find_entry(call, call.query.entry_id), call.caller.role)


async def act_on_attention(call: Call[EntryId, EntryAction]) -> AttentionResult:
    """Answer an entry: retry, replay, accept, close, acknowledge, ignore or show it again."""
    return await perform(call, call.query.entry_id, call.body)


async def retry_attention(call: Call[Parameters, RetriedKind]) -> AttentionResult:
    """Retry all entries of a kind, whatever their assets and partitions are."""
    return await retry_all(call, call.body.kind, call.body.domain)


async def require_domain(call: Call[Any, Any], domain: str | None) -> None:
    """Refuse a domain that is not known.

    Raises:
        ProblemError: 422, it is not.
    """
    if domain is not None:
        registry = await call.services.in_thread(call.services.registry)
        require_known("domain", domain, [each.name for each in registry.domains])


async def read_inbox(call: Call[Any, Any]) -> Inbox:
    """Return all entries."""
    return await call.services.in_thread(lambda: reader_of(call.services).read())


def reader_of(services: Services) -> AttentionReader:
    """Return a reader of the entries of these services."""
    settings = services.settings
    return AttentionReader(services.registry(), settings, services.warehouse, open_clock(settings))


async def find_entry(call: Call[Any, Any], entry_id: str) -> Entry:
    """Return the entry of an id.

    Raises:
        ProblemError: 404, there is none, or it does not need a person any more.
    """
    entry = (await read_inbox(call)).find(entry_id)
    if entry is None:
        raise ProblemError(
            404,
            "entry not found",
            expected="the id of an entry that needs a person",
            remedy="it may be solved meanwhile: list the entries again",
        )
    return entry


def entry_shown(entry: Entry, role: Role) -> AttentionEntry:
    """Return an entry as the API shows it to a role."""
    mark = entry.mark
    return AttentionEntry(
        **{
            name: getattr(entry, name)
            for name in AttentionEntry.model_fields
            if name not in ("expectations", "mark", "actions", "preview")
        },
        expectations=[
            AttentionExpectation(**expectation._asdict()) for expectation in entry.expectations
        ],
        mark=None
        if mark is None
        else AttentionMark(
            state=mark.state,
            reason=mark.reason,
            marked_by=mark.marked_by,
            marked_at=mark.marked_at,
            until=mark.until,
        ),
        actions=list(entry.actions_of(role)),
        preview=[
            AttentionPreview(
                title=table.title,
                headings=list(table.headings),
                rows=[list(row) for row in table.rows],
            )
            for table in entry.preview
        ],
    )


async def perform(call: Call[Any, Any], entry_id: str, wanted: EntryAction) -> AttentionResult:
    """Do an action of an entry; the audit has it before, and after.

    Raises:
        ProblemError: The entry is unknown, does not have the action, or a field is invalid.
    """
    entry = await find_entry(call, entry_id)
    if wanted.action not in entry.actions:
        raise ProblemError(
            409,
            f"the entry does not have the action {wanted.action}",
            expected=f"one of {', '.join(entry.actions)}",
            remedy="list the entries again",
        )
    try:
        reason = require_reason(wanted.action, wanted.reason)
        until = require_end(wanted.action, wanted.until, call.services.clock.now())
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    target = {"entry": entry.entry_id, "kind": entry.kind, "unit": entry.unit[:200]}
    noted = {"action": wanted.action, "sha256": entry.sha256, "reason": reason}
    noted["until"] = until.isoformat() if until else ""
    audited = (call, PATH, target | {name: text for name, text in noted.items() if text})
    await record(*audited, "asked", step=1)
    try:
        run_ids = await _act(_derive_call(call, 1), entry, wanted.action, reason, until)
    except ProblemError as error:
        await record(*audited, "failed", step=2, reason=error.problem.category)
        raise
    await record(*audited, "done", step=2)
    return AttentionResult(action=wanted.action, entry_ids=[entry.entry_id], run_ids=run_ids)


def _derive_call(call: Call[Any, Any], number: int) -> Call[Any, Any]:
    """Return the request of a launch that an action makes: the audit has it by an id of its own."""
    scope = call.request.scope
    part = {**scope, REQUEST_ID: f"{scope.get(REQUEST_ID, '')}-{number}"}
    return replace(call, request=Request(part, call.request.receive))


async def _act(
    call: Call[Any, Any], entry: Entry, action: ActionName, reason: str, until: datetime | None
) -> list[str]:
    """Do an action; return the runs that it launched."""
    if action == "retry":
        return [await _retry(call, entry)]
    if action == "replay":
        return [await _launch(call, entry.launches["replay"])]
    if action == "accept":
        return [await _launch(call, _plan_acceptance(call, entry, reason, until))]
    services, who = call.services, call.caller.name
    marks = Marks(services.warehouse)
    changes = {
        "close": lambda: _close_alert(services, entry.alert_id),
        "acknowledge": lambda: marks.acknowledge(entry, reason, by=who),
        "ignore": lambda: marks.ignore(entry, reason, until, by=who),
        "restore": lambda: marks.remove(entry),
    }
    try:
        await services.in_thread(changes[action])
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    return []


def _close_alert(services: Services, alert_id: str) -> None:
    with open_alerts(services.settings).inbox() as inbox:
        inbox.close(alert_id)


async def _launch(call: Call[Any, Any], planned: PlannedRun) -> str:
    launched = await launch(
        call, Launch(planned.job, planned.partition, planned.config, planned.range_tags)
    )
    return launched.run_id


async def _retry(call: Call[Any, Any], entry: Entry) -> str:
    """Launch a run that retries an entry: its partitions, its items, or its run."""
    if "retry" in entry.launches:
        return await _launch(call, entry.launches["retry"])
    if entry.items is not None:
        codes = [entry.items.reason_code] if entry.items.reason_code else []
        items = RetryItems(topics=[entry.items.topic], reason_codes=codes)  # pyright: ignore[reportCallIssue] - the others have defaults
        return (await retry_failed_items(replace(call, query=Parameters(), body=items))).run_id
    again = replace(call, query=RunId(run_id=entry.run_id), body=Retry())  # pyright: ignore[reportCallIssue] - the same
    return (await retry_run(again)).run_id


def _plan_acceptance(
    call: Call[Any, Any], entry: Entry, reason: str, until: datetime | None
) -> PlannedRun:
    """Return the run that accepts a delivery or proposal, with reason, user and end."""
    planned, who = entry.launches["accept"], call.caller.name
    if entry.kind == "proposal":
        return planned.with_options(reason=reason, who=who)
    end = until.isoformat() if until else None
    return planned.with_options(accept_reason=f"{reason} (accepted by {who})", accept_until=end)


async def retry_all(call: Call[Any, Any], kind: str, domain: str | None) -> AttentionResult:
    """Retry the entries of a kind that are not ignored.

    Raises:
        ProblemError: The kind or domain is not valid, or nothing of it can be retried.
    """
    require_known("kind", kind, RETRIED_TOGETHER)
    await require_domain(call, domain)
    inbox = await read_inbox(call)
    entries = [entry for entry in inbox.select(Selection(kind, domain)) if "retry" in entry.actions]
    if not entries:
        raise ProblemError(409, "there is nothing to retry", remedy="list the entries again")
    audited = (call, f"{PATH}/retry", {"kind": kind, "domain": domain or "", "action": "retry"})
    await record(*audited, "asked", step=1)
    try:
        run_ids = await _retry_together(call, kind, domain, entries)
    except ProblemError as error:
        await record(*audited, "failed", step=2, reason=error.problem.category)
        raise
    await record(*audited, "done", step=2)
    ids = [entry.entry_id for entry in entries]
    return AttentionResult(action="retry", entry_ids=ids, run_ids=run_ids)


async def _retry_together(
    call: Call[Any, Any], kind: str, domain: str | None, entries: Sequence[Entry]
) -> list[str]:
    """Launch a run that backfills partitions or retries items; runs without both, one by one."""
    if kind in ("failed_item", "refused_upload"):
        topics = sorted({entry.items.topic for entry in entries if entry.items})[:MAX_TOPICS]
        retry_request = RetryItems(topics=topics, include_permanent=kind == "refused_upload")  # pyright: ignore[reportCallIssue] - the others have defaults
        return [await _retry_failed(_derive_call(call, 1), retry_request)]
    run_ids: list[str] = []
    if any(entry.partition for entry in entries):
        kinds = list(QUARANTINE_CATEGORIES) if kind == "quarantined" else None
        partitions = RetryItems(domain=domain, kinds=kinds, include_items=False)  # pyright: ignore[reportCallIssue] - the same
        run_ids.append(await _retry_failed(_derive_call(call, 1), partitions))
    other_items = [entry for entry in entries if not entry.partition and entry.is_rerun]
    for number, entry in enumerate(other_items[:MAX_RERUNS], 2):
        run_ids.append(await _retry(_derive_call(call, number), entry))
    return run_ids


async def _retry_failed(call: Call[Any, Any], wanted: RetryItems) -> str:
    return (await retry_failed_items(replace(call, query=Parameters(), body=wanted))).run_id


OPERATIONS = (
    Operation(
        "GET",
        PATH,
        "viewer",
        "List what needs a person",
        list_attention,
        query=EntriesWanted,
        answer=AttentionEntries,
    ),
    Operation(
        "POST",
        f"{PATH}/retry",
        "operator",
        "Retry all entries of a kind",
        retry_attention,
        body=RetriedKind,
        answer=AttentionResult,
        status=202,
    ),
    Operation(
        "GET",
        f"{PATH}/{{entry_id}}",
        "viewer",
        "Get an entry that needs a person",
        get_attention,
        query=EntryId,
        answer=AttentionEntry,
    ),
    Operation(
        "POST",
        f"{PATH}/{{entry_id}}/actions",
        "operator",
        "Answer an entry that needs a person",
        act_on_attention,
        query=EntryId,
        body=EntryAction,
        answer=AttentionResult,
        status=202,
    ),
)
