"""What an upgraded installation stored by former names follows them, on both databases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestration_project.catalog import REGISTRY
from orchestration_project.catalog.upgrade import follow_new_names
from orchestration_project.definitions import defs
from orchestration_project.engine.contracts.edits import Action
from orchestration_project.engine.contracts.former_names import FORMER_ASSETS, FORMER_REPLAYS
from orchestration_project.resources.events.routing.runs import RunTarget
from orchestration_project.services.alerts.policy import collect_names
from orchestration_project.services.alerts.rules.channels import Channel
from orchestration_project.services.alerts.rules.notification import Facts, Policy, read_rules
from orchestration_project.services.edits import Edit
from orchestration_project.services.schedules.jobs import ScheduledJobs
from orchestration_project.services.schedules.store import SCHEDULE_STORE

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOURLY = {"cron": "0 * * * *"}
OP = "finra_otc_weekly_load"
PRESENT = {"ops": {"replay_finra": {"config": {"table": "finra_otc_weekly"}}}}


def load_config(**options: bool) -> dict[str, Any]:
    return {"ops": {OP: {"config": options}}}


def create(warehouse, name: str, **fields: Any) -> None:
    edit = Edit(Action.CREATE, name, "ada", NOON, fields={**HOURLY, **fields})
    SCHEDULE_STORE.apply(warehouse, edit)


@pytest.mark.slow_after_first
def test_stored_schedules_of_former_replay_jobs_start_loads_that_replay(warehouse, kept_instance):
    for job in FORMER_REPLAYS:
        create(warehouse, job, job=job, partitions="latest")
    assert sorted(follow_new_names(kept_instance, warehouse, NOON)) == sorted(FORMER_REPLAYS)
    assert follow_new_names(kept_instance, warehouse, NOON) == []
    with warehouse.reading() as connection:
        stored = {edit.schedule.name: edit for edit in SCHEDULE_STORE.read(connection)}
    assert {value.version_number for value in stored.values()} == {2}
    loads = {
        (replay.job, replay.op)
        for domain in REGISTRY.domains
        for replay in domain.definitions.replays
    }
    for former, (job, op) in FORMER_REPLAYS.items():
        schedule = stored[former].schedule
        config = {"ops": {op: {"config": {"replay": True}}}}
        assert (schedule.job, schedule.run_config, schedule.partitions) == (job, config, "latest")
        assert (job, op) in loads
    jobs = ScheduledJobs(defs.get_repository_def())
    assert jobs.problems(stored["fx_rates_daily_replay"].schedule) == []


@pytest.mark.parametrize(
    ("given", "followed", "job", "config"),
    [
        (
            {
                "partitions": "latest",
                "run_config": {"ops": {OP: {"config": {"allow_older": True}}}},
            },
            ["kept"],
            "finra_otc_weekly",
            load_config(allow_older=True, replay=True),
        ),
        ({"partitions": "none", "run_config": PRESENT}, [], "finra_replay", PRESENT),
    ],
)
def test_options_of_a_former_replay_stay_and_a_present_one_is_left_alone(
    warehouse, kept_instance, given, followed, job, config
):
    create(warehouse, "kept", job="finra_replay", **given)
    assert follow_new_names(kept_instance, warehouse, NOON) == followed
    with warehouse.reading() as connection:
        [stored] = SCHEDULE_STORE.read(connection)
    assert (stored.schedule.job, stored.schedule.run_config) == (job, config)


@pytest.mark.parametrize(
    ("match", "facts"),
    [
        ("job: finra_charts", {"job": "finra_daily"}),
        ("job: [x, operations_prune]", {"job": "operations_clean_up"}),
        ("job: fx_rates_daily_replay", {"job": "fx_rates_daily"}),
        ("job: finra_replay", {"job": "finra_replay"}),
        ("asset: operations/sessions", {"assets": frozenset({"operations/runs"})}),
        ("asset: operations/flags", {"assets": frozenset({"operations/definitions"})}),
    ],
)
def test_a_rule_of_alerts_that_has_a_former_name_matches_the_present_one(match, facts):
    channel = Channel("data", "info", "json://example.org", "ALERT_URL_DATA")
    text = f"rules: [{{name: kept, match: {{{match}}}, channels: [data]}}]"
    policy = Policy([channel], timedelta(hours=1), read_rules(text, "alerts.yaml", [channel]))
    routes = policy.routes(Facts("job_failed", "error", frozenset({"operations"}), **facts))
    assert routes["data"].rule == "kept"


def test_former_assets_are_gone_and_present_ones_are_defined():
    assets = collect_names(defs.get_repository_def()).asset
    assert assets.isdisjoint(FORMER_ASSETS)
    assert assets >= {*FORMER_ASSETS.values()}


def test_a_target_of_routing_rules_that_has_a_former_job_requests_the_present_one():
    assert RunTarget(job="finra_charts").job == "finra_daily"
    assert RunTarget(job="finra_otc_weekly").job == "finra_otc_weekly"
