"""The file of limits of asset checks: optional, strict, and part of the configuration in effect."""

from pathlib import Path

import pytest

from orchestration_project.assets.finra.weekly import build_limits
from orchestration_project.catalog import REGISTRY
from orchestration_project.domains.fx.tables import fx_rates_daily
from orchestration_project.engine.contracts.audits import CompletenessLimits
from orchestration_project.engine.dataset import find_completeness
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.presets import resolve_config
from orchestration_project.settings import PROJECT_ROOT, load_settings
from orchestration_project.settings.checks import CheckLimits, read_checks


def checks(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> CheckLimits:
    """Return the limits of a process whose CHECKS_FILE has this text."""
    file = folder / "limits.yaml"
    file.write_text(text)
    monkeypatch.setenv("CHECKS_FILE", str(file))
    return load_settings().checks


def test_the_shipped_file_shows_every_limit_with_its_default():
    shipped = PROJECT_ROOT / "config/checks.yaml"
    assert read_checks(shipped) == CheckLimits() == load_settings().checks
    assert all(
        f"{path.rpartition('.')[2]}: " in shipped.read_text() for path in CheckLimits().flat()
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "finra_otc_weekly: {}"])
def test_a_limit_that_is_left_out_has_its_default(monkeypatch, tmp_path, text: str):
    assert checks(monkeypatch, tmp_path, text) == CheckLimits()


def test_each_dataset_may_have_limits_of_completeness_of_its_own(monkeypatch, tmp_path):
    tables = {name for name, replay in REGISTRY.replays.items() if replay.has_options}
    assert tables <= CheckLimits.model_fields.keys()
    text = "completeness: {sigma: 5}\nfx_rates_daily: {completeness: {min_key_count: 2}}"
    limits = checks(monkeypatch, tmp_path, text)
    assert find_completeness(CheckLimits(), fx_rates_daily) == CompletenessLimits()
    own, others = map(limits.completeness_of, ("fx_rates_daily", "prices_daily"))
    assert (own.sigma, own.min_key_count, own.max_factor) == (5, 2, 4)
    assert (others.sigma, others.min_key_count) == (5, 5)


def test_the_limits_of_a_dataset_reach_its_audits(monkeypatch, tmp_path):
    found = checks(monkeypatch, tmp_path, "finra_otc_weekly: {outliers: {sigma: 3, weeks: 8}}")
    limits = build_limits(found.finra_otc_weekly)
    assert (limits.width, limits.weeks, limits.cap) == (3.0, 8, 2.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "finra_otc_weekly: {outliers: {sigma: 0}}",
            "outliers.sigma: expected a number greater than 0, found 0",
        ),
        (
            "finra_otc_weekly: {outliers: {max_factor: 2.5}}",
            "max_factor: expected a number less than 2.5, found 2.5",
        ),
        (
            "finra_otc_weekly: {outliers: {weeks: 999999}}",
            "weeks: expected a number less than or equal to 5214, found 999999",
        ),
        ("finra_otc_weekly: {outliers: {weeks: 3}}", "at most outliers.weeks, which is 3"),
        ("finra_otc_weekly: {large_venues: {weeks: 13}}", "at most outliers.weeks, which is 12"),
        ("prices_daily: {jump_ratio: '0.4'}", "jump_ratio: expected a number, found '0.4'"),
        ("prices_daily:\n  jumps: 0.4", "line 2: prices_daily.jumps: unknown name"),
        ("fx_rates: {}", "fx_rates: unknown name"),
        (
            "fx_rates_daily: {completeness: {min_key_ratio: 2}}",
            "min_key_ratio: expected a number less than or equal to 1, found 2",
        ),
        ("completeness: {sigma: 0}", "completeness.sigma: expected a number greater than 0"),
        (
            "finra_otc_weekly:\n  large_venues: {min_share: 0.1}",
            "line 2: finra_otc_weekly.large_venues: min_share: renamed, use min_ratio",
        ),
        ("prices_daily: {jump_ratio: 1, jump_ratio: 2}", "jump_ratio"),
        ("- a", "the file: expected a mapping, found"),
        ("a: [", "limits.yaml"),
    ],
)
def test_an_invalid_limit_is_named_with_its_value(monkeypatch, tmp_path, text: str, problem: str):
    with pytest.raises(ConfigurationError, match=rf"(?s)invalid limits in limits.yaml.*{problem}"):
        checks(monkeypatch, tmp_path, text)


def test_a_file_that_is_named_has_to_be_there(monkeypatch, tmp_path):
    monkeypatch.setenv("CHECKS_FILE", str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigurationError, match=r"invalid limits in none\.yaml"):
        _ = load_settings().checks


def test_a_limit_is_part_of_the_configuration_in_effect_and_of_its_hash(monkeypatch, tmp_path):
    before = resolve_config(load_settings())
    name = "checks: prices_daily.jump_ratio"
    assert (before.entries[name].value, before.entries[name].origin) == ("0.4", "default")
    checks(monkeypatch, tmp_path, "prices_daily: {jump_ratio: 0.5}")
    after = resolve_config(load_settings())
    assert (after.entries[name].value, after.entries[name].origin) == ("0.5", "limits.yaml")
    assert after.config_hash != before.config_hash
    checks(monkeypatch, tmp_path, "# as before\n")
    assert resolve_config(load_settings()).config_hash == before.config_hash


def test_an_invalid_file_is_part_of_the_configuration_by_its_bytes(monkeypatch, tmp_path):
    with pytest.raises(ConfigurationError):
        checks(monkeypatch, tmp_path, "prices_daily: {jump_ratio: 0}")
    first = resolve_config(load_settings())
    assert first.entries["checks"].value.startswith("cannot be used, SHA-256 ")
    with pytest.raises(ConfigurationError):
        checks(monkeypatch, tmp_path, "prices_daily: {jump_ratio: -1}")
    assert resolve_config(load_settings()).config_hash != first.config_hash


def test_a_domain_whose_limits_are_valid_goes_on_and_the_other_names_file_line_and_value(
    monkeypatch, tmp_path
):
    file = tmp_path / "limits.yaml"
    file.write_text("finra_otc_weekly: {outliers: {sigma: 3}}\nprices_daily:\n  jump_ratio: x\n")
    monkeypatch.setenv("CHECKS_FILE", str(file))
    finra, prices = (domain for domain in REGISTRY.domains if domain.name in ("finra", "prices"))
    finra.require_valid(load_settings())
    assert load_settings().checks_of("finra").finra_otc_weekly.outliers.sigma == 3
    with pytest.raises(ConfigurationError) as refused:
        prices.require_valid(load_settings())
    assert refused.value.what == "invalid limits in limits.yaml"
    assert refused.value.found == "line 3: prices_daily.jump_ratio: expected a number, found 'x'"
    file.write_text("finra_otc_wekly: {}\n")
    prices.require_valid(load_settings())
    with pytest.raises(ConfigurationError, match="line 1: finra_otc_wekly: unknown name"):
        finra.require_valid(load_settings())
