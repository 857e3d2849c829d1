"""The jobs of reconciliation, each run as Dagster runs it."""

import json
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import delete, select

from orchestration_project.assets.saas import RECONCILING
from orchestration_project.definitions import defs
from orchestration_project.engine.environment import open_lazily
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import TransientError
from orchestration_project.resources.saas.ticks import PEOPLEFORCE_JIRA, Ticks
from orchestration_project.sensors.saas import saas_on_tick, saas_sweep_nightly
from orchestration_project.services.inbox.rows import Inbox, NewDelivery
from orchestration_project.services.inbox.work import DELIVERY_TAG, SOURCE_TAG
from orchestration_project.services.presets import Presets, resolve_preset
from orchestration_project.tables.operations_edits import operations_presets
from orchestration_project.tables.spine import inbox, outbox
from tests.domains.saas_tasks import WHOLE
from tests.expecting import expect_success
from tests.resources.definitions import RESOURCES
from tests.resources.saas_histories import OWN_TABLES
from tests.resources.saas_systems import ISSUE_TYPE, PROJECT, SaasSystems, systems_in_memory
from tests.resources.weeks import StoppedClock
from tests.runs import expect_failure, metadata_by_partition, texts_of

RULE = {**WHOLE, "target_project": PROJECT, "issue_type": ISSUE_TYPE}


OPS_THAT_WRITE = {
    "saas_reconcile": "reconcile_saas",
    "saas_replay_dead_letters": "replay_dead_letters",
    "saas_sweep": "sweep_saas",
}
"""The ops of jobs that write to the systems unless a run is a dry run."""


