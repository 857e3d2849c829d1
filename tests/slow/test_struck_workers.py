"""Workers on hosts of their own: killed after a claim, and of another release."""

import time

import pytest
from dagster import DagsterEventType, DagsterRunStatus

from orchestration_project.instance.releases import own_release
from tests.programs import wait_for
from tests.rabbitmq import requires_rabbitmq
from tests.slow.namespaces import network, requires_namespaces
from tests.slow.network_site import network_site
from tests.slow.struck_worker import OTHER_RELEASE

pytestmark = [pytest.mark.slow, requires_rabbitmq, requires_namespaces]

WEEKS = 4


@pytest.fixture
def site(tmp_path, monkeypatch):
    tmp_path.chmod(0o755)
    with network() as net, network_site(net, tmp_path, monkeypatch, WEEKS) as (site, _):
        yield site


def failed(site, run_id: str) -> str:
    """Return why a run failed, once it has."""
    wait_for(lambda: site.run(run_id).status == DagsterRunStatus.FAILURE, 150)
    [failure] = site.instance.all_logs(run_id, of_type=DagsterEventType.RUN_FAILURE)
    return failure.message


def expect_retry_by_another(site, run_id: str) -> str:
    """Return the retry of a run, once a worker has executed it."""
    site.add_worker()
    retry = wait_for(lambda: site.retry_of(run_id), 60)
    wait_for(lambda: site.run(retry).status == DagsterRunStatus.SUCCESS, 200)
    assert site.run(run_id).status == DagsterRunStatus.FAILURE
    return retry


def test_a_worker_that_is_killed_after_its_claim_is_found_before_the_start_times_out(
    site, record_property
):
    site.add_worker(STRIKE="claim", program="tests.slow.struck_worker")
    run = site.launch(0)
    [claim] = wait_for(lambda: list(site.instance.run_storage.claims.all().values()), 150)
    began = time.monotonic()
    assert claim.host == "host1"
    message = failed(site, run)
    assert "no heartbeat from host1, which had claimed the run" in message
    record_property("found_after_seconds", round(time.monotonic() - began, 1))
    print(f"found after {time.monotonic() - began:.0f} s")  # noqa: T201 - the measure
    assert site.host_of(expect_retry_by_another(site, run)) == "host2"


def test_a_worker_of_another_release_fails_runs_by_the_names_of_both_and_loads_nothing(site):
    worker = site.add_worker(STRIKE="release", program="tests.slow.struck_worker")
    run = site.launch(0)
    message = failed(site, run)
    worker.kill()
    for part in ("the worker on host1", f"release {OTHER_RELEASE} (", own_release()):
        assert part in message
    assert "install the release of the daemon on that host" in message
