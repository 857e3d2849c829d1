"""Log files: written by several processes, rotated, and read by position."""

import fcntl
import json
import logging
import os
import subprocess
import sys
from datetime import UTC, date, datetime, time
from multiprocessing import get_context
from pathlib import Path
from threading import Event

import pytest

from orchestration_project.engine.connections import log_files
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.log_files import (
    CURRENT,
    REQUEST_IN_LOG,
    LogFile,
    count_unwritten,
    expire_segments,
    find_end,
    list_segments,
    list_services,
    read_after,
    read_before,
)
from orchestration_project.engine.tracing.traceparent import begin_trace, use_trace
from orchestration_project.instance.logs import (
    LogFileHandler,
    expire_logs,
    expire_logs_until,
    expiry_wait_seconds,
    keep_log_lines,
)
from orchestration_project.settings import load_settings

MIB = 2**20


class DayClock(Clock):
    """A clock that stands still at a time of a day, and sets an event when it is read."""

    def __init__(self, day: str, at: str = "12:00", event: Event | None = None) -> None:
        self.moment = datetime.combine(date.fromisoformat(day), time.fromisoformat(at), UTC)
        self.event = event or Event()

    def now(self) -> datetime:
        self.event.set()
        return self.moment


EARLIER = DayClock("2020-01-01")
"""Time before any segment was written: none is of an earlier day, at whatever time tests run."""


def write_without_failure(folder: Path, name: str, count: int, size: int = 0) -> None:
    file = LogFile(folder, "run", MIB, 30, clock=EARLIER)
    for number in range(count):
        assert file.append(json.dumps([name, number, "x" * size]).encode() + b"\n")


def read_all(folder: Path, position: int = 0) -> list[log_files.StoredLine]:
    found: list[log_files.StoredLine] = []
    while (page := read_after(folder, position)).lines:
        found += page.lines
        position = page.end
    return found


def test_what_is_written_is_read_forwards_and_backwards_with_its_positions(tmp_path):
    write_without_failure(tmp_path, "a", 5000, 100)
    lines = read_all(tmp_path / "run")
    assert len(list_segments(tmp_path / "run")) == 3
    assert [json.loads(line.text)[1] for line in lines] == list(range(5000))
    assert list(read_before(tmp_path / "run", 10**9)) == lines[::-1]
    assert [line.end for line in lines[:-1]] == [line.position for line in lines[1:]]
    assert lines[-1].end == find_end(tmp_path / "run")
    assert read_after(tmp_path / "run", lines[70].position).lines[0] == lines[70]
    assert next(read_before(tmp_path / "run", lines[70].position)) == lines[69]


def test_each_file_is_private_and_a_service_has_its_folder(tmp_path):
    old = os.umask(0)
    write_without_failure(tmp_path, "a", 1)
    os.umask(old)
    folder = tmp_path / "run"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    (tmp_path / "daemon.log").touch()
    assert list_services(tmp_path) == ["run"]


def test_the_oldest_segments_go_and_the_lines_in_them_are_counted(tmp_path):
    write_without_failure(tmp_path, "a", 20_000, 100)
    folder = tmp_path / "run"
    oldest = list_segments(folder)[0]
    sizes = [segment.path.stat().st_size for segment in list_segments(folder)]
    assert sum(sizes) <= MIB + 300
    page = read_after(folder, 0, 0)
    assert page.lines[0].position == oldest.start
    assert page.lost_count == oldest.first_line == json.loads(page.lines[0].text)[1]
    assert len(read_all(folder)) == 20_000 - oldest.first_line


def test_processes_write_to_one_log_and_no_line_is_torn_or_lost(tmp_path):
    context = get_context("fork")
    parent = LogFile(tmp_path, "run", 8 * MIB, 30, clock=EARLIER)
    parent.append(b'["p", 0, ""]\n')  # its children have its open files

    def child(name: str) -> None:
        for number in range(400):
            parent.append(json.dumps([name, number, "x" * 1000]).encode() + b"\n")

    children = [context.Process(target=child, args=(str(number),)) for number in range(4)]
    for each in children:
        each.start()
    for each in children:
        each.join()
    found = [json.loads(line.text) for line in read_all(tmp_path / "run")]
    assert len(list_segments(tmp_path / "run")) == 2
    for name in "0123":
        assert [number for writer, number, _ in found if writer == name] == list(range(400))


def test_a_line_after_a_torn_one_is_whole(tmp_path):
    write_without_failure(tmp_path, "a", 1)
    folder = tmp_path / "run"
    with list_segments(folder)[0].path.open("ab") as file:
        file.write(b'["tor')
    assert len(read_all(folder)) == 1  # the writer may be in the midst of it
    write_without_failure(tmp_path, "b", 1)
    assert [line.text[:5] for line in read_all(folder)] == [b'["a",', b'["tor', b'["b",']


