"""Ends the programs of ui once ui has ended, however it did.

A process of it runs as long as ui, so it imports little.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping

GRACE_SECONDS = 10.0

POLL_SECONDS = 0.1
"""Between looks at a program that starts or ends."""


class Watcher:
    """The watcher process, which ends the programs of ui once ui has ended.

    Args:
        environment: Its environment.
        lock: Descriptor of the lock that a ui holds: it is held until the programs have ended.
    """

    def __init__(self, environment: Mapping[str, str], lock: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "orchestration_project.cli.ending"],
            stdin=subprocess.PIPE,
            bufsize=0,
            env=environment,
            pass_fds=[lock],
            start_new_session=True,
        )

    def add(self, group: int) -> None:
        """Have it end a group of processes, too."""
        assert self._process.stdin  # noqa: S101 - it was started with a pipe
        self._process.stdin.write(f"{group}\n".encode())

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def end(self, groups: Iterable[int], meanwhile: Callable[[], object]) -> None:
        """Have it end all programs; if it was killed itself, do its work."""
        assert self._process.stdin  # noqa: S101 - it was started with a pipe
        self._process.stdin.close()
        while self.is_alive:
            meanwhile()
            time.sleep(POLL_SECONDS)
        if self._process.returncode:
            end_groups(groups)


def end_groups(groups: Iterable[int]) -> None:
    """Ask every process of ``groups`` to end, and kill those that do not within the grace."""
    alive = [group for group in groups if _send(group, signal.SIGTERM)]
    deadline = time.monotonic() + GRACE_SECONDS
    while alive and time.monotonic() < deadline:
        time.sleep(0.05)
        alive = [group for group in alive if _send(group, 0)]
    for group in alive:
        _send(group, signal.SIGKILL)


def _send(group: int, number: int) -> bool:
    """Send the signal; return whether the group still has a process (0 only asks)."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    end_groups([int(line) for line in sys.stdin])
