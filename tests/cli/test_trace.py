"""The command `trace`: what it prints, and what it refuses."""

import json
from dataclasses import replace

import dagster as dg
import pytest

from benchmarks.structure.commands import ABSENT, read_modules_of
from orchestration_project.__main__ import main
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.tracing.traceparent import TRACE_ID_TAG
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.ledger import Ledger
from orchestration_project.settings import load_settings
from tests.prepared import Prepared
from tests.resources.test_ledger import LOAD, facts

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def recorded(tmp_path, monkeypatch, prepared: Prepared):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    settings = load_settings()
    prepared.sqlite(settings.state_path / "demo.sqlite")
    failed = replace(facts("FAILURE", 3, [LOAD]), tags={"trace_id": TRACE}, error="no\x1b[2J disk")
    with open_warehouse(settings) as warehouse:
        Ledger(warehouse, Clock()).record([failed])


@pytest.mark.slow
def test_a_trace_is_shown_as_a_tree_and_as_json(recorded, capsys):
    assert main(["trace", "4BF92F35-77B3-4DA6-A3CE-929D0E0E4736"]) == 0
    first, run, error, step = capsys.readouterr().out.splitlines()
    assert first.startswith(f"trace {TRACE}: 1 runs, 0 partitions")
    assert "run run finra_otc_weekly, FAILURE, 0.0 s in queue, 3.0 s" in run
    assert error.strip() == "error: no [2J disk"
    assert "step load, SUCCESS" in step
    assert main(["--json", "trace", TRACE]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["trace_id"], found["runs"][0]["steps"][0]["step"]) == (TRACE, "load")


def test_a_trace_of_recorded_runs_is_read_without_dagster(recorded, tmp_path):
    modules = read_modules_of(f"trace {TRACE}", tmp_path)
    assert "orchestration_project.services.traces" in modules
    assert not {*ABSENT}.intersection(modules)


def test_a_run_that_the_ledger_lacks_is_shown(recorded, capsys):
    @dg.job
    def empty():
        pass

    with open_instance() as instance:
        run = empty.execute_in_process(instance=instance).dagster_run
        [record] = instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))
    trace_id = record.dagster_run.tags[TRACE_ID_TAG]
    assert main(["--json", "trace", trace_id]) == 0
    [found] = json.loads(capsys.readouterr().out)["runs"]
    assert (found["run_id"], found["status"]) == (run.run_id, "SUCCESS")


@pytest.mark.parametrize(
    ("given", "said"),
    [("nonsense", "invalid TRACE_ID 'nonsense'"), ("a" * 32, f"trace not found: {'a' * 32}")],
)
def test_what_is_no_trace_is_a_clear_error(recorded, capsys, given, said):
    assert main(["trace", given]) == 2
    assert said in capsys.readouterr().err
