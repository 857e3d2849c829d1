"""The stepped calendar: one file with its distance from real time, which all programs read.

The calendar goes on in real time between two steps. Elapsed time (`monotonic`, sleeps, the clock of
a database) stays real.
"""

import mmap
import struct
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import _time_machine
import time_machine

LAYOUT = struct.Struct("=q")
"""Nanoseconds that the calendar is ahead of real time; aligned, so it is written at once."""


def real_time_ns() -> int:
    """Return nanoseconds since 1970, whether or not this process follows a calendar."""
    return _time_machine.original_time_ns() if time_machine.traveller_stack else time.time_ns()


class CalendarFile:
    """The file of a run of the soak, mapped into memory; forked processes share the mapping."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(LAYOUT.pack(0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), LAYOUT.size)

    def time_ns(self) -> int:
        """Return nanoseconds since 1970 on the calendar."""
        return real_time_ns() + LAYOUT.unpack_from(self._memory)[0]

    def now(self) -> datetime:
        """Return the time on the calendar, in UTC."""
        seconds, nanoseconds = divmod(self.time_ns(), 10**9)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)

    def step_to(self, moment: datetime) -> None:
        """Set the calendar of all programs to a time."""
        LAYOUT.pack_into(self._memory, 0, round(moment.timestamp() * 10**9) - real_time_ns())


def follow(path: Path) -> CalendarFile:
    """Have `time.time`, `datetime.now` and the like of this process read the calendar."""
    calendar = CalendarFile(path)
    time_machine.Traveller.time_ns = lambda self: calendar.time_ns()
    time_machine.travel(0.0).start()
    return calendar


MODULES_OF_REAL_TIME = (
    *("grpc._channel", "grpc._common", "grpc._server", "grpc._utilities"),
    "grpc._cython.cygrpc",
    *("dagster._grpc.server", "dagster._grpc.proxy_server"),
    "dagster._core.remote_representation.grpc_server_registry",
)
"""Modules that measure elapsed time by `time.time`.

Those of gRPC pass points of time to C code, which compares them with the clock of the machine. A
code server ends when no heartbeat came for a minute.
"""


def keep_real_time(module: Any) -> None:
    """Have a module read real time, by names of its own."""

    def real_seconds() -> float:
        return real_time_ns() / 10**9

    module.time = SimpleNamespace(**vars(time) | {"time": real_seconds})
    module.get_current_timestamp = real_seconds
