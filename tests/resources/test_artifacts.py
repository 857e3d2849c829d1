"""Bytes under names, in a folder or a bucket: whole or not at all."""

import io
import logging
import os
import signal
import stat
import subprocess
import sys
from datetime import timedelta

import polars as pl
import pyarrow.parquet as pq
import pytest

from orchestration_project.engine.connections.artifacts import (
    PARTIAL,
    encode_parquet,
    open_artifacts,
    put_content,
    write_parquet,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.redaction import redacted
from orchestration_project.settings import PROJECT_ROOT, child_environment

NAME = "blobs/ab/a name+%41#?.zst"


@pytest.fixture(params=["folder", "file_url", "s3"])
def store(request, tmp_path):
    places = {"folder": str(tmp_path / "a b%41#?c"), "file_url": (tmp_path / "a b").as_uri()}
    url = places.get(request.param) or request.getfixturevalue("s3")
    return open_artifacts(url)


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_is_put_is_had_and_got(store):
    assert not store.found(NAME)
    store.put(NAME, b"\x00\xff bytes")
    assert store.found(NAME)
    assert store.get(NAME) == b"\x00\xff bytes"
    assert not store.found("blobs/ab")


def test_what_is_put_again_is_replaced(store):
    store.put(NAME, b"one")
    store.put(NAME, b"")
    assert store.get(NAME) == b""


def test_what_is_deleted_is_gone_alone(store):
    store.put(NAME, b"one")
    store.put(f"{NAME}.kept", b"two")
    store.delete(NAME)
    assert (store.found(NAME), store.get(f"{NAME}.kept")) == (None, b"two")


def test_what_is_stored_is_listed_with_its_size(store):
    assert list(store.listed()) == []
    before = Clock().now() - timedelta(seconds=2)  # S3 stores whole seconds
    for name, content in {NAME: b"three", "staged/x/y.parquet": b""}.items():
        store.put(name, content)
    found = sorted(store.listed())
    assert [stored_object[:2] for stored_object in found] == [(NAME, 5), ("staged/x/y.parquet", 0)]
    assert all(before <= stored_object.put_at <= Clock().now() for stored_object in found)
    assert store.found(NAME) == found[0]


def test_only_what_was_put_before_a_time_is_deleted(store):
    store.put(NAME, b"one")
    put_at = store.found(NAME).put_at
    assert not store.delete_older(NAME, put_at)
    assert store.found(NAME)
    assert store.delete_older(NAME, put_at + timedelta(seconds=1))
    assert store.found(NAME) is None
    assert not store.delete_older(NAME, put_at + timedelta(seconds=1))


def test_what_is_being_written_is_not_listed(tmp_path):
    store = open_artifacts(str(tmp_path))
    store.put("a", b"")
    (tmp_path / PARTIAL / "half").write_bytes(b"x")
    assert [stored_object.name for stored_object in store.listed()] == ["a"]


def test_what_is_not_there_is_a_file_not_found(store):
    with pytest.raises(FileNotFoundError):
        store.get(NAME)


def test_a_frame_comes_back_as_it_was(store):
    frame = pl.DataFrame({"symbol": ["NA", None, "ABCp"], "shares": [2**63 - 1, 0, None]})
    name = put_content(store, "staged/x", encode_parquet(frame), suffix="parquet")
    assert pl.read_parquet(io.BytesIO(store.get(name))).equals(frame)
    assert encode_parquet(frame.head(1)) != encode_parquet(frame)


@pytest.mark.slow_after_first
def test_a_file_is_put_whole_from_wherever_it_was_read(store, tmp_path):
    content = os.urandom(12 * 2**20)  # more than one part of an object in S3
    with (tmp_path / "content").open("w+b") as file:
        file.write(content)
        store.put(NAME, file)
    assert store.get(NAME) == content


def test_frames_make_one_file_with_a_group_of_rows_of_each(tmp_path):
    frame = pl.DataFrame({"symbol": ["A", None, "", "B"], "shares": [1, 2, None, 2**63 - 1]})
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        write_parquet((frame[:3], frame[3:]), file)
    assert files[0].getvalue() == files[1].getvalue()
    written = files[0].getvalue()
    assert pl.read_parquet(io.BytesIO(written)).equals(frame)
    groups = pq.ParquetFile(io.BytesIO(written)).metadata
    assert [groups.row_group(number).num_rows for number in range(2)] == [3, 1]


def test_equal_frames_make_the_same_file_however_they_lie_in_memory():
    frame = pl.DataFrame({"symbol": [f"SYMBOL NUMBER {number}" for number in range(100_000)]})
    in_two = pl.concat([frame[:33_333], frame[33_333:]], rechunk=False)
    assert encode_parquet(in_two) == encode_parquet(frame)


def test_a_file_url_may_hold_escaped_spaces(tmp_path):
    open_artifacts(f"file://{tmp_path}/with%20space").put("x", b"y")
    assert (tmp_path / "with space" / "x").read_bytes() == b"y"


def test_a_plain_folder_is_taken_letter_by_letter(tmp_path):
    open_artifacts(f"{tmp_path}/with%20sign#1?").put("x", b"y")
    assert (tmp_path / "with%20sign#1?" / "x").read_bytes() == b"y"


def test_a_relative_folder_lies_below_the_project_wherever_the_process_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_artifacts("var/artifacts").url == (PROJECT_ROOT / "var" / "artifacts").as_uri()


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("ftp://me:secret@host/x", "ftp://host/x"),
        ("gs://bucket", "gs://bucket"),
        ("s3:///no-bucket", "s3:/no-bucket"),
        ("file://folder/x", "file://folder/x"),
    ],
)
def test_another_url_is_refused_without_its_secrets(url, found):
    with pytest.raises(ConfigurationError, match="ARTIFACTS_URL cannot be used") as refusal:
        open_artifacts(url)
    assert refusal.value.found == found


