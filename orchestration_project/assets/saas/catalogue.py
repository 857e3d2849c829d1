"""How the assets of saas look in the catalogue."""

from collections.abc import Mapping
from functools import partial

import dagster as dg
from sqlalchemy import Table

from orchestration_project.assets import specs
from orchestration_project.services.metadata import build_schema, report_schema

GROUP = "saas"
OWNERS = ["team:operations"]
RULES, TRIAL, STATES, OUTBOX, AUDIT_LOG, DEAD_LETTERS, DRIFT, PEOPLEFORCE, JIRA = (
    dg.AssetKey([GROUP, noun])
    for noun in (
        *("routing_rules", "rule_trial", "source_states", "outbox"),
        *("audit_log", "dead_letters", "drift", "peopleforce_tasks", "jira_issues"),
    )
)


_spec = partial(specs.build_asset_spec, owners=OWNERS)


def build_table_spec(key: dg.AssetKey, rows: Table, *deps: dg.AssetKey) -> dg.AssetSpec:
    """Return the asset that is this table; only a table of the domain is named as one."""
    named = {"dagster/table_name": rows.name} if rows.name == "_".join(key.path) else {}
    return _spec(key, str(rows.comment), build_schema(rows.columns), "ledger", *deps, **named)


def report_spec(
    key: dg.AssetKey, description: str, columns: Mapping[str, str], *deps: dg.AssetKey
) -> dg.AssetSpec:
    """Return an asset without a table: its job reports results as metadata."""
    return _spec(key, description, report_schema(columns), "report", *deps)


TASK = {
    "id": "ID of the task",
    "title": "Its title",
    "description": "Its text",
    "completed": "Whether it is done",
    "assigned_to": "The person who does it",
}
ISSUE = {
    "key": "Key of the issue, such as HR-7",
    "summary": "Its title",
    "description": "Its text, in Jira's document format",
    "status": "Its place in the workflow",
}

peopleforce = _spec(
    PEOPLEFORCE,
    "One record per task of PeopleForce, or of what stands in for it.",
    report_schema(TASK),
    specs.SOURCE,
)
jira = _spec(
    JIRA,
    "One record per issue of Jira that tasks are synced with, or of what stands in for it.",
    report_schema(ISSUE),
    specs.SOURCE,
    OUTBOX,
)
"""Systems outside: nothing makes them here."""
