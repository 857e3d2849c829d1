"""Routing of webhooks: the rules in effect, a dry run of others, an edit, and dead letters."""

from dataclasses import asdict
from functools import partial
from typing import Any

from pydantic import Field
from sqlalchemy import select

from orchestration_project.domains.events.routing import FORM, RoutingRule, RuleSet
from orchestration_project.domains.events.tables import events_routing_dead_letters
from orchestration_project.engine.contracts.api.routing import (
    RoutingChange,
    RoutingDeadLetter,
    RoutingDeadLetters,
    RoutingDryRun,
    RoutingRuleInEffect,
    RoutingRules,
)
from orchestration_project.engine.contracts.api.runs import Launched
from orchestration_project.engine.contracts.rule_edits import RulesText, require_version
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.jobs import Launch, launch
from orchestration_project.gateway.api.once import IDEMPOTENCY_HEADER
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import problem_of
from orchestration_project.gateway.api.runs import MAX_PAGE_ENTRIES
from orchestration_project.gateway.api.services import Services
from orchestration_project.resources.events.routing.rules import rules_in_effect, try_rules
from orchestration_project.resources.events.routing.targets import RoutingTargets

EDIT_JOB, EDIT_OP = "events_edit_routing", "edit_routing_rules"


class _Rules(Body):
    rules: list[Any] | str = Field(
        description="All rules: a list, or YAML, of which problems name the line"
    )

    def text(self) -> RulesText[RoutingRule]:
        """Return the rules that are given."""
        return FORM.text_of(self.rules)


class TryRules(_Rules):
    """Rules to try on the latest deliveries."""

    delivery_count: int = Field(500, ge=0, le=2_000, description="Number of latest deliveries")


class EditRules(_Rules):
    """Rules to put into effect: an omitted rule is ended."""

    based_on: str = Field(
        min_length=1, max_length=64, description="Version of the rules that the edit started from"
    )


class LettersWanted(Parameters):
    """Page of dead letters."""

    limit: int = Field(100, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum number of letters")


async def list_routing_rules(call: Call[Parameters, Body]) -> RoutingRules:
    """List the routing rules in effect, with the version that an edit names."""
    rule_set = await call.services.in_thread(_read_rules, call.services)
    return RoutingRules(
        version=rule_set.version,
        rules=[
            RoutingRuleInEffect(
                rule_id=rule.rule.rule_id, version=rule.version_number, rule=rule.rule.as_json()
            )
            for rule in rule_set.rules
        ],
    )


def _read_rules(services: Services) -> RuleSet:
    with services.warehouse.reading(seconds=services.read_seconds) as connection:
        return rules_in_effect(connection)


async def try_routing_rules(call: Call[Parameters, TryRules]) -> RoutingDryRun:
    """Show the actions for the latest deliveries that edited rules would have changed."""
    return await call.services.in_thread(_try, call.services, call.body)


def _try(services: Services, body: TryRules) -> RoutingDryRun:
    targets = RoutingTargets.of(services.settings, services.registry())
    rules = _read(body, targets)
    trial = try_rules(services.warehouse, targets, rules, delivery_count=body.delivery_count)
    return RoutingDryRun(
        version=trial.version,
        delivery_count=trial.delivery_count,
        planned=trial.planned,
        refused=trial.refused,
        difference_count=trial.difference_count,
        differences=[RoutingChange(**asdict(difference)) for difference in trial.differences],
    )


async def edit_routing_rules(call: Call[Parameters, EditRules]) -> Launched:
    """Put rules into effect by a run, unless one is invalid or others were edited meanwhile."""
    rules = call.body.rules
    rule_config = {"rules_yaml": rules} if isinstance(rules, str) else {"rules": rules}
    config = {**rule_config, "based_on": call.body.based_on, "who": call.caller.name}
    return await launch(
        call,
        Launch(
            EDIT_JOB,
            config={"ops": {EDIT_OP: {"config": config}}},
            check=partial(_require_valid, call.services, call.body),
            is_edit=True,
        ),
    )


def _require_valid(services: Services, body: EditRules) -> None:
    _read(body, RoutingTargets.of(services.settings, services.registry()))
    require_version(_read_rules(services), body.based_on, FORM.noun)


def _read(body: _Rules, targets: RoutingTargets) -> list[RoutingRule]:
    try:
        return body.text().read(targets.problems_of)
    except ConfigurationError as error:
        raise problem_of(error, 422) from error


async def list_routing_dead_letters(call: Call[LettersWanted, Body]) -> RoutingDeadLetters:
    """List dead letters of routing that are not replayed."""
    return await call.services.in_thread(_read_letters, call.services, call.query.limit)


def _read_letters(services: Services, limit: int) -> RoutingDeadLetters:
    columns = events_routing_dead_letters.c
    names = list(RoutingDeadLetter.model_fields)
    statement = (
        select(*(columns[name] for name in names))
        .where(columns.ended_at.is_(None))
        .order_by(columns.failed_at.desc(), columns.delivery_id, columns.rule_id)
        .limit(limit)
    )
    with services.warehouse.reading(seconds=services.read_seconds) as connection:
        rows = connection.execute(statement).mappings()
        return RoutingDeadLetters(letters=[RoutingDeadLetter(**row) for row in rows])


OPERATIONS = (
    Operation(
        "GET",
        "/events/routing-rules",
        "viewer",
        "List the routing rules in effect",
        list_routing_rules,
        answer=RoutingRules,
    ),
    Operation(
        "POST",
        "/events/routing-rules/dry-run",
        "operator",
        "Show the effect of edited routing rules",
        try_routing_rules,
        body=TryRules,
        answer=RoutingDryRun,
    ),
    Operation(
        "POST",
        "/events/routing-rules",
        "admin",
        "Put routing rules into effect",
        edit_routing_rules,
        body=EditRules,
        answer=Launched,
        headers=IDEMPOTENCY_HEADER,
        status=202,
        problems=(409,),
    ),
    Operation(
        "GET",
        "/events/routing-dead-letters",
        "viewer",
        "List dead letters of routing",
        list_routing_dead_letters,
        query=LettersWanted,
        answer=RoutingDeadLetters,
    ),
)
