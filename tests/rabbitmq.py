"""A throw-away RabbitMQ for tests, as the stack runs it."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from orchestration_project.cli.stack_services import RABBITMQ_SERVER, broker_url, rabbitmq
from tests.programs import free_port, wait_for

PASSWORD = "rabbit-for-tests"

requires_rabbitmq = pytest.mark.skipif(
    not RABBITMQ_SERVER.exists() or not shutil.which("epmd"), reason="there is no rabbitmq-server"
)


class Broker:
    """A broker and its port mapper."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._programs = rabbitmq(folder, self.port, (free_port(), free_port()), PASSWORD)
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return broker_url(self.port, PASSWORD)

    def start(self) -> None:
        for program in self._programs:
            with (self._folder / f"{program.name}.log").open("ab") as log:
                self._processes.append(
                    subprocess.Popen(  # noqa: S603 - Debian's
                        program.command,
                        env={**os.environ, **program.environment},  # noqa: TID251 - of a program
                        stdout=log,
                        stderr=log,
                        process_group=0,
                    )
                )
        wait_for(self._accepts, 120)

    def _accepts(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def end(self, number: int = signal.SIGKILL) -> None:
        """End the broker; what it has confirmed is on the disk."""
        for process in reversed(self._processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            process.wait()
        self._processes = []


@contextmanager
def running_broker(folder: Path) -> Iterator[Broker]:
    broker = Broker(folder)
    try:
        broker.start()
        yield broker
    finally:
        broker.end()
