"""Presets: what a file may say, and what a run goes by."""

import pytest
from pydantic import BaseModel, Field

from orchestration_project.engine.contracts.presets import (
    Default,
    Preset,
    PresetTarget,
    compare_presets,
    parse_preset,
    read_preset,
    resolve_values,
)
from orchestration_project.errors import ConfigurationError


class Load(BaseModel):
    full: bool | None = None
    ratio: float | None = Field(default=None, ge=0, le=1)
    secretly: str | None = None


TARGET = PresetTarget("load", "load_op", Load, {"full": Default(False), "ratio": Default(0.005)})
HEADER = "# Refuses any reject.\n# Job: load\n"


def config(values: str) -> str:
    return f"{HEADER}ops:\n  load_op:\n    config: {values}\n"


def test_a_preset_has_the_name_of_its_file_a_description_a_job_and_values():
    text = "# Refuses\n# any reject.\n# Job: load\nops: {load_op: {config: {ratio: 0.0}}}\n"
    assert read_preset("strict", text, [TARGET]) == (
        Preset("strict", "load", {"ratio": 0.0}, "Refuses any reject."),
        TARGET,
    )


def test_a_preset_is_read_as_it_is_written_also_where_its_job_does_not_take_it():
    preset, whole = parse_preset("odd", config("{colour: red}"))
    assert preset == Preset("odd", "load", {"colour": "red"}, "Refuses any reject.")
    assert whole == {"ops": {"load_op": {"config": {"colour": "red"}}}}
    for ops in ("{}", "{load_op: null}"):
        assert parse_preset("odd", f"{HEADER}ops: {ops}\n")[0].values == {}


@pytest.mark.parametrize(
    "text", ["ops: {a: {config: {}}, b: {config: {}}}", "ops: {a: {config: 1}}", "a: {}", "[]"]
)
def test_a_file_that_is_no_config_of_one_op_is_refused(text: str):
    with pytest.raises(
        ConfigurationError, match="the preset odd is not the config of one op"
    ) as refused:
        parse_preset("odd", f"{HEADER}{text}\n")
    assert refused.value.expected == "ops: {<op>: {config: …}}, or ops: {} for the settings"
    assert refused.value.remedy == "correct the file"


def test_a_preset_may_leave_all_to_the_settings():
    preset, _ = read_preset("standard", f"{HEADER}ops: {{}}\n", [TARGET])
    assert preset.values == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ops: {}\n", "has no description"),
        ("# What it does.\nops: {}\n", "for the job (none), which takes no preset"),
        ("# What it does.\n# Job: other\nops: {}\n", "for the job other, which takes no preset"),
        (f"{HEADER}# Job: other\nops: {{}}\n", "has no description"),
        (f"{HEADER}ops: [\n", "is not YAML"),
        (config("{ratio: 2026-02-30}"), "is not YAML"),
        (config("{ratio: 0.0, ratio: 0.5}"), "is not YAML"),
        (HEADER, "is not the config of load_op alone"),
        (f"{HEADER}- 1\n", "is not the config of load_op alone"),
        (f"{HEADER}ops: 1\n", "is not the config of load_op alone"),
        (f"{HEADER}resources: {{}}\n", "is not the config of load_op alone"),
        (f"{HEADER}ops: {{other: {{config: {{}}}}}}\n", "is not the config of load_op alone"),
        (f"{HEADER}ops: {{load_op: {{}}}}\n", "is not the config of load_op alone"),
        (config("{secretly: now}"), "sets secretly"),
        (config("{ratios: 1}"), "sets ratios"),
        (config("{ratio: 7}"), "ratio: Input should be less than or equal to 1"),
        (config("{ratio: much}"), "ratio: Input should be a valid number"),
        (config("{ratio: '0.5'}"), "ratio: is of another type"),
        (config("{full: 'yes'}"), "full: is of another type"),
    ],
)
def test_a_preset_that_cannot_be_used_is_refused_with_the_reason(text, problem):
    with pytest.raises(ConfigurationError) as refused:
        read_preset("mine", text, [TARGET])
    assert "the preset mine" in str(refused.value)
    assert problem in str(refused.value)


def test_a_runs_own_config_goes_before_the_preset_and_that_before_the_settings():
    base = {"full": False, "ratio": 0.005, "weeks": 30}
    own = {"full": False, "ratio": None}
    assert resolve_values(own, {"full": True, "ratio": 0.0}, base) == {
        "full": False,
        "ratio": 0.0,
        "weeks": 30,
    }


def test_the_difference_names_each_value_before_and_after_and_where_it_is_from():
    strict, full = Preset("strict", "load", {"ratio": 0.0}), Preset("full", "load", {"full": True})
    base = {"full": False, "ratio": 0.0}
    rows = compare_presets(strict, full, base)
    names = ("field", "now", "now_from", "then", "then_from", "changes")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("full", "False", "settings", "True", "preset full", True),
        ("ratio", "0.0", "preset strict", "0.0", "settings", False),
    ]
