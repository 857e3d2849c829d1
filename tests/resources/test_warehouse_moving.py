"""Tables that somebody else makes, and databases that move."""

import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url, select, text

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse, bulk, copying, frames
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.tables.catalogue import tables
from orchestration_project.tables.spine import blobs
from tests.migrations.test_migrations import differences
from tests.prepared import Prepared
from tests.resources.weeks import PartitionLoader, row


@pytest.fixture
def databases_of(postgres_server, tmp_path, clock):
    """Give new empty databases of a kind."""
    opened = []

    def open_new(kind: str) -> Warehouse:
        name = f"moving_{uuid4().hex}"
        url = f"sqlite:///{tmp_path}/{name}.sqlite"
        if kind == "postgresql":
            with psycopg.connect(postgres_server, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
            url = postgres_server.replace("/postgres?", f"/{name}?")
        opened.append(Warehouse(url, clock=clock))
        return opened[-1]

    yield open_new
    for each in opened:
        each.close()


def run_script(warehouse: Warehouse, script: str) -> None:
    """Run SQL as an owner would, with the database's own means."""
    url = make_url(warehouse.shown_url)
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(url.database))) as connection:
            connection.executescript(script)
    else:
        server = url.set(drivername="postgresql").render_as_string()
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(script.encode())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_printed_sql_makes_the_tables_that_a_migration_makes(databases_of, kind):
    warehouse = databases_of(kind)
    script = warehouse.migration_sql()
    assert warehouse.migration_sql() == script  # nothing was executed
    run_script(warehouse, script)
    with warehouse.reading() as connection:
        assert differences(connection) == []
    assert warehouse.migration_sql() == "-- the tables are up to date\n"
    warehouse.prepare(holds="real")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_printed_sql_that_is_run_a_second_time_fails_and_changes_nothing(databases_of, kind):
    warehouse = databases_of(kind)
    script = warehouse.migration_sql()
    run_script(warehouse, script)
    with pytest.raises((sqlite3.OperationalError, psycopg.Error), match="already exists"):
        run_script(warehouse, script)
    with warehouse.reading() as connection:
        assert differences(connection) == []


@pytest.mark.slow
def test_a_role_without_create_rights_is_shown_the_sql_to_run(postgres_url, clock, tmp_path):
    schema, role = f"own_{uuid4().hex}", f"role_{uuid4().hex}"
    with (
        psycopg.connect(postgres_url, autocommit=True) as owner,
        Warehouse(postgres_url.replace("postgres:@", f"{role}:@"), clock=clock, schema=schema) as w,
    ):
        owner.execute(f"CREATE ROLE {role} LOGIN".encode())
        with pytest.raises(ConfigurationError, match="this role may not bring the tables") as error:
            w.prepare(holds="real")
        assert "migrate --sql" in error.value.remedy
        assert "permission denied" in error.value.found
        owner.execute(w.migration_sql().encode())
        owner.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}".encode())
        rights = "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES"
        owner.execute(f"GRANT {rights} IN SCHEMA {schema} TO {role}".encode())
        w.prepare(holds="real")
        partition_loader = PartitionLoader(w, tmp_path)
        partition_loader.write_batch(row("AAA"))
        assert partition_loader.quantities() == {"AAA": 100}


def relay(listener: socket.socket, path: str) -> None:
    """Carry one connection to the server's own socket and back."""
    client, _ = listener.accept()
    with closing(client), socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        back = threading.Thread(target=carry, args=(server, client))
        back.start()
        carry(client, server)
        back.join()


def carry(source: socket.socket, target: socket.socket) -> None:
    while received := source.recv(4096):
        target.sendall(received)
    target.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("mode", ["require", "verify-full"])
def test_a_server_without_tls_is_refused_where_the_url_asks_for_it(postgres_url, clock, mode):
    with psycopg.connect(postgres_url) as connection:
        path = f"{connection.info.host}/.s.PGSQL.{connection.info.port}"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=relay, args=(listener, path))
        thread.start()
        port = listener.getsockname()[1]
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode={mode}"
        with Warehouse(url, clock=clock) as warehouse, pytest.raises(ConfigurationError) as error:
            warehouse.prepare(holds="real")
        if mode == "verify-full" and "root certificate" in error.value.found:
            socket.create_connection(("127.0.0.1", port)).close()  # libpq did not even ask
        else:
            assert "SSL" in error.value.found
        assert f"sslmode={mode}" in error.value.expected
        thread.join()


def contents(warehouse: Warehouse):
    return {table.name: sorted(warehouse.frame(select(table), table).rows()) for table in tables()}


@pytest.fixture
def files(prepared: Prepared, tmp_path: Path, clock: Clock) -> Iterator[list[Warehouse]]:
    """Two databases in files: one with a row, and one with empty tables."""
    urls = [prepared.sqlite(tmp_path / f"{name}.sqlite") for name in ("source", "target")]
    with ExitStack() as opened:
        databases = [opened.enter_context(Warehouse(url, clock=clock)) for url in urls]
        databases[0].prepare(holds="real")
        PartitionLoader(databases[0], tmp_path).write_batch(row("AAA"))
        yield databases


