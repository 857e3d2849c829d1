"""The configuration in effect: its hash, and what changed."""

from orchestration_project.services.presets import (
    ConfigDifference,
    ConfigValue,
    EffectiveConfig,
    collect_leaves,
    compare_configs,
)

BEFORE = EffectiveConfig(
    {
        "A": ConfigValue("1", "default"),
        "B": ConfigValue("x", "file"),
        "C": ConfigValue("", "default"),
    }
)


def test_the_hash_is_of_the_values_whatever_their_order_and_origin():
    same = {name: ConfigValue(BEFORE.entries[name].value, "environment") for name in "CBA"}
    assert EffectiveConfig(same).config_hash == BEFORE.config_hash == "e83955d5dfddf440"
    other = EffectiveConfig({**BEFORE.entries, "C": ConfigValue("***", "file")})
    assert other.config_hash != BEFORE.config_hash


def test_the_hash_leaves_out_what_changes_no_result_and_the_full_hash_does_not():
    elsewhere = {"PUBLIC_URL": ConfigValue("http://127.0.0.1:3001", "environment")}
    moved = EffectiveConfig({**BEFORE.entries, **elsewhere}, frozenset({"PUBLIC_URL"}))
    assert moved.config_hash == BEFORE.config_hash
    assert moved.full_hash != BEFORE.full_hash


def test_a_change_is_reported_by_name_with_its_new_origin():
    now = EffectiveConfig(
        {
            "A": ConfigValue("1", "environment"),  # the same value from elsewhere is not a change
            "C": ConfigValue("***", "file"),
            "D": ConfigValue("", "default"),
        }
    )
    assert compare_configs(BEFORE, now) == [
        ConfigDifference("B", "x", "", "removed"),
        ConfigDifference("C", "", "***", "file"),
        ConfigDifference("D", "", "", "default"),
    ]
    assert compare_configs(BEFORE, BEFORE) == []


def test_what_was_stored_is_read_as_it_was():
    assert EffectiveConfig.from_json(BEFORE.to_json()) == BEFORE


def test_a_runs_config_is_its_values_by_path():
    config = {"ops": {"load": {"config": {"full": True, "ratio": 0.5, "group": None}}}}
    assert collect_leaves(config) == {
        "ops.load.config.full": "true",
        "ops.load.config.ratio": "0.5",
        "ops.load.config.group": "null",
    }
