"""When the tables that a project derives are derived: after each change of an input."""

import hashlib

import dagster as dg

from orchestration_project.assets.own_derived import DerivedAssets
from orchestration_project.resources.own_derived import loads_state, outdated_versions
from orchestration_project.sensors.definitions import (
    ONCE_A_DAY,
    REQUESTED,
    balance_tick,
    not_yet_asked,
    record_tick,
    sensor,
    while_under_way,
)
from orchestration_project.settings.project import own_domain

SECONDS_BETWEEN_POLLS = 60


def derived_sensor(made: DerivedAssets) -> dg.SensorDefinition:
    """Return the sensor that requests a run once a partition of the table is out of date."""
    table = made.declaration.derived.name
    inputs = ", ".join(input_table.name for input_table in made.declaration.inputs)
    name = f"{own_domain()}_on_{table}"

    @sensor(
        profile=own_domain(),
        needs=f"rows of {inputs}",
        name=name,
        job=made.job,
        minimum_interval_seconds=SECONDS_BETWEEN_POLLS,
        what=f"Derive {table} where {inputs} changed since.",
        required_resource_keys={"clock", "warehouse"},
    )
    def on_change(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        warehouse, now = context.resources.warehouse, context.resources.clock.now()
        text = f"{made.declaration.rule_version} {loads_state(warehouse)} {now:%Y-%m-%d}"
        if context.cursor == text:
            return dg.SkipReason(
                f"Nothing to do: no load since {table} was compared with its inputs."
            )
        due = outdated_versions(warehouse, made.declaration)
        if not due:
            context.update_cursor(text)
            return dg.SkipReason(f"Nothing to do: {table} is current.")
        if wait := while_under_way(context.instance, made.job.name):
            return wait
        digest = hashlib.sha256("\n".join(sorted(due.values())).encode()).hexdigest()[:16]
        request = dg.RunRequest(run_key=f"{table} {digest} ({now:%Y-%m-%d})")
        is_new = bool(not_yet_asked(context.instance, [request]))
        balance = balance_tick(due, {REQUESTED if is_new else "asked_today": due})
        record_tick(warehouse, table, name, balance, now)
        context.update_cursor(text)
        if not is_new:
            return dg.SkipReason(f"Not derived, and asked for today; {ONCE_A_DAY}")
        context.log.info(
            f"Requested {len(due)} partitions.", extra={"event": "own_derivation_run_requested"}
        )
        return dg.SensorResult(run_requests=[request])

    return on_change
