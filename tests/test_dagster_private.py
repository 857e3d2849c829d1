"""Private parts of Dagster that this project relies on, run against the Dagster that is installed.

A failure after an upgrade names, in the test's first line, what to check. The table of
`docs/explanation/dagster-private.md` names the tests of what `instance/` and `gateway/dagster_web/`
use.
"""

import ast
import json
import logging
import re
import runpy
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.launcher.base import WorkerStatus
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._grpc import server_watcher
from dagster._grpc.client import DagsterGrpcClient
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from benchmarks.structure.modules import read_modules
from benchmarks.structure.rules import private_uses
from orchestration_project.engine.dagster_private.automation import (
    FINISHED_TICKS,
    TickStatus,
    find_previous_cron_time,
    find_ticks,
    is_switched_on,
    is_valid_cron_string,
    iterate_running_states,
    rename_instigators,
    switch_automation,
)
from orchestration_project.engine.dagster_private.backfills import (
    BulkActionStatus,
    add_asset_backfill,
    find_backfills,
    iterate_missing,
    iterate_targets,
)
from orchestration_project.engine.dagster_private.daemon_state import (
    DAEMON_PARTS,
    RUNS_FILE,
    DaemonState,
    read_daemon_state,
    read_stored_daemon_state,
)
from orchestration_project.engine.dagster_private.definitions import (
    UnenforcedCheckResult,
    UnresolvedAssetJobDefinition,
    declare_model,
    find_models,
    load_repository,
)
from orchestration_project.engine.dagster_private.processes import (
    DAEMON_MODULE,
    SECONDS_BETWEEN_WATCHES,
    is_worker_gone,
    ping_code_server,
    watch_code_servers_seldom,
)
from orchestration_project.engine.dagster_private.storage import (
    EventLogFiles,
    SerializableErrorInfo,
    build_event_cursor,
    compute_log_folder,
    connect_to_runs,
    connect_to_storage,
    find_event_log_store,
    get_runs_table,
    serialize_event,
)
from orchestration_project.instance.daemon import (
    WAIT_FOR_CODE_SERVERS,
    WaitingRetries,
    keep_backfills_without_code,
)
from orchestration_project.instance.storage import open_instance
from orchestration_project.instance.stored import repository_origin
from orchestration_project.settings import PROJECT_ROOT
from tests.dagster_storage import add_heartbeats, add_queued_run, add_tick
from tests.expecting import expect_present
from tests.gateway.api.conftest import IN_THIS_PROCESS
from tests.instance.every_other import LETTERS, defs, pages
from tests.runs import set_worker_health

EVERY_OTHER = "tests.instance.every_other"
HERE = {"execution": {"config": {"in_process": {}}}}

OURS = PROJECT_ROOT / "orchestration_project" / "engine" / "dagster_private"

RUN_ELSEWHERE = {"build_job_parts", "read_run_parts", "reload_code_server"}
"""Functions of `OURS` that tests of services and of commands run."""

PAGE = PROJECT_ROOT / "docs" / "explanation" / "dagster-private.md"


@pytest.fixture
def instance(kept_instance):
    return kept_instance


@dg.asset
def page(context: dg.AssetExecutionContext) -> None:
    """Writes a line."""
    context.log.info("a line")


def a_run(instance, **more) -> dg.DagsterRun:
    job = dg.JobDefinition(name="j", graph_def=dg.GraphDefinition(name="j", node_defs=[]))
    return instance.create_run_for_job(job, **more)


def add_sensor(instance, name: str, status: InstigatorStatus) -> InstigatorState:
    target = LoadableTargetOrigin(module_name=EVERY_OTHER)
    place = InProcessCodeLocationOrigin(target, location_name="here")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(place, "__repository__"), name)
    data = SensorInstigatorData(min_interval=30)
    return instance.add_instigator_state(
        InstigatorState(origin, InstigatorType.SENSOR, status, data)
    )


