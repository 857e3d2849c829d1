"""Runs whose config a model refuses: they end before their first step."""

import asyncio
import shutil
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.loader import LoadingContextForTest
from pydantic import Field

from orchestration_project.engine.contracts.failures import run_category
from orchestration_project.instance.run_config import in_process_if_valid
from orchestration_project.instance.storage import open_instance
from orchestration_project.registry import Registry
from orchestration_project.services.ledger.reading import read_facts
from orchestration_project.settings import load_settings
from tests.prepared import write_default
from tests.runs import executed

WORK = list[str]()
SENTENCE = (
    "invalid ratio in the config of second: expected 0 to 1, found 5\n"
    "  what to do: correct it in the run config"
)


class Limits(dg.Config):
    """How much may be refused."""

    ratio: float | None = Field(default=None, ge=0, le=1)
    days: int = Field(default=1, ge=1)
    is_broken: bool = False


@dg.asset(check_specs=[dg.AssetCheckSpec("has_rows", asset="first")])
def first(config: Limits) -> Iterator[dg.AssetCheckResult | dg.Output[None]]:
    """Rows."""
    WORK.append("first")
    if config.is_broken:
        raise ZeroDivisionError
    yield dg.Output(None)
    yield dg.AssetCheckResult(check_name="has_rows", passed=True)


@dg.asset(deps=[first])
def second(config: Limits) -> None:
    """Values that result from them."""
    WORK.append("second")


defs = dg.Definitions(
    assets=[first, second],
    jobs=[dg.define_asset_job("both", [first, second])],
    executor=in_process_if_valid(Registry.of([])),
)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def instance(request, tmp_path, monkeypatch, new_files):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    if request.param == "PostgreSQL":
        monkeypatch.setenv("DAGSTER_DATABASE_URL", request.getfixturevalue("postgres_url"))
    else:
        monkeypatch.delenv("DAGSTER_DATABASE_URL", raising=False)
        shutil.copytree(new_files, tmp_path / "state" / "dagster")
    write_default(load_settings())
    with open_instance() as instance:
        WORK.clear()
        yield instance


def run(instance, again: str | None = None, **config) -> dg.JobExecutionResult:
    ops = {op: {"config": given} for op, given in config.items()}
    options = dg.ReexecutionOptions(parent_run_id=again) if again else None
    return executed(instance, "both", module=__name__, again=options, ops=ops)


def status_of_the_check(instance) -> str:
    """Return what the page of the asset shows of the check."""
    key = dg.AssetCheckKey(dg.AssetKey("first"), "has_rows")
    [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    return asyncio.run(record.resolve_status(LoadingContextForTest(instance))).value


@pytest.mark.slow_on_postgresql
def test_a_run_with_a_valid_config_does_its_work_and_evaluates_its_checks(instance):
    assert run(instance, first={"ratio": 1}, second={"days": 1}).success
    assert WORK == ["first", "second"]
    assert status_of_the_check(instance) == "SUCCEEDED"


@pytest.mark.slow
def test_a_run_with_an_invalid_config_does_no_work_and_turns_no_check_red(instance):
    assert run(instance).success
    WORK.clear()
    failed = run(instance, second={"ratio": 5})
    again = run(instance, again=failed.run_id, second={"ratio": 5})
    for execution in (failed, again):
        assert not execution.success
        record = instance.get_run_record_by_id(execution.run_id)
        facts = read_facts(instance, record)
        assert run_category((), facts.error_classes) == "configuration"
        assert str(facts.error).endswith(SENTENCE)
        assert facts.steps == []
    assert WORK == []
    assert status_of_the_check(instance) == "SUCCEEDED"


@pytest.mark.slow_on_postgresql
def test_a_run_that_is_canceled_before_its_first_step_leaves_its_checks_as_they_were(instance):
    assert run(instance).success
    waiting = instance.create_run_for_job(defs.resolve_job_def("both"))
    assert status_of_the_check(instance) == "IN_PROGRESS"
    instance.report_run_canceled(waiting)
    assert status_of_the_check(instance) == "SUCCEEDED"


@pytest.mark.slow_on_postgresql
def test_a_run_that_fails_in_a_step_shows_the_checks_that_it_did_not_evaluate_as_failed(instance):
    assert run(instance).success
    assert not run(instance, first={"is_broken": True}).success
    assert status_of_the_check(instance) == "EXECUTION_FAILED"


TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_the_page_of_a_run_links_its_log_lines_and_its_trace(instance):
    found = list[dict[str, str]]()
    for tags in ({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}, {}):
        result = executed(instance, "both", module=__name__, tags=tags)
        found += [
            {name: str(value.value) for name, value in event.engine_event_data.metadata.items()}
            for event in result.all_events
            if event.event_type is dg.DagsterEventType.ENGINE_EVENT
            and "log_lines" in event.engine_event_data.metadata
        ]
        found[-1]["run"] = result.run_id
    first, second = found
    assert "/api/v1/traces/" in second["trace"], found  # each run is of a trace
    assert first["trace"].endswith(f"/api/v1/traces/{TRACE}")
    assert [entry["log_lines"] for entry in found] == [
        f"/api/v1/logs?run={entry['run']}" for entry in found
    ]
