"""Debian's mosquitto for tests, on ports of its own: the example configuration or a short one."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestration_project.settings import PROJECT_ROOT
from tests.expecting import expect_present
from tests.programs import free_port, wait_for

EXAMPLE = PROJECT_ROOT / "deploy" / "mosquitto"
PROGRAM = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


class Mosquitto:
    """A broker that can be stopped, killed and started again on the same port."""

    def __init__(self, folder: Path, config: str, port: int) -> None:
        self.port = port
        self._folder = folder
        self._config = folder / "mosquitto.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        self._config.write_text(f"{config}\nlog_dest file {folder}/broker.log\n{user}")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def data_file(self) -> Path:
        """Sessions and messages as they were saved."""
        return self._folder / "mosquitto.db"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(  # noqa: S603 - Debian's broker
            [PROGRAM, "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._listens)

    def _listens(self) -> bool:
        if expect_present(self.process).poll() is not None:
            raise RuntimeError((self._folder / "broker.log").read_text()[-2_000:])
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal; SIGKILL has it forget what it did not save."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def save(self) -> None:
        """Have it save sessions and messages, and wait until it has."""
        process = expect_present(self.process)
        if self.data_file.exists():
            os.utime(self.data_file, (0, 0))
        process.send_signal(signal.SIGUSR1)
        wait_for(lambda: self.data_file.exists() and self.data_file.stat().st_mtime > 0)


@contextmanager
def mosquitto(folder: Path, *lines: str) -> Iterator[Mosquitto]:
    """Run a broker without accounts; ``lines`` are further ones of its configuration."""
    port = free_port()
    config = (
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "persistence true",
        f"persistence_location {folder}/",
        "max_queued_messages 0",
        *lines,
    )
    yield from _running(Mosquitto(folder, "\n".join(config), port))


@contextmanager
def example_broker(
    folder: Path, certificates: Mapping[str, Path], passwords: Mapping[str, str]
) -> Iterator[Sequence[int]]:
    """Run deploy/mosquitto with paths and ports filled in; give the ports in its order.

    Args:
        folder: Of the broker.
        certificates: Files by their names in the configuration, such as server.pem.
        passwords: By account.
    """
    for user, password in passwords.items():
        file = folder / "passwords"
        create = [] if file.exists() else ["-c"]
        command = ["mosquitto_passwd", *create, "-b", str(file), user, password]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - Debian's
    acl = folder / "acl"
    acl.write_text((EXAMPLE / "acl").read_text())
    acl.chmod(0o600)
    text = (EXAMPLE / "mosquitto.conf").read_text()
    for name, file in certificates.items():
        text = text.replace(f"/etc/mosquitto/certs/{name}", str(file))
    text = text.replace("/etc/mosquitto/", f"{folder}/").replace(
        "/var/lib/mosquitto/", f"{folder}/"
    )
    ports: list[int] = []

    def own_port(_: re.Match[str]) -> str:
        ports.append(free_port())
        return f"listener {ports[-1]} 127.0.0.1"

    text = re.sub(r"^listener \d+$", own_port, text, flags=re.MULTILINE)
    for _ in _running(Mosquitto(folder, text, ports[0])):
        yield ports


def _running(broker: Mosquitto) -> Iterator[Mosquitto]:
    broker.start()
    try:
        yield broker
    finally:
        broker.end(signal.SIGKILL)
