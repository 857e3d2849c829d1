"""`pause` and `resume`: written, listed and ended; a run of a command is refused meanwhile."""

import json
import shutil
from getpass import getuser
from typing import Any

import dagster as dg
import pytest

from orchestration_project.__main__ import main
from orchestration_project.engine.connections.simulator import stop_demos
from orchestration_project.engine.contracts.job_kinds import EDIT_PAUSE
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.instance.storage import open_instance
from orchestration_project.settings import load_settings
from tests import databases
from tests.commands import run_without_failure
from tests.expecting import expect_success
from tests.prepared import write_default
from tests.programs import DEMO
from tests.runs import executed, op_metadata


@pytest.fixture(autouse=True)
def state_dir(tmp_path, monkeypatch, new_files):
    for name, value in {**DEMO, "STATE_DIR": str(tmp_path / "state")}.items():
        monkeypatch.setenv(name, value)
    write_default(load_settings())
    shutil.copytree(new_files, tmp_path / "state" / "dagster")
    yield
    stop_demos(load_settings())


def listed(capsys) -> list[dict[str, str]]:
    capsys.readouterr()
    run_without_failure("pause", "--list", "--json")
    return json.loads(capsys.readouterr().out)


def test_a_pause_is_listed_with_its_end_until_it_is_resumed(capsys):
    pause = ["pause", "finra/otc_weekly", "--reason", "disk moves", "--until", "2099-01-02T03:00Z"]
    assert main([*pause, "--dry-run"]) == 0
    assert listed(capsys) == []
    assert main(pause) == 0
    until = f"finra/otc_weekly is paused until 2099-01-02 03:00 UTC by {getuser()}: disk moves\n"
    assert capsys.readouterr().out == until
    [row] = listed(capsys)
    assert (row["subject"], row["until"]) == ("finra/otc_weekly", "2099-01-02T03:00:00+00:00")
    assert main(["resume", "finra/otc_weekly"]) == 0
    assert capsys.readouterr().out == "resumed: finra/otc_weekly\n"
    assert listed(capsys) == []
    with open_warehouse(load_settings()) as warehouse:
        [stored] = databases.stored(warehouse)["operations_pauses"]
    assert stored.count(getuser()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pause", "finr", "--reason", "move"], "did you mean finra?"),
        (["pause", "finra", "--reason", "move", "--until", "noon"], "expected a time with its"),
        (["pause", "finra", "--reason", "move", "--until", "2020-01-01T00:00Z"], "time after"),
        (["resume", "finra"], "no pause in effect"),
    ],
)
def test_an_invalid_pause_is_refused_with_what_is_expected(capsys, arguments, message):
    assert main(arguments) != 0
    assert message in capsys.readouterr().err


def test_a_pause_without_a_reason_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["pause", "finra"])
    assert "--reason is missing" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_of_a_command_is_refused_while_its_source_is_paused(capsys):
    assert main(["pause", "source:fx", "--reason", "maintenance"]) == 0
    load = ["load", "fx_rates_daily", "2026-02-27"]
    assert main(load) != 0
    refused = capsys.readouterr()
    assert "source:fx is paused by" in refused.out + refused.err
    assert main(["resume", "source:fx"]) == 0
    assert main(load) == 0


@pytest.mark.slow_after_first
@pytest.mark.parametrize("command", ["evaluate", "list"])
def test_objectives_name_the_pause_of_their_domain(capsys, command: str):
    assert main(["objectives", "evaluate"]) == 0
    assert main(["pause", "source:finra", "--reason", "maintenance"]) == 0
    capsys.readouterr()
    assert main(["objectives", command, "--json"]) == 0
    pauses = {row["domain"]: row["pause"] for row in json.loads(capsys.readouterr().out)}
    assert pauses["finra"].startswith("source:finra is paused by")
    assert {pause for domain, pause in pauses.items() if domain != "finra"} == {""}


def pause_by_job(instance: dg.DagsterInstance, **options: object) -> dict[str, Any]:
    """Run the job that pauses and resumes; return its metadata."""
    config = EDIT_PAUSE.run_config({"subject": "fx", **options})["ops"]
    job = executed(instance, EDIT_PAUSE.job, ops=config, tags={"user": "ada"})
    return op_metadata(expect_success(job))


def test_the_job_pauses_and_resumes_if_it_is_no_dry_run(capsys):
    pause = {"reason": "the source moves", "until": "2099-01-02T03:00Z"}
    with open_instance() as instance:
        assert pause_by_job(instance, **pause)["paused"] == "fx"
        assert listed(capsys) == []
        pause_by_job(instance, **pause, dry_run=False)
        [row] = listed(capsys)
        assert (row["subject"], row["paused_by"], row["reason"]) == ("fx", "ada", pause["reason"])
        assert pause_by_job(instance, resume=True, dry_run=False)["resumed"] == "fx"
    assert listed(capsys) == []