def test_the_daemon_is_a_module_that_takes_a_workspace(monkeypatch, capsys):
    """Check the module and the options of Dagster's daemon."""
    monkeypatch.setattr(sys, "argv", ["daemon", "run", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module(DAEMON_MODULE, run_name="__main__", alter_sys=True)
    output = capsys.readouterr().out
    assert "-w, --workspace" in output
    assert "--log-level" in output


def test_a_repository_gives_its_definitions_and_jobs_to_execute(instance):
    """Check ReconstructableRepository: for_module, get_definition, get_reconstructable_job."""
    found = load_repository(EVERY_OTHER, "defs", PROJECT_ROOT)
    assert found.get_definition().has_job("printing")
    tags = {"dagster/partition": LETTERS[0]}
    job = found.get_reconstructable_job("printing")
    with dg.execute_job(job, instance, run_config=HERE, tags=tags) as result:
        assert result.success


@pytest.mark.parametrize(
    ("health", "is_gone"), [(WorkerStatus.RUNNING, False), (WorkerStatus.FAILED, True)]
)
def test_a_launcher_says_that_a_process_is_gone(instance, monkeypatch, health, is_gone):
    """Check RunLauncher.check_run_worker_health and WorkerStatus."""
    set_worker_health(monkeypatch, instance, health)
    assert is_worker_gone(instance, a_run(instance)) is is_gone
    set_worker_health(monkeypatch, instance, None)
    assert not is_worker_gone(instance, a_run(instance))


@pytest.mark.parametrize(
    ("cron", "timezone", "now", "due_at"),
    [
        ("0 6 * * *", "UTC", "2026-03-09T06:00:00+00:00", "2026-03-09T06:00:00+00:00"),
        ("0 6 * * *", "UTC", "2026-03-09T05:59:59+00:00", "2026-03-08T06:00:00+00:00"),
        (
            "30 2 * * *",
            "America/New_York",
            "2026-03-08T12:00:00+00:00",
            "2026-03-08T03:00:00-04:00",
        ),
    ],
)
def test_the_time_before_now_at_which_a_cron_expression_was_due(cron, timezone, now, due_at):
    """Check reverse_cron_string_iterator and is_valid_cron_string."""
    found = find_previous_cron_time(cron, timezone, datetime.fromisoformat(now))
    assert found == datetime.fromisoformat(due_at)
    assert is_valid_cron_string(cron)
    assert not is_valid_cron_string("61 * * * *")
    assert not is_valid_cron_string("0 0 30 2 *")


def test_a_missing_code_server_is_reported_in_a_line():
    """Check DagsterGrpcClient.ping and DagsterUserCodeUnreachableError."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionError) as refused:
        ping_code_server("127.0.0.1", port)
    assert str(refused.value)
    assert "\n" not in str(refused.value)


def test_sensors_on_by_default_differ_from_those_switched_on(instance):
    """Check InstigatorStatus: sensors and schedules that run by default has one of its own."""
    for status in InstigatorStatus:
        add_sensor(instance, status.value.lower(), status)
    running = {state.instigator_name for state in iterate_running_states(instance)}
    assert running == {"running", "declared_in_code", "automatically_running"}
    assert read_daemon_state(instance).switched_on == ["running"]


def test_the_state_of_the_daemon_in_its_tables_is_what_the_instance_returns(instance, tmp_path):
    """Check `daemon_heartbeats`, `runs` and `instigators`, and the files of SQLite."""
    at = datetime.fromisoformat("2026-03-02T15:00:00+00:00")
    add_heartbeats(instance, at)
    target = LoadableTargetOrigin(module_name="nowhere")
    add_queued_run(
        instance, "j", RemoteRepositoryOrigin(InProcessCodeLocationOrigin(target), "all"), at
    )
    add_sensor(instance, "running", InstigatorStatus.RUNNING)
    state = read_daemon_state(instance)
    assert state == DaemonState(
        instance.get_required_daemon_types(),
        {part: beat.timestamp for part, beat in instance.get_daemon_heartbeats().items()},
        instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])),
        ["running"],
    )
    assert state.queued_count == 1
    stored = read_stored_daemon_state(tmp_path / "dagster")
    assert stored == replace(state, required_parts=DAEMON_PARTS)


def test_storage_that_dagster_has_not_made_has_no_heartbeat_and_another_is_left_to_it(tmp_path):
    assert read_stored_daemon_state(tmp_path) == DaemonState(DAEMON_PARTS, {}, 0, ())
    file = tmp_path / RUNS_FILE
    file.parent.mkdir()
    file.touch()
    assert read_stored_daemon_state(tmp_path) is None


@pytest.mark.slow
def test_the_parts_of_the_daemon_are_those_that_dagster_yaml_requires(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    with open_instance() as instance:
        assert tuple(instance.get_required_daemon_types()) == DAEMON_PARTS


@pytest.mark.slow
def test_what_is_switched_is_looked_up_by_the_name_of_the_code_location(instance):
    """Check InstigatorState and its data: as declared, switched on, and off again."""

    @dg.sensor(minimum_interval_seconds=60)
    def looks():
        return dg.SkipReason("nothing")

    hourly = dg.ScheduleDefinition(
        name="hourly", target=["a"], cron_schedule="0 * * * *", execution_timezone="UTC"
    )
    for sensor in (looks, hourly):
        assert not is_switched_on(instance, sensor)
        for on in (True, False, True):
            switch_automation(instance, sensor, repository_origin(), on=on)
            assert is_switched_on(instance, sensor) is on
    assert sorted(read_daemon_state(instance).switched_on) == ["hourly", "looks"]
    assert len(instance.all_instigator_state()) == 2


def test_a_renamed_schedule_or_sensor_is_on_or_off_as_its_former_ones_were(instance):
    """At an upgrade: `InstigatorState` has the name in its origin."""
    automations = {name: schedule_named(name) for name in ("a", "b", "c", "d", "now", "gone")}
    for name, on in (("a", False), ("b", True), ("c", False), ("d", False)):
        switch_automation(instance, automations[name], repository_origin(), on=on)
    names = {"a": "now", "b": "now", "c": "gone", "d": "gone"}
    for expected in (["now"], []):  # the second time there is nothing to rename
        assert rename_instigators(instance, names) == expected
        assert is_switched_on(instance, automations["now"])
        assert not is_switched_on(instance, automations["gone"])
        found = {state.name: state.is_running for state in instance.all_instigator_state()}
        assert found == {"now": True, "gone": False}


def test_one_of_two_former_schedules_that_is_off_leaves_the_present_one_as_declared(instance):
    switch_automation(instance, schedule_named("a"), repository_origin(), on=False)
    assert rename_instigators(instance, {"a": "now", "b": "now"}) == []
    assert instance.all_instigator_state() == []


def schedule_named(name: str) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(name=name, job_name="job", cron_schedule="0 1 * * *")


def test_ticks_are_found_by_time_and_status_the_newest_first(instance):
    """Check DagsterInstance.get_ticks and TickStatus."""
    state = add_sensor(instance, "looking", InstigatorStatus.RUNNING)
    ids = (state.instigator_origin_id, state.instigator_name, state.instigator_type)
    for at, status in enumerate(TickStatus):
        error = SerializableErrorInfo("x", [], None) if status == TickStatus.FAILURE else None
        more = {"selector_id": state.selector_id, "run_ids": [], "error": error}
        instance.create_tick(TickData(*ids, status, float(at), **more))
    newest, *_ = find_ticks(instance, state, limit=9)
    assert newest.timestamp == len(TickStatus) - 1
    finished = find_ticks(instance, state, limit=9, statuses=FINISHED_TICKS)
    assert {tick.status for tick in finished} == set(TickStatus) - {TickStatus.STARTED}
    assert len(find_ticks(instance, state, limit=1, statuses=FINISHED_TICKS)) == 1
    assert len(find_ticks(instance, state, limit=9, after=0.5)) == len(TickStatus) - 1


def add_backfill(instance, name: str, *partitions: str) -> str:
    return add_asset_backfill(
        instance,
        defs.get_repository_def(),
        [pages.key],
        partitions,
        timestamp=time.time(),
        tags={"name": name},
        title=name,
        run_config=HERE,
    )


def test_ticks_heartbeats_and_queued_runs_can_be_stored(instance):
    target = LoadableTargetOrigin(module_name="nowhere")
    origin = RemoteRepositoryOrigin(InProcessCodeLocationOrigin(target), "all")
    sensor = dg.SensorDefinition(name="s", evaluation_fn=lambda _: None, job_name="j")
    add_tick(instance, sensor, origin, error="it failed")
    add_tick(instance, sensor, origin)
    [state] = iterate_running_states(instance)
    ticks = find_ticks(instance, state, limit=5)
    assert [tick.status for tick in ticks] == [TickStatus.SKIPPED, TickStatus.FAILURE]
    at = datetime.fromisoformat("2026-03-02T15:00:00+00:00")
    add_heartbeats(instance, at)
    beats = instance.get_daemon_heartbeats()
    assert {beat.timestamp for beat in beats.values()} == {at.timestamp()}
    assert set(beats) == set(instance.get_required_daemon_types())
    run_id = add_queued_run(instance, "j", origin, at)
    [record] = instance.get_run_records(dg.RunsFilter(run_ids=[run_id]))
    assert record.create_timestamp == at
    assert record.dagster_run.status == dg.DagsterRunStatus.QUEUED


def test_backfills_are_found_by_status_and_tags_the_newest_first(instance):
    """Check BulkActionsFilter, get_backfills, and the fields of PartitionBackfill."""
    first, second = (add_backfill(instance, "a", LETTERS[0]) for _ in range(2))
    other = add_backfill(instance, "b", LETTERS[0])
    instance.update_backfill(instance.get_backfill(other).with_status(BulkActionStatus.FAILED))
    assert [backfill.backfill_id for backfill in find_backfills(instance, tags={"name": "a"})] == [
        *(second, first)
    ]
    [failed] = find_backfills(instance, statuses=[BulkActionStatus.FAILED])
    assert (failed.backfill_id, failed.title, failed.job_name) == (other, "b", None)
    assert failed.asset_selection == [pages.key]
    assert len(find_backfills(instance, limit=1)) == 1


@pytest.mark.slow
def test_the_daemon_makes_the_partitions_of_a_backfill_that_was_added(new_files, tmp_path):
    """Check PartitionBackfill.from_asset_partitions, and AssetBackfillData's three subsets."""
    target = LoadableTargetOrigin(
        module_name=EVERY_OTHER, executable_path=sys.executable, working_directory=str(PROJECT_ROOT)
    )
    origin = InProcessCodeLocationOrigin(target, location_name=EVERY_OTHER)
    repository, wanted = defs.get_repository_def(), [(pages.key, key) for key in LETTERS[:2]]
    folder = str(shutil.copytree(new_files, tmp_path / "dagster"))
    with (
        dg.instance_for_test(temp_dir=folder, overrides=IN_THIS_PROCESS) as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as daemon,
    ):
        add_backfill(instance, "a", *LETTERS[:2])
        assert sorted(iterate_missing(find_backfills(instance)[0], repository)) == wanted
        for _ in range(2):  # one launches the run, one sees that it is over
            errors = list(execute_backfill_iteration(daemon, logging.getLogger("daemon")))
            assert [error for error in errors if error is not None] == []
        [backfill] = find_backfills(instance)
        assert list(iterate_missing(backfill, repository)) == []
        targets = sorted(iterate_targets(backfill, repository))
        assert targets == [(*partition, False) for partition in wanted]
        [run] = instance.get_runs()
        assert (run.tags["name"], run.run_config) == ("a", HERE)


def test_a_backfill_in_the_form_before_dagster_1_6_needs_its_assets(instance):
    """Check is_valid_serialization of PartitionBackfill, and the old form of its partitions."""
    repository = defs.get_repository_def()
    backfill_id = add_backfill(instance, "a", *LETTERS[:2])
    backfill, graph = instance.get_backfill(backfill_id), repository.asset_graph
    text = backfill.get_asset_backfill_data(graph).serialize(instance, graph)
    old = backfill._replace(serialized_asset_backfill_data=text, asset_backfill_data=None)
    read = [(pages.key, key) for key in LETTERS[:2]]
    assert sorted(iterate_missing(old, repository)) == read
    assert sorted(iterate_targets(old, repository)) == [(*unit, False) for unit in read]
    without_assets = dg.Definitions().get_repository_def()
    assert list(iterate_missing(old, without_assets)) == [(pages.key, "")]
    assert list(iterate_targets(old, without_assets)) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Error loading repository location:UserWarning")
def test_the_daemon_keeps_a_backfill_while_its_code_cannot_be_loaded(
    new_files, tmp_path, monkeypatch
):
    """Check the variable DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR."""
    monkeypatch.setenv(WAIT_FOR_CODE_SERVERS, "")
    monkeypatch.delenv(WAIT_FOR_CODE_SERVERS)
    keep_backfills_without_code()
    folder = str(shutil.copytree(new_files, tmp_path / "dagster"))
    with dg.instance_for_test(temp_dir=folder, overrides=IN_THIS_PROCESS) as instance:
        add_backfill(instance, "a", *LETTERS[:2])
        for module in ("tests.instance.absent", EVERY_OTHER):
            target = LoadableTargetOrigin(
                module_name=module,
                executable_path=sys.executable,
                working_directory=str(PROJECT_ROOT),
            )
            origin = InProcessCodeLocationOrigin(target, location_name=EVERY_OTHER)
            workspace = InProcessWorkspaceLoadTarget(origin)
            with WorkspaceProcessContext(instance, workspace) as daemon:
                for _ in range(2):
                    list(execute_backfill_iteration(daemon, logging.getLogger("daemon")))
            [backfill] = find_backfills(instance)
            assert backfill.status == BulkActionStatus.REQUESTED or module == EVERY_OTHER
        assert backfill.status == BulkActionStatus.COMPLETED_SUCCESS
        assert len(instance.get_runs()) == 1


def context_of(instance: dg.DagsterInstance, module: str) -> WorkspaceProcessContext:
    """Return a workspace that loads the code location `EVERY_OTHER` from a module."""
    target = LoadableTargetOrigin(
        module_name=module, executable_path=sys.executable, working_directory=str(PROJECT_ROOT)
    )
    origin = InProcessCodeLocationOrigin(target, location_name=EVERY_OTHER)
    return WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Error loading repository location:UserWarning")
@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning")
@pytest.mark.parametrize("ended_hours_ago", [0, 2])
def test_the_retry_of_a_run_waits_an_hour_while_its_code_cannot_be_loaded(
    new_files, tmp_path, ended_hours_ago
):
    """Check EventLogConsumerDaemon, which `WaitingRetries` extends, and retry_run."""
    folder = str(shutil.copytree(new_files, tmp_path / "dagster"))
    overrides = {**IN_THIS_PROCESS, "run_retries": {"enabled": True, "max_retries": 1}}
    with dg.instance_for_test(temp_dir=folder, overrides=overrides) as instance:
        with context_of(instance, EVERY_OTHER) as daemon:
            run = failing_run(instance, daemon)
        instance.report_run_failed(run)
        if ended_hours_ago:
            end_run_before(instance, run.run_id, ended_hours_ago)
        for _ in range(2):
            with context_of(instance, "tests.instance.absent") as daemon:
                list(WaitingRetries().run_iteration(daemon))
        with context_of(instance, EVERY_OTHER) as daemon:
            for _ in range(2):
                list(WaitingRetries().run_iteration(daemon))
        assert len(retries_of(instance, run)) == (0 if ended_hours_ago else 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning")
def test_a_failure_that_is_read_before_its_status_is_stored_is_retried(new_files, tmp_path):
    """Check the order of an event and its status in DagsterInstance.handle_new_event."""
    folder = str(shutil.copytree(new_files, tmp_path / "dagster"))
    overrides = {**IN_THIS_PROCESS, "run_retries": {"enabled": True, "max_retries": 1}}
    with (
        dg.instance_for_test(temp_dir=folder, overrides=overrides) as instance,
        context_of(instance, EVERY_OTHER) as daemon,
    ):
        run = failing_run(instance, daemon)
        store_status = instance.run_storage.handle_run_event

        def store_late(*arguments: Any) -> None:
            list(WaitingRetries().run_iteration(daemon))  # reads the event, and goes on
            store_status(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(instance.run_storage, "handle_run_event", store_late)
            instance.report_run_failed(run)
        assert retries_of(instance, run) == []
        for _ in range(2):
            list(WaitingRetries().run_iteration(daemon))
        assert len(retries_of(instance, run)) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "error",
    [
        OperationalError("INSERT", {}, ValueError("the server closed the connection")),
        EOFError("the code server was killed"),
    ],
    ids=["outage", "unknown"],
)
def test_a_retry_that_could_not_be_stored_is_launched_later(new_files, tmp_path, error):
    """Check consume_new_runs_for_automatic_reexecution, which would mark the run as not retried."""
    folder = str(shutil.copytree(new_files, tmp_path / "dagster"))
    overrides = {**IN_THIS_PROCESS, "run_retries": {"enabled": True, "max_retries": 1}}

    def go_away(*_: Any) -> None:
        raise error

    with (
        dg.instance_for_test(temp_dir=folder, overrides=overrides) as instance,
        context_of(instance, EVERY_OTHER) as daemon,
    ):
        run = failing_run(instance, daemon)
        instance.report_run_failed(run)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(instance.run_storage, "add_run", go_away)
            list(WaitingRetries().run_iteration(daemon))
        assert retries_of(instance, run) == []
        list(WaitingRetries().run_iteration(daemon))
        assert len(retries_of(instance, run)) == 1


def failing_run(instance: dg.DagsterInstance, daemon: WorkspaceProcessContext) -> dg.DagsterRun:
    """Return a run that has not ended, after which the daemon looks for failures."""
    list(WaitingRetries().run_iteration(daemon))  # begins at the end of the event log
    location = daemon.create_request_context().get_code_location(EVERY_OTHER)
    [repository] = location.get_repositories().values()
    job = repository.get_full_job("__ASSET_JOB")
    return instance.create_run_for_job(
        defs.resolve_implicit_global_asset_job_def(),
        remote_job_origin=job.get_remote_origin(),
        job_code_origin=job.get_python_origin(),
        tags={"dagster/partition": LETTERS[0], "name": LETTERS[0]},
    )


def retries_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Sequence[dg.DagsterRun]:
    """Return the runs by which a run was retried."""
    return instance.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": run.run_id}))


def end_run_before(instance: dg.DagsterInstance, run_id: str, hours: float) -> None:
    """Set the end of a run to some hours ago."""
    connecting = expect_present(connect_to_runs(instance))
    with connecting as connection:
        ended = get_runs_table().c.end_time
        change = get_runs_table().update().where(get_runs_table().c.run_id == run_id)
        connection.execute(change.values({ended: ended - hours * 3600}))


def test_the_table_of_runs_has_ids_statuses_and_times_in_utc(instance):
    """Check runs_table() and SqlRunStorage.connect."""
    run = a_run(instance, status=dg.DagsterRunStatus.STARTED)
    runs = get_runs_table().c
    columns = (runs.run_id, runs.status, runs.create_timestamp, runs.update_timestamp)
    connecting = connect_to_runs(instance)
    assert connecting
    with connecting as connection:
        [(run_id, status, created, changed)] = connection.execute(select(*columns))
    [record] = instance.get_run_records()
    assert (run_id, status) == (run.run_id, "STARTED")
    assert created == record.create_timestamp.replace(tzinfo=None)
    assert changed == record.update_timestamp.replace(tzinfo=None)


def test_no_storage_in_postgresql_is_connected_to_where_it_is_in_files(instance):
    """PostgreSQL: tests/resources/test_erasure.py masks a run there, and runs VACUUM."""
    assert connect_to_storage(instance) is None


@pytest.mark.slow
def test_events_of_a_run_are_in_a_file_of_its_own_and_materializations_elsewhere_too(instance):
    """Check SqliteEventLogStorage.path_for_shard; PostgreSQL: tests/resources/test_run_logs.py."""
    first, second = (dg.materialize([page], instance=instance).run_id for _ in range(2))
    store = find_event_log_store(instance)
    assert isinstance(store, EventLogFiles)
    files = store.files(first)
    assert files
    assert not {*files} & {*store.files(second)}
    assert store.files("none") == []
    for file in files:
        file.unlink()
    run_ids = {
        record.run_id for record in instance.fetch_materializations(page.key, limit=9).records
    }
    assert run_ids == {first, second}


def test_what_a_step_prints_is_in_a_folder_of_its_run(instance):
    """Check LocalComputeLogManager.get_captured_local_path."""
    first, second = (dg.materialize([page], instance=instance).run_id for _ in range(2))
    folder, other = (compute_log_folder(instance, place) for place in (first, second))
    assert folder
    assert folder != other
    assert any(path.is_file() for path in folder.rglob("*"))


def test_a_cursor_goes_on_after_an_event(instance):
    """Check EventLogCursor.from_storage_id."""
    run_id = dg.materialize([page], instance=instance).run_id
    events = instance.get_records_for_run(run_id).records
    cursor = build_event_cursor(events[2].storage_id)
    following = instance.get_records_for_run(run_id, cursor).records
    assert [event.storage_id for event in following] == [event.storage_id for event in events[3:]]


def test_an_event_is_json_with_its_run_and_message(instance):
    """Check serialize_value."""
    run_id = dg.materialize([page], instance=instance).run_id
    entries = [record.event_log_entry for record in instance.get_records_for_run(run_id).records]
    stored = [json.loads(serialize_event(entry)) for entry in entries]
    assert {event["run_id"] for event in stored} == {run_id}
    assert "a line" in {event["user_message"] for event in stored}


def test_an_error_of_a_step_has_its_class_message_and_cause(instance):
    """Check SerializableErrorInfo: cls_name, message, cause, context."""

    @dg.op
    def failing() -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    @dg.job
    def j() -> None:
        failing()

    result = j.execute_in_process(instance=instance, raise_on_error=False)
    failure = result.failure_data_for_node("failing")
    assert failure
    found = []
    error = failure.error
    while error:
        found.append((error.cls_name, error.message.strip(), error.context))
        error = error.cause
    assert found[1:] == [
        ("ValueError", "ValueError: outer", None),
        ("KeyError", "KeyError: 'inner'", None),
    ]


class Count(dg.Config):
    """Options of an op."""

    count: int = 1


def test_the_model_of_an_ops_config_is_found():
    """Check DecoratedOpFunction and its get_config_arg."""

    @dg.op
    def with_model(config: Count) -> None:
        pass

    @dg.op
    def without() -> None:
        pass

    @dg.job
    def j() -> None:
        with_model()
        without()

    assert find_models([j]) == {"with_model": Count}
    declare_model(without, Count)
    assert find_models([j]) == {"with_model": Count, "without": Count}


def test_the_type_of_an_asset_job_is_what_dagster_defines():
    """Check where the class of `dg.define_asset_job` is defined."""
    assert type(dg.define_asset_job("j")) is UnresolvedAssetJobDefinition


def test_code_servers_are_watched_at_the_interval_of_the_module():
    """Check WATCH_INTERVAL of server_watcher, read when a workspace begins to watch a server."""
    watch_code_servers_seldom()
    waits: list[float] = []
    end: Any = SimpleNamespace(is_set=lambda: bool(waits), wait=waits.append)
    server_watcher.watch_grpc_server_thread(
        "here",
        DagsterGrpcClient(host="localhost", port=1),
        end,
        get_location_entry=Mock(),
        refresh_code_location=Mock(),
        on_disconnect=Mock(),
        on_reconnected=Mock(),
        on_updated=Mock(),
        on_error=Mock(),
    )
    assert waits == [SECONDS_BETWEEN_WATCHES]


def test_a_failed_result_of_a_blocking_check_leaves_its_step_successful(instance):
    """Check AssetCheckResult.to_asset_check_evaluation, called for each result of a step."""
    spec = dg.AssetCheckSpec("whole", asset="checked", blocking=True)

    @dg.asset(check_specs=[spec])
    def checked() -> dg.MaterializeResult:
        return dg.MaterializeResult(check_results=[UnenforcedCheckResult(passed=False)])

    result = dg.materialize([checked], instance=instance, raise_on_error=False)
    assert result.success
    [evaluation] = result.get_asset_check_evaluations()
    assert (evaluation.passed, evaluation.blocking) == (False, False)


def test_every_function_is_run_here():
    functions = {
        node.name
        for file in OURS.glob("*.py")
        for node in nodes(str(file))
        if isinstance(node, ast.FunctionDef) and node.col_offset == 0 and node.name[0] != "_"
    }
    run = {node.id for node in nodes(__file__) if isinstance(node, ast.Name)}
    assert functions - RUN_ELSEWHERE <= run


def read_table() -> Sequence[Sequence[str]]:
    """Return the cells of the rows of the page's table."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_of_private_names_has_those_of_the_code():
    listed = [name for names, *_ in read_table() for name in re.findall("`([^`]+)`", names)]
    used = {use.split(": ")[1] for module in read_modules() for use in private_uses(module)}
    used = {DAEMON_MODULE if name == "dagster._d" else name for name in used}
    assert sorted(listed) == sorted(used)


def test_each_row_of_the_table_has_a_reason_a_test_and_an_issue_or_none():
    rows = read_table()
    assert rows
    for names, reason, tests, issue in rows:
        assert reason.endswith("."), names
        assert re.fullmatch(r"-|\d+(, \d+)*", issue), names
        named = re.findall("`([^`]+)::([^`]+)`", tests)
        assert named, names
        for file, test in named:
            functions = {node.name for node in nodes(file) if isinstance(node, ast.FunctionDef)}
            assert test in functions, f"{file} has no {test} any more"


def nodes(file: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse((PROJECT_ROOT / file).read_text())))
