"""Assets of routing: rules tried and edited, actions taken, dead letters replayed."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.specs import build_system_spec
from orchestration_project.domains.events.routing import FORM, RoutingDifference, RoutingRule
from orchestration_project.domains.events.tables import (
    events_routed,
    events_routing_dead_letters,
    events_routing_rules,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.contracts.roles import REQUIRES_ADMIN
from orchestration_project.engine.contracts.rule_edits import RulesText
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Registry
from orchestration_project.resources.events.routing.applying import ApplySummary, open_applier
from orchestration_project.resources.events.routing.examining import open_examiner
from orchestration_project.resources.events.routing.replaying import LetterFilter, replay_letters
from orchestration_project.resources.events.routing.rules import (
    RoutingTrial,
    RuleOutcome,
    edit_rules,
    outcomes_by_rule,
    try_rules,
)
from orchestration_project.resources.events.routing.targets import RoutingTargets
from orchestration_project.services.ledger.rules.entries import find_editor
from orchestration_project.services.metadata import (
    build_schema,
    build_table,
    log_metadata,
    report_schema,
)
from orchestration_project.settings import Settings

GROUP = "events"
RULES = dg.AssetKey([GROUP, "routing_rules"])
TRIAL = dg.AssetKey([GROUP, "routing_trial"])
ROUTED = dg.AssetKey([GROUP, "routed"])
LETTERS = dg.AssetKey([GROUP, "routing_dead_letters"])
WEBHOOKS = dg.AssetKey([GROUP, "webhooks"])

_spec = partial(build_system_spec, owners=["team:operations"])

DIFFERENCE_COLUMNS = {
    "source": "Source of the delivery",
    "delivery_id": "ID of the delivery",
    "rule_id": "Name of the rule",
    "before": "Action by the rules in effect; empty: none",
    "after": "Action by the edited rules; empty: none",
}

RULE_COLUMNS = ("rule_id", "source", "kind", "conditions", "action", "target")

RULE = {
    "rule_id": "paid_orders",
    "source": "shop",
    "kind": "order.paid",
    "conditions": [{"field": "payload.country", "operator": "is", "value": "DE"}],
    "action": "row",
    "target": "orders",
    "mappings": [{"target_field": "number", "source_type": "path", "value": "payload.id"}],
}


class TryRouting(JobOptions):
    """Rules to try."""

    rules: list[Any] = Field(
        default=[],
        examples=[[RULE]],
        description="All rules as a list; see docs/how-to/route-webhooks.md.",
    )
    rules_yaml: str = Field(
        default="",
        examples=["- rule_id: paid_orders\n  source: shop\n  action: row\n  target: orders\n"],
        description="All rules as YAML, in place of rules; problems name the line.",
    )
    delivery_count: int = Field(
        default=1_000,
        ge=0,
        le=10_000,
        description="Number of latest deliveries to replay for the diff.",
    )

    def text(self) -> RulesText[RoutingRule]:
        """Return the rules that are given."""
        return FORM.text_of(self.rules_yaml or self.rules)


class EditRouting(TryRouting):
    """Rules to put into effect: an omitted rule is ended."""

    based_on: str = Field(
        examples=["4f53cda18c2baa0c"],
        description="Version of the rules that the edit started from, as the dry run names it.",
    )
    who: str | None = Field(
        default=None,
        examples=["ada"],
        description="Name of the user; the run's tag user takes precedence.",
    )


class ReplayRouting(JobOptions):
    """Dead letters to replay."""

    rule_id: str | None = Field(
        default=None, examples=["paid_orders"], description="Rule; without it, all rules."
    )
    source: str | None = Field(
        default=None, examples=["shop"], description="Source; without it, all sources."
    )
    reason_code: str | None = Field(
        default=None,
        examples=["wrong_type"],
        description="Kind of the refusal; without it, all kinds.",
    )
    dry_run: bool = Field(
        default=True,
        description="Dry run: only lists the letters and their outcome; false replays them.",
    )


@dg.multi_asset(
    name="try_routing_rules",
    specs=[
        _spec(
            TRIAL,
            "One row per difference that edited routing rules would make for a recorded delivery.",
            report_schema(DIFFERENCE_COLUMNS),
            "report",
            RULES,
            WEBHOOKS,
        )
    ],
)
def try_routing_rules(
    context: dg.AssetExecutionContext,
    config: TryRouting,
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Plan the latest deliveries by edited rules and by those in effect; nothing is written."""
    targets = RoutingTargets.of(settings, registry)
    rules, unexamined = _examine_rules(context, config, targets)
    trial = try_rules(warehouse, targets, rules, delivery_count=config.delivery_count)
    return dg.MaterializeResult(
        asset_key=TRIAL, metadata=log_metadata({**_render_trial(trial), "not_known": unexamined})
    )


