"""Rules, tried on what is recorded, and put into effect."""

from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.saas.catalogue import (
    RULES,
    TRIAL,
    build_table_spec,
    report_spec,
)
from orchestration_project.domains.saas.dry_run import DryRun
from orchestration_project.domains.saas.rules import read_rules
from orchestration_project.domains.saas.tables import saas_routing_rules
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.contracts.roles import REQUIRES_ADMIN
from orchestration_project.engine.options import JobOptions
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.saas.rules import edit, tried
from orchestration_project.resources.saas.systems import TargetSystem
from orchestration_project.services.ledger.rules.entries import find_editor
from orchestration_project.services.metadata import build_table, log_metadata

COLUMNS = {
    "entity_id": "The source's id of the task",
    "title": "Its title",
    "field": "Part of its treatment or its issue that would differ",
    "before": "By the rules in effect",
    "after": "By the edited rules",
}

EXAMPLE = [
    {
        "rule_id": "birthdays",
        "priority": 10,
        "conditions": [{"field": "title", "operator": "starts_with", "value": "Birthday"}],
        "action": "drop",
    }
]


class Trial(JobOptions):
    """Rules that are tried."""

    rules: list[Any] = Field(
        examples=[EXAMPLE],
        description="All rules to validate; see docs/how-to/sync-peopleforce-and-jira.md.",
    )


class Edit(Trial):
    """Rules that are put into effect, and who does that."""

    rules: list[Any] = Field(
        examples=[EXAMPLE],
        description="All rules to put into effect: an omitted rule is removed.",
    )
    based_on: str | None = Field(
        default=None,
        examples=["4f53cda18c2baa0c"],
        description="Version of the rules that the edit started from, as the dry run names it; "
        "without it, any.",
    )
    who: str | None = Field(
        default=None,
        examples=["ada"],
        description="Name of the user; the run's tag user takes precedence.",
    )


@dg.multi_asset(
    name="try_saas_rules",
    specs=[
        report_spec(TRIAL, "One row per difference that edited rules would make.", COLUMNS, RULES)
    ],
)
def try_rules(
    config: Trial,
    jira: dg.ResourceParam[TargetSystem],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Try rules on the tasks as they were last seen, and at the target; nothing is written."""
    trial = tried(warehouse, jira, read_rules(config.rules))
    return dg.MaterializeResult(
        asset_key=TRIAL,
        metadata=log_metadata(
            {
                **_render_run(trial.run),
                "based_on": trial.version,
                "refused_by_target": "; ".join(trial.problems),
                "not_known": "; ".join(trial.doubts),
            }
        ),
    )


@dg.multi_asset(
    name="edit_saas_rules",
    specs=[build_table_spec(RULES, saas_routing_rules).merge_attributes(tags=REQUIRES_ADMIN)],
)
def edit_rules(
    context: dg.AssetExecutionContext,
    config: Edit,
    clock: dg.ResourceParam[Clock],
    jira: dg.ResourceParam[TargetSystem],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Put rules into effect, unless the target proves them wrong; tasks follow at the next look."""
    rules = read_rules(config.rules)
    trial = tried(warehouse, jira, rules)
    who = find_editor(context.run.tags, config.who) or "unknown"
    edited = edit(
        warehouse,
        rules,
        trial,
        by=who,
        at=clock.now(),
        run_id=context.run.run_id,
        based_on=config.based_on,
    )
    return dg.MaterializeResult(
        asset_key=RULES,
        metadata=log_metadata(
            {
                **_render_run(trial.run),
                "added": ", ".join(edited.added),
                "changed": ", ".join(edited.changed),
                "ended": ", ".join(edited.ended),
                "not_known": "; ".join(trial.doubts),
            }
        ),
    )


def _render_run(run: DryRun) -> dict[str, Any]:
    rows = [[getattr(difference, name) for name in COLUMNS] for difference in run.differences]
    schema = dict.fromkeys(COLUMNS, pl.String())
    counts = {f"tasks_of_{name or 'no_rule'}": number for name, number in run.by_rule.items()}
    return {
        "tasks": run.task_count,
        "tasks_that_differ": run.changed_count,
        **counts,
        "tasks_refused": len(run.refused),
        "differences": build_table(pl.DataFrame(rows, schema, orient="row")),
    }


edit_rules_job = dg.define_asset_job(
    "saas_edit_rules",
    selection=dg.AssetSelection.assets(edit_rules),
    description=describe_job(
        "Validates rules, and puts them into effect unless the target rejects them.",
        "edit_saas_rules",
        Edit,
    ),
    tags={"domain": "saas"},
)


dry_run_job = dg.define_asset_job(
    "saas_dry_run",
    selection=dg.AssetSelection.assets(try_rules),
    description=describe_job(
        "Dry run: shows the effect of edited rules on the recorded tasks.", "try_saas_rules", Trial
    ),
    tags={"domain": "saas"},
)
