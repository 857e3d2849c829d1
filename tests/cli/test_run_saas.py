"""The command `run-saas`, with the demo of both systems as a program of its own."""

import pytest
from sqlalchemy import func, select

from orchestration_project.__main__ import main
from orchestration_project.domains.saas.tables import saas_audit_log, saas_source_states
from orchestration_project.engine.connections.simulator import stop_demos
from orchestration_project.settings import load_settings
from tests import databases
from tests.prepared import write_default


@pytest.fixture
def state_dir(tmp_path, monkeypatch):
    folder = tmp_path / "state"
    monkeypatch.setenv("STATE_DIR", str(folder))
    monkeypatch.setenv("DEMO_SAAS_TASKS", "12")
    write_default(load_settings())
    yield folder
    stop_demos(load_settings())


def counted(state_dir, column):
    wanted = select(column, func.count()).group_by(column)
    return dict(databases.rows(databases.sqlite_url(state_dir), wanted))


@pytest.mark.slow
def test_every_task_is_brought_into_agreement_and_a_second_run_writes_nothing(state_dir, capsys):
    assert main(["run-saas"]) == 0
    shown = capsys.readouterr().out
    assert "synthetic tasks and issues" in shown
    assert "4 of the demo, put into effect now" in shown
    did = counted(state_dir, saas_audit_log.c.operation)
    assert did["rule_added"] == 4
    issues = databases.rows(
        databases.sqlite_url(state_dir),
        select(func.count(saas_source_states.c.target_key.distinct())),
    )
    assert issues == [(did["created"],)]
    assert counted(state_dir, saas_source_states.c.action).keys() == {"drop", "sync"}

    assert main(["run-saas"]) == 0
    assert "4 in effect" in capsys.readouterr().out
    assert counted(state_dir, saas_audit_log.c.operation) == did


@pytest.mark.slow
def test_real_systems_get_no_default_rules(state_dir, monkeypatch, capsys):
    for name, value in {
        "FINRA_SOURCE": "api",
        "SAAS_SOURCE": "api",
        "PEOPLEFORCE_API_KEY": "x" * 20,
        "JIRA_URL": "http://127.0.0.1:1",
        "JIRA_EMAIL": "robot@example.org",
        "JIRA_TOKEN": "y" * 20,
    }.items():
        monkeypatch.setenv(name, value)
    assert main(["run-saas"]) == 1
    assert "saas_dry_run" in capsys.readouterr().err
