"""`python -m tests.slow.killed_mirrors`: runs of the mirror in processes that a test kills.

For each line of the input, a fork of this process, which has imported everything, mirrors what
waits; its process ID is printed first, and its status when it has ended.
"""

import os
import sys

import dagster as dg

from orchestration_project.assets.mqtt import mirror_mqtt
from tests.resources.definitions import RESOURCES


def mirror(hour: str) -> bool:
    """Mirror what waits; return whether the run succeeded."""
    result = dg.materialize(
        [mirror_mqtt], partition_key=hour, resources=RESOURCES, raise_on_error=False
    )
    return result.success


def main() -> None:
    """Mirror once for each line, which is an hour."""
    for line in sys.stdin:
        process = os.fork()
        if not process:
            os._exit(not mirror(line.strip()))
        sys.stdout.write(f"{process}\n")
        sys.stdout.flush()
        _, status = os.waitpid(process, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
