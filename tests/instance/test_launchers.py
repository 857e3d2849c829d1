"""RUN_LAUNCHER chooses who executes runs; what it needs and lacks is refused with a remedy."""

import sys
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import (
    QueuedRunCoordinatorDaemon,
)

from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.celery_launcher import (
    CeleryLauncher,
    find_queue,
    message_priority,
)
from orchestration_project.instance.launcher import CheckedRunLauncher
from orchestration_project.instance.releases import RELEASE_TAG, own_release
from orchestration_project.instance.storage import open_instance
from orchestration_project.settings import load_settings, shown_values
from tests.expecting import expect_present
from tests.instance.test_run_claims import launched
from tests.programs import free_port

BROKER = "amqp://orchestration:planted-secret-4711@127.0.0.1:{port}//"


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """A STATE_DIR of the module: it takes a second to make Dagster's files."""
    return tmp_path_factory.mktemp("launchers")


@pytest.fixture
def instance(state, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(state))
    monkeypatch.delenv("DAGSTER_DATABASE_URL", raising=False)
    with open_instance() as instance:
        yield instance


def limits_of(instance):
    return expect_present(instance.get_concurrency_config().run_queue_config)


@pytest.fixture
def broker_away(monkeypatch) -> str:
    url = BROKER.format(port=free_port())
    monkeypatch.setenv("RUN_LAUNCHER", "celery")
    monkeypatch.setenv("BROKER_URL", url)
    return url


def test_without_a_setting_the_code_server_executes_runs_two_at_once(instance):
    assert isinstance(instance.run_launcher, CheckedRunLauncher)
    assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
    queue = limits_of(instance)
    assert (queue.max_concurrent_runs, instance.run_coordinator.dequeue_interval_seconds) == (2, 1)


def test_the_queue_has_the_limit_of_the_settings(instance, monkeypatch):
    monkeypatch.setenv("MAX_CONCURRENT_RUNS", "8")
    with open_instance() as other:
        assert limits_of(other).max_concurrent_runs == 8


def test_a_run_that_is_asked_for_later_is_started_before_those_of_a_backfill(state, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(state / "backfill"))
    monkeypatch.setenv("MAX_CONCURRENT_RUNS", "4")
    own = {"dagster/backfill": "b", "dagster/priority": "2"}
    nowhere: Any = None  # no launch asks a workspace
    requested = [*([{"dagster/backfill": "b"}] * 12), {}, own, {"dagster/priority": "3"}]
    with open_instance() as instance:
        for number, tags in enumerate(requested):
            run = launched(
                instance, dg.DagsterRunStatus.NOT_STARTED, {**tags, "number": str(number)}
            )
            instance.run_coordinator.submit_run(SubmitRunContext(run, nowhere))
        daemon = QueuedRunCoordinatorDaemon(interval_seconds=1, page_size=5)
        limits = instance.get_concurrency_config()
        found = daemon._get_runs_to_dequeue(instance, limits, fixed_iteration_time=None)
    assert [run.tags["number"] for run in found] == ["14", "13", "12", "0"]


def test_celery_is_chosen_by_the_settings_and_its_password_is_in_no_instance(instance, broker_away):
    assert isinstance(instance.run_launcher, CeleryLauncher)
    assert instance.run_launcher.supports_check_run_worker_health
    assert "planted-secret-4711" not in repr(instance.get_ref())
    assert "planted-secret-4711" not in str(instance.info_str())
    assert shown_values(load_settings())["broker_url"].startswith("amqp://127.0.0.1:")


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"RUN_LAUNCHER": "celery"}, "BROKER_URL"),
        ({"RUN_LAUNCHER": "docker"}, "RUN_LAUNCHER"),
        ({"RUN_LAUNCHER": "celery", "BROKER_URL": "amqp://localhost"}, "BROKER_URL"),
        (
            {"RUN_LAUNCHER": "celery", "BROKER_URL": "redis://user:planted-secret@localhost"},
            "BROKER_URL",
        ),
        ({"CODE_SERVERS": "host1:4266"}, "CODE_SERVERS"),
        ({"CODE_SERVERS": "finra=host1:4266,saas+finra=host2:4266"}, "CODE_SERVERS"),
    ],
)
def test_settings_of_launchers_that_cannot_work_are_refused(monkeypatch, settings, setting):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=setting) as refused:
        load_settings()
    assert "planted-secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("extra", "package"), [("celery", "dagster_celery.launcher"), ("k8s", "dagster_k8s")]
)
def test_a_launcher_without_its_extra_is_refused(
    instance, broker_away, monkeypatch, extra, package
):
    monkeypatch.setenv("RUN_LAUNCHER", extra)
    monkeypatch.setenv("KUBERNETES_IMAGE", "registry.example.org/orchestration:1")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(
        sys.modules, f"orchestration_project.instance.{extra}_launcher", raising=False
    )
    with pytest.raises(ConfigurationError, match=rf"pip install '.*\[{extra}\]'"):
        _ = instance.run_launcher


def test_kubernetes_without_an_image_is_refused(instance, monkeypatch):
    monkeypatch.setenv("RUN_LAUNCHER", "k8s")
    with pytest.raises(ConfigurationError, match="expected: KUBERNETES_IMAGE, or KUBERNETES_POD"):
        _ = instance.run_launcher


def test_kubernetes_outside_of_a_cluster_is_refused(instance, monkeypatch, tmp_path):
    monkeypatch.setenv("RUN_LAUNCHER", "k8s")
    monkeypatch.setenv("KUBERNETES_IMAGE", "registry.example.org/orchestration:1")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="RUN_LAUNCHER=k8s cannot be used"):
        _ = instance.run_launcher


def test_while_the_broker_is_away_a_run_is_not_launched_and_dagster_queues_it_again(
    instance, broker_away
):
    run = launched(instance)
    with pytest.raises(DagsterUserCodeUnreachableError, match="the run stays in the queue") as away:
        instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    assert "planted-secret-4711" not in str(away.value)
    assert instance.get_run_by_id(run.run_id).tags[RELEASE_TAG] == own_release()
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTING


@pytest.mark.parametrize(
    ("tags", "queue", "priority"),
    [
        ({}, "dagster", 5),
        ({"domain": "finra"}, "finra", 5),
        ({"domain": "finra", "dagster-celery/queue": "heavy"}, "heavy", 5),
        ({"domain": "finra", "dagster-celery/queue": "x" * 300}, "finra", 5),
        ({"domain": "finra", "dagster-celery/queue": "a b; #"}, "finra", 5),
        ({"dagster/priority": "3"}, "dagster", 8),
        ({"dagster/priority": "-1"}, "dagster", 4),
        ({"dagster/priority": "999"}, "dagster", 10),
        ({"dagster/priority": "-999"}, "dagster", 0),
        ({"dagster/priority": "soon"}, "dagster", 5),
    ],
)
def test_a_run_goes_to_the_queue_of_its_domain_with_its_priority(tags, queue, priority):
    assert (find_queue(tags), message_priority(tags)) == (queue, priority)
