"""A disk that fills up under Dagster's own state."""

import subprocess
import sys

import pytest

from orchestration_project.settings import PROJECT_ROOT, child_environment
from tests.bad_input import NOTHING, promise
from tests.resources.test_bad_files import GOOD, NAME


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [0, 40])  # of 512 bytes, which no file may exceed
def test_a_full_disk_of_dagster_is_reported_without_a_traceback(blocks, tmp_path):
    promised = promise("test_a_full_disk_of_dagster_is_reported_without_a_traceback")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / NAME).write_bytes(GOOD)
    command = f'ulimit -f {blocks}; exec "{sys.executable}" -m orchestration_project run'
    done = subprocess.run(  # noqa: S603 - our own command
        ["/bin/sh", "-c", command],
        cwd=PROJECT_ROOT,
        env=child_environment(
            STATE_DIR=str(tmp_path / "state"),
            FINRA_SOURCE="files",
            FINRA_FILES_DIR=str(tmp_path / "files"),
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, promised.kept) == (1, NOTHING)
    assert promised.is_seen_in(done.stderr), done.stderr
    assert "Traceback" not in done.stderr
