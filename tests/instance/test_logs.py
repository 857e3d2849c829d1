"""LOG_FORMAT=json: one object a line, with what a log store filters by."""

import json
import socket

import dagster as dg
import pytest

from orchestration_project import release
from orchestration_project.instance.logs import write_in_log_format


@dg.asset(
    key=["finra", "one"], partitions_def=dg.StaticPartitionsDefinition(["T1|2025-11-10", "b"])
)
def one(context: dg.AssetExecutionContext):
    context.log.info("Zürich\nis a city", extra={"event": "city_found"})
    raise ValueError("a reason")


@dg.asset(key=["finra", "two"], partitions_def=one.partitions_def)
def two():
    return None


UNCAPTURED = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


def run() -> dg.ExecuteInProcessResult:
    write_in_log_format()
    job = dg.Definitions(assets=[one, two]).resolve_implicit_global_asset_job_def()
    with dg.instance_for_test(overrides=UNCAPTURED) as instance:
        return job.execute_in_process(
            partition_key="T1|2025-11-10", instance=instance, raise_on_error=False
        )


@pytest.mark.slow
def test_each_line_is_an_object_with_run_job_step_asset_partition_and_domain(monkeypatch, capfd):
    monkeypatch.setenv("LOG_FORMAT", "json")
    result = run()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (said,) = [line for line in lines if line["message"] == "Zürich\nis a city"]
    assert said.pop("time").endswith("+00:00")
    assert said == {
        "level": "INFO",
        "service": "run",
        "host": socket.gethostname(),
        "release": release(),
        "logger": "dagster",
        "message": "Zürich\nis a city",
        "event": "city_found",
        "run_id": result.run_id,
        "job": "__ASSET_JOB",
        "step": "finra__one",
        "partition": "T1|2025-11-10",
    }
    assert lines[0]["event"] == "RUN_START"
    (failed,) = [line for line in lines if line.get("event") == "STEP_FAILURE"]
    assert failed["level"] == "ERROR"
    assert "ValueError: a reason" in failed["message"]
    (made,) = [line for line in lines if line.get("event") == "ASSET_MATERIALIZATION"]
    assert (made["asset"], made["domain"]) == ("finra/two", "finra")


def test_text_is_as_dagster_writes_it(capfd):
    run()
    assert "STEP_FAILURE" in capfd.readouterr().err
