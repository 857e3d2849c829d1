"""A disk that is full to its last byte below one thing that a load writes.

Small disks of their own, so that what fills up is that thing alone. What a limit on the size of
files shows, which needs no mount, is in `tests/resources/test_bad_surroundings.py` and
`tests/cli/test_full_disk.py`.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import psycopg
import pytest

from tests import databases, programs
from tests.faults.disks import Disk, tiny_disk
from tests.faults.file_loads import A_WEEK, Ended, Files, Loads
from tests.faults.matrix import strikes
from tests.postgres import new_database, new_folder
from tests.slow.tcp_postgres import tcp_server

pytestmark = pytest.mark.faults

PAGES_OF_A_BLOB = 2
"""So many are left where the compressed bytes shall fit, and the Parquet file shall not."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with tiny_disk(tmp_path / "disk", mebibytes=4) as disk:
        yield disk


def assert_it_failed(ended: Ended, files: Files, url: str, *said: str) -> None:
    """It is reported once, with what to do; nothing was published."""
    missing = [text for text in ("what to do: ", *said) if text not in ended.message]
    assert missing == [], ended.message
    assert files.are_named_in(ended.message), ended.message
    assert ended.attempts == 1
    assert files.quantities(url) == files.before


def check_load_after_full_disk(
    loads: Loads, url: str, disk: Disk, *said: str, leaving_pages: int = 0
) -> None:
    loads.deliver(loads.files.good)
    assert loads.run(url).is_well
    loads.deliver(loads.files.restated)
    disk.fill(leaving_pages=leaving_pages)
    ended = loads.run(url)
    assert not list(disk.folder.rglob(".partial-*"))
    disk.free()  # without which SQLite cannot even be read
    assert_it_failed(ended, loads.files, url, *said)
    assert loads.run(url).is_well
    assert loads.files.quantities(url) == loads.files.after


@pytest.mark.parametrize(
    ("stage", "leaving_pages", "folder"),
    [
        ("below the captured bytes", 0, "blobs"),
        ("below the staged rows", PAGES_OF_A_BLOB, "staged"),
    ],
)
def test_files_that_do_not_fit_the_disk_are_named_and_load_later(
    stage: str,
    leaving_pages,
    folder,
    disk: Disk,
    loads: Loads,
    tmp_path,
    monkeypatch,
    both_versions,
):
    rows = [fault for fault, _ in strikes("the disk is full") if fault.stage == stage]
    if loads.files.domain not in rows[0].domains:
        return
    monkeypatch.setenv("ARTIFACTS_URL", str(disk.folder))
    url = f"sqlite:///{tmp_path}/x.sqlite"
    said = (f"cannot write the artifact {folder}/", "No space left on device", "free some disk")
    check_load_after_full_disk(loads, url, disk, *said, leaving_pages=leaving_pages)
    assert databases.contents(url) == both_versions


@pytest.mark.parametrize(
    ("leaving_pages", "found"), [(0, "disk I/O error"), (12, "database or disk is full")]
)
def test_a_sqlite_file_that_cannot_grow_keeps_what_it_has(
    leaving_pages: int, found: str, disk: Disk, loads: Loads, both_versions
):
    url = f"sqlite:///{disk.folder}/x.sqlite"
    said = (found, f"{disk.folder}/x.sqlite", "make space on its disk")
    check_load_after_full_disk(loads, url, disk, *said, leaving_pages=leaving_pages)
    assert databases.contents(url) == both_versions


@contextmanager
def without_vacuum(connection: psycopg.Connection) -> Iterator[None]:
    """Keep the server from vacuuming of its own accord."""
    connection.execute("ALTER SYSTEM SET autovacuum = off")
    connection.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        connection.execute("ALTER SYSTEM RESET autovacuum")
        connection.execute("SELECT pg_reload_conf()")


