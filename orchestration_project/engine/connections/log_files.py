"""Log files of programs: a folder for each service, in segments that rotate by size and day.

Several processes append to one service, such as the runs of a host. A position is the number of
bytes since the first line; a segment is named by the position at which it begins, and the count of
lines before it. A segment is never renamed or cut, so a position stays valid while its segment is
there. It has the lines of one UTC day, that of its last change, and is deleted as a whole.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.log_lines import MAX_LINE_BYTES, SERVICE

FOLDER = "logs"
"""Folder below STATE_DIR; each service has one below it."""

CURRENT = "current"
"""File of a service that names the segment to write to; its lock orders the writers."""

LOST = "lost"
"""File of a service with the count of lines that could not be written."""

SUFFIX = ".jsonl"

MAX_SEGMENTS = 8
"""Segments that LOG_KEEP_MIB is divided into."""

MAX_SEGMENT_BYTES = 4 * 2**20

LOCK_SECONDS = 0.2
"""Time that a line waits for other writers; then it is lost, as with a writer that is paused."""

EXPIRY_LOCK_SECONDS = 2.0
"""Time that the deletion of old segments waits for writers."""

FAILURE_SECONDS = 5.0
"""Time after a lost line in which lines do not wait."""

READ_BYTES = 256 * 1024

DAY_SECONDS = 24 * 3600

REQUEST_IN_LOG: ContextVar[str | None] = ContextVar("REQUEST_IN_LOG", default=None)
"""Request ID that the log lines of this task have."""


class Segment(NamedTuple):
    """A file of a service's log."""

    start: int
    first_line: int
    path: Path


