"""`run saas`: sync PeopleForce's tasks with Jira's issues, and report the outcome."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
import dagster as dg

from orchestration_project.cli import console
from orchestration_project.cli.execution import execute, failures, outcome_of
from orchestration_project.cli.exit_statuses import EXIT_STATUSES
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.domains.saas.peopleforce import SYSTEM
from orchestration_project.domains.saas.settings import SaasSettings
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.options import build_real_config
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.saas.rules import rules_in_effect
from orchestration_project.resources.saas.standing import standing
from orchestration_project.resources.saas.ticks import PEOPLEFORCE_JIRA
from orchestration_project.settings import Settings, load_settings, without_secrets

RECONCILE, EDIT_RULES = "saas_reconcile", "saas_edit_rules"
RECONCILE_OP = "reconcile_saas"
MAX_ROWS_LISTED = 10

RULES: list[Mapping[str, Any]] = [
    {
        "rule_id": "birthdays",
        "priority": 10,
        "conditions": [{"field": "title", "operator": "starts_with", "value": "Birthday"}],
        "action": "drop",
    },
    {
        "rule_id": "hardware",
        "priority": 20,
        "conditions": [{"field": "title", "operator": "starts_with", "value": "Hardware"}],
        "action": "sync",
        "target_project": "IT",
        "issue_type": "Task",
        "mappings": [{"target_field": "labels", "source_type": "static", "value": "hardware"}],
    },
    {
        "rule_id": "payroll",
        "priority": 30,
        "conditions": [{"field": "title", "operator": "starts_with", "value": "Payroll"}],
        "action": "sync",
        "target_project": "OPS",
        "issue_type": "Request",
        "mappings": [
            {"target_field": "customfield_10050", "source_type": "static", "value": "People"},
            {
                "target_field": "summary",
                "source_type": "template",
                "value": "{title} ({associated_name})",
            },
        ],
    },
    {
        "rule_id": "everything_else",
        "priority": 90,
        "action": "sync",
        "target_project": "HR",
        "issue_type": "Task",
    },
]
"""Routing rules of the demo's tasks: the first rules of a demo database."""


def run(weeks: int | None) -> int:
    """Sync once; return 0 if the runs succeeded: tasks that are refused are shown, no more.

    Raises:
        UsageError: There are ``weeks``, which a sync does not take.
    """
    if weeks is not None:
        raise click.UsageError("--weeks applies to `run finra` only")
    settings = load_settings()
    if console.OUTPUT.is_dry_run:
        console.preview(f"{RECONCILE} would sync {_name_systems(settings)}", job=RECONCILE)
        return 0
    with (
        full_disk_explained(settings),
        open_instance() as instance,
        open_warehouse(settings) as warehouse,
    ):
        console.progress(f"systems   {_name_systems(settings)}")
        console.progress(f"database  {warehouse.shown_url}")
        results = [*_ensure_rules(settings, instance, warehouse)]
        if all(result.success for result in results):
            results.append(execute(instance, RECONCILE, config=build_real_config(RECONCILE_OP)))
        if console.OUTPUT.is_json:
            console.emit(_build_document(results, warehouse))
        else:
            console.echo("\n".join(["", *_render_lines(results, warehouse)]))
    return EXIT_STATUSES[outcome_of(results)]


def _build_document(
    results: Sequence[dg.JobExecutionResult], warehouse: Warehouse
) -> Mapping[str, object]:
    sync_summary = standing(warehouse, SYSTEM, PEOPLEFORCE_JIRA)
    return {
        "is_success": all(result.success for result in results),
        "outcome": outcome_of(results),
        "counts": _read_counts(results[-1]),
        "by_action": sync_summary.by_action,
        "outcomes": sync_summary.outcomes,
        "unresolved": sync_summary.unresolved,
        "refused": sync_summary.refused.to_dicts(),
        "failures": failures(results),
    }


def _name_systems(settings: Settings) -> str:
    settings = SaasSettings.of(settings)
    if settings.is_demo:
        return "demo (synthetic tasks and issues of the embedded systems)"
    return f"{without_secrets(settings.peopleforce_url)}, {without_secrets(str(settings.jira_url))}"


def _ensure_rules(
    settings: Settings, instance: dg.DagsterInstance, warehouse: Warehouse
) -> Iterator[dg.JobExecutionResult]:
    """Put the demo's rules into effect where there are none; real ones are for people to make."""
    with warehouse.reading() as connection:
        rules = rules_in_effect(connection).rules
    if rules:
        console.progress(f"rules     {len(rules)} in effect")
        return
    if not settings.is_demo:
        raise ConfigurationError(
            "no routing rules from tasks to issues",
            expected="rules, put into effect by the job saas_edit_rules",
            remedy="try some with the job saas_dry_run first; "
            "see docs/how-to/sync-peopleforce-and-jira.md",
        )
    console.progress(f"rules     {len(RULES)} of the demo, put into effect now")
    config = {"ops": {"edit_saas_rules": {"config": {"rules": RULES, "who": "run-saas"}}}}
    yield execute(instance, EDIT_RULES, config=config)


def _render_lines(results: Sequence[dg.JobExecutionResult], warehouse: Warehouse) -> Iterator[str]:
    for name, value in _read_counts(results[-1]).items():
        yield f"{name:24}{value:>8}"
    sync_summary = standing(warehouse, SYSTEM, PEOPLEFORCE_JIRA)
    yield ""
    yield "tasks by what their rule says   " + _format_counts(sync_summary.by_action)
    yield "intentions by their end         " + _format_counts(sync_summary.outcomes)
    if sync_summary.unresolved:
        yield "assignees whom Jira lacks       " + _format_counts(sync_summary.unresolved)
    for row in sync_summary.refused.head(MAX_ROWS_LISTED).iter_rows(named=True):
        yield f"REFUSED   {row['entity_type']} {row['entity_id']}: {row['reason']}"
    yield from failures(results)
    yield ""
    yield "Next: run it again, which writes nothing; `make ui` shows rules, states and audit log."


def _read_counts(result: dg.JobExecutionResult) -> Mapping[str, int | float]:
    """Return the figures of a run about the tasks that it read."""
    counts: dict[str, int | float] = {}
    for event in result.all_events:
        if event.is_step_materialization:
            metadata = event.step_materialization_data.materialization.metadata
            counts |= {
                name: value.value
                for name, value in metadata.items()
                if isinstance(value.value, int | float)
            }
    return counts


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {number}" for name, number in counts.items()) or "none"