class SyncRuns:
    """Two systems, a database, and Dagster's runs between them."""

    def __init__(self, warehouse: Warehouse, clock: StoppedClock, instance) -> None:
        self.warehouse, self.clock, self.instance = warehouse, clock, instance
        self.systems: SaasSystems = systems_in_memory("peopleforce")
        self.target: Any = None
        self.delivered_count = 0

    @property
    def resources(self) -> dict[str, object]:
        systems = self.systems
        own = {"peopleforce": systems.source, "jira": self.target or systems.target}
        return {**RESOURCES, **own, "warehouse": self.warehouse, "clock": self.clock}

    def run(self, job: str, op: str | None = None, tags=None, **config):
        if job in OPS_THAT_WRITE:
            op, config = OPS_THAT_WRITE[job], {"dry_run": False, **config}
        return defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            resources=self.resources,
            run_config={"ops": {op: {"config": config}}} if op else {},
            tags=tags,
            raise_on_error=False,
        )

    def run_dry_and_expect_no_write(self, job: str) -> dict[str, Any]:
        """Run a job without a config; return the metadata of its asset that begins with dry_run."""
        writes = self.systems.writes
        result = defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, resources=self.resources, raise_on_error=False
        )
        assert (result.success, self.systems.writes) == (True, writes)
        found = [value[None] for value in metadata_by_partition(result).values()]
        [metadata] = [entry for entry in found if next(iter(entry)) == "dry_run"]
        assert metadata["dry_run"]
        return {**metadata, **checks(result)}

    def ask(self, job: str, requested: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Run a job with the config that a sensor or schedule requests."""
        return defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, resources=self.resources, run_config=requested.run_config
        )

    def deliver(self, source: str, body: object) -> dict[str, Any]:
        """Deliver a webhook, and run its job; return the metadata of that run."""
        taken = Inbox(self.warehouse, self.clock)
        delivery = json.dumps(body).encode()
        self.delivered_count += 1
        number = str(self.delivered_count)
        taken.take([NewDelivery(source, number, None, delivery, {}, 2)])
        result = self.run("saas_reconcile", tags={SOURCE_TAG: source, DELIVERY_TAG: number})
        return metadata_by_partition(expect_success(result))["source_states"][None]

    def tick(self) -> Any:
        names = {"warehouse": self.warehouse, "clock": self.clock}
        return saas_on_tick(dg.build_sensor_context(self.instance, resources=names))


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('saas')}/warehouse.sqlite"
    with Warehouse(url, clock=StoppedClock()) as warehouse:
        warehouse.prepare(holds="real")
        yield warehouse


@pytest.fixture
def sync_runs(opened, monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    with opened.writing() as connection:
        for table in (*OWN_TABLES, inbox, operations_presets):
            connection.execute(delete(table))
    with dg.DagsterInstance.ephemeral() as instance:
        yield SyncRuns(opened, StoppedClock(), instance)


def checks(result) -> dict[str, bool]:
    return {
        evaluation.check_name: evaluation.passed
        for evaluation in result.get_asset_check_evaluations()
    }


@pytest.mark.slow
def test_rules_are_tried_edited_and_followed_and_the_tick_says_when_it_went_well(sync_runs):
    sync_runs.systems.tasks.add("Order a laptop")
    sync_runs.systems.tasks.add("Order a cup", assignee_email="ghost@example.org")
    # A task of three cannot be synced; at first no rule is in effect, then one.
    sync_runs.systems.tasks.add("poison")
    assert checks(sync_runs.run("saas_reconcile"))[
        "are_matched_by_rules"
    ]  # no rule was ever in effect
    assert sync_runs.run("saas_edit_rules", "edit_saas_rules", rules=[RULE], who="Ana").success
    poll_result = sync_runs.run("saas_reconcile")
    assert poll_result.success
    metadata = metadata_by_partition(poll_result)
    assert (metadata["source_states"][None]["tasks"], metadata["outbox"][None]["dead_letters"]) == (
        3,
        1,
    )
    assert "SYNTHETIC DATA" in texts_of(metadata["outbox"][None]["flow"])
    assert checks(poll_result) == {
        "are_matched_by_rules": True,
        "have_known_assignees": False,
        "is_done_in_time": True,
        "has_few_dead_letters": False,
    }
    tick = Ticks(sync_runs.warehouse, PEOPLEFORCE_JIRA).tick()
    assert tick.started_at == tick.synced_at == sync_runs.clock.at
    # A trial of two rules; an edit based on others is refused.
    cups = {
        **RULE,
        "rule_id": "cups",
        "priority": 1,
        "action": "drop",
        "target_project": None,
        "issue_type": None,
        "conditions": [{"field": "title", "operator": "contains", "value": "cup"}],
    }
    tried = metadata_by_partition(
        sync_runs.run("saas_dry_run", "try_saas_rules", rules=[RULE, cups])
    )
    trial = tried["rule_trial"][None]
    assert trial["tasks_that_differ"] == 1
    late = {"rules": [RULE, cups], "based_on": "0" * 16}
    refused = sync_runs.run("saas_edit_rules", "edit_saas_rules", **late)
    failure = refused.failure_data_for_node("edit_saas_rules")
    assert "the sync rules changed since they were read" in str(failure.error)
    based = {"rules": [RULE], "based_on": trial["based_on"]}
    assert sync_runs.run("saas_edit_rules", "edit_saas_rules", **based).success
    # Dead letters are replayed: all, or those of an entity.
    again = metadata_by_partition(sync_runs.run("saas_replay_dead_letters"))["dead_letters"][None]
    assert (again["dead"], again["still_refused"]) == (1, 1)
    ids = {"entity_ids": ["9999"]}
    nothing = metadata_by_partition(
        sync_runs.run("saas_replay_dead_letters", "replay_dead_letters", **ids)
    )
    assert nothing["dead_letters"][None]["without_a_dead_letter"] == "9999"


@pytest.mark.slow
def test_jobs_without_a_config_write_nothing_outside_and_sensor_and_schedule_do_the_work(sync_runs):
    sync_runs.run("saas_edit_rules", "edit_saas_rules", rules=[RULE], who="Ana")
    sync_runs.systems.tasks.add("Order a laptop")
    sync_runs.systems.tasks.add("poison")
    assert sync_runs.run_dry_and_expect_no_write("saas_reconcile")["seen"] == 2
    assert sync_runs.systems.issues.rows == {}
    assert Ticks(sync_runs.warehouse, PEOPLEFORCE_JIRA).tick().started_at is None
    assert sync_runs.ask("saas_reconcile", sync_runs.tick()).success
    assert list(sync_runs.systems.issues.rows) == ["IT-1"]

    refused = sync_runs.run_dry_and_expect_no_write("saas_replay_dead_letters")
    assert (refused["still_refused"], refused["without_a_dead_letter"]) == (1, "")
    done = sync_runs.run("saas_replay_dead_letters")
    assert metadata_by_partition(done)["dead_letters"][None]["dead"] == 1  # it was retried

    sync_runs.systems.issues.rows.clear()
    swept = sync_runs.run_dry_and_expect_no_write("saas_sweep")
    assert (swept["differed"], swept["is_mended"]) == (1, False)
    assert sync_runs.systems.issues.rows == {}
    context = dg.build_schedule_context(resources={"warehouse": sync_runs.warehouse})
    nightly = saas_sweep_nightly.evaluate_tick(context).run_requests
    assert nightly
    assert checks(sync_runs.ask("saas_sweep", nightly[0]))["is_mended"]
    assert len(sync_runs.systems.issues.rows) == 1


@pytest.mark.slow
def test_rules_that_the_target_refuses_take_no_effect_and_a_network_fault_stops_none(sync_runs):
    lost = {**RULE, "target_project": "GONE"}
    refused = sync_runs.run("saas_edit_rules", "edit_saas_rules", rules=[lost], who="Ana")
    assert not refused.success
    assert "GONE has no Task" in str(refused.failure_data_for_node("edit_saas_rules").error)
    sync_runs.systems.faults.on("permissions", "down")
    assert sync_runs.run("saas_edit_rules", "edit_saas_rules", rules=[RULE], who="Ana").success
    sync_runs.systems.faults.on("permissions", "down")
    swept = sync_runs.run("saas_sweep")
    never_looked = {"goes_by_a_fresh_look": False}
    assert checks(swept) == {"is_mended": True, "goes_by_usable_rules": True, **never_looked}
    sync_runs.systems.issues.allowed = frozenset({"BROWSE_PROJECTS"})
    swept = sync_runs.run("saas_sweep")
    assert checks(swept) == {"is_mended": True, "goes_by_usable_rules": False, **never_looked}
    sync_runs.systems.tasks.add("Order a laptop")
    assert sync_runs.run("saas_reconcile").success
    assert sync_runs.systems.issues.rows == {}
    sync_runs.systems.issues.allowed = type(sync_runs.systems.issues).allowed
    assert sync_runs.run("saas_sweep").success
    assert sync_runs.run("saas_reconcile").success
    assert list(sync_runs.systems.issues.rows) == ["IT-1"]


def test_a_sweep_reports_issues_that_cannot_be_read(sync_runs):
    sync_runs.run("saas_edit_rules", "edit_saas_rules", rules=[RULE], who="Ana")
    sync_runs.systems.tasks.add("Order a laptop")
    assert sync_runs.run("saas_reconcile").success
    sync_runs.systems.issues.unreadable = {"IT-1": "no text", "IT-9": "no text"}
    swept = sync_runs.run("saas_sweep")
    metadata = metadata_by_partition(swept)["drift"][None]
    assert (metadata["differed"], metadata["unreadable"]) == (1, 2)
    shown = [record.data for record in metadata["unreadable_issues"].records]
    assert shown == [{"target_key": key, "reason": "no text"} for key in ("IT-1", "IT-9")]
    assert (swept.success, checks(swept)["is_mended"]) == (True, False)


@pytest.mark.slow
def test_a_webhook_brings_just_its_task_along_and_our_own_write_comes_back_as_an_echo(sync_runs):
    sync_runs.run("saas_edit_rules", "edit_saas_rules", rules=[RULE], who="Ana")
    one = sync_runs.systems.tasks.add("Order a laptop")
    sync_runs.systems.tasks.add("Order a cup")
    created = {"action": "task_create", "data": {"id": int(one)}}
    assert sync_runs.deliver("peopleforce", created)["webhook"] == "looked at"
    assert [issue.summary for issue in sync_runs.systems.issues.rows.values()] == ["Order a laptop"]
    sync_runs.systems.issues.move("IT-1", "Start", "Done")
    done = {
        "webhookEvent": "jira:issue_updated",
        "issue": {"key": "IT-1", "fields": {"status": {"statusCategory": {"key": "done"}}}},
    }
    assert sync_runs.deliver("jira", done)["webhook"] == "compared"
    assert sync_runs.systems.tasks.rows[one].is_completed
    reads, writes = sync_runs.systems.faults.reads, sync_runs.systems.faults.writes
    completed = {"action": "task_complete", "data": {"id": int(one)}}
    assert sync_runs.deliver("peopleforce", completed)["webhook"] == "echo"
    echo = sync_runs.deliver("jira", done)
    assert echo["webhook"] == "echo"
    assert echo["reason"] == f"already in this state: task {one} is completed"
    assert (sync_runs.systems.faults.reads, sync_runs.systems.faults.writes) == (reads, writes)


@pytest.mark.slow
def test_a_run_of_a_webhook_that_had_nothing_to_do_says_why(sync_runs):
    sync_runs.run("saas_edit_rules", "edit_saas_rules", rules=[RULE], who="Ana")
    task = int(sync_runs.systems.tasks.add("Order a laptop"))
    assert sync_runs.run("saas_reconcile").success
    issue = {"key": "IT-1", "fields": {"status": {"statusCategory": {"key": "new"}}}}
    unknown = {"webhookEvent": "jira:issue_deleted", "issue": {**issue, "key": "IT-9"}}
    updated = {"webhookEvent": "jira:issue_updated", "issue": issue}
    found = [
        sync_runs.deliver("jira", {"webhookEvent": "jira:version_released"}),
        sync_runs.deliver("jira", {"webhookEvent": "comment_created", "issue": issue}),
        sync_runs.deliver("jira", unknown),
        sync_runs.deliver("jira", updated),
        sync_runs.deliver("peopleforce", {"action": "employee_create", "data": {"id": 1}}),
        sync_runs.deliver("peopleforce", {"action": "task_update", "data": {"id": task}}),
        sync_runs.deliver("peopleforce", {"action": "task_delete", "data": {"id": 77}}),
    ]
    no_change = "events of this type change no task and no issue"
    assert [(entry["webhook"], entry["event"], entry["reason"]) for entry in found] == [
        ("nothing to do", "other", no_change),
        ("nothing to do", "commented", no_change),
        ("nothing to do", "deleted", "unknown issue: no task has IT-9"),
        ("nothing to do", "updated", "issues are followed when they are completed or deleted"),
        ("nothing to do", "other", no_change),
        ("looked at", "updated", "already in this state: the task is as it was"),
        ("looked at", "deleted", "unknown task: the source does not have it"),
    ]


def test_a_run_that_did_not_end_well_fails_and_leaves_the_time_of_the_last_that_did(sync_runs):
    sync_runs.run("saas_edit_rules", "edit_saas_rules", rules=[RULE], who="Ana")
    began = sync_runs.tick()
    assert isinstance(began, dg.RunRequest)
    sync_runs.systems.faults.on("pages", "down")
    failed = sync_runs.run("saas_reconcile")
    assert "HTTP 503" in expect_failure(failed, "reconcile_saas")
    tick = Ticks(sync_runs.warehouse, PEOPLEFORCE_JIRA).tick()
    assert (tick.started_at, tick.synced_at) == (sync_runs.clock.at, None)
    sync_runs.clock.at += timedelta(minutes=4)
    assert "every 0:05:00" in str(sync_runs.tick().skip_message)
    assert sync_runs.run("saas_set_tick", "set_tick", is_paused=True).success
    sync_runs.clock.at += timedelta(minutes=4)
    assert "paused" in str(sync_runs.tick().skip_message)
    assert sync_runs.run("saas_set_tick", "set_tick", trigger=True).success
    assert sync_runs.tick().run_key != began.run_key


def test_a_run_s_own_limits_go_before_an_applied_preset_and_that_before_the_usual(sync_runs):
    sync_runs.systems.tasks.add("Order a laptop")
    sync_runs.systems.tasks.add("Unassigned")
    only = {**RULE, "conditions": [{"field": "title", "operator": "contains", "value": "laptop"}]}
    assert sync_runs.run("saas_edit_rules", "edit_saas_rules", rules=[only]).success
    assert checks(sync_runs.run("saas_reconcile"))["are_matched_by_rules"]
    strict, _ = resolve_preset("saas_strict", [RECONCILING])
    presets = Presets(sync_runs.warehouse, sync_runs.clock)
    assert presets.apply(strict, user="ada", reason="a test", run_id="1")
    poll_result = sync_runs.run("saas_reconcile")
    assert not checks(poll_result)["are_matched_by_rules"]
    assert sync_runs.instance.get_run_by_id(poll_result.run_id).tags["preset"] == "saas_strict#1"
    own = sync_runs.run("saas_reconcile", "reconcile_saas", max_unmatched_share=0.5)
    assert checks(own)["are_matched_by_rules"]


def test_the_target_is_opened_only_if_something_is_due_and_nothing_is_tried_if_it_cannot_be(
    sync_runs,
):
    @contextmanager
    def shut():
        raise TransientError("Jira is down")
        yield

    assert sync_runs.run("saas_edit_rules", "edit_saas_rules", rules=[RULE]).success
    with open_lazily(shut, system="jira") as target:
        sync_runs.target = target
        assert sync_runs.run("saas_reconcile").success
        sync_runs.systems.tasks.add("Order a laptop")
        failure = sync_runs.run("saas_reconcile").failure_data_for_node("reconcile_saas")
        assert "Jira is down" in failure.error.cause.message
    with sync_runs.warehouse.reading() as connection:
        assert connection.execute(select(outbox.c.state, outbox.c.attempt_count)).all() == [
            ("waiting", 0)
        ]
    sync_runs.target = None
    assert sync_runs.run("saas_reconcile").success
    assert len(sync_runs.systems.issues.rows) == 1


def test_a_sweep_says_that_the_tasks_were_not_looked_at_for_long_unless_that_is_paused(sync_runs):
    ticks = Ticks(sync_runs.warehouse, PEOPLEFORCE_JIRA)
    found = []
    for hours, is_paused in ((0, False), (2, False), (2, True)):
        ticks.end(sync_runs.clock.at - timedelta(hours=hours))
        ticks.change(interval=timedelta(minutes=5), is_paused=is_paused)
        found.append(checks(sync_runs.run("saas_sweep"))["goes_by_a_fresh_look"])
    assert found == [True, False, True]


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING", "STARTED", "CANCELING"])
def test_a_look_is_not_asked_for_while_the_one_before_is_under_way(sync_runs, status):
    Ticks(sync_runs.warehouse, PEOPLEFORCE_JIRA).begin(sync_runs.clock.at)
    tags = {"dagster/sensor_name": "saas_on_tick"}
    run = dg.DagsterRun("saas_reconcile", status=dg.DagsterRunStatus[status], tags=tags)
    sync_runs.instance.add_run(run)
    sync_runs.clock.at += timedelta(minutes=7)
    assert run.run_id in sync_runs.tick().skip_message
    sync_runs.instance.report_run_canceled(run)
    assert sync_runs.tick().run_key
