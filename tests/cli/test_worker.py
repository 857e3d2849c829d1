"""What `worker` refuses, and the domains of a code server by CODE_DOMAINS."""

import pytest

from orchestration_project.catalog import REGISTRY
from orchestration_project.cli.worker import work
from orchestration_project.definitions import registry_of_this_host
from orchestration_project.errors import ConfigurationError

NAMES = {domain.name for domain in REGISTRY.domains}


def test_without_celery_a_worker_is_refused(monkeypatch):
    monkeypatch.delenv("RUN_LAUNCHER", raising=False)
    with pytest.raises(ConfigurationError, match="nothing to execute") as refused:
        work((), 1, "worker")
    assert "RUN_LAUNCHER=local" in refused.value.found


@pytest.mark.parametrize("name", ["Finra", "a b", "#", "x" * 61])
def test_a_name_that_no_queue_can_have_is_refused(monkeypatch, name):
    monkeypatch.setenv("RUN_LAUNCHER", "celery")
    monkeypatch.setenv("BROKER_URL", "amqp://me:planted-secret-4711@127.0.0.1//")
    with pytest.raises(ConfigurationError, match="invalid --queues"):
        work(("finra", name), 1, "worker")


@pytest.mark.parametrize(
    ("given", "selected"),
    [
        ("", NAMES),
        ("finra", {"finra"}),
        ("finra,saas", {"finra", "saas"}),
        ("-finra,-prices", NAMES - {"finra", "prices"}),
        ("finra,prices,-prices", {"finra"}),
    ],
)
def test_a_code_server_has_the_domains_that_code_domains_names(monkeypatch, given, selected):
    monkeypatch.setenv("CODE_DOMAINS", given)
    assert {domain.name for domain in registry_of_this_host().selected} == selected


@pytest.mark.parametrize("given", ["weather", "-weather"])
def test_an_unknown_domain_is_refused(monkeypatch, given):
    monkeypatch.setenv("CODE_DOMAINS", given)
    with pytest.raises(ConfigurationError, match="invalid CODE_DOMAINS") as refused:
        registry_of_this_host()
    assert refused.value.found == "weather"


def test_a_code_server_of_a_domain_that_is_off_is_refused(monkeypatch):
    monkeypatch.setenv("DOMAINS", "finra")
    monkeypatch.setenv("CODE_DOMAINS", "saas")
    with pytest.raises(ConfigurationError, match="the domain saas is off") as refused:
        registry_of_this_host()
    assert refused.value.remedy == "add saas to DOMAINS"
