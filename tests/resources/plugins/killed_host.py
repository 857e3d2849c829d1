"""A program that runs a plugin again and again in a forked process, whose ID it writes.

Arguments: URL of the database and ID of the plugin. Each line of standard input starts a process.
"""

import os
import sys

from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.plugins.running import run_plugin
from orchestration_project.resources.plugins.state import read_plugin
from orchestration_project.settings import load_settings


def run_until_killed(url: str, plugin: str, trial: str) -> None:
    """Run the plugin without an end."""
    settings, clock = load_settings(), Clock()
    warehouse = Warehouse(url, clock=clock)
    with warehouse.reading() as connection:
        stored = read_plugin(connection, plugin)
    number = 0
    while True:
        number += 1
        run_plugin(
            stored,
            settings=settings,
            warehouse=warehouse,
            captures=Captures(open_store(settings)),
            clock=clock,
            run_id=f"{trial}-{number}",
        )


if __name__ == "__main__":
    for line in sys.stdin:
        process_id = os.fork()
        if not process_id:
            run_until_killed(sys.argv[1], sys.argv[2], line.strip())
        sys.stdout.write(f"{process_id}\n")
        sys.stdout.flush()
        os.waitpid(process_id, 0)
        sys.stdout.write("ended\n")
        sys.stdout.flush()