class LogFile:
    """The log of a service, to which this process appends; safe with others, and after a fork.

    It never raises: what cannot be written is counted, and the count is stored with the next line
    that can.

    Args:
        folder: Folder of all services.
        service: Name of the service.
        keep_bytes: Size from which the oldest segments are deleted.
        keep_days: Number of days after its last line at whose end a segment is deleted.
        lock_seconds: Longest wait for another writer.
        clock: The real time; it decides the day.
    """

    def __init__(
        self,
        folder: Path,
        service: str,
        keep_bytes: int,
        keep_days: int,
        *,
        lock_seconds: float = LOCK_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        self._lock_seconds = lock_seconds
        self._clock = clock or Clock()
        self.folder = folder / service
        self._segment_bytes = max(
            2 * MAX_LINE_BYTES, min(MAX_SEGMENT_BYTES, keep_bytes // MAX_SEGMENTS)
        )
        self._keep_bytes = keep_bytes
        self._keep_days = keep_days
        self._lock_file = self._file = -1
        self._pid = 0
        self._segment: Segment | None = None
        self._lost_count = 0
        self._failed_at = float("-inf")
        with suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def append(self, line: bytes) -> bool:
        """Append a line, with its line break; return whether it was written."""
        try:
            with self._locked():
                self._open_current()
                self._write(line)
                if self._lost_count:
                    self._store_lost()
        except OSError:
            self.lose()
            self._failed_at = time.monotonic()
            self.close()
            return False
        return True

    def expire(self) -> None:
        """Close the segment of an earlier day, and delete the segments that are not kept.

        Raises:
            OSError: It cannot be done, or another process writes for long.
        """
        try:
            with self._locked():
                self._open_current()
                status = os.fstat(self._file)
                if self._is_of_earlier_day(status):
                    self._roll(status.st_size)
                else:
                    self._delete_old()
        finally:
            self.close()

    def lose(self) -> None:
        """Count a line that cannot be written."""
        self._lost_count += 1

    def close(self) -> None:
        """Close the files; the next line opens them again."""
        for number in (self._lock_file, self._file):
            if number >= 0:
                with suppress(OSError):
                    os.close(number)
        self._lock_file = self._file = -1
        self._segment = None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._pid != os.getpid():  # a fork shares the lock of its parent
            self.close()
            self._pid = os.getpid()
        if self._lock_file < 0:
            self._lock_file = os.open(self.folder / CURRENT, os.O_RDWR | os.O_CREAT, 0o600)
        end = time.monotonic() + self._lock_seconds
        is_patient = end - self._failed_at > FAILURE_SECONDS
        while True:
            try:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not is_patient or time.monotonic() > end:
                    raise
                time.sleep(0.001)
        try:
            yield
        finally:
            if self._lock_file >= 0:
                fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def _open_current(self) -> None:
        """Open the segment that CURRENT names, or else the newest one, or the first."""
        name = os.fsdecode(os.pread(self._lock_file, 100, 0))
        if self._segment is None or name != self._segment.path.name:
            newest = list_segments(self.folder)[-1:] or [_build_segment(self.folder, 0, 0)]
            self._open(newest[0])

    def _open(self, segment: Segment) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        # Named before it is made: after a kill in between, the next writer names the newest segment
        # that is there. A segment without a name would end the one that others still write to.
        name = os.fsencode(segment.path.name)
        os.pwrite(self._lock_file, name, 0)
        os.ftruncate(self._lock_file, len(name))
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        self._file = os.open(segment.path, flags, 0o600)
        self._segment = segment

    def _write(self, line: bytes) -> None:
        status = os.fstat(self._file)
        size = status.st_size
        is_full = size >= self._segment_bytes or self._is_of_earlier_day(status)
        if is_full or not status.st_nlink:
            size = self._roll(size)
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            line = b"\n" + line  # another process was killed within its line
        if os.write(self._file, line) != len(line):
            raise OSError("the disk is full")

    def _roll(self, size: int) -> int:
        """Begin the next segment, delete old ones; return the size of the new one."""
        if self._segment is None:
            raise AssertionError("a segment is open")
        start, lines = self._segment.start + size, _count_lines(self._file, size)
        self._open(_build_segment(self.folder, start, self._segment.first_line + lines))
        self._delete_old()
        return os.fstat(self._file).st_size

    def _delete_old(self) -> None:
        """Delete the segments above the size, or of a day that is not kept; the newest stays."""
        segments = list_segments(self.folder)
        for segment in segments[:-1]:
            is_in_size = (
                segments[-1].start - segment.start <= self._keep_bytes - self._segment_bytes
            )
            with suppress(FileNotFoundError):
                if not is_in_size or self._day_count(segment.path.stat()) > self._keep_days:
                    segment.path.unlink()

    def _is_of_earlier_day(self, status: os.stat_result) -> bool:
        return status.st_size > 0 and self._day_count(status) > 0

    def _day_count(self, status: os.stat_result) -> int:
        """Return the number of UTC days since the last line of a segment."""
        today = self._clock.now().timestamp() // DAY_SECONDS
        return int(today - status.st_mtime // DAY_SECONDS)

    def _store_lost(self) -> None:
        file = os.open(self.folder / LOST, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            count = f"{_parse_number(os.pread(file, 20, 0)) + self._lost_count:020d}"
            os.pwrite(file, count.encode(), 0)
        finally:
            os.close(file)
        self._lost_count = 0


def _count_lines(file: int, size: int) -> int:
    count = 0
    for start in range(0, size, READ_BYTES):
        count += os.pread(file, min(READ_BYTES, size - start), start).count(b"\n")
    return count


def _parse_number(text: bytes) -> int:
    return int(text) if text.isdigit() else 0


def _build_segment(folder: Path, start: int, first_line: int) -> Segment:
    return Segment(start, first_line, folder / f"{start:018d}-{first_line:012d}{SUFFIX}")


def _parse_segment(path: Path) -> Segment | None:
    start, dash, line = path.name.removesuffix(SUFFIX).partition("-")
    is_one = dash and path.name.endswith(SUFFIX) and f"{start}{line}".isdecimal() and line
    return Segment(int(start), int(line), path) if is_one and start else None


def list_segments(folder: Path) -> list[Segment]:
    """Return the segments of a service's folder by their start; none where it is missing."""
    try:
        segments = [_parse_segment(path) for path in folder.iterdir()]
    except OSError:
        return []
    return sorted(segment for segment in segments if segment is not None)


def list_segment_paths(folder: Path) -> list[Path]:
    """Return the segments of all services below a folder."""
    services = [folder / name for name in list_services(folder)]
    return [segment.path for service in services for segment in list_segments(service)]


def list_services(folder: Path) -> list[str]:
    """Return the names of the services that have a log below a folder."""
    try:
        return sorted(
            path.name for path in folder.iterdir() if SERVICE.fullmatch(path.name) and path.is_dir()
        )
    except OSError:
        return []


def expire_segments(
    folder: Path, keep_bytes: int, keep_days: int, *, clock: Clock | None = None
) -> Mapping[str, OSError]:
    """Delete the segments that are not kept, also of programs that do not run any more.

    Args:
        folder: Folder of all services.
        keep_bytes: Size that is kept of each service.
        keep_days: Number of days that are kept.
        clock: The real time.

    Returns:
        The errors of services whose segments could not be deleted.
    """
    errors: dict[str, OSError] = {}
    for name in list_services(folder):
        if not list_segments(folder / name):
            continue
        try:
            LogFile(
                folder, name, keep_bytes, keep_days, lock_seconds=EXPIRY_LOCK_SECONDS, clock=clock
            ).expire()
        except OSError as error:
            errors[name] = error
    return errors


def count_unwritten(folder: Path) -> Mapping[str, int]:
    """Return the counts of lines that could not be written, by service below a folder."""
    counts: dict[str, int] = {}
    for name in list_services(folder):
        with suppress(OSError):
            counts[name] = _parse_number((folder / name / LOST).read_bytes().strip())
    return {name: count for name, count in counts.items() if count}


def find_end(folder: Path) -> int:
    """Return the position after the last line of a service's folder."""
    for segment in reversed(list_segments(folder)):
        with suppress(FileNotFoundError):
            return segment.start + segment.path.stat().st_size
    return 0


class StoredLine(NamedTuple):
    """A line, its position, and that of the line after it, without the line break."""

    position: int
    end: int
    text: bytes


class LogPage(NamedTuple):
    """Lines from a position on.

    Attributes:
        lines: Whole lines, in order.
        end: Position from which to read on.
        lost_count: Number of lines before them whose segment was deleted.
    """

    lines: list[StoredLine]
    end: int
    lost_count: int


def read_after(folder: Path, position: int, line_number: int | None = None) -> LogPage:
    """Return the lines of a service from a position on, READ_BYTES at most at once.

    Args:
        folder: Folder of the service.
        position: A line begins there, or it is before the oldest line.
        line_number: Count of the lines before that position; None: lost lines are not counted.
    """
    lost = 0
    segments = list_segments(folder)
    if segments and position > find_end(folder):  # the log was deleted, and began again
        position = segments[0].start
    for index, segment in enumerate(segments):
        is_last = index == len(segments) - 1
        if not is_last and segments[index + 1].start <= position:
            continue
        if segment.start > position:  # the lines between were deleted
            lost = max(0, segment.first_line - line_number) if line_number is not None else 0
            position = segment.start
        try:
            with segment.path.open("rb") as file:
                file.seek(position - segment.start)
                data = file.read(READ_BYTES)
        except FileNotFoundError:
            continue
        if not data and not is_last:
            position = segments[index + 1].start
            continue
        whole = data.rfind(b"\n") + 1
        if not whole and (len(data) == READ_BYTES or not is_last):
            whole = len(data)  # not a line of ours, or the last one of a process that was killed
        return LogPage(_split_lines(data[:whole], position), position + whole, lost)
    return LogPage([], position, lost)


def _split_lines(data: bytes, position: int) -> list[StoredLine]:
    lines: list[StoredLine] = []
    texts = data.split(b"\n")
    last = texts.pop()  # empty, or a part of a line
    for text in texts:
        lines.append(StoredLine(position, position + len(text) + 1, text))
        position = lines[-1].end
    return [*lines, StoredLine(position, position + len(last), last)] if last else lines


def read_before(folder: Path, position: int) -> Iterator[StoredLine]:
    """Yield the lines of a service that end at a position or before it, the newest first."""
    for segment in reversed(list_segments(folder)):
        if segment.start >= position:
            continue
        try:
            with segment.path.open("rb") as file:
                size = min(os.fstat(file.fileno()).st_size, position - segment.start)
                yield from _read_backwards(file.fileno(), segment.start, size)
        except FileNotFoundError:
            return


def _read_backwards(file: int, start: int, size: int) -> Iterator[StoredLine]:
    remainder = b""
    while size > 0:
        count = min(READ_BYTES, size)
        size -= count
        data = os.pread(file, count, size) + remainder
        head = data.find(b"\n") + 1 if size else 0
        if size and not head and len(data) <= 2 * READ_BYTES:
            remainder = data
            continue
        yield from reversed(_split_lines(data[head:], start + size + head))
        remainder = data[:head]