@pytest.mark.slow
def test_a_file_is_copied_to_another_whole_and_only_once(files: list[Warehouse]):
    source, target = files
    counts = target.fill_from(source)
    assert (counts["finra_otc_weekly"], counts["finra_symbols"]) == (1, 0)
    assert repr(contents(target)) == repr(contents(source))
    with pytest.raises(ConfigurationError, match="is not empty") as refused:
        target.fill_from(source)
    assert refused.value.expected == "no rows in our tables"
    assert refused.value.found.startswith("rows in ")
    assert "finra_otc_weekly, " in refused.value.found
    assert refused.value.found.endswith(f" of {target.shown_url}")
    assert refused.value.remedy == "name an empty database; this one was left as it is"


def test_a_copy_with_another_value_in_one_file_is_refused_with_both_hashes(
    files: list[Warehouse],
):
    source, target = files
    with target.writing() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER changing AFTER INSERT ON blobs BEGIN UPDATE blobs "
                "SET byte_count = byte_count + 1 WHERE sha256 = NEW.sha256; END"
            )
        )
    with pytest.raises(ContractError, match="the copy of blobs is not what was read") as refused:
        target.fill_from(source)
    read, arrived = refused.value.expected, refused.value.found
    assert [shown.partition(", SHA-256 ")[0] for shown in (read, arrived)] == ["1 rows", "1 rows"]
    assert read != arrived
    assert target.frame(select(blobs), blobs).is_empty()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("sqlite", "postgresql"),
        pytest.param("postgresql", "sqlite", marks=pytest.mark.slow),
    ],
)
def test_a_copy_holds_every_row_of_every_table_and_goes_on_from_there(
    databases_of, tmp_path, before, after
):
    source, target = databases_of(before), databases_of(after)
    source.prepare(holds="real")
    partition_loader = PartitionLoader(source, tmp_path)
    partition_loader.write_batch(
        row("AAA"), row("ABCp", notional_usd=2**63 - 1), row("É", issue_name=None)
    )
    partition_loader.write_batch(row("AAA", share_quantity=7), row("ABCp"), version="v2")
    counts = target.fill_from(source)
    assert counts == {name: len(rows) for name, rows in contents(source).items()}
    assert counts["finra_otc_weekly_history"] == 3
    assert repr(contents(target)) == repr(contents(source))
    target.prepare(holds="real")
    moved = PartitionLoader(target, tmp_path)
    assert (
        moved.write_batch(row("AAA", share_quantity=7), row("ABCp"), version="v2").change_cause
        == "none"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("postgresql", "sqlite"),
        pytest.param("sqlite", "postgresql", marks=pytest.mark.slow),
    ],
)
def test_a_copy_is_whole_also_where_both_databases_read_batches_of_another_size(
    databases_of, tmp_path, monkeypatch, before, after
):
    monkeypatch.setattr(bulk, "ROWS_PER_BATCH", 3)
    monkeypatch.setattr(frames, "ROWS_PER_BATCH", 4)
    monkeypatch.setattr(copying, "HASHED_ROWS", 5)
    source, target = databases_of(before), databases_of(after)
    source.prepare(holds="real")
    PartitionLoader(source, tmp_path).write_batch(*(row(f"S{number}") for number in range(23)))
    assert target.fill_from(source)["finra_otc_weekly"] == 23
    assert repr(contents(target)) == repr(contents(source))


@pytest.mark.slow
def test_a_database_that_holds_anything_is_not_copied_to(databases_of, tmp_path):
    source, target = databases_of("sqlite"), databases_of("postgresql")
    for warehouse in (source, target):
        warehouse.prepare(holds="real")
        PartitionLoader(warehouse, tmp_path).write_batch(row("AAA"))
    before = contents(target)
    with pytest.raises(ConfigurationError, match="is not empty") as refusal:
        target.fill_from(source)
    assert "finra_otc_weekly" in refusal.value.found
    assert contents(target) == before


CHANGING = """
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.byte_count := NEW.byte_count + 1; RETURN NEW; END $$;
CREATE TRIGGER changing BEFORE INSERT ON blobs FOR EACH ROW EXECUTE FUNCTION change();
"""


@pytest.mark.slow
def test_a_copy_that_differs_in_one_value_is_refused_and_nothing_is_kept(databases_of, tmp_path):
    source, target = databases_of("sqlite"), databases_of("postgresql")
    source.prepare(holds="real")
    PartitionLoader(source, tmp_path).write_batch(row("AAA"))
    target.prepare(holds="real")
    before = contents(target)
    with target.writing() as connection:
        connection.execute(text(CHANGING))
    with pytest.raises(ContractError, match="the copy of blobs is not what was read"):
        target.fill_from(source)
    assert contents(target) == before
    assert target.frame(select(blobs), blobs).is_empty()
