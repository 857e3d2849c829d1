"""Schedules that are data over the API: listed, edited by admins, and tried by operators."""

from typing import Any

import pytest
from sqlalchemy import delete

from orchestration_project.client import ApiError, Client
from orchestration_project.tables.operations_edits import operations_schedules
from tests.gateway.api.conftest import HOME

PATH = "/operations/schedules"
FX: dict[str, Any] = {
    "job": "fx_rates_daily",
    "cron": "0 6 * * *",
    "timezone": "Europe/Berlin",
    "partitions": "latest",
}


@pytest.fixture
def admin(api):
    with Client(HOME, str(api.keys["admin"]), transport=api) as client:
        yield client
    with api.services.warehouse.writing() as connection:
        connection.execute(delete(operations_schedules))


def test_an_admin_creates_changes_pauses_and_deletes_a_schedule(api, admin: Client):
    made = admin.create_schedule("fx", **FX)
    assert made.schedule
    assert len(made.schedule.next_runs) == 5
    version = made.version
    changed = admin.change_schedule("fx", expected_version=version, cron="30 7 * * *")
    assert [(change.field, change.after) for change in changed.changes] == [
        ("cron", '"30 7 * * *"')
    ]
    paused = admin.change_schedule("fx", expected_version=version + 1, is_enabled=False)
    assert paused.schedule
    assert paused.schedule.next_runs == []
    assert api.audited() == ("POST /operations/schedules", "done", "the admin")
    [listed] = api.get(PATH)["schedules"]
    assert (listed["name"], listed["version"]) == ("fx", version + 2)
    assert listed["schedule"]["cron"] == "30 7 * * *"
    with pytest.raises(ApiError, match="was edited meanwhile") as second:
        admin.change_schedule("fx", expected_version=version, owner="eve")
    assert second.value.problem.status == 409
    assert admin.delete_schedule("fx", expected_version=version + 2).schedule is None
    assert admin.schedules() == []
    gone = api.expect_problem("DELETE", f"{PATH}/fx?expected_version=1", "admin")
    assert gone["status"] == 404


def test_an_operator_tries_edits_and_makes_none(api, admin: Client):
    with Client(HOME, str(api.keys["operator"]), transport=api) as operator:
        tried = operator.try_schedule("fx", **FX)
        assert tried.dry_run
        assert tried.schedule
        assert admin.schedules() == []
        with pytest.raises(ApiError, match="403"):
            operator.create_schedule("fx", **FX)
        version = admin.create_schedule("fx", **FX).version
        tried = operator.try_schedule("fx", expected_version=version, owner="ada")
        assert [change.field for change in tried.changes] == ["owner"]
        with pytest.raises(ApiError, match="403"):
            operator.delete_schedule("fx", expected_version=version)
    assert api.expect_problem("POST", f"{PATH}/fx/dry-run", "viewer", json={})["status"] == 403


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"cron": "0 0 30 2 *"}, "no date matches it"),
        ({"timezone": "Mars/Olympus"}, "invalid timezone"),
        ({"job": "fx_rates_dialy"}, "fx_rates_daily"),
        ({"run_config": {"ops": {"nope": {}}}}, "nope"),
        ({"partitions": "none"}, "needs a partition"),
        ({"partition_values": {"tier": "T1"}}, "unknown partition_values"),
        ({"job": "finra_otc_weekly"}, "partition_values.tier"),
        ({"preset": "full"}, "is not for the job"),
        ({"colour": "red"}, "colour"),
        ({"name": "Not a name"}, "name"),
    ],
)
def test_an_invalid_schedule_is_refused(api, admin: Client, fields: dict[str, Any], found: str):
    problem = api.expect_problem("POST", PATH, "admin", json={"name": "fx", **FX, **fields})
    assert problem["status"] == 422
    assert found in str(problem)
    assert admin.schedules() == []
