"""Places for requests in flight: how many there are at once, over the processes of a machine.

A place is a locked file below STATE_DIR, so that the system frees it when its process is killed.
"""

import fcntl
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestration_project.errors import ConfigurationError

FOLDER = Path("http") / "places"
"""Folder of places in STATE_DIR."""

OVERALL = "_all"
SECONDS_BETWEEN_TRIES = 0.02
NOT_IN_NAMES = re.compile(r"[^a-z0-9.-]")
FILE_MODE = 0o600


class Places:
    """Places with a name, of which each holder has one.

    Args:
        state_dir: STATE_DIR; processes with the same one share places.
        name: Name of the places, such as a host.
        count: How many there are.
    """

    def __init__(self, state_dir: Path, name: str, count: int) -> None:
        self._folder = state_dir / FOLDER / f"{NOT_IN_NAMES.sub('_', name[:200])}.places"
        self._count = count

    def take(self) -> int | None:
        """Return a place, to be given back by `free`; None: all are taken.

        Raises:
            ConfigurationError: The folder cannot be used.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return self._free_one()
        except OSError as error:
            raise ConfigurationError(
                "the folder of requests in flight cannot be used",
                expected="a folder in STATE_DIR that this user may write",
                found=f"{error.strerror} at {error.filename}",
                remedy="make STATE_DIR writable, with free space",
            ) from error

    def _free_one(self) -> int | None:
        for number in random.sample(range(self._count), self._count):
            place = os.open(self._folder / str(number), os.O_RDWR | os.O_CREAT, FILE_MODE)
            try:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(place)
            except BaseException:
                os.close(place)
                raise
            else:
                return place
        return None

    def wait(self) -> int:
        """Return a place as soon as one is free."""
        while (place := self.take()) is None:
            time.sleep(SECONDS_BETWEEN_TRIES)
        return place

    @staticmethod
    def free(place: int) -> None:
        """Give a place back."""
        os.close(place)


@dataclass(frozen=True)
class HostPlaces:
    """Places that a request takes: one of its host, and one of all hosts; None: not limited."""

    host: Places | None = None
    overall: Places | None = None

    @contextmanager
    def hold(self, wait: Callable[[], None]) -> Iterator[None]:
        """Hold the places for the block; ``wait`` returns when the rate lets a request leave.

        A host with a long pause holds no place of all hosts while it waits. Where that place was
        waited for, so is the rate once more: else a host could get two requests in its pause.
        """
        own = self.host.wait() if self.host else None
        try:
            wait()
            shared = self.overall.take() if self.overall else None
            if self.overall and shared is None:
                shared = self.overall.wait()
                wait()
            try:
                yield
            finally:
                if shared is not None:
                    Places.free(shared)
        finally:
            if own is not None:
                Places.free(own)


def places_of(state_dir: Path, *, host_count: int, count: int) -> Callable[[str], HostPlaces]:
    """Return the places of a host by its name.

    Args:
        state_dir: STATE_DIR.
        host_count: Requests in flight at one host.
        count: Requests in flight at all hosts.
    """
    overall = Places(state_dir, OVERALL, count)
    return lambda host: HostPlaces(Places(state_dir, host, host_count), overall)
