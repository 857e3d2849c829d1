"""Exits with 0 if a program of this container is connected to a TCP port elsewhere, e.g. 5672.

The health check of workers and of the bridge: they serve no port, and work while they are
connected to their broker. It imports nothing of the project, so it takes milliseconds.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
ESTABLISHED = "01"


def is_connected(port: int, tables: Iterable[Path] = TABLES) -> bool:
    """Return whether the kernel's tables list an established connection to ``port``."""
    for table in filter(Path.exists, tables):
        for line in table.read_text().splitlines()[1:]:
            _, _, remote, state, *_ = line.split()
            if state == ESTABLISHED and int(remote.rpartition(":")[2], 16) == port:
                return True
    return False


def main(arguments: list[str]) -> int:
    """Return 0 if there is a connection, 1 if not, 2 for other arguments than a port."""
    if len(arguments) != 1 or not arguments[0].isdecimal():
        sys.stderr.write("invalid arguments: expected a port, e.g. 5672\n")
        return 2
    if is_connected(int(arguments[0])):
        return 0
    sys.stderr.write(f"no connection to a port {arguments[0]}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
