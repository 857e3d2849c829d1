"""Folders below STATE_DIR."""

import pytest

from orchestration_project.engine.connections.files import ensure_state_folder
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import PROJECT_ROOT, settings_class


def settings(state_dir):
    return settings_class()(_env_file=None, state_dir=state_dir)  # pyright: ignore[reportCallIssue] - pydantic's own argument


def test_a_folder_is_made_and_holds_nothing(tmp_path):
    folder = ensure_state_folder(settings(tmp_path / "state"), "dagster", "logs")
    assert folder == tmp_path / "state" / "dagster" / "logs"
    assert list(folder.iterdir()) == []
    assert ensure_state_folder(settings(tmp_path / "state"), "dagster", "logs") == folder


def test_a_relative_state_dir_lies_below_the_project():
    assert settings("var").state_path == PROJECT_ROOT / "var"


def test_a_state_dir_that_cannot_be_made_is_named_with_the_reason(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError) as refusal:
        ensure_state_folder(settings(tmp_path / "file" / "state"), "dagster")
    assert str(refusal.value).splitlines() == [
        "STATE_DIR cannot be used",
        "  expected: a folder that this user may create and write",
        f"  found: Not a directory at {tmp_path}/file/state/dagster",
        "  what to do: set STATE_DIR to a folder that is yours",
        f"  where: state_dir={tmp_path}/file/state",
    ]
