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

from orchestration_project.cli.stack_services import LOOPBACK, RABBITMQ_SERVER, broker_url, rabbitmq
from tests.expecting import expect_exit
from tests.programs import free_port, wait_for

PASSWORD = "rabbit-for-tests"

requires_rabbitmq = pytest.mark.skipif(
    not RABBITMQ_SERVER.exists() or not shutil.which("epmd"),
    reason="rabbitmq-server is not installed",
)


class Broker:
    """A broker and its port mapper; it listens on ``address``, the loopback one by default.

    Args:
        folder: Its state.
        address: Address of its one listener.
        config: Lines of its configuration beside those of `deploy/`.
        port: Its port; a free one by default.
    """

    def __init__(
        self, folder: Path, address: str = LOOPBACK, config: str = "", port: int | None = None
    ) -> None:
        self.port, self.address = port or free_port(), address
        self._programs = rabbitmq(folder, self.port, (free_port(), free_port()), PASSWORD)
        file = folder / "rabbitmq.conf"
        listener = f"{LOOPBACK}:{self.port}"
        file.write_text(file.read_text().replace(listener, f"{address}:{self.port}") + config)
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return broker_url(self.port, PASSWORD).replace(LOOPBACK, self.address)

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
        with suppress(OSError), socket.create_connection((self.address, self.port), timeout=1):
            return True
        return False

    def control(self, *arguments: str) -> str:
        """Call RabbitMQ's command for administrators; return its output."""
        environment = {**os.environ, **self._programs[-1].environment}  # noqa: TID251 - the same
        command = [str(RABBITMQ_SERVER.parent / "rabbitmqctl"), "--quiet", *arguments]
        ended = subprocess.run(  # noqa: S603 - Debian's
            command, env=environment, check=False, capture_output=True, text=True
        )
        expect_exit(ended)
        return ended.stdout

    def end(self, number: int = signal.SIGKILL) -> None:
        """End the broker; what it has confirmed is on the disk."""
        for process in reversed(self._processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            process.wait()
        self._processes = []


@contextmanager
def running_broker(
    folder: Path, address: str = LOOPBACK, config: str = "", port: int | None = None
) -> Iterator[Broker]:
    broker = Broker(folder, address, config, port)
    try:
        broker.start()
        yield broker
    finally:
        broker.end()
