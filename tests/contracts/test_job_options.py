"""Options of jobs in words: ranges, choices, examples, and the description of a job."""

from enum import Enum

import pytest
from pydantic import BaseModel, Field

from orchestration_project.engine.contracts.automation import (
    Automation,
    describe_automation,
    format_interval,
    group_by_profile,
    select_automations,
)
from orchestration_project.engine.contracts.job_options import describe_job, format_range
from orchestration_project.errors import ConfigurationError


class State(Enum):
    OPEN = "open"
    DONE = "done"


class Options(BaseModel):
    weeks: int | None = Field(default=None, ge=1, examples=[4], description="Weeks.")
    share: float | None = Field(default=None, ge=0, le=1, examples=[0.5], description="Share.")
    state: State | None = Field(default=None, description="State.")
    dry_run: bool = Field(default=True, description="Dry run.")


class Wanted(BaseModel):
    name: str = Field(examples=["a: b"], description="Name.")
    above: int = Field(default=2, gt=0, lt=9, description="Above.")


def test_the_description_of_a_job_lists_each_option_with_its_range_and_a_config_to_copy():
    assert describe_job("Loads.", "load", Options) == (
        "Loads.\n\nOptions:\n\n"
        "- `weeks`: Weeks. Range: 1 or more.\n"
        "- `share`: Share. Range: 0 to 1.\n"
        "- `state`: State. One of: open, done.\n"
        "- `dry_run`: Dry run.\n\n"
        "```yaml\nops:\n  load:\n    config:\n"
        "      weeks: 4\n      # share: 0.5\n      # state: open\n      # dry_run: false\n```"
    )


def test_a_config_to_copy_gives_the_required_options_and_only_those_of_the_job():
    text = describe_job("Sends.", "send", Wanted)
    assert text.endswith("    config:\n      name: 'a: b'\n      # above: 2\n```")
    assert "`weeks`" not in describe_job("Loads.", "load", Options, only=["share"])


def test_open_ranges_are_named():
    assert format_range(Wanted.model_fields["above"]) == "more than 0, less than 9"
    assert format_range(Wanted.model_fields["name"]) == ""


def test_an_automation_says_what_starts_it_what_it_needs_and_what_switches_it_on():
    text = describe_automation(
        "Loads.", "Looks every 5 min", needs="FX_SOURCE", profile="fx", is_on=False
    )
    assert text == (
        "Loads. Looks every 5 min. Needs: FX_SOURCE. On in a normal installation: yes, after "
        "`orchestrate automation on fx`. Profile: fx."
    )
    texts = [format_interval(seconds) for seconds in (4, 300, 7200)]
    assert texts == ["every 4 s", "every 5 min", "every 2 h"]


def test_a_profile_has_its_automations_and_demo_has_all():
    found = [Automation("a", "sensor", "fx", True), Automation("b", "schedule", "sync", False)]
    assert group_by_profile(found) == {"fx": ["a"], "sync": ["b"], "demo": ["a", "b"]}
    assert list(select_automations(found, "fx")) == found[:1]
    assert list(select_automations(found, "demo")) == found
    with pytest.raises(ConfigurationError, match="profile not found: 'sink'") as refused:
        select_automations(found, "sink")
    assert refused.value.expected == "one of fx, sync, demo"
    assert refused.value.remedy == "name one of them; set the domain's source"
    with pytest.raises(ConfigurationError) as misspelt:
        select_automations(found, "snyc")
    assert misspelt.value.remedy == "did you mean sync?"
