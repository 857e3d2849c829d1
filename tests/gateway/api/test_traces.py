"""A trace through the API: from the request that launched a run to the rows that it loaded."""

import pytest

from tests.gateway.api.conftest import WEEK


@pytest.mark.slow
def test_a_run_is_found_by_its_trace_with_request_steps_fetches_and_loads(api, loaded):
    run = api.services.instance.get_run_by_id(loaded)
    found = api.get(f"/traces/{run.tags['trace_id']}")
    assert {(request["user"], request["outcome"]) for request in found["requests"]} == {
        ("the operator", "done")
    }
    [traced] = found["runs"]
    assert (traced["run_id"], traced["partition"], traced["status"]) == (loaded, WEEK, "SUCCESS")
    assert [step["step"] for step in traced["steps"]] == ["finra_otc_weekly_load"]
    [week] = [
        partition for partition in traced["partitions"] if partition["table"] == "finra_otc_weekly"
    ]
    assert week["fetches"][0]["http_status"] == 200
    assert week["load"]["rows_added"] > 0


def test_a_trace_is_for_viewers_and_must_exist(api):
    assert api.expect_problem("GET", f"/traces/{'a' * 32}", "viewer")["detail"] == "trace not found"
    assert api.expect_problem("GET", "/traces/A", "viewer")["status"] == 422
    assert api.expect_problem("GET", f"/traces/{'a' * 32}", "")["status"] == 401
