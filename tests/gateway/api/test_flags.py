"""Flags over the API: listed with their uses, edited by admins, and tried by operators."""

from typing import Any

import pytest
from sqlalchemy import delete

from orchestration_project.client import ApiError, Client
from orchestration_project.tables.operations_edits import operations_flags, operations_schedules
from tests.gateway.api.conftest import HOME

PATH = "/operations/flags"
HALF: dict[str, Any] = {"share": 0.5, "owner": "ada", "listed_keys": ["2026-03-02"]}


@pytest.fixture
def admin(api):
    with Client(HOME, str(api.keys["admin"]), transport=api) as client:
        yield client
    with api.services.warehouse.writing() as connection:
        connection.execute(delete(operations_schedules))
        connection.execute(delete(operations_flags))


def test_an_admin_creates_changes_and_deletes_a_flag(api, admin: Client):
    made = admin.create_flag("half", **HALF, expires_at="2126-01-01T00:00:00Z")
    assert made.flag
    assert (made.flag.share, made.flag.is_expired, made.flag.used_by) == (0.5, False, [])
    version = made.version
    changed = admin.change_flag("half", expected_version=version, share=1.0, expires_at=None)
    assert [(change.field, change.after) for change in changed.changes] == [
        ("share", "1.0"),
        ("expires_at", "null"),
    ]
    assert api.audited() == ("POST /operations/flags", "done", "the admin")
    with pytest.raises(ApiError, match="was edited meanwhile") as second:
        admin.change_flag("half", expected_version=version, share=0.1)
    assert second.value.problem.status == 409
    assert admin.flags().problems == ["nothing uses half of ada"]
    fields = {"job": "fx_rates_daily", "cron": "@daily", "partitions": "latest", "flag": "half"}
    schedule = admin.create_schedule("fx", **fields)
    [listed] = admin.flags().flags
    assert listed.used_by == ["schedule fx"]
    with pytest.raises(ApiError, match="the flag half is in use") as used:
        admin.delete_flag("half", expected_version=listed.version)
    assert used.value.problem.status == 409
    freed = admin.change_schedule("fx", expected_version=schedule.version, flag=None)
    assert [(change.field, change.after) for change in freed.changes] == [("flag", "null")]
    assert admin.delete_flag("half", expected_version=listed.version).flag is None
    assert api.get(PATH) == {"flags": [], "problems": []}
    assert api.expect_problem("DELETE", f"{PATH}/half?expected_version=1", "admin")["status"] == 404


def test_an_operator_tries_edits_and_makes_none(api, admin: Client):
    with Client(HOME, str(api.keys["operator"]), transport=api) as operator:
        tried = operator.try_flag("half", **HALF)
        assert tried.dry_run
        assert tried.flag
        assert admin.flags().flags == []
        with pytest.raises(ApiError, match="403"):
            operator.create_flag("half", **HALF)
        version = admin.create_flag("half", **HALF).version
        tried = operator.try_flag("half", expected_version=version, owner="eve")
        assert [change.field for change in tried.changes] == ["owner"]
        with pytest.raises(ApiError, match="403"):
            operator.delete_flag("half", expected_version=version)
    assert api.expect_problem("POST", f"{PATH}/half/dry-run", "viewer", json={})["status"] == 403


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("path", "fields", "found"),
    [
        (PATH, {"share": 2}, "share"),
        (PATH, {"owner": None}, "owner"),
        (PATH, {"expires_at": "tomorrow"}, "expires_at"),
        (PATH, {"expires_at": "2020-01-01T00:00:00Z"}, "expected expires_at after now"),
        (PATH, {"colour": "red"}, "colour"),
        (PATH, {"name": "Not a name"}, "name"),
        (
            "/operations/schedules",
            {"job": "fx_rates_daily", "cron": "@daily", "partitions": "latest", "flag": "hlaf"},
            "its flag does not exist",
        ),
    ],
)
def test_invalid_fields_are_refused(api, admin: Client, path: str, fields: Any, found: str):
    given = HALF if path == PATH else {}
    problem = api.expect_problem("POST", path, "admin", json={"name": "half", **given, **fields})
    assert problem["status"] == 422
    assert found in str(problem)
    assert admin.flags().flags == []
