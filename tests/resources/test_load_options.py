"""The options of a run's config that loads: two classes, and what a run is refused."""

import pytest
from pydantic import Field

from orchestration_project.assets.prices.loading import PricesLoad
from orchestration_project.engine.loads import (
    LoadOptions,
    ReplayOptions,
    is_replay,
    refuse_unused_options,
)
from orchestration_project.engine.options import JobOptions, show_configured
from orchestration_project.errors import ConfigurationError


def test_a_domain_adds_its_own_options_to_those_of_all_loads_and_replays():
    of_loads = ["full", "allow_conflicts", "replay"]
    assert list(LoadOptions.model_fields) == [*ReplayOptions.model_fields, *of_loads]
    assert set(PricesLoad.model_fields) - set(LoadOptions.model_fields) == {"symbols"}


@pytest.mark.parametrize(
    ("options", "unused"),
    [
        ({"replay": True, "full": True, "allow_conflicts": True}, "full, allow_conflicts"),
        ({"full": True, "allow_conflicts": True}, ""),
        ({"replay": True, "full": False, "max_reject_ratio": 0.5}, ""),
        ({"symbols": ["AAA"], "allow_older": True}, "allow_older, symbols"),
        ({"replay": True, "symbols": ["AAA"], "allow_older": True}, ""),
    ],
)
def test_an_option_of_the_other_kind_of_run_is_refused(options, unused: str):
    if not unused:
        refuse_unused_options(options, PricesLoad)
        return
    with pytest.raises(ConfigurationError, match=f"^invalid {unused}: expected no option of a "):
        refuse_unused_options(options, PricesLoad)


@pytest.mark.parametrize(
    ("run_config", "expected"),
    [
        ({"ops": {"load": {"config": {"replay": True}}}}, True),
        ({"ops": {"load": {"config": {"replay": False}}, "draw": {}}}, False),
        ({"ops": {"load": {"config": {"env": "REPLAY"}}}}, False),
        ({}, False),
    ],
)
def test_a_replay_is_known_by_its_run_config(run_config, expected: bool):
    assert is_replay(run_config) is expected


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([], "Symbols."),
        (["AAPL", "MSFT"], "Symbols. Configured: AAPL, MSFT."),
        ([str(number) for number in range(21)], "Symbols."),
    ],
)
def test_few_configured_values_are_shown_and_others_stay_valid(values, shown):
    class Options(JobOptions):
        symbols: list[str] = Field(default_factory=list, description="Symbols.")

    show_configured(Options, "symbols", values)
    assert Options.model_fields["symbols"].description == shown
    assert Options(symbols=["NEW"]).symbols == ["NEW"]
