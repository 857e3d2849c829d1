"""The process that ends what `ui` started, also when `ui` itself was killed.

It reads process groups from its standard input, a line each, until that closes: because `ui` is
done, or because it is gone. Then it ends the groups. It has a session of its own, so that no
signal for `ui` or its terminal reaches it.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable

GRACE_SECONDS = 10.0


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
