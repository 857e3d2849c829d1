"""The configuration in effect, read from the environment, `.env` and presets."""

from datetime import timedelta

import pytest
from pydantic_settings import SettingsConfigDict

from orchestration_project.engine.contracts.presets import Preset
from orchestration_project.services.presets import (
    ConfigValue,
    Presets,
    read_applied,
    read_verified_config,
    record_verified_config,
    resolve_config,
)
from orchestration_project.settings import load_settings, settings_class


@pytest.fixture
def _env_file(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the settings read a `.env` of the test's own, and nothing of this environment."""
    for name in settings_class().model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    file = tmp_path / ".env"
    file.write_text("LOG_LEVEL=DEBUG\nDEMO_SEED=7\nUNKNOWN=1\nALERT_URLS=slack://hunter2/b/c\n")
    config = SettingsConfigDict(**{**settings_class().model_config, "env_file": file})
    monkeypatch.setattr(settings_class(), "model_config", config)


@pytest.mark.usefixtures("_env_file")
def test_each_value_has_its_origin_and_no_secret(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@host/db?password=hunter2")
    monkeypatch.setenv("ARTIFACTS_URL", "s3://key:hunter2@bucket/prefix")
    (tmp_path / "full.yaml").write_text("# Says why.\nops: {load: {config: {full: true}}}\n")
    config = resolve_config(load_settings(), presets=tmp_path)
    found = config.entries
    assert {name.upper() for name in settings_class().model_fields} < set(found)
    assert {name: found[name] for name in found if found[name].origin != "default"} == {
        "LOG_LEVEL": ConfigValue("ERROR", "environment"),
        "DATABASE_URL": ConfigValue("postgresql://host/db?password=***", "environment"),
        "ARTIFACTS_URL": ConfigValue("s3://bucket/prefix", "environment"),
        "DEMO_SEED": ConfigValue("7", "file"),
        "ALERT_URLS": ConfigValue("***", "file"),
        "full: ops.load.config.full": ConfigValue("true", "preset full"),
    }
    assert found["FINRA_CLIENT_SECRET"] == ConfigValue("", "default")
    assert "hunter2" not in config.to_json()


@pytest.mark.slow_after_first
@pytest.mark.usefixtures("_env_file")
@pytest.mark.parametrize(
    ("name", "value", "is_the_same"),
    [
        ("PUBLIC_URL", "http://127.0.0.1:3001", True),
        ("LOG_LEVEL", "ERROR", True),
        ("STATE_DIR", "elsewhere", True),
        ("FINRA_REQUESTS_PER_SECOND", "1", True),
        ("FINRA_MAX_REJECT_RATIO", "0.25", False),
        ("DEMO_CLOCK_NOW", "2026-03-02T15:00:00+00:00", False),
        ("FINRA_CLIENT_ID", "somebody", False),
    ],
)
def test_the_hash_changes_only_with_what_changes_results(name, value, is_the_same, monkeypatch):
    before = resolve_config(load_settings())
    if name == "FINRA_CLIENT_ID":
        monkeypatch.setenv("FINRA_CLIENT_SECRET", "hunter2")
    monkeypatch.setenv(name, value)
    after = resolve_config(load_settings())
    assert (after.config_hash == before.config_hash) is is_the_same
    assert after.full_hash != before.full_hash


def test_every_setting_without_effect_is_a_setting():
    assert {name.lower() for name in settings_class().names_without_effect()} < set(
        settings_class().model_fields
    )


@pytest.mark.usefixtures("_env_file")
@pytest.mark.parametrize("written", ["me:hunter2@host/db", "postgresql://me:hunter#2@host/db"])
def test_a_malformed_address_shows_no_secret(written: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", written)
    shown = resolve_config(load_settings()).entries["DATABASE_URL"].value
    assert shown in ("***", "postgresql://***")


@pytest.mark.parametrize(
    "written", [b"# to be written", b"- a\n- b", b"ops: [", b"\xff\xfe", b"since: 2026-02-30"]
)
def test_an_unusable_preset_is_reported_and_stops_nothing(tmp_path, written: bytes):
    (tmp_path / "half.yaml").write_bytes(written)
    (tmp_path / "full.yaml").write_text("ops: {load: {config: {since: 2026-01-05}}}\n")
    found = resolve_config(load_settings(), presets=tmp_path)
    assert found.entries["half"].value.startswith("cannot be used, SHA-256 ")
    assert found.entries["full: ops.load.config.since"].value == '"2026-01-05"'
    (tmp_path / "half.yaml").write_bytes(written + b"\n")
    assert resolve_config(load_settings(), presets=tmp_path).config_hash != found.config_hash


def test_what_an_editor_puts_beside_a_preset_is_none_and_one_that_cannot_be_read_stops_nothing(
    tmp_path,
):
    (tmp_path / ".#full.yaml").symlink_to("ada@desk.4711:1767225600")  # as Emacs locks a file
    assert not {"full", ".#full"} & set(resolve_config(load_settings(), presets=tmp_path).entries)
    (tmp_path / "full.yaml").mkdir()
    found = resolve_config(load_settings(), presets=tmp_path).entries
    assert found["full"].value.startswith("cannot be used")


def test_what_applied_presets_set_says_which_one_and_who_applied_it(warehouse, clock):
    presets = Presets(warehouse, clock)
    for user, preset in (
        ("ada", Preset("latest", "backfill", {"weeks": 1})),
        ("ada", Preset("full", "load", {"full": True})),
        ("grace", Preset("strict", "load", {"ratio": 0.0})),
    ):
        presets.apply(preset, user=user, reason="", run_id="r")
    assert read_applied(presets) == {
        "backfill: weeks": ConfigValue("1", "preset latest#1, applied by ada"),
        "load: ratio": ConfigValue("0.0", "preset strict#2, applied by grace"),
    }


def test_the_last_verified_is_the_one_that_was_verified_last(warehouse, clock):
    assert read_verified_config(warehouse) is None
    first = resolve_config(load_settings())
    second = type(first)({**first.entries, "X": ConfigValue("1", "file")})
    for number, config in enumerate([first, second, first]):
        at = clock.at + timedelta(seconds=number)
        record_verified_config(warehouse, config, at=at, run_id="r")
        assert read_verified_config(warehouse) == config