@contextmanager
def database_on(disk: Disk, server: str) -> Iterator[str]:
    """Give the URL of a PostgreSQL database whose tables lie on the disk.

    Nothing is vacuumed meanwhile: a vacuum of `pg_class` removes a file of the database that holds
    what is known of its catalogue, and a small load fits in its place.
    """
    [socket_folder] = parse_qs(urlsplit(server).query)["host"]
    owner = Path(socket_folder, ".s.PGSQL.5432").stat().st_uid
    disk.folder.parent.chmod(0o755)
    place = disk.folder / "tablespace"
    place.mkdir()
    os.chown(place, owner, -1)
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection, without_vacuum(connection):
        connection.execute(f"CREATE TABLESPACE {name} LOCATION '{place}'".encode())
        connection.execute(f"CREATE DATABASE {name} TABLESPACE {name}".encode())
        try:
            yield server.replace("/postgres?", f"/{name}?")
        finally:  # else no checkpoint of the server, which others use too, would succeed any more
            disk.free()
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
            connection.execute(f"DROP TABLESPACE {name}".encode())


@pytest.mark.slow
def test_a_postgresql_whose_tables_cannot_grow_keeps_what_it_has(
    loads: Loads, postgres_server: str, both_versions
):
    with (
        TemporaryDirectory() as folder,  # pytest's own are closed to the server's user
        tiny_disk(Path(folder) / "disk", mebibytes=16) as disk,
        database_on(disk, postgres_server) as url,
    ):
        said = ("No space left on device", "make space on its disk")
        check_load_after_full_disk(loads, url, disk, *said)
        assert databases.contents(url) == both_versions


@pytest.mark.slow
def test_a_postgresql_whose_whole_disk_is_full_keeps_what_it_has(loads: Loads, both_versions):
    with new_folder() as folder:
        folder.chmod(0o755)  # for the server's user
        with (
            tiny_disk(folder / "disk", mebibytes=160) as disk,
            tcp_server("127.0.0.1", disk.folder) as server,
        ):
            url = new_database(server.url, "full")
            said = ("No space left on device", "make space on its disk")
            check_load_after_full_disk(loads, url, disk, *said)
            assert databases.contents(url) == both_versions


class Command:
    """`run`, in a process of its own, with its Dagster's state on a small disk."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self._files = folder / "files"
        self._files.mkdir(parents=True)
        self.url = databases.sqlite_url(self.state, "real")

    def load(self, content: bytes) -> tuple[int, str]:
        """Load this file; return status and what stands on standard error."""
        (self._files / A_WEEK.name).write_bytes(content)
        process = programs.start(
            self.state,
            *("orchestration_project", "run"),
            FINRA_SOURCE="files",
            FINRA_FILES_DIR=str(self._files),
        )
        _, error = process.communicate(timeout=240)
        return process.returncode, error


@pytest.fixture(scope="module")
def undisturbed_command(
    tmp_path_factory: pytest.TempPathFactory,
) -> Mapping[str, databases.Rows]:
    command = Command(tmp_path_factory.mktemp("command"))
    assert [command.load(content) for content in (A_WEEK.good, A_WEEK.restated)] == [
        (0, ""),
        (0, ""),
    ]
    return databases.contents(command.url)


WHERE: Mapping[str, Callable[[Path], Path]] = {
    "below Dagster's runs and events": lambda state: state / "dagster",
    "below what steps print": lambda state: state / "dagster" / "compute_logs",
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", WHERE)
def test_a_full_disk_of_dagster_is_reported_and_loads_go_on(
    stage: str, tmp_path: Path, undisturbed_command
):
    assert any(fault.stage == stage for fault, _ in strikes("the disk is full"))
    command = Command(tmp_path)
    with tiny_disk(WHERE[stage](command.state), mebibytes=32) as disk:
        assert command.load(A_WEEK.good) == (0, "")
        disk.fill()
        status, error = command.load(A_WEEK.restated)
        assert status == 1
        assert error.startswith("Dagster could not write its own state\n"), error
        assert "make space; what is loaded stays; run it again" in error
        assert "Traceback" not in error
        assert A_WEEK.quantities(command.url) in (A_WEEK.before, A_WEEK.after)
        disk.free()
        assert command.load(A_WEEK.restated) == (0, "")
    assert databases.contents(command.url) == undisturbed_command


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["dagster", "."])
def test_a_ui_that_is_started_on_a_full_disk_says_so(folder, tmp_path: Path):
    state = tmp_path / "state"
    with tiny_disk(state / folder, mebibytes=4) as disk:
        disk.fill()
        status, output, error = programs.run(
            *(state, "orchestration_project", "--quiet", "ui"),
            *("--port", str(programs.free_port())),
        )
    assert (status, output) == (1, "")
    assert error.startswith("Dagster could not write its own state\n"), error
    assert "No space left on device" in error
    assert "Traceback" not in error
