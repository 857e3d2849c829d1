"""The ledger of real runs: followed by its sensor, repaired by its job."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import dagster as dg
import pytest
import yaml
from sqlalchemy import select

from orchestration_project.assets.operations.catalogue import parse_moment
from orchestration_project.definitions import defs
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_kinds import (
    CHECKS_JOB,
    LIST_SESSIONS,
    PRUNE_RUN_LOGS,
    JobKind,
)
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse import QuarantinedError
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.sensors.operations import (
    CODE_LOADED_AT,
    operations_checks_hourly,
    operations_on_state_change,
)
from orchestration_project.sensors.plans import Followed
from orchestration_project.services.ledger import Ledger
from orchestration_project.services.ledger.rules.entries import RunFacts
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_runs import (
    operations_control_tower,
    operations_runs,
    operations_steps,
)
from tests import databases
from tests.programs import from_then_on
from tests.resources.definitions import RESOURCES
from tests.resources.weeks import FAILED, MONDAY, PartitionLoader, row
from tests.runs import metadata_by_partition, texts_of

FIRST, LAST = "T2|2025-11-24", "T2|2025-12-08"
"""The week between them is quarantined."""


@pytest.fixture
def instance(kept_instance):
    return kept_instance


@pytest.fixture
def url(demo_settings, set_clock) -> str:
    set_clock(from_then_on("2026-03-02T15:00"))
    return databases.sqlite_url(demo_settings.state_path)


def look(instance, cursor=None):
    """Tick the sensor that records runs and shows states."""
    names = operations_on_state_change.required_resource_keys
    given = {name: RESOURCES[name] for name in names}
    with dg.build_sensor_context(instance, cursor, resources=given) as context:
        return operations_on_state_change.evaluate_tick(context)


CHECKED = Followed(checked_since=CODE_LOADED_AT.isoformat()).model_dump_json()
"""Cursor of a tick after which no checks are due."""


def tick(instance, cursor: str | None = CHECKED) -> tuple[str, str | None]:
    """Return what a tick says that it recorded, and its cursor."""
    found = look(instance, cursor)
    said, _, _ = str(found.skip_message).partition(" Shown: ")
    return said, found.cursor


def check(instance, noun: str, tags=None) -> dg.ExecuteInProcessResult:
    """Run the checks of an asset of operations."""
    return defs.resolve_job_def(CHECKS_JOB).execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey(["operations", noun])], tags=tags
    )


def work(instance, kind: JobKind, **options) -> dg.ExecuteInProcessResult:
    """Run a kind of a job."""
    return execute(instance, kind.job, **kind.run_config(options))


def execute(instance, job: str, tags=None, **config) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance, raise_on_error=False, run_config=config, tags=tags
    )


@pytest.mark.slow
def test_a_run_is_recorded_with_its_rows_its_quality_and_why_it_failed(instance, url):
    tag = "dagster/asset_partition_range_"
    loaded = execute(
        instance,
        "finra_otc_weekly",
        {f"{tag}start": FIRST, f"{tag}end": LAST, "dagster/backfill": "abc"},
        ops={"finra_otc_weekly_load": {"config": {"full": True}}},
    )
    assert not loaded.success
    said, cursor = tick(instance)
    assert said == "Recorded 1 new and 0 changed runs."
    assert tick(instance, cursor)[0] == "Recorded 0 new and 0 changed runs."

    [run] = databases.rows(
        url,
        select(
            *(operations_runs.c[name] for name in ("run_id", "session", "domain", "job")),
            *(operations_runs.c[name] for name in ("partition_key", "status", "error_category")),
            *(operations_runs.c[name] for name in ("trigger_kind", "params")),
        ),
    )
    assert run[:-1] == (
        *(loaded.run_id, "abc", "finra", "finra_otc_weekly"),
        *(f"{FIRST}...{LAST}", "FAILURE", "contract", "backfill"),
    )
    assert json.loads(run[-1])["ops"]["finra_otc_weekly_load"] == {"config": {"full": True}}

    step = operations_steps.c
    [found] = databases.rows(
        url,
        select(
            *(step.step_key, step.asset, step.status, step.rows_landed, step.quality_passed),
            *(step.rows_in, step.rows_rejected, step.byte_count, step.quality_metrics),
        ),
    )
    loaded = sum(
        metadata["dagster/row_count"]
        for metadata in metadata_by_partition(loaded)["otc_weekly"].values()
    )
    assert found[:5] == ("finra_otc_weekly_load", "finra/otc_weekly", "FAILURE", loaded, False)
    assert found[5] > loaded > 0
    assert found[7] > 0
    assert not json.loads(found[8])["finra/otc_weekly reconciles_with_symbol_totals"]["passed"]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "lost", ["sqlite:////proc/nothing/x.sqlite", "postgresql://a@127.0.0.1:9/x"]
)
def test_a_tick_without_a_database_fails_and_the_next_one_with_it_has_lost_nothing(
    instance, url, monkeypatch, lost
):
    instance.create_run_for_job(defs.resolve_job_def(CHECKS_JOB))
    with monkeypatch.context() as away:
        away.setenv("DATABASE_URL", lost)
        with pytest.raises(OrchestrationError, match="database"):
            tick(instance)
    assert tick(instance)[0] == "Recorded 1 new and 0 changed runs."


def test_the_control_tower_starts_once_when_the_ledger_has_all_runs(instance, url):
    instance.create_run_for_job(defs.resolve_job_def(CHECKS_JOB))
    found = look(instance)
    assert [request.run_key for request in found.run_requests or []] == [CODE_LOADED_AT.isoformat()]
    again = look(instance, found.cursor)
    assert again.run_requests == []
    assert str(again.skip_message).startswith("Recorded 0 new and 0 changed runs. Shown: ")


def test_a_cursor_of_a_former_release_shows_all_states_once(instance, url):
    found = look(instance, json.dumps({"alerts": "digest", "shown": "by name"}))
    assert found.asset_events
    assert look(instance, found.cursor).asset_events == []


@pytest.mark.slow
def test_the_jobs_repair_the_ledger_list_its_sessions_and_look_how_all_stands(instance, url):
    first = check(instance, "runs", {"session": "evening", "user": "ada"})
    second = check(instance, "runs")
    names = ("runs_missing", "runs_differing", "runs_same", "runs_gone")
    [metadata] = metadata_by_partition(second)["runs"].values()
    assert [metadata[name] for name in names] == [1, 1, 0, 0]  # itself, and the first's end
    assert databases.rows(
        url,
        select(operations_runs.c.run_id, operations_runs.c.status).order_by(
            operations_runs.c.created_at
        ),
    ) == [(first.run_id, "SUCCESS"), (second.run_id, "STARTED")]

    wanted = {"domain": "operations", "status": "COMPLETED"}
    [metadata] = metadata_by_partition(work(instance, LIST_SESSIONS, **wanted))["runs"].values()
    assert (metadata["sessions_listed"], metadata["runs"], metadata["runs_failed"]) == (1, 1, 0)
    [record] = metadata["sessions"].records
    assert record.data["session"] == "evening"
    assert (record.data["user_name"], record.data["progress_share"]) == ("ada", 1.0)

    [metadata] = metadata_by_partition(check(instance, "control_tower"))["control_tower"].values()
    assert list(metadata)[:2] == ["verdict", "operations_verdict"]
    assert (metadata["verdict"], metadata["operations_verdict"]) == (
        "healthy: operations",
        "**healthy**",
    )
    assert metadata["operations_runs_24h"] == 1
    assert metadata["picture"].startswith(
        "![Runs by day, and the health of each domain](data:image"
    )
    assert len(metadata["operations_rows_by_day"]) < 1000  # shown in its place
    for name in ("picture", "operations_rows_by_day"):
        assert "SYNTHETIC DATA" in texts_of(metadata[name])
    kept = databases.rows(url, select(operations_control_tower.c.window_hours).distinct())
    assert sorted(kept) == [(24,), (168,), (672,)]


LINKS = re.compile(r"^\[([^]]+)\]\((\S+)\)$", re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("has_crashed", [True, False])
def test_the_control_tower_has_named_links_to_what_can_help(instance, url, tmp_path, has_crashed):
    now = Clock().now()
    with open_warehouse(load_settings()) as warehouse:
        PartitionLoader(warehouse, tmp_path, "T1", MONDAY).write_batch(row("AAA"))
        with pytest.raises(QuarantinedError):
            PartitionLoader(warehouse, tmp_path, "T1", MONDAY + timedelta(weeks=1)).write_batch(
                row("AAA"), audits=[FAILED]
            )
        failed = RunFacts("run", "finra_otc_weekly", "FAILURE", now, now, now, now)
        failed = replace(failed, error_classes=["ConfigurationError"])
        crashed = replace(failed, run_id="crashed", error_classes=["OperationalError"])
        Ledger(warehouse, Clock()).record([failed, crashed] if has_crashed else [failed])
    [metadata] = metadata_by_partition(check(instance, "control_tower"))["control_tower"].values()
    assert list(metadata)[:2] == ["verdict", "finra_verdict"]
    verdict = metadata["finra_verdict"]
    links = dict(LINKS.findall(verdict))
    load_name, *names = links
    assert names == ["Quarantined: 1", "Retry failures"][: 2 if has_crashed else 1]
    words = " ".join(verdict.split())
    assert "1 week quarantined" in words
    assert links["Quarantined: 1"] == "/attention?kind=quarantined"
    load = urlsplit(links[load_name])
    assert load.path.endswith("/jobs/finra_otc_weekly/partitions")
    [partition] = parse_qs(load.query)["partition"]
    assert (f"Load {partition}", f"oldest {partition}" in words) == (load_name, True)
    if not has_crashed:
        return
    retry = urlsplit(links["Retry failures"])
    assert retry.path.endswith("/jobs/operations_runs/playground/setup")
    config = yaml.safe_load(parse_qs(retry.query)["config"][0])
    assert config["ops"]["handle_runs"]["config"]["retry_failures"] == {
        "domain": "finra",
        "dry_run": False,
    }
    assert dg.validate_run_config(defs.resolve_job_def("operations_runs"), config)


def test_the_hourly_repair_asks_for_its_job_with_a_config_that_it_takes(demo_settings):
    with open_warehouse(demo_settings) as warehouse:
        context = dg.build_schedule_context(resources={"warehouse": warehouse})
        tick = operations_checks_hourly.evaluate_tick(context)
    assert tick.run_requests
    [request] = tick.run_requests
    assert dg.validate_run_config(defs.resolve_job_def(CHECKS_JOB), request.run_config)


def test_a_config_without_a_time_is_refused_with_an_example():
    with pytest.raises(ConfigurationError, match="invalid since"):
        parse_moment("yesterday")
    assert parse_moment("2026-03-02T13:00:00+01:00") == datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_the_job_that_prunes_only_measures_by_default(instance, url):
    first = check(instance, "runs")
    check(instance, "runs")
    config = {"older_than_days": 1}
    counts = []
    for wanted in ({}, config, config | {"dry_run": False}):
        pruned = work(instance, PRUNE_RUN_LOGS, **wanted)
        [found] = metadata_by_partition(pruned)["runs"].values()
        counts.append(
            (found["dry_run"], found["runs"], found["bytes"], found["runs_not_in_ledger"])
        )
    assert counts == [(True, 0, 0, 0), (True, 0, 0, 0), (False, 0, 0, 0)]  # all are of today
    assert instance.get_records_for_run(first.run_id).records
