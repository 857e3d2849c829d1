"""`python -m tests.slow.killed_commands URL FOLDER`: commands in processes that a test kills.

Each line of the input is the number of the first command. A fork of this process, which has
imported everything, sends commands from that one on until it is killed. Its process ID is printed
first, then -1 when it begins, then the number of each command that was answered.
"""

import os
import sys
from itertools import count
from pathlib import Path

from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.mqtt.commands import Command, Operation, execute
from orchestration_project.resources.mqtt.kinds import read_kind_files
from orchestration_project.resources.mqtt.mirroring import Mirror
from orchestration_project.settings import PROJECT_ROOT

PROJECTS = 3
LIFE: tuple[Operation, ...] = ("created", "updated", "updated", "deleted")


def command(number: int) -> Command:
    """Return a command: those of a project create, update and delete it, again and again."""
    operation = LIFE[number // PROJECTS % len(LIFE)]
    return Command(
        entity_type="project",
        operation=operation,
        entity_id=f"p{number % PROJECTS}",
        fields={} if operation == "deleted" else {"name": f"name {number}"},
        user_name="ada",
        request_key=str(number),
    )


def send(url: str, folder: Path, first: int) -> None:
    """Send commands until this process is killed."""
    clock = Clock()
    with Warehouse(url, clock=clock) as warehouse:
        mirror = Mirror(
            warehouse=warehouse,
            captures=Captures(FolderStore(folder)),
            clock=clock,
            kinds=read_kind_files(PROJECT_ROOT / "config/kinds"),
            max_bytes=100_000,
            max_skew_seconds=300,
            source="demo",
            run_id="request",
        )
        os.write(1, b"-1\n")
        for number in count(first):
            execute(mirror, command(number))
            os.write(1, b"%d\n" % number)


def main() -> None:
    """Send commands for each line."""
    url, folder = sys.argv[1], Path(sys.argv[2])
    for line in sys.stdin:
        process = os.fork()
        if not process:
            send(url, folder, int(line))
        os.write(1, b"%d\n" % process)
        os.waitpid(process, 0)
        os.write(1, b"ended\n")


if __name__ == "__main__":
    main()
