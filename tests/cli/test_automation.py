"""The command `automation`: profiles listed, switched on and off, and as the UI finds them."""

import json

import pytest

from orchestration_project.__main__ import main
from orchestration_project.assets.operations.automation import list_automations, switch
from orchestration_project.cli.execution import repository
from orchestration_project.definitions import defs
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.edits import Action
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.instance.storage import open_instance
from orchestration_project.instance.stored import repository_origin
from orchestration_project.services.edits import Edit
from orchestration_project.services.schedules.store import SCHEDULE_STORE
from orchestration_project.services.schedules.workloads import Past, build_workloads
from orchestration_project.settings import load_settings
from tests.runs import executed, op_metadata

OF_PRICES = [
    "prices_daily_after_close",
    "prices_freshness_daily",
    "prices_on_landing",
    "prices_on_new_symbol",
    "prices_waiting_hourly",
]


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))


def answer(capsys, *arguments: str):
    status = main(["automation", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def states(capsys) -> dict[str, str]:
    _, rows = answer(capsys, "list")
    return {row["name"]: row["state"] for row in rows}


@pytest.mark.slow
def test_a_profile_is_switched_on_and_off_and_a_dry_run_switches_nothing(capsys):
    before = states(capsys)
    assert before["operations_on_run_end"] == "on"  # as declared
    assert answer(capsys, "on", "prices", "--dry-run") == (
        0,
        {"is_dry_run": True, "state": "on", "changed": OF_PRICES},
    )
    assert states(capsys) == before
    assert answer(capsys, "on", "prices") == (0, {"state": "on", "changed": OF_PRICES})
    assert states(capsys) == {**before, **dict.fromkeys(OF_PRICES, "on")}
    assert answer(capsys, "on", "prices")[1]["changed"] == []
    assert answer(capsys, "off", "prices") == (0, {"state": "off", "changed": OF_PRICES})
    assert states(capsys) == before
    answer(capsys, "off", "operations")
    assert states(capsys)["operations_on_run_end"] == "off"


@pytest.mark.slow
def test_a_profile_is_switched_in_the_code_location_that_has_its_domain(capsys, monkeypatch):
    assert answer(capsys, "on", "prices") == (0, {"state": "on", "changed": OF_PRICES})
    monkeypatch.setenv("CODE_SERVERS", "fx+prices=127.0.0.1:4267")
    assert {states(capsys)[name] for name in OF_PRICES} == {
        "off"
    }  # it moved, and is switched off there
    assert answer(capsys, "on", "prices") == (0, {"state": "on", "changed": OF_PRICES})
    assert {states(capsys)[name] for name in OF_PRICES} == {"on"}
    with open_instance() as instance:
        found = {
            (state.origin.location_name, state.selector_id == state.origin.get_selector().get_id())
            for state in instance.all_instigator_state()
        }
    assert found == {("orchestration_project.definitions", True), ("fx+prices", True)}
    assert answer(capsys, "off", "prices") == (0, {"state": "off", "changed": OF_PRICES})
    monkeypatch.delenv("CODE_SERVERS")
    assert {states(capsys)[name] for name in OF_PRICES} == {"on"}


def test_an_unknown_profile_is_refused_with_the_known_ones(capsys):
    assert main(["automation", "on", "price"]) == 2
    error = capsys.readouterr().err
    assert "profile not found: 'price'" in error
    assert (
        "finra-datasets, fx, mqtt, operations, prices, retention, schedules, sync, web, webhooks, "
        "weekly-finra, demo" in error
    )


@pytest.mark.slow
def test_what_is_switched_here_is_what_the_ui_and_the_daemon_look_up():
    repository = defs.get_repository_def()
    with open_instance() as instance:
        switch(
            instance, repository, lambda _: repository_origin(), "sync", on=True, is_dry_run=False
        )
        found = {
            automation.name
            for automation in list_automations(instance, repository)
            if automation.is_on
        }
        assert {"saas_on_tick", "saas_sweep_nightly"} <= found
        for state in instance.all_instigator_state():
            selector = state.origin.get_selector()
            assert selector.location_name == "orchestration_project.definitions"
            assert instance.get_instigator_state(state.instigator_origin_id, selector.get_id())


def switching(**options: object) -> dict[str, object]:
    """Return the config of the ops of the job that switches a profile."""
    return {"edit_definitions": {"config": {"switch_automation": options}}}


@pytest.mark.slow
def test_the_job_lists_by_default_and_switches_if_asked():
    with open_instance() as instance:
        for given, is_on in (({}, False), ({"dry_run": False}, True)):
            result = executed(
                instance, "operations_definitions_edit", ops=switching(profile="fx", **given)
            )
            assert result.success
            metadata = op_metadata(result)
            assert (metadata["dry_run"], metadata["changed_count"]) == (not is_on, 3)
            assert next(iter(metadata)) == "dry_run"
            found = list_automations(instance, defs.get_repository_def())
            assert {automation.is_on for automation in found if automation.profile == "fx"} == {
                is_on
            }


@pytest.mark.slow
def test_the_job_that_operators_launch_switches_nothing_that_only_admins_may(capsys):
    switch = switching(profile="retention", dry_run=False)
    with open_instance() as instance:
        metadata = op_metadata(executed(instance, "operations_definitions_edit", ops=switch))
    assert (metadata["changed_count"], metadata["left_to_admins"]) == (0, "operations_prune_weekly")
    assert states(capsys)["operations_prune_weekly"] == "off"
    assert answer(capsys, "on", "retention")[1]["changed"] == ["operations_prune_weekly"]


@pytest.mark.slow
def test_a_year_of_schedules_is_simulated(capsys, demo_settings):
    status, found = answer(capsys, "simulate", "--year", "2027", "--backfill", "10000")
    assert status == 0
    jobs = {job["job"]: job for job in found["jobs"]}
    assert jobs["operations_checks"]["run_count"] == 365 + 8_760
    assert jobs["(backfill)"]["run_count"] == 10_000
    own = [job["longest_seconds"] for name, job in jobs.items() if name != "(backfill)"]
    assert max(own) <= 121  # for runs that are due together, and a run of the backfill
    assert found["busy_share"] > 0.1
    assert found["waiting_begins_at"] < 2


@pytest.mark.slow
def test_the_simulated_year_counts_schedules_that_are_data(capsys, demo_settings):
    fields = {"job": "fx_rates_daily", "cron": "*/10 * * * *"}
    with open_warehouse(load_settings()) as warehouse:
        edit = Edit(Action.CREATE, "often", "test", Clock().now(), fields)
        SCHEDULE_STORE.apply(warehouse, edit)
        past = {"prices_daily": Past(4.5, 90)}
        found = build_workloads(repository(), warehouse, 2027, past, 60)
    of_jobs = {
        automation.job: (len(automation.due), automation.run_seconds) for automation in found
    }
    assert of_jobs["fx_rates_daily"] == (52 + 365 * 24 * 6, 60)
    assert of_jobs["prices_daily"] == (365 * 24 + 261 + 365, 4.5)
