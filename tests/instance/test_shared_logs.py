"""Compute logs and archives of evidence that another host has written, by way of a bucket."""

import sys
from pathlib import Path

import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType

from orchestration_project.engine.connections.artifacts import open_artifacts
from orchestration_project.instance.shared_logs import FOLDER, SharedLogs
from orchestration_project.instance.storage import StateComputeLogs
from orchestration_project.services.evidence.exporting import (
    ExportedArchive,
    measure_archives,
    open_archive,
    share_archive,
)
from orchestration_project.services.evidence.rules import Manifest
from orchestration_project.settings import load_settings
from tests.s3 import s3, s3_endpoint  # noqa: F401 - fixtures

KEY = ["11111111-1111-4111-8111-111111111111", "compute_logs", "step"]


@pytest.fixture
def host(tmp_path, monkeypatch, request):
    """Opens the compute logs of a host, by the name of its STATE_DIR."""

    def open_host(name: str) -> StateComputeLogs:
        monkeypatch.setenv("STATE_DIR", str(tmp_path / name))
        return StateComputeLogs.from_config_value(None, {})

    return open_host


@pytest.fixture
def bucket(s3, monkeypatch) -> str:  # noqa: F811 - the fixture
    monkeypatch.setenv("ARTIFACTS_URL", s3)
    return s3


def test_what_a_step_wrote_on_one_host_is_read_and_downloaded_on_another(bucket, host, capfd):
    with host("one").capture_logs(KEY):
        sys.stdout.write("found 3 rows\n")
        sys.stdout.flush()
    other = host("two")
    assert other.is_capture_complete(KEY)
    assert other.get_log_data(KEY).stdout == b"found 3 rows\n"
    path = Path(other.get_captured_local_path(KEY, "out"))
    assert path.read_bytes() == b"found 3 rows\n"  # which Dagster's download sends


def test_a_step_that_runs_on_another_host_is_read_as_far_as_it_is_stored(bucket, host, tmp_path):
    one, other = host("one"), host("two")
    file = Path(one.get_captured_local_path(KEY, "out"))
    file.parent.mkdir(parents=True)
    shared = SharedLogs(open_artifacts(bucket), Path(one._base_dir), seconds=0.01)
    file.write_bytes(b"one\n")
    with shared.stored_meanwhile([file]):
        while other.get_log_data(KEY).stdout is None:
            pass
        file.write_bytes(b"one\ntwo\n")
    assert not other.is_capture_complete(KEY)
    first, offset = other.get_log_data_for_type(KEY, ComputeIOType.STDOUT, 0, 4)
    assert (first, offset) == (b"one\n", 4)
    assert other.get_log_data_for_type(KEY, ComputeIOType.STDOUT, 4) == (b"two\n", 8)


def test_logs_of_a_run_are_deleted_in_the_bucket_too(bucket, host, capfd):
    logs = host("one")
    for key in (KEY, ["another run", "compute_logs", "step"]):
        with logs.capture_logs(key):
            pass
    logs.delete_logs(prefix=KEY[:1])
    left = {stored_object.name for stored_object in open_artifacts(bucket).listed(FOLDER)}
    assert left == {f"{FOLDER}/another run/compute_logs/step.complete"}
    assert not host("two").is_capture_complete(KEY)


def test_a_step_does_not_fail_when_the_bucket_is_away(bucket, host, monkeypatch, capfd):
    monkeypatch.setattr("orchestration_project.engine.connections.artifacts.S3_RETRIES", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    logs = host("one")
    with logs.capture_logs(KEY):
        sys.stdout.write("done\n")
        sys.stdout.flush()
    assert logs.is_capture_complete(KEY)
    assert not host("two").is_capture_complete(KEY)


def test_an_archive_of_another_host_is_listed_and_sent(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "one"))
    path = tmp_path / "one" / "evidence" / "run.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK archive")
    archive = ExportedArchive(path, 10, "0" * 64, Manifest({}, []))
    assert share_archive(archive, load_settings())
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "two"))
    settings = load_settings()
    assert measure_archives(settings) == {"run.zip": 10}
    opened = open_archive(settings, "run.zip")
    assert not isinstance(opened, Path)
    with opened:
        assert opened.read() == b"PK archive"