def test_a_writer_that_was_killed_while_it_rotated_leaves_a_log_to_go_on_with(tmp_path):
    write_without_failure(tmp_path, "a", 3000, 100)
    folder = tmp_path / "run"
    segments = list_segments(folder)
    (folder / CURRENT).write_text("")
    assert segments[-1].start
    write_without_failure(tmp_path, "b", 1)
    (folder / CURRENT).write_text("../../elsewhere")
    write_without_failure(tmp_path, "c", 1)
    assert [json.loads(line.text)[0] for line in read_all(folder)[-2:]] == ["b", "c"]
    assert list_segments(folder) == segments


@pytest.mark.parametrize("killed_at", ["open", "pwrite", "ftruncate"])
def test_a_writer_that_is_killed_within_a_rotation_hides_no_line_of_others(
    tmp_path, monkeypatch, killed_at
):
    clock = DayClock("2020-01-01")
    going_on = LogFile(tmp_path, "run", MIB, 30, clock=EARLIER)
    rotating = LogFile(tmp_path, "run", MIB, 30, clock=clock)
    assert going_on.append(b"first\n")
    assert rotating.append(b"second\n")
    clock.moment = datetime(2100, 1, 1, tzinfo=UTC)

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patches:
        patches.setattr(log_files.os, killed_at, kill)
        with pytest.raises(KeyboardInterrupt):
            rotating.append(b"not written\n")
    read = read_after(tmp_path / "run", 0)
    assert going_on.append(b"third\n")
    assert [line.text for line in read.lines] == [b"first", b"second"]
    assert [line.text for line in read_after(tmp_path / "run", read.end).lines] == [b"third"]


def test_a_paused_writer_costs_others_a_moment_and_counted_lines(tmp_path):
    write_without_failure(tmp_path, "a", 1)
    file = LogFile(tmp_path, "run", MIB, 30, lock_seconds=0.01)
    with (tmp_path / "run" / CURRENT).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert [file.append(b"1\n"), file.append(b"2\n")] == [False, False]
        assert count_unwritten(tmp_path) == {}
    assert file.append(b"3\n")
    assert count_unwritten(tmp_path) == {"run": 2}
    assert [line.text for line in read_all(tmp_path / "run")][1:] == [b"3"]


def date_segment(segment: log_files.Segment, day: str, at: str = "12:00") -> None:
    """Set the time of a segment's last line."""
    seconds = DayClock(day, at).moment.timestamp()
    os.utime(segment.path, (seconds, seconds))


def expire_without_failure(folder: Path, day: str, at: str = "12:00", keep_days: int = 30) -> None:
    assert not expire_segments(folder, MIB, keep_days, clock=DayClock(day, at))


def test_a_segment_has_the_lines_of_one_day(tmp_path):
    write_without_failure(tmp_path, "a", 2)
    folder = tmp_path / "run"
    date_segment(list_segments(folder)[0], "2026-03-01", "23:59:59")
    file = LogFile(tmp_path, "run", MIB, 30, clock=DayClock("2026-03-01", "23:59:59"))
    assert file.append(b"same day\n")
    date_segment(list_segments(folder)[0], "2026-03-01", "23:59:59")
    file = LogFile(tmp_path, "run", MIB, 30, clock=DayClock("2026-03-02", "00:00"))
    assert file.append(b"next day\n")
    first, second = list_segments(folder)
    assert first.path.read_bytes().count(b"\n") == second.first_line == 3
    assert second.path.read_bytes() == b"next day\n"
    assert [line.text for line in read_all(folder)][2:] == [b"same day", b"next day"]


@pytest.mark.parametrize(
    ("keep_days", "day", "at", "kept_lines"),
    [
        (30, "2026-03-31", "23:59:59", 2),  # the last day that an erasure on 1 March names
        (30, "2026-04-01", "00:00", 1),
        (30, "2026-04-02", "00:00", 0),
        (1, "2026-03-02", "23:59:59", 2),
        (1, "2026-03-03", "00:00", 1),
    ],
)
def test_segments_go_at_the_end_of_their_last_day(tmp_path, keep_days, day, at, kept_lines):
    write_without_failure(tmp_path, "a", 1)
    folder = tmp_path / "run"
    date_segment(list_segments(folder)[0], "2026-03-01")
    clock = DayClock("2026-03-02")
    assert LogFile(tmp_path, "run", MIB, keep_days, clock=clock).append(b"2\n")
    date_segment(list_segments(folder)[1], "2026-03-02")
    expire_without_failure(tmp_path, day, at, keep_days)
    assert len(read_all(folder)) == kept_lines


def test_a_program_that_writes_deletes_the_segments_of_expired_days(tmp_path):
    write_without_failure(tmp_path, "a", 1)
    folder = tmp_path / "run"
    date_segment(list_segments(folder)[0], "2026-03-01")
    assert LogFile(tmp_path, "run", MIB, 30, clock=DayClock("2026-04-01")).append(b"new\n")
    assert [line.text for line in read_all(folder)] == [b"new"]


