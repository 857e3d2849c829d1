"""`python -m orchestration_demo.saas`: synthetic PeopleForce and Jira on 127.0.0.1."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from orchestration_demo.clock import Clock, iso_time, time_in
from orchestration_demo.lifecycle import log_to, only_one, serve
from orchestration_demo.saas.server import Systems


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options in ``arguments``, or on the command line."""
    parser = argparse.ArgumentParser(prog="orchestration_demo.saas", description=__doc__)
    add = parser.add_argument
    add("--state-dir", type=Path, required=True, help="what it keeps is in DIR/demo_saas")
    add("--seed", type=int, default=20_250_106, help="decides every task")
    add("--tasks", type=int, default=40, help="tasks of PeopleForce at the start")
    add("--requests-per-second", type=int, default=20, help="limit of PeopleForce; 0: none")
    add("--idle-seconds", type=float, default=900.0, help="ends after so long without a request")
    add("--clock-now", type=iso_time, help="an ISO time to advance from, instead of real time")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until idle or stopped; return at once if another server already runs."""
    options = parse_options(arguments)
    folder = options.state_dir / "demo_saas"
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder) as is_first:
        if is_first:
            (folder / "server.json").unlink(missing_ok=True)
            log_to(folder / "server.log")
            _run(options, folder)


def _run(options: argparse.Namespace, folder: Path) -> None:
    systems = Systems(
        seed=options.seed,
        task_count=options.tasks,
        clock=Clock(time_in(options.clock_now) if options.clock_now else None),
        requests_per_second=options.requests_per_second,
    )
    told = vars(options) | {"state_dir": str(options.state_dir)}
    serve(systems, folder / "server.json", idle_seconds=options.idle_seconds, options=told)


if __name__ == "__main__":
    main()
