"""The route of webhooks as a program, which may be killed between the commit and the answer."""

import os
import signal
import sys
from collections.abc import Sequence

import uvicorn
from starlette.applications import Starlette

from orchestration_project.engine.environment import open_warehouse
from orchestration_project.gateway.hooks import Hooks, opened_hooks, routes
from orchestration_project.services.inbox.rows import Inbox, NewDelivery, Stored
from orchestration_project.settings import load_settings


def die_after_the_commit() -> None:
    """Have this process killed as soon as a delivery is stored, before it is acknowledged."""
    take = Inbox.take

    def take_and_die(self: Inbox, deliveries: Sequence[NewDelivery]) -> list[Stored]:
        stored = take(self, deliveries)
        os.kill(os.getpid(), signal.SIGKILL)
        return stored

    Inbox.take = take_and_die


def main(port: int, *, is_killed: bool) -> None:
    """Serve on ``port``; ``is_killed``: until the first delivery is stored."""
    if is_killed:
        die_after_the_commit()
    settings = load_settings()
    with open_warehouse(settings) as warehouse, opened_hooks(settings, warehouse) as hooks:
        serve(hooks, port)


def serve(hooks: Hooks, port: int) -> None:
    """Serve until the process ends."""
    uvicorn.run(Starlette(routes=routes(hooks)), port=port, log_level="error")


if __name__ == "__main__":
    main(int(sys.argv[1]), is_killed="--killed" in sys.argv)