def test_lines_of_a_program_that_runs_no_more_go_and_positions_go_on(tmp_path):
    write_without_failure(tmp_path, "a", 3)
    folder = tmp_path / "run"
    writer = LogFile(tmp_path, "run", MIB, 30, clock=EARLIER)
    assert writer.append(b"4\n")
    end = find_end(folder)
    date_segment(list_segments(folder)[0], "2026-03-01")
    expire_without_failure(tmp_path, "2026-04-01")
    expire_without_failure(tmp_path, "2026-05-01")
    [left] = list_segments(folder)
    assert (left.start, left.first_line, left.path.stat().st_size) == (end, 4, 0)
    page = read_after(folder, 0, 1)
    assert (page.lines, page.end, page.lost_count) == ([], end, 3)
    assert writer.append(b"5\n")  # it was idle, and has the deleted segment open
    assert [(line.position, line.text) for line in read_all(folder)] == [(end, b"5")]
    assert count_unwritten(tmp_path) == {}


def test_idle_programs_delete_expired_lines_of_all_and_log_what_fails(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    logs = tmp_path / "logs"
    for service in ("bridge", "run", "worker"):
        assert LogFile(logs, service, MIB, 30).append(b"1\n")
        date_segment(list_segments(logs / service)[0], "2026-03-01")
    (logs / "bridge" / CURRENT).unlink()
    (logs / "bridge" / CURRENT).mkdir()  # it cannot be locked
    end = Event()
    expire_logs_until(end, load_settings(), DayClock("2026-04-01", event=end))
    assert [len(read_all(logs / each)) for each in list_services(logs)] == [1, 0, 0]
    [record] = caplog.records
    assert record.__dict__["event"] == "log_lines_not_expired"
    assert "bridge" in record.getMessage()


@pytest.mark.parametrize(
    ("at", "seconds"),
    [("12:00", 3600.0), ("23:00", 3600.0), ("23:59:50", 10.0), ("00:00", 3600.0)],
)
def test_expired_lines_are_looked_for_hourly_and_at_midnight(at, seconds):
    assert expiry_wait_seconds(DayClock("2026-03-01", at).moment) == seconds


def test_lines_that_were_kept_go_once_none_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("LOG_KEEP_MIB", "0")
    assert LogFile(tmp_path / "logs", "run", MIB, 30).append(b"1\n")
    date_segment(list_segments(tmp_path / "logs" / "run")[0], "2026-03-01")
    expire_logs(load_settings(), clock=DayClock("2026-03-02"))
    assert read_all(tmp_path / "logs" / "run") == []


def test_lines_without_a_folder_are_lost_and_nothing_fails(tmp_path):
    (tmp_path / "file").touch()
    assert not LogFile(tmp_path / "file", "run", MIB, 30).append(b"1\n")
    assert read_after(tmp_path / "none", 5).lines == []
    assert list(read_before(tmp_path / "none", 5)) == []


def test_a_log_that_began_again_is_read_from_its_start(tmp_path):
    write_without_failure(tmp_path, "a", 1)
    assert len(read_after(tmp_path / "run", 10**6).lines) == 1


def test_a_program_keeps_its_lines_with_service_host_release_and_request(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    handler = LogFileHandler(load_settings(), "gateway")
    logger = logging.Logger("orchestration_project.x")
    logger.addHandler(handler)
    token = REQUEST_IN_LOG.set("abc")
    with use_trace(begin_trace()):
        logger.warning("it is %s", "late", extra={"event": "e"})
    REQUEST_IN_LOG.reset(token)
    logger.warning("%d", "not a number")
    handler.close()
    try:
        raise ValueError("a reason")
    except ValueError:
        logger.exception("failed", extra={"fields": {"status": 500}})
    first, second = (json.loads(line.text) for line in read_all(tmp_path / "logs" / "gateway"))
    assert first.keys() == {
        *("time", "level", "service", "host", "release", "logger", "message", "event"),
        *("trace_id", "span_id", "request_id"),
    }
    assert (first["message"], first["service"], first["request_id"]) == (
        "it is late",
        "gateway",
        "abc",
    )
    assert second["status"] == 500
    assert "ValueError: a reason" in second["exception"]
    assert count_unwritten(tmp_path / "logs") == {"gateway": 1}


PROGRAM = """
import logging, sys
from orchestration_project.instance.logs import keep_log_lines
from orchestration_project.settings import load_settings
from orchestration_project.engine.tracing.traceparent import use_trace
from orchestration_project.engine.tracing.traceparent import begin_trace
keep_log_lines(load_settings(), "worker")
logging.getLogger("orchestration_project.x").info("quiet")
logging.getLogger("orchestration_project.x").warning("loud")
own = logging.getLogger("own")
own.addHandler(logging.StreamHandler(sys.stdout))
own.warning("shown once")
"""


@pytest.mark.slow
def test_the_console_shows_what_it_showed_without_a_log(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    done = subprocess.run(  # noqa: S603 - the program above
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("shown once\n", "loud\n")
    found = [json.loads(line.text) for line in read_all(tmp_path / "logs" / "worker")]
    assert [line["message"] for line in found] == ["quiet", "loud", "shown once"]


def test_a_size_of_nothing_keeps_no_lines(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("LOG_KEEP_MIB", "0")
    before = logging.getLogger().handlers[:]
    keep_log_lines(load_settings(), "worker")
    assert logging.getLogger().handlers == before
    assert list_services(tmp_path / "logs") == []
