"""A domain's invalid settings or files stop that domain, and nothing else."""

import dagster as dg
import pytest

from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import build, defs
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.engine.contracts.failures import run_category
from orchestration_project.engine.contracts.job_kinds import LIST_SESSIONS
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.ledger.reading import read_facts
from orchestration_project.settings import load_settings, load_shared_settings
from tests.expecting import expect_success
from tests.runs import executed

MODULE = "orchestration_project.definitions"
PROBLEM = "1 invalid setting: FINRA_LOOKBACK_WEEKS='many' (environment): "


@pytest.fixture
def instance(demo_settings):
    with open_instance() as opened:
        yield opened


@pytest.fixture
def invalid(instance):
    """Sets FINRA_LOOKBACK_WEEKS to a text without digits, until the test ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FINRA_LOOKBACK_WEEKS", "many")
        yield


def configuration(instance, domain: str) -> dg.ExecuteInProcessResult:
    asset = defs.get_assets_def([domain, "configuration"])
    return dg.materialize([asset], instance=instance, raise_on_error=False)


def problem(instance, domain: str) -> str:
    """Return what the check says is wrong, empty if it passed."""
    result = expect_success(configuration(instance, domain))
    [check] = result.get_asset_check_evaluations()
    return "" if check.passed else str(check.metadata["problem"].value)


@pytest.mark.slow
def test_an_invalid_setting_fails_the_check_of_its_domain_alone(instance, invalid):
    assert problem(instance, "finra").startswith(PROBLEM)
    others = [domain.name for domain in REGISTRY.domains if domain.name != "finra"]
    assert {problem(instance, domain) for domain in others} == {""}


@pytest.mark.slow
def test_a_job_of_the_domain_fails_at_its_start_with_the_same_text(instance, invalid):
    failed = executed(instance, "finra_daily", module=MODULE)
    assert not failed.success
    facts = read_facts(instance, instance.get_run_record_by_id(failed.run_id))
    assert run_category((), facts.error_classes) == "configuration"
    assert PROBLEM in str(facts.error)
    assert facts.steps == []
    kind = LIST_SESSIONS
    assert executed(instance, kind.job, module=MODULE, **kind.run_config({})).success


@pytest.mark.slow
def test_its_connections_are_refused_and_the_code_location_loads(instance, invalid):
    dg.Definitions.validate_loadable(build())
    with pytest.raises(ConfigurationError, match="FINRA_LOOKBACK_WEEKS"):
        load_settings()  # a command says it at once
    assert FinraSettings.of(load_shared_settings()).finra_lookback_weeks == 30


def test_a_setting_that_all_domains_share_stops_everything(monkeypatch):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "many")
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    with pytest.raises(ConfigurationError, match="LOG_LEVEL"):
        load_shared_settings()


def test_an_invalid_file_fails_the_check_of_its_domain(instance, monkeypatch, tmp_path):
    file = tmp_path / "prices.yaml"
    file.write_text("yahoo: [1, 2]\n")
    monkeypatch.setenv("PRICES_SYMBOLS_FILE", str(file))
    said = problem(instance, "prices")
    assert said
    assert problem(instance, "finra") == ""
    failed = executed(instance, "prices_charts", module=MODULE)
    assert not failed.success


@pytest.mark.slow
def test_an_invalid_file_of_limits_fails_the_check_of_the_domain_that_it_limits(
    instance, monkeypatch, tmp_path
):
    file = tmp_path / "checks.yaml"
    file.write_text("prices_daily: {jump_ratio: 0}\n")
    monkeypatch.setenv("CHECKS_FILE", str(file))
    assert "prices_daily.jump_ratio: expected a number greater than 0" in problem(
        instance, "prices"
    )
    assert [problem(instance, domain) for domain in ("finra", "fx")] == ["", ""]


def test_the_asset_shows_the_settings_of_its_domain_without_secrets(instance, monkeypatch):
    monkeypatch.setenv("ALPHA_VANTAGE_API_KEY", "pl4nted-key")
    result = configuration(instance, "prices")
    [event] = result.asset_materializations_for_node("prices_configuration")
    shown = str(event.metadata["settings"])
    assert "ALPHA_VANTAGE_API_KEY" in shown
    assert "PRICES_SOURCE" in shown
    assert "FINRA" not in shown
    assert "pl4nted" not in shown
