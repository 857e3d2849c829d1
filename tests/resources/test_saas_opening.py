"""Both systems as the settings name them, and how the gate looks at them."""

import pytest
from pydantic import SecretStr, ValidationError

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.saas.connection import opened_jira
from orchestration_project.services.gate import examine
from orchestration_project.settings import load_settings, settings_class


@pytest.fixture
def settings_for(saas_demo, tmp_path, monkeypatch):
    saas_demo.start_over(task_count=3)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def settings_for(**changes):
        real = {
            "state_dir": tmp_path,
            "finra_source": "api",
            "saas_source": "api",
            "peopleforce_url": f"{saas_demo.url}/peopleforce/api/public/v3",
            "peopleforce_api_key": SecretStr("demo-key"),
            "jira_url": f"{saas_demo.url}/jira",
            "jira_email": "robot@example.org",
            "jira_token": SecretStr("demo-token"),
        }
        return settings_class()(_env_file=None, **{**real, **changes})  # pyright: ignore[reportCallIssue] - pydantic's own argument

    return settings_for


def findings(settings, tmp_path):
    probes = [REGISTRY.probe(name, settings) for name in ("peopleforce", "jira")]
    found = [examine(probe, Clock(), "").finding for probe in probes if probe]
    return {finding.dependency: (finding.outcome, finding.got) for finding in found}


def test_real_systems_are_asked_and_must_know_us(settings_for, tmp_path):
    assert findings(settings_for(), tmp_path) == {
        "peopleforce": ("passed", "it has 3 tasks"),
        "jira": ("passed", "it knows us as Robot"),
    }
    wrong = SecretStr("another-token-of-somebody")
    found = findings(settings_for(peopleforce_api_key=wrong, jira_token=wrong), tmp_path)
    assert {name: outcome for name, (outcome, _) in found.items()} == {
        "peopleforce": "failed",
        "jira": "failed",
    }
    assert "another-token" not in str(found)


def test_the_demos_are_not_started_to_be_looked_at(settings_for, tmp_path):
    found = findings(settings_for(finra_source="demo", saas_source="demo"), tmp_path)
    assert {outcome for outcome, _ in found.values()} == {"not_applicable"}
    assert not (tmp_path / "demo_saas").exists()


def test_synthetic_and_real_data_never_meet(settings_for):
    with pytest.raises(
        ValidationError, match="expected a real source or no value, as DATA_PROFILE is real"
    ):
        settings_for(finra_source="demo")


def test_without_a_source_neither_system_is_opened(settings_for):
    with (
        pytest.raises(ConfigurationError, match="SAAS_SOURCE is not set"),
        opened_jira(settings_for(saas_source=None)),
    ):
        pass


def test_real_systems_need_their_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("SAAS_SOURCE", "api")
    with pytest.raises(ConfigurationError) as refusal:
        load_settings()
    assert "PEOPLEFORCE_API_KEY is not set: required when SAAS_SOURCE=api" in refusal.value.what
    assert "JIRA_TOKEN is not set: required when SAAS_SOURCE=api" in refusal.value.what
