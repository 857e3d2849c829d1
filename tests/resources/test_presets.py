"""Applied presets in both databases, and the files that there are."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestration_project.engine.contracts.presets import Preset
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.presets import Presets, list_preset_names, resolve_preset

STRICT, FULL = Preset("strict", "load", {"ratio": 0.0}), Preset("full", "load", {"full": True})
OF_ANOTHER_JOB = Preset("latest", "backfill", {"weeks": 1})


@pytest.fixture
def presets(warehouse, clock) -> Presets:
    return Presets(warehouse, clock)


def test_what_was_applied_last_to_a_job_is_in_force_for_it_alone(presets, clock):
    assert presets.in_force("load") is None
    applied = [
        presets.apply(preset, user="ada", reason="because\0", run_id="1")
        for preset in (STRICT, OF_ANOTHER_JOB, FULL, STRICT)
    ]
    assert [str(preset) for preset in applied] == ["strict#1", "latest#1", "full#2", "strict#3"]
    found = presets.in_force("load")
    assert (str(found), found.preset.values) == ("strict#3", {"ratio": 0.0})
    assert (found.user, found.reason, found.applied_at) == ("ada", "because", clock.now())
    assert str(presets.in_force("backfill")) == "latest#1"


def test_what_is_in_force_already_is_not_applied_again_until_its_values_change(presets):
    presets.apply(STRICT, user="ada", reason="", run_id="1")
    assert presets.apply(STRICT, user="grace", reason="", run_id="2") is None
    stricter = Preset("strict", "load", {"ratio": 0.0, "full": True})
    assert str(presets.apply(stricter, user="grace", reason="", run_id="3")) == "strict#2"


def test_presets_that_are_applied_at_once_are_counted_one_after_the_other(presets):
    def apply(number: int) -> str:
        each = Preset(f"p{number}", "load", {})
        return str(presets.apply(each, user="ada", reason="", run_id=str(number))).partition("#")[2]

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(apply, range(4))) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("name", ["../workspace", "../dagster", "../presets/full", "full.yaml", ""])
def test_no_file_is_read_for_a_name_that_is_none_of_a_preset(name):
    with pytest.raises(ConfigurationError, match="preset not found:"):
        resolve_preset(name, [])


def test_a_preset_that_cannot_be_read_is_refused_by_name_and_a_lock_of_an_editors_is_none(
    tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("orchestration_project.services.presets.PRESETS", tmp_path)
    (tmp_path / "mine.yaml").mkdir()
    (tmp_path / ".#mine.yaml").symlink_to("ada@desk.4711:1767225600")
    assert list_preset_names() == ["mine"]
    with pytest.raises(ConfigurationError, match="the preset mine cannot be read"):
        resolve_preset("mine", [])


def test_a_misspelt_name_is_answered_with_the_likely_one():
    assert "strict_quality" in list_preset_names()
    with pytest.raises(ConfigurationError, match="did you mean strict_quality"):
        resolve_preset("strict_qualty", [])
