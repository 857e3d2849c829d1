"""Failures that Dagster stores show no secret, in SQLite and in PostgreSQL."""

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo

from orchestration_project.instance.storage import open_instance
from orchestration_project.redaction import hide

SECRET = "planted-in-an-error"


@dg.asset
def fails(context: dg.AssetExecutionContext):
    context.log.warning(f"asked with {SECRET}")
    raise ValueError(f"the source answered {SECRET}")


@dg.asset
def reports(context: dg.AssetExecutionContext):
    context.add_output_metadata({"url": f"https://host/?key={SECRET}"})


@dg.op(config_schema={"why": [str]})
def explain(context: dg.OpExecutionContext):
    """Take what somebody types."""


@dg.job
def explaining():
    explain()


@pytest.fixture(params=["sqlite", "postgresql"])
def instance(request, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("DAGSTER_DATABASE_URL", raising=False)
    if request.param == "postgresql":
        monkeypatch.setenv("DAGSTER_DATABASE_URL", request.getfixturevalue("postgres_url"))
    hide(SECRET)
    with open_instance() as instance:
        yield instance


@pytest.mark.slow_on_postgresql
def test_a_secret_in_an_error_a_log_line_or_metadata_is_masked_in_the_event_log(
    instance, tmp_path, capfd
):
    result = dg.materialize([fails, reports], instance=instance, raise_on_error=False)
    stored = instance.all_logs(result.run_id)
    texts = [f"{entry.user_message} {entry.dagster_event}" for entry in stored]
    assert not [text for text in texts if SECRET in text]
    assert [text for text in texts if "the source answered ***" in text]
    assert [text for text in texts if "asked with ***" in text]
    assert [text for text in texts if "https://host/?key=***" in text]
    assert SECRET not in files_in(tmp_path)
    assert SECRET not in "".join(capfd.readouterr())


@pytest.mark.slow_on_postgresql
def test_a_secret_that_somebody_types_is_stored_masked_and_the_run_gets_it_masked(
    instance, tmp_path
):
    config = {"ops": {"explain": {"config": {"why": [SECRET]}}}}
    run = instance.create_run_for_job(explaining, run_config=config, tags={"note": SECRET})
    assert run.run_config == {"ops": {"explain": {"config": {"why": ["***"]}}}}
    assert run.tags["note"] == "***"
    assert instance.get_run_by_id(run.run_id) == run
    assert SECRET not in files_in(tmp_path)


def test_what_the_daemon_says_of_itself_and_of_a_backfill_shows_no_secret(instance, tmp_path):
    error = SerializableErrorInfo(f"no answer for {SECRET}", [SECRET], "ValueError")
    instance.add_daemon_heartbeat(DaemonHeartbeat(1.0, "SENSOR", "1", [error]))
    backfill = PartitionBackfill(
        "abcd", BulkActionStatus.REQUESTED, False, {"note": SECRET}, 1.0, title=SECRET
    )
    instance.add_backfill(backfill)
    instance.update_backfill(backfill.with_error(error))
    [heartbeat] = instance.get_daemon_heartbeats().values()
    assert [error.message for error in heartbeat.errors or ()] == ["no answer for ***"]
    stored = instance.get_backfill("abcd")
    assert stored
    assert stored.error
    assert (stored.error.message, stored.tags["note"], stored.title) == (
        "no answer for ***",
        "***",
        "...",
    )
    assert SECRET not in files_in(tmp_path)


def test_what_a_failed_tick_says_shows_no_secret(instance, tmp_path):
    begun = TickData(
        "origin", "asks", InstigatorType.SENSOR, TickStatus.STARTED, 1.0, selector_id="selector"
    )
    error = SerializableErrorInfo(f"no answer for {SECRET}", [], "ValueError")
    instance.update_tick(instance.create_tick(begun).with_status(TickStatus.FAILURE, error=error))
    [stored] = instance.get_ticks("origin", "selector")
    assert stored.error.message == "no answer for ***"
    assert SECRET not in files_in(tmp_path)


@pytest.mark.slow_on_postgresql
def test_a_password_that_is_a_word_of_dagsters_own_records_spoils_none(instance):
    hide("event_specific_data", "DagsterEvent")
    result = dg.materialize([reports], instance=instance)
    [stored] = [
        log.get_dagster_event()
        for log in instance.all_logs(result.run_id)
        if log.is_dagster_event and log.get_dagster_event().is_step_materialization
    ]
    materialized = stored.step_materialization_data.materialization
    assert materialized.metadata["url"].value == "https://host/?key=***"


def files_in(folder) -> str:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return "".join(file.read_bytes().decode("latin-1") for file in files)
