"""The job that verifies, and the gate before real runs, over real dependencies."""

import shutil
from functools import partial
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.assets.operations.catalogue import READINESS, RUNS
from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.engine.contracts.job_kinds import CHECKS_JOB, LIST_SESSIONS
from orchestration_project.engine.dagster_private.daemon_state import read_daemon_state
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.services.probes import open_all_probes
from orchestration_project.settings import Settings, load_settings
from orchestration_project.tables.operations_deployment import (
    operations_readiness,
    operations_verified_configs,
)
from tests import databases
from tests.expecting import expect_present
from tests.programs import free_port
from tests.receivers import http_receiver
from tests.resources.definitions import RESOURCES
from tests.runs import expect_failure, metadata_by_partition

LOAD, VERIFY = "finra_otc_weekly_load", "verify_operations"
PARTITION = {"dagster/partition": "OTCE|2026-01-26"}
FORCE = {"resources": {"gate": {"config": {"force": True}}}}


@pytest.fixture
def file(demo_settings: Settings) -> str:
    """The URL of the demo's database."""
    return databases.sqlite_url(demo_settings.state_path)


@pytest.fixture
def folder(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a folder as source, which needs no server."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("FINRA_SOURCE", "files")
    monkeypatch.setenv("FINRA_FILES_DIR", str(tmp_path))
    return load_settings()


def run(instance, job: str, **options: Any) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance, raise_on_error=False, **options
    )


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {
        evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()
    }


def tags(instance, result: dg.ExecuteInProcessResult) -> dict[str, str]:
    found = expect_present(instance.get_run_by_id(result.run_id))
    return dict(found.tags)


@pytest.mark.slow
def test_every_dependency_has_a_check_that_says_what_was_tried_and_what_came_of_it(
    instance, folder
):
    result = run(instance, CHECKS_JOB, asset_selection=[READINESS])
    assert result.success
    probes = open_all_probes(REGISTRY, folder, partial(read_daemon_state, instance))
    names = [probe.dependency for probe in probes]
    results = checks(result)
    assert list(results) == [*(f"finds_{name}_ready" for name in names), "has_not_drifted"]
    assert all(result.passed for result in results.values())
    finra = {name: value.value for name, value in results["finds_finra_ready"].metadata.items()}
    assert isinstance(finra.pop("seconds"), float)
    assert finra == {
        "dependency": "finra",
        "outcome": "passed",
        "tried": f"asked the folder {folder.finra_files_dir} for its list of partitions",
        "got": "it lists 0 partitions of the last 8 weeks",
        "remedy": "",
    }
    file = databases.sqlite_url(folder.state_path, "real")
    stored = databases.rows(file, select(operations_readiness.c.dependency))
    assert {name for (name,) in stored} == set(names)


