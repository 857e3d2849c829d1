"""Filters of lists: an unknown value is refused with the known ones, not answered with nothing."""

import pytest

from orchestration_project.client import Client
from tests.gateway.api.conftest import HOME

UNKNOWN = [
    ("/logs?service=nope", "service", "daemon"),
    ("/logs/stream?service=nope", "service", "gateway"),
    ("/saas/audit?operation=zzz", "operation", "rule_disabled"),
    ("/sessions?domain=nope", "domain", "finra"),
    ("/items?topic=nope", "topic", ""),
    ("/runs?job=nope", "job", "finra_otc_weekly"),
    ("/mqtt/tasks?status=nope", "status", "review"),
    ("/mqtt/components?status=nope", "status", "blocked"),
    ("/mqtt/events?kind=nope", "kind", "task."),
    ("/mqtt/dead-letters?kind=nope", "kind", "task."),
    ("/mqtt/dead-letters?reason=nope", "reason", "not_json"),
    ("/access-audit?outcome=nope", "outcome", "refused"),
]
KNOWN = [
    *("/logs?service=worker", "/saas/audit?operation=held", "/sessions?domain=web"),
    *("/runs?job=finra_otc_weekly", "/runs?job=__ASSET_JOB", "/mqtt/tasks?status=review"),
    *("/items?topic=webhooks/none_yet", "/mqtt/components?status=blocked"),
    *("/mqtt/tasks?component_id=c1", "/mqtt/dead-letters?reason=schema"),
    "/access-audit?outcome=refused",
]


@pytest.mark.parametrize(("path", "field", "known"), UNKNOWN)
def test_an_unknown_value_is_refused_with_the_known_ones(api, path, field, known):
    problem = api.expect_problem("GET", path, "admin")
    assert problem["status"] == 422
    assert [error["field"] for error in problem["errors"]] == [field]
    assert known in str(problem)


@pytest.mark.parametrize("path", KNOWN)
def test_a_known_value_without_rows_is_an_empty_page(api, path):
    assert api.ask("GET", path, "admin").status_code == 200


def test_an_admin_reads_the_audit_of_access_page_by_page(api):
    for _ in range(3):
        api.ask("POST", "/runs", "viewer", json={"job": "finra_gold"})
    with Client(HOME, str(api.keys["admin"]), transport=api) as admin:
        refused = list(admin.access_audit(user="the viewer", outcome="refused"))
    assert "POST /runs" in {entry.operation for entry in refused}
    first = api.get("/access-audit?outcome=refused&limit=2", "admin")
    rest = api.get("/access-audit", "admin", params={"cursor": first["next_cursor"]})
    times = [entry["happened_at"] for entry in [*first["entries"], *rest["entries"]]]
    assert times == sorted(times, reverse=True)
    assert len(first["entries"]) == 2
    for role in ("viewer", "operator"):
        assert api.expect_problem("GET", "/access-audit", role)["status"] == 403
    assert api.expect_problem("GET", "/access-audit?cursor=x", "admin")["status"] == 422


def test_rows_of_captures_name_their_dataset(api, loaded):
    captures = api.get(f"/artifacts?where=run_id={loaded}")["captures"]
    assert {capture["dataset"] for capture in captures} == {"weeklySummary"}


def test_config_has_the_presets_that_are_applied_and_no_others(api):
    origins = {entry["name"]: entry["origin"] for entry in api.get("/config")["entries"]}
    assert origins["STATE_DIR"] == "environment"
    assert not [name for name in origins if name.startswith("saas_strict")]
    api.post("/presets/saas_strict/apply", {"why": "a test"})
    origins = {entry["name"]: entry["origin"] for entry in api.get("/config")["entries"]}
    applied = [origin for origin in origins.values() if "saas_strict" in origin]
    assert applied
    assert set(applied) == {"preset saas_strict#1, applied by the operator"}
