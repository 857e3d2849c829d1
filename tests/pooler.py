"""A pooler in front of a PostgreSQL server that listens on a socket alone."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy.engine import make_url

from tests import programs
from tests.postgres import new_folder

PROGRAM = "pgbouncer"

SETTINGS = """[databases]
* = host={host} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
"""

EACH_ON_ANOTHER = "server_round_robin = 1\nmin_pool_size = 3\n"
"""So that a transaction meets what others left on a connection, and not what its own client did."""


@contextmanager
def pooled(server_url: str, mode: str) -> Iterator[Callable[[str], str]]:
    """Run PgBouncer in a mode; give what turns a URL of the server into one by way of it."""
    host, port = str(make_url(server_url).query["host"]), programs.free_port()

    def by_way_of_it(url: str) -> str:
        through = make_url(url).set(host="127.0.0.1", port=port, query={})
        return through.set(drivername="postgresql").render_as_string(hide_password=False)

    with new_folder() as folder:
        file = folder / "pgbouncer.ini"
        file.write_text(SETTINGS.format(host=host, port=port, mode=mode) + EACH_ON_ANOTHER)
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(  # noqa: S603 - Debian's program
                _command(file, Path(host)), stdout=log, stderr=log
            )
        try:
            programs.wait_for(lambda: _answers(by_way_of_it(server_url)))
            yield by_way_of_it
        finally:
            process.terminate()
            process.wait(timeout=programs.PATIENCE_SECONDS)


def _command(file: Path, host: Path) -> list[str]:
    """Return the command; root may not run it, and who started the server can reach its socket."""
    if os.geteuid() != 0:
        return [PROGRAM, str(file)]
    for path in (file.parent, file):
        os.chown(path, host.stat().st_uid, -1)
    return [PROGRAM, "--user", host.owner(), str(file)]


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