@dg.multi_asset(
    name="edit_routing_rules",
    specs=[
        _spec(
            RULES,
            str(events_routing_rules.comment),
            build_schema(events_routing_rules.columns),
            "ledger",
            **{"dagster/table_name": events_routing_rules.name},
        ).merge_attributes(tags=REQUIRES_ADMIN)
    ],
)
def edit_routing_rules(
    context: dg.AssetExecutionContext,
    config: EditRouting,
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Put rules into effect, unless one is invalid or others were edited meanwhile."""
    targets = RoutingTargets.of(settings, registry)
    rules, unexamined = _examine_rules(context, config, targets)
    trial = try_rules(warehouse, targets, rules, delivery_count=config.delivery_count)
    who = find_editor(context.run.tags, config.who) or "unknown"
    changes, version = edit_rules(
        warehouse, rules, based_on=config.based_on, by=who, at=clock.now()
    )
    edited = {
        "added": ", ".join(changes.added),
        "changed": ", ".join(changes.changed),
        "ended": ", ".join(changes.ended),
        "not_known": unexamined,
        "rules_in_effect": _build_table(RULE_COLUMNS, [_format_rule(rule) for rule in rules[:100]]),
    }
    values = {"rules_version": version, **edited, **_render_trial(trial)}
    return dg.MaterializeResult(asset_key=RULES, metadata=log_metadata(values))


@dg.multi_asset(
    name="apply_routing",
    specs=[
        _spec(
            ROUTED,
            str(events_routed.comment),
            build_schema(events_routed.columns),
            "ledger",
            RULES,
            WEBHOOKS,
            **{"dagster/table_name": events_routed.name},
        )
    ],
)
def apply_routing(
    context: dg.AssetExecutionContext,
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Take the actions that are due; what fails is retried later, or becomes a dead letter."""
    with open_applier(warehouse, clock, settings, registry, run_id=context.run.run_id) as applier:
        summary = applier.apply_due()
    with warehouse.reading() as connection:
        outcomes = outcomes_by_rule(connection)
    rows = [
        [*outcome[:3], str(outcome.action_count), outcome.changed_at.isoformat(timespec="seconds")]
        for outcome in outcomes
    ]
    by_rule = {"actions_by_rule": _build_table(RuleOutcome._fields, rows)}
    return dg.MaterializeResult(
        asset_key=ROUTED, metadata=log_metadata({**by_rule, **_count_outcomes(summary)})
    )


@dg.multi_asset(
    name="replay_routing_letters",
    specs=[
        _spec(
            LETTERS,
            str(events_routing_dead_letters.comment),
            build_schema(events_routing_dead_letters.columns),
            "ledger",
            ROUTED,
            **{"dagster/table_name": events_routing_dead_letters.name},
        )
    ],
)
def replay_routing_letters(
    context: dg.AssetExecutionContext,
    config: ReplayRouting,
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Plan the actions of dead letters again, by the rules in effect now."""
    reported = report_dry_run(context.log, "nothing is replayed", is_dry_run=config.dry_run)
    letters = replay_letters(
        warehouse,
        clock,
        RoutingTargets.of(settings, registry),
        LetterFilter(config.rule_id, config.source, config.reason_code),
        run_id=context.run.run_id,
        dry_run=config.dry_run,
    )
    rows = [
        [*letter.key, letter.reason_code, letter.outcome, letter.reason] for letter in letters[:100]
    ]
    names = ("source", "delivery_id", "rule_id", "reason_code", "outcome", "reason")
    outcomes = [letter.outcome for letter in letters]
    return dg.MaterializeResult(
        asset_key=LETTERS,
        metadata=log_metadata(
            {
                **reported,
                "letters_count": len(letters),
                "planned_count": outcomes.count("planned"),
                "letters": _build_table(names, rows),
            }
        ),
    )


def _examine_rules(
    context: dg.AssetExecutionContext, config: TryRouting, targets: RoutingTargets
) -> tuple[Sequence[RoutingRule], str]:
    """Return the rules of a run, and which of them their targets could not be asked about."""
    with open_examiner(targets) as examiner:
        rules = config.text().read(targets.problems_of, examiner.problems_of)
    doubts = [f"{name}: {doubt}" for name, doubt in sorted(examiner.doubts.items())]
    for text in doubts:
        context.log.warning(
            f"The rule is not verified at its target. {text}",
            extra={"event": "routing_rule_not_verified"},
        )
    return rules, "; ".join(doubts)


def _format_rule(rule: RoutingRule) -> Sequence[str]:
    conditions = "; ".join(condition.text for condition in rule.conditions)
    return [rule.rule_id, rule.source, rule.kind or "", conditions, rule.action, rule.target]


def _render_trial(trial: RoutingTrial) -> dict[str, Any]:
    rows = [list(asdict(difference).values()) for difference in trial.differences]
    return {
        "based_on": trial.version,
        "deliveries_count": trial.delivery_count,
        "planned_count": sum(trial.planned.values()),
        "refused_count": sum(trial.refused.values()),
        "differences_count": trial.difference_count,
        "differences": _build_table(tuple(RoutingDifference.__dataclass_fields__), rows),
    }


def _count_outcomes(summary: ApplySummary) -> dict[str, Any]:
    outcomes = ("done", "waiting", "dead", "superseded", "overtaken")
    counts = {
        f"{name}_count": sum(n for (_, found), n in summary.counts.items() if found == name)
        for name in outcomes
    }
    rows = [
        [*result.key, result.action, result.target, result.outcome, result.detail[:500]]
        for result in summary.results
    ]
    names = ("source", "delivery_id", "rule_id", "action", "target", "outcome", "detail")
    return {**counts, "actions": _build_table(names, rows)}


def _build_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    return build_table(pl.DataFrame(list(rows), dict.fromkeys(names, pl.String()), orient="row"))


def _build_job(name: str, asset: dg.AssetsDefinition, text: str) -> Any:
    selection = dg.AssetSelection.assets(asset)
    return dg.define_asset_job(name, selection=selection, description=text, tags={"domain": GROUP})


try_routing_job = _build_job(
    "events_try_routing",
    try_routing_rules,
    describe_job(
        "Dry run: shows the effect of edited routing rules on the latest deliveries.",
        "try_routing_rules",
        TryRouting,
    ),
)

edit_routing_job = _build_job(
    "events_edit_routing",
    edit_routing_rules,
    describe_job(
        "Validates routing rules, and puts them into effect unless they changed meanwhile.",
        "edit_routing_rules",
        EditRouting,
    ),
)

apply_routing_job = _build_job(
    "events_apply_routing", apply_routing, "Takes the routed actions that are due."
)

replay_routing_job = _build_job(
    "events_replay_routing",
    replay_routing_letters,
    describe_job(
        "Replays dead letters of routing by the rules in effect.",
        "replay_routing_letters",
        ReplayRouting,
    ),
)
