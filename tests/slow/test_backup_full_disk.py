"""A backup whose disk is full: it is named, and no part of the backup is left."""

import subprocess
import sys

import pytest

from orchestration_project.__main__ import main
from orchestration_project.settings import PROJECT_ROOT, child_environment

pytestmark = pytest.mark.slow


def test_a_full_disk_is_named_and_leaves_no_half_backup(tmp_path, monkeypatch):
    state_dir = tmp_path / "state"
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    assert main(["migrate"]) == 0
    artifact = state_dir / "artifacts" / "blobs" / "aa" / "x.zst"
    artifact.parent.mkdir(parents=True)
    artifact.write_bytes(bytes(4_000_000))
    place = tmp_path / "place"
    command = (
        f'ulimit -f 6000; exec "{sys.executable}" -m orchestration_project backup --to {place}'
    )
    done = subprocess.run(  # noqa: S603 - our own command
        ["/bin/sh", "-c", command],
        cwd=PROJECT_ROOT,
        env=child_environment(STATE_DIR=str(state_dir)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "cannot write below" in done.stderr
    assert "File too large" in done.stderr
    assert [path for path in place.rglob("*") if path.is_file()] == []
