"""A broker that takes no message, as its disk or its queue is full: the run stays in the queue."""

from pathlib import Path

import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import LaunchRunContext

from orchestration_project.instance.celery_launcher import DEFAULT_QUEUE
from orchestration_project.instance.storage import open_instance
from tests.instance.test_run_claims import launched
from tests.programs import wait_for
from tests.rabbitmq import Broker, requires_rabbitmq, running_broker

pytestmark = [
    pytest.mark.slow,
    requires_rabbitmq,
    pytest.mark.filterwarnings("ignore::celery.exceptions.DuplicateTaskNameWarning"),
]


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with running_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def launch(broker: Broker, tmp_path: Path, monkeypatch):
    """Launches a new run, as Dagster's queue does."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("RUN_LAUNCHER", "celery")
    monkeypatch.setenv("BROKER_URL", broker.url)
    with open_instance() as instance:
        yield lambda: instance.run_launcher.launch_run(
            LaunchRunContext(launched(instance), workspace=None)
        )


def test_a_broker_whose_disk_is_full_takes_no_run_until_it_has_space(broker, launch):
    launch()
    broker.control("set_disk_free_limit", "900000GB")
    try:
        with pytest.raises(DagsterUserCodeUnreachableError) as full:
            launch()
    finally:
        broker.control("set_disk_free_limit", "512MB")
    assert "free its disk" in str(full.value)
    assert "the run stays in the queue" in str(full.value)
    launch()


def test_a_queue_that_is_full_takes_no_run_until_its_limit_is_removed(broker, launch):
    launch()
    policy = '{"max-length": 1, "overflow": "reject-publish"}'
    broker.control("set_policy", "limit", f"^{DEFAULT_QUEUE}$", policy, "--apply-to", "queues")
    try:
        with pytest.raises(DagsterUserCodeUnreachableError) as full:
            wait_for(lambda: launch() and False)
    finally:
        broker.control("clear_policy", "limit")
    assert "found MessageNacked" in str(full.value)
    assert "remove the limit of its queue" in str(full.value)
    wait_for(lambda: is_launched(launch))


def is_launched(launch) -> bool:
    try:
        launch()
    except DagsterUserCodeUnreachableError:
        return False
    return True
