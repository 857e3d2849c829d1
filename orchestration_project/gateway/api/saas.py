"""Reconciliation: the rules in effect, a dry run of others, an edit, and the audit log."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field, StringConstraints
from sqlalchemy import Row

from orchestration_project.domains.saas.rules import FORM, RuleSet, SyncRule, read_rules
from orchestration_project.engine.contracts.api.models import (
    AuditEntries,
    AuditEntry,
    RuleInEffect,
    RulesInEffect,
    SyncChange,
    SyncDryRun,
)
from orchestration_project.engine.contracts.api.runs import Launched
from orchestration_project.engine.contracts.rule_edits import require_version
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.jobs import Launch, launch
from orchestration_project.gateway.api.once import IDEMPOTENCY_HEADER
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import problem_of, require_known
from orchestration_project.gateway.api.runs import MAX_PAGE_ENTRIES, Name
from orchestration_project.gateway.api.services import Services
from orchestration_project.resources.saas.audit import OPERATIONS as AUDIT_OPERATIONS
from orchestration_project.resources.saas.audit import Search, search_audit
from orchestration_project.resources.saas.rules import (
    MAX_DIFFERENCES,
    replayed,
    rules_in_effect,
)

EDIT_JOB, EDIT_OP = "saas_edit_rules", "edit_saas_rules"

Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class AuditWanted(Parameters):
    """Filter of entries, the latest first; all given conditions must hold."""

    entity: Name | None = Field(None, description="The id of a task, or the name of a rule")
    issue: Name | None = Field(None, description="The key of an issue")
    operation: Name | None = Field(None, description="Action, such as created")
    text: Text | None = Field(None, description="Text that the detail contains")
    limit: int = Field(50, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum number of entries")
    cursor: Name | None = Field(None, description="`next_cursor` of the previous page")


class TriedRules(Body):
    """Rules to try on the recorded tasks."""

    rules: list[Any] = Field(description="All rules, as the job saas_edit_rules accepts them")


class EditedRules(TriedRules):
    """Rules to put into effect: an omitted rule is removed."""

    based_on: str = Field(
        min_length=1, max_length=64, description="Version of the rules that the edit started from"
    )


async def list_rules(call: Call[Parameters, Body]) -> RulesInEffect:
    """List the rules in effect, in the order in which they are asked."""
    rule_set = await call.services.in_thread(_read_rules, call.services)
    return RulesInEffect(
        version=rule_set.version,
        rules=[
            RuleInEffect(
                rule_id=rule.rule.rule_id,
                version=rule.version_number,
                disabled_reason=rule.disabled_reason,
                rule=rule.rule.shown(),
            )
            for rule in rule_set.rules
        ],
    )


def _read_rules(services: Services) -> RuleSet:
    with services.warehouse.reading() as connection:
        return rules_in_effect(connection)


async def try_rules(call: Call[Parameters, TriedRules]) -> SyncDryRun:
    """Show the decisions about recorded tasks that edited rules would change; writes nothing."""
    rules = _read(call.body)
    version, run = await call.services.in_thread(replayed, call.services.warehouse, rules)
    return SyncDryRun(
        version=version,
        task_count=run.task_count,
        changed_count=run.changed_count,
        by_rule=run.by_rule,
        refused=dict(list(run.refused.items())[:MAX_DIFFERENCES]),
        differences=[SyncChange(**asdict(difference)) for difference in run.differences],
    )


async def edit_rules(call: Call[Parameters, EditedRules]) -> Launched:
    """Put rules into effect by a run, which asks the target first."""
    _read(call.body)
    config = {**call.body.model_dump(), "who": call.caller.name}
    return await launch(
        call,
        Launch(
            EDIT_JOB,
            config={"ops": {EDIT_OP: {"config": config}}},
            check=lambda: require_version(
                _read_rules(call.services), call.body.based_on, FORM.noun
            ),
            is_edit=True,
        ),
    )


def _read(body: TriedRules) -> list[SyncRule]:
    try:
        return read_rules(body.rules)
    except ConfigurationError as error:
        raise problem_of(error, 422) from error


async def search_log(call: Call[AuditWanted, Body]) -> AuditEntries:
    """Search the audit log of reconciliation."""
    audit_wanted = call.query
    require_known("operation", audit_wanted.operation, AUDIT_OPERATIONS)
    search = Search(
        entity_id=audit_wanted.entity,
        issue_key=audit_wanted.issue,
        operation=audit_wanted.operation,
        text=audit_wanted.text,
        before=audit_wanted.cursor,
        limit=audit_wanted.limit + 1,
    )
    rows = await call.services.in_thread(search_audit, call.services.warehouse, search)
    return _build_page(rows, audit_wanted.limit)


def _build_page(rows: Sequence[Row[Any]], limit: int) -> AuditEntries:
    entries = [
        AuditEntry(
            entry_id=row.entry_id,
            happened_at=row.happened_at,
            system=row.system,
            entity_type=row.entity_type,
            entity_id=row.entity_id,
            issue_key=row.target_key,
            operation=row.operation,
            detail=_parse_detail(row.detail),
            run_id=row.run_id,
        )
        for row in rows[:limit]
    ]
    return AuditEntries(
        entries=entries, next_cursor=entries[-1].entry_id if len(rows) > limit else None
    )


def _parse_detail(text: str) -> dict[str, Any]:
    """Return a detail; one that was too long was cut, and is not valid JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return {"cut": text}


OPERATIONS = (
    Operation(
        "GET", "/saas/rules", "viewer", "List the rules in effect", list_rules, answer=RulesInEffect
    ),
    Operation(
        *("POST", "/saas/rules/dry-run", "operator", "Show the effect of edited rules", try_rules),
        body=TriedRules,
        answer=SyncDryRun,
    ),
    Operation(
        *("POST", "/saas/rules", "admin", "Put sync rules into effect", edit_rules),
        body=EditedRules,
        answer=Launched,
        headers=IDEMPOTENCY_HEADER,
        status=202,
        problems=(409,),
    ),
    Operation(
        "GET",
        "/saas/audit",
        "viewer",
        "Search the audit log of reconciliation",
        search_log,
        query=AuditWanted,
        answer=AuditEntries,
    ),
)
