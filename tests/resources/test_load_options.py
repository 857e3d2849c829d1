"""The options of a run's config that loads: two classes, and what a run is refused."""

import pytest
from pydantic import Field

from orchestration_project.assets.prices.loading import PricesLoad
from orchestration_project.engine.loads import LoadOptions, ReplayOptions, refuse_unused_options
from orchestration_project.engine.options import JobOptions, show_configured
from orchestration_project.errors import ConfigurationError


def test_a_domain_adds_its_own_options_to_those_of_all_loads_and_replays():
    assert list(LoadOptions.model_fields) == [
        *("full", "allow_conflicts", "max_reject_ratio"),
        *("accept_sha256", "accept_reason"),
    ]
    assert set(ReplayOptions.model_fields) - set(LoadOptions.model_fields) == {
        "group_id",
        "allow_older",
    }
    assert set(PricesLoad.model_fields) - set(ReplayOptions.model_fields) == {"symbols"}


@pytest.mark.parametrize(
    ("options", "is_replay", "strange"),
    [
        ({"full": True, "allow_conflicts": True}, True, "full, allow_conflicts"),
        ({"full": True, "allow_conflicts": True}, False, ""),
        ({"full": False}, True, ""),
        ({"max_reject_ratio": 0.5}, True, ""),
        ({"symbols": ["AAA"], "allow_older": True}, False, "allow_older, symbols"),
        ({"symbols": ["AAA"], "allow_older": True}, True, ""),
    ],
)
def test_an_option_of_the_other_kind_of_run_is_refused(options, is_replay: bool, strange: str):
    def refuse() -> None:
        refuse_unused_options(
            PricesLoad(**options), "the job x", is_replay=is_replay, replays="prices_replay"
        )

    if not strange:
        refuse()
        return
    with pytest.raises(ConfigurationError) as refused:
        refuse()
    assert str(refused.value).splitlines()[:2] == [
        f"{strange} means nothing to the job x",
        "  expected: group_id and allow_older and symbols for prices_replay; full and "
        "allow_conflicts for a load",
    ]


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
