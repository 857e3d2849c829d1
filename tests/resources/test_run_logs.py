"""Old runs' logs go, on both of Dagster's storages; all that Dagster shows of assets stays."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterEventType
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.retention import FORGOTTEN_EVENTS, find_prunable
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.alerts.inbox import is_always_open
from orchestration_project.services.alerts.watching import poll_runs, start_polling
from orchestration_project.services.ledger import Ledger, Written, reconcile
from orchestration_project.services.run_logs import prune
from orchestration_project.tables.operations_alerts import operations_evaluations
from orchestration_project.tables.operations_runs import operations_runs, operations_steps
from tests.alerts import alerts_of, stored_alerts
from tests.properties import bounded

PARTS = dg.StaticPartitionsDefinition(["good", "bad"])


@dg.asset(
    partitions_def=PARTS, check_specs=[dg.AssetCheckSpec("is_good", asset="part")], name="part"
)
def part(context: dg.AssetExecutionContext):
    context.log.info("a line that is not needed in a year")
    context.log_event(dg.AssetObservation("part", partition=context.partition_key))
    yield dg.AssetCheckResult(passed=context.partition_key == "good", check_name="is_good")
    if context.partition_key == "bad":
        raise dg.Failure("bad")
    yield dg.MaterializeResult(asset_key="part", metadata={"rows": 3})


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def instance(request, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("DAGSTER_DATABASE_URL", raising=False)
    if request.param == "PostgreSQL":
        monkeypatch.setenv("DAGSTER_DATABASE_URL", request.getfixturevalue("postgres_url"))
    with open_instance() as instance:
        yield instance


@pytest.fixture
def warehouse(tmp_path, prepared):
    with Warehouse(prepared.sqlite(tmp_path / "ours.sqlite"), clock=Clock()) as warehouse:
        warehouse.prepare(holds="demo")
        yield warehouse


@pytest.fixture
def ledger(warehouse) -> Ledger:
    return Ledger(warehouse, Clock())


def run(instance, key: str) -> str:
    return dg.materialize([part], partition_key=key, instance=instance, raise_on_error=False).run_id


def now() -> datetime:
    return Clock().now()


def asset_log_lines(instance, *run_ids):
    """Return what Dagster says of partitions, checks and runs."""
    key, storage = dg.AssetKey("part"), instance.event_log_storage
    check = dg.AssetCheckKey(key, "is_good")
    failed = storage.get_latest_asset_partition_materialization_attempts_without_materializations
    planned = {DagsterEventType.ASSET_MATERIALIZATION_PLANNED}
    return {
        "materialized": instance.get_materialized_partitions(key),
        "failed": failed(key),
        "latest": storage.get_latest_storage_id_by_partition(
            key, DagsterEventType.ASSET_MATERIALIZATION
        ),
        "planned": [storage.get_asset_partitions_for_run(run_id, planned) for run_id in run_ids],
        "records": instance.get_asset_records([key]),
        "materializations": instance.fetch_materializations(key, limit=9).records,
        "observations": instance.fetch_observations(key, limit=9).records,
        "check_history": storage.get_asset_check_execution_history(check, limit=9),
        "check": storage.get_latest_asset_check_execution_by_key([check]),
        "runs": instance.get_run_records(),
        "totals": {
            status: instance.get_runs_count(dg.RunsFilter(statuses=[status]))
            for status in dg.DagsterRunStatus
        },
        "ends": [
            instance.fetch_run_status_changes(kind, limit=9).records
            for kind in (DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE)
        ],
        "stats": [
            (stats.materializations, stats.start_time, stats.end_time)
            for stats in map(instance.get_run_stats, run_ids)
        ],
    }


def kinds_of(instance, run_id: str) -> set[str]:
    records = instance.get_records_for_run(run_id).records
    return {
        event.event_type_value if (event := record.event_log_entry.dagster_event) else "a line"
        for record in records
    }


def ledger_rows(warehouse):
    with warehouse.reading() as connection:
        return [
            connection.execute(select(table).order_by(*table.primary_key.columns)).all()
            for table in (operations_runs, operations_steps)
        ]


def causes(warehouse) -> set[str]:
    with warehouse.reading() as connection:
        return set(connection.scalars(select(operations_evaluations.c.cause)))


@pytest.mark.slow
def test_the_logs_of_old_runs_go_and_asset_events_stay(instance, ledger, warehouse, tmp_path):
    good, bad = run(instance, "good"), run(instance, "bad")
    reconcile(instance, ledger, None)
    before, recorded = asset_log_lines(instance, good, bad), ledger_rows(warehouse)
    assert {"a line", "STEP_START", "STEP_FAILURE", "LOGS_CAPTURED"} <= kinds_of(instance, bad)

    measured = prune(instance, ledger, now(), dry_run=True)
    assert "STEP_FAILURE" in kinds_of(instance, bad)
    freed = prune(instance, ledger, now(), dry_run=False)
    assert freed == measured
    assert freed.freed["compute logs"][:2] == (2, 6)  # out, err and the mark of its end
    assert freed.freed["event log"].run_count == 2
    assert freed.freed["event log"].byte_count > 2000

    assert asset_log_lines(instance, good, bad) == before
    assert kinds_of(instance, bad) == {
        *("PIPELINE_START", "PIPELINE_FAILURE", "ASSET_OBSERVATION"),
        *("ASSET_MATERIALIZATION_PLANNED", "ASSET_CHECK_EVALUATION_PLANNED"),
        "ASSET_CHECK_EVALUATION",
    }
    assert not [file for file in tmp_path.rglob(f"*{bad}*") if file.suffix != ".lock"]
    assert reconcile(instance, ledger, None).written == Written(0, 0, 2)
    assert ledger_rows(warehouse) == recorded
    again = prune(instance, ledger, now(), dry_run=False)
    assert [left.byte_count for left in again.freed.values()] == [0, 0]


@pytest.mark.slow
def test_what_is_young_under_way_or_not_in_the_ledger_keeps_its_log(instance, ledger):
    old = run(instance, "good")
    after_old = now()
    young = run(instance, "good")
    job = dg.Definitions([part]).resolve_implicit_global_asset_job_def()
    waiting = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    instance.report_engine_event("still here", waiting)
    reconcile(instance, ledger, None)
    pruned = prune(instance, ledger, after_old, dry_run=False)
    assert pruned.unrecorded_count == 0
    assert "STEP_START" not in kinds_of(instance, old)
    assert "STEP_START" in kinds_of(instance, young)

    unrecorded = run(instance, "good")
    pruned = prune(instance, ledger, now(), dry_run=False)
    assert pruned.unrecorded_count == 1
    assert "STEP_START" not in kinds_of(instance, young)
    assert "STEP_START" in kinds_of(instance, unrecorded)
    assert kinds_of(instance, waiting.run_id) >= {"ENGINE_EVENT"}


@pytest.mark.slow
def test_what_alerts_noted_of_the_ends_of_pruned_runs_goes_with_them(
    instance, ledger, warehouse, tmp_path
):
    alerts = alerts_of(warehouse, tmp_path)
    watched = start_polling(instance).progress
    old = [run(instance, "good"), run(instance, "bad")]
    watched = poll_runs(instance, alerts, watched).progress
    before = now()
    young = run(instance, "good")
    watched = poll_runs(instance, alerts, watched).progress
    with alerts.inbox() as inbox:
        inbox.recover("closed by a person", is_always_open, "manually")
    reconcile(instance, ledger, None)
    ends = {f"run {old[0]} success", f"run {old[1]} failure"}
    kept = {f"run {young} success", "closed by a person"}

    assert prune(instance, ledger, before, dry_run=True).evaluation_count == 2
    assert causes(warehouse) == ends | kept
    assert prune(instance, ledger, before, dry_run=False).evaluation_count == 2
    assert causes(warehouse) == kept
    raised = stored_alerts(warehouse)
    assert poll_runs(instance, alerts, watched).said == "Evaluated 0 ended runs."
    assert (stored_alerts(warehouse), causes(warehouse)) == (raised, kept)


@pytest.mark.slow_on_postgresql
def test_a_pruned_run_can_be_deleted_and_looking_at_it_makes_no_file(instance, ledger, tmp_path):
    run_id = run(instance, "good")
    reconcile(instance, ledger, None)
    prune(instance, ledger, now(), dry_run=False)
    files = sorted(Path(tmp_path).rglob("*.db"))
    assert kinds_of(instance, run_id)
    assert sorted(Path(tmp_path).rglob("*.db")) == files
    instance.report_engine_event("somebody looked", instance.get_run_by_id(run_id))
    assert "ENGINE_EVENT" in kinds_of(instance, run_id)
    instance.delete_run(run_id)
    assert kinds_of(instance, run_id) == set()


@pytest.mark.slow
def test_earlier_states_of_an_asset_go_and_the_latest_and_other_events_stay(instance, ledger):
    state, other = dg.AssetKey("state"), dg.AssetKey("other")

    def report(**numbers: int) -> None:
        for number in numbers.values():
            for key in (state, other):
                metadata = {"number": number}
                instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata))

    def numbers(key: dg.AssetKey) -> list[object]:
        found = instance.fetch_materializations(key, limit=9).records
        return [event.asset_materialization.metadata["number"].value for event in found]

    report(first=1, second=2)
    before = now()
    for dry_run, left in ((True, [2, 1]), (False, [2])):
        pruned = prune(instance, ledger, before, dry_run=dry_run, states=[state])
        assert (pruned.state_count, numbers(state), numbers(other)) == (1, left, [2, 1])
    report(third=3)
    assert prune(instance, ledger, before, dry_run=False, states=[state]).state_count == 1
    assert (numbers(state), len(instance.get_records_for_run("").records)) == ([3], 4)


def test_a_storage_that_is_not_known_is_refused(ledger):
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(ConfigurationError, match="logs of Dagster's runs cannot be pruned"),
    ):
        prune(instance, ledger, now(), dry_run=True)


def test_every_kind_of_event_of_this_dagster_is_either_kept_or_known_to_be_forgotten():
    mirrored = ASSET_EVENTS | ASSET_CHECK_EVENTS | set(EVENT_TYPE_TO_PIPELINE_RUN_STATUS)
    kept = {kind.value for kind in mirrored} | {
        *("ASSET_HEALTH_CHANGED", "ASSET_WIPED", "FRESHNESS_STATE_EVALUATION"),
        "CODE_LOCATION_UPDATED",
    }
    assert kept.isdisjoint(FORGOTTEN_EVENTS)
    assert kept | FORGOTTEN_EVENTS == {kind.value for kind in DagsterEventType}


hours = st.integers(0, 6).map(lambda hour: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour))
runs = st.dictionaries(st.sampled_from("abcd"), hours, min_size=2)


@settings(bounded, max_examples=100)
@given(changed=runs, recorded=runs, before=hours)
def test_only_what_is_old_and_recorded_as_it_ended_is_prunable(changed, recorded, before):
    chosen = find_prunable(changed, recorded, before)
    for run_id, at in changed.items():
        is_recorded = run_id in recorded and not recorded[run_id] < at
        assert (run_id in chosen) == (is_recorded and not at >= before)