@pytest.mark.parametrize("action", ["put", "get", "found"])
def test_a_folder_that_cannot_be_is_a_wrong_setting(tmp_path, action):
    (tmp_path / "file").touch()
    store = open_artifacts(str(tmp_path / "file" / "below"))
    if action == "found":
        assert not store.found("x")
        return
    with pytest.raises(ConfigurationError) as refusal:
        store.put("a/x", b"y") if action == "put" else store.get("a/x")
    said, found = {"put": ("write", "File exists"), "get": ("read", "Not a directory")}[action]
    assert str(refusal.value).splitlines()[:3] == [
        f"cannot {said} the artifact a/x",
        "  expected: a folder with free space that this user may read and write, at "
        f"{tmp_path}/file/below",
        f"  found: {found}",
    ]


WRITE_TOO_MUCH = """
import resource, signal, sys
from orchestration_project.errors import ConfigurationError
from orchestration_project.engine.connections.artifacts import open_artifacts
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    open_artifacts(sys.argv[1]).put("a/x", b"y" * 5000)
except ConfigurationError as error:
    print(error.found)
"""


@pytest.mark.slow
def test_a_write_that_fails_on_the_way_leaves_no_file(tmp_path):
    command = [sys.executable, "-c", WRITE_TOO_MUCH, str(tmp_path)]
    done = subprocess.run(  # noqa: S603 - our own program
        command,
        env=child_environment(PYTHONPATH=str(PROJECT_ROOT)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "File too large\n"
    assert files_below(tmp_path) == []


WRITE_HALF = """
import os, signal, sys
from orchestration_project.engine.connections.artifacts import open_artifacts

def strike(event, arguments):
    if event == "os.rename":
        os.kill(os.getpid(), int(sys.argv[2]))

sys.addaudithook(strike)
open_artifacts(sys.argv[1]).put("a/x", b"y")
"""


def write_half(folder, strike):
    command = [sys.executable, "-c", WRITE_HALF, str(folder), str(int(strike))]
    environment = child_environment(PYTHONPATH=str(PROJECT_ROOT))
    return subprocess.Popen(command, env=environment)  # noqa: S603 - our own program


@pytest.mark.slow
def test_the_next_write_removes_what_a_killed_writer_left(tmp_path):
    assert write_half(tmp_path, signal.SIGKILL).wait() == -signal.SIGKILL
    assert [file.parent.name for file in files_below(tmp_path)] == [PARTIAL]
    open_artifacts(str(tmp_path)).put("b/z", b"y")
    assert files_below(tmp_path) == [tmp_path / "b" / "z"]


def test_what_a_living_writer_has_not_finished_is_left_to_it(tmp_path):
    writer = write_half(tmp_path, signal.SIGSTOP)
    os.waitid(os.P_PID, writer.pid, os.WSTOPPED)
    open_artifacts(str(tmp_path)).put("b/z", b"y")
    assert len(files_below(tmp_path)) == 2
    writer.send_signal(signal.SIGCONT)
    assert writer.wait() == 0
    assert sorted(files_below(tmp_path)) == [tmp_path / "a" / "x", tmp_path / "b" / "z"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    store = open_artifacts(str(tmp_path))
    (tmp_path / "x").mkdir()  # a file cannot replace a folder
    with pytest.raises(ConfigurationError, match="cannot write the artifact x"):
        store.put("x", b"y")
    assert files_below(tmp_path) == []


def test_a_written_file_stands_alone_in_its_folder(tmp_path):
    store = open_artifacts(str(tmp_path))
    store.put("a/b/x", b"y")
    assert files_below(tmp_path) == [tmp_path / "a" / "b" / "x"]
    assert stat.S_ISREG(os.stat(tmp_path / "a" / "b" / "x").st_mode)  # noqa: PTH116


def test_a_bucket_that_there_is_not_is_a_wrong_setting(s3):
    store = open_artifacts("s3://nowhere-at-all/x")
    with pytest.raises(ConfigurationError, match="cannot write the artifact x") as refusal:
        store.put("x", b"y")
    assert "s3://nowhere-at-all/x" in refusal.value.expected
    assert "s3cr3t-w0rd" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("AWS_SECRET_ACCESS_KEY", None, "Missing SecretAccessKey"),
        ("AWS_ALLOW_HTTP", "maybe", 'failed to parse "maybe" as boolean'),
        (None, None, "invalid domain character"),
    ],
)
def test_a_bucket_that_the_settings_cannot_mean_is_a_wrong_setting(
    s3, monkeypatch, name, value, found
):
    if name and value:
        monkeypatch.setenv(name, value)
    elif name:
        monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError, match="cannot be opened") as refusal:
        open_artifacts(s3 if name else "s3://a b/x")
    assert found in refusal.value.found


def test_the_secret_of_a_bucket_may_be_in_a_file(s3, tmp_path, monkeypatch, caplog):
    file = tmp_path / "secret"
    file.touch(0o600)
    file.write_text(child_environment()["AWS_SECRET_ACCESS_KEY"] + "\n")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY_FILE", str(file))
    store = open_artifacts(s3)
    store.put(NAME, b"bytes")
    assert store.get(NAME) == b"bytes"
    logging.getLogger("any").error("the secret is %s", file.read_text())
    assert file.read_text().strip() not in redacted(caplog.text)
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="AWS_SECRET_ACCESS_KEY_FILE"):
        open_artifacts(s3)


def test_a_bucket_is_shown_without_the_secrets_of_its_url(s3):
    store = open_artifacts(s3.replace("s3://", "s3://me:hunter2@"))
    assert store.url == s3


@pytest.mark.slow
def test_a_bucket_that_cannot_be_reached_may_come_back(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    store = open_artifacts(s3)
    with pytest.raises(TransientError, match="cannot write the artifact x") as refusal:
        store.put("x", b"y")
    assert "s3cr3t-w0rd" not in str(refusal.value)
    with pytest.raises(TransientError, match="cannot read the artifact x"):
        store.found("x")
