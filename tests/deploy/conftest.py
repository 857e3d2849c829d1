"""The secrets that `up` writes, once for all tests of a process."""

from pathlib import Path

import pytest

from tests.deploy.compose_file import copy_of, run_up


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of deploy/compose with secrets; not to be changed."""
    folder = copy_of(tmp_path_factory.mktemp("compose"))
    assert run_up(folder, "full", "--dry-run").returncode == 0
    return folder