@pytest.mark.slow
def test_a_value_changed_since_the_verification_is_reported_once(
    instance, folder, monkeypatch: pytest.MonkeyPatch
):
    file = databases.sqlite_url(folder.state_path, "real")
    first = run(instance, CHECKS_JOB, asset_selection=[READINESS])
    assert checks(first)["has_not_drifted"].metadata["outcome"].value == (
        "not applicable: nothing was verified before"
    )
    monkeypatch.setenv("FINRA_MAX_REJECT_RATIO", "0.25")
    monkeypatch.setenv("FINRA_CLIENT_ID", "somebody")
    monkeypatch.setenv("FINRA_CLIENT_SECRET", "hunter2")
    second = run(instance, CHECKS_JOB, asset_selection=[READINESS])
    drift = checks(second)["has_not_drifted"]
    assert (drift.passed, drift.severity) == (False, dg.AssetCheckSeverity.WARN)
    table = drift.metadata["differences"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [tuple(record.data.values()) for record in table.records] == [
        ("FINRA_CLIENT_ID", "", "somebody", "environment"),
        ("FINRA_CLIENT_SECRET", "", "***", "environment"),
        ("FINRA_MAX_REJECT_RATIO", "0.005", "0.25", "environment"),
    ]
    apply = {"preset": "full", "dry_run": False, "who": "ada", "why": "audit"}
    assert run(
        instance,
        "operations_definitions_edit",
        run_config={"ops": {"edit_definitions": {"config": {"apply_preset": apply}}}},
    ).success
    third = run(instance, CHECKS_JOB, asset_selection=[READINESS])
    assert checks(third)["has_not_drifted"].passed
    shown = metadata_by_partition(third)["readiness"][None]["entries"].records[-1].data
    assert (shown["name"], shown["value"]) == ("finra_otc_weekly: full", "true")
    assert shown["origin"] == "preset full#1, applied by ada"
    hashes = [tags(instance, each)[".dagster/config_hash"] for each in (first, second)]
    assert len(set(hashes)) == 2
    rows = databases.rows(file, select(operations_verified_configs.c.config_hash))
    assert {value for (value,) in rows} == set(hashes)
    assert "hunter2" not in str([*second.all_events, databases.contents(file)])


def test_findings_are_reported_also_without_a_database(
    instance, folder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:hunter2@127.0.0.1:{free_port()}/none")
    result = run(instance, CHECKS_JOB, asset_selection=[READINESS])
    assert not result.success
    results = checks(result)
    assert not results["finds_database_ready"].passed
    assert results["finds_finra_ready"].passed
    assert "has_not_drifted" not in results
    assert "hunter2" not in str(result.all_events)


@pytest.mark.slow
def test_on_request_a_verification_sends_a_message_to_each_channel(
    instance, folder, monkeypatch: pytest.MonkeyPatch
):
    config = {"ops": {VERIFY: {"config": {"send_test_message": True}}}}
    with http_receiver() as hook:
        monkeypatch.setenv("ALERT_URLS", hook.url())
        results = checks(run(instance, CHECKS_JOB, asset_selection=[READINESS], run_config=config))
        assert results["finds_alerts_ready"].metadata["got"].value == "taken by json-1"
        assert len(hook.titles) == 1
        hook.status = 500
        results = checks(run(instance, CHECKS_JOB, asset_selection=[READINESS], run_config=config))
        assert not results["finds_alerts_ready"].passed


@pytest.mark.slow
def test_sessions_show_their_last_event_in_dagsters_time(
    instance, folder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2025-12-01T12:00:00Z")
    job = defs.resolve_job_def(CHECKS_JOB)
    instance.create_run_for_job(job, tags={"session": "evening"})
    assert run(instance, CHECKS_JOB, asset_selection=[RUNS]).success
    result = run(instance, LIST_SESSIONS.job, run_config=LIST_SESSIONS.run_config({}))
    listed = metadata_by_partition(result)["runs"][None]["sessions"]
    sessions = {record.data["session"]: record.data for record in listed.records}
    assert 0 <= sessions["evening"]["hours_without_change"] < 1


@pytest.mark.slow
def test_a_load_is_refused_before_the_source_is_asked_and_the_next_go_by_what_was_found(
    instance, demo_settings, file
):
    shutil.rmtree(demo_settings.state_path / "demo")
    (demo_settings.state_path / "artifacts").touch()  # where the folder should be
    result = run(instance, "finra_otc_weekly", tags=PARTITION)
    assert not result.success
    said = expect_failure(result, LOAD)
    assert said.startswith("cannot write the artifact ")
    assert (
        "refused_by=the preflight check, before any request for data, dependency=artifacts" in said
    )
    assert f"partitions=OTCE|2026-01-26, run={result.run_id}" in said
    assert not (demo_settings.state_path / "demo").exists()
    found = select(operations_readiness.c.dependency, operations_readiness.c.outcome)
    assert sorted(databases.rows(file, found)) == [
        ("artifacts", "failed"),
        ("database", "passed"),
        ("disk", "passed"),
    ]
    (demo_settings.state_path / "artifacts").unlink()
    requested = select(operations_readiness.c.dependency, operations_readiness.c.checked_at)
    assert run(instance, "finra_otc_weekly", tags=PARTITION).success
    found = databases.rows(file, requested)
    assert {name for name, _ in found} == {"database", "disk", "artifacts", "finra", "clock"}
    assert run(instance, "finra_otc_weekly", tags=PARTITION).success
    assert databases.rows(file, requested) == found


@pytest.mark.slow
def test_a_forced_load_goes_on_and_is_tagged_with_what_it_did_not_wait_for(
    instance, demo_settings, file, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DISK_HEADROOM_MIB", str(10**9))
    refused = run(instance, "finra_otc_weekly", tags=PARTITION)
    assert not refused.success
    assert "a disk is nearly full" in expect_failure(refused, LOAD)
    assert "forced_past" not in tags(instance, refused)
    config = {"ops": {LOAD: {"config": {"replay": True}}}}
    replay = run(instance, "finra_otc_weekly", tags=PARTITION, run_config=config)
    assert "a disk is nearly full" in expect_failure(replay, LOAD)
    forced = run(instance, "finra_otc_weekly", tags=PARTITION, run_config=FORCE)
    assert forced.success
    assert tags(instance, forced)["forced_past"] == "disk"
    [(run_id,)] = databases.rows(
        file,
        select(operations_readiness.c.forced_run_id).where(
            operations_readiness.c.dependency == "disk"
        ),
    )
    assert run_id == forced.run_id


def test_a_sensors_tick_asks_the_source_without_going_through_the_gate(instance, demo_settings):
    with dg.build_resources(RESOURCES, instance) as made:
        assert made.finra.published()
    with open_warehouse(load_settings()) as warehouse:
        assert warehouse.frame(select(operations_readiness), operations_readiness).is_empty()
