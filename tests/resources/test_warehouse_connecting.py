"""Database of a URL, and errors when it cannot be used."""

import re
import sqlite3
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import polars as pl
import psycopg
import pytest
from sqlalchemy import inspect, select, text

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine import warehouse as engine
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import explain_error
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.settings import PROJECT_ROOT, child_environment, settings_class
from orchestration_project.tables.schema import METADATA
from orchestration_project.tables.spine import database_labels
from orchestration_project.tables.views import VIEWS
from tests.migrations.test_migrations import differences
from tests.programs import PATIENCE_SECONDS, wait_for
from tests.resources.weeks import NOON, PartitionLoader, StoppedClock, row

SECRET = "s3cr3t-w0rd"


@pytest.fixture
def open_at(clock):
    opened = []

    def open_at(url, **options):
        opened.append(Warehouse(url, clock=clock, **options))
        return opened[-1]

    yield open_at
    for connection in opened:
        connection.close()


def test_a_name_of_the_package_is_read_from_its_module_and_another_is_refused():
    assert {
        public_class.__module__: public_class.__name__
        for public_class in (engine.Warehouse, engine.QuarantinedError)
    } == {
        "orchestration_project.engine.warehouse.warehouse": "Warehouse",
        "orchestration_project.engine.warehouse.delivery": "QuarantinedError",
    }
    name = "Warehouses"
    with pytest.raises(AttributeError, match=r"engine\.warehouse' has no attribute 'Warehouses'"):
        getattr(engine, name)


def chained(cause: Exception) -> Exception:
    """Return an error that was raised while two others were handled."""
    error, between = ValueError("no list"), KeyError("rows")
    error.__context__, between.__cause__ = between, cause
    return error


def test_a_defect_is_no_error_of_a_database_and_one_of_ours_stays_as_it_is():
    assert explain_error(chained(KeyError("column"))) is None
    own = TransientError("the database is away", found="no answer", remedy="wait")
    assert explain_error(own) is own


@pytest.mark.parametrize(
    ("error", "what", "remedy"),
    [
        (
            sqlite3.OperationalError("no such column: a.b"),
            "the database lacks a table, column or key that this program declares",
            "`orchestrate migrate`",
        ),
        (
            sqlite3.IntegrityError("CHECK constraint failed: is_plain"),
            "the database refused a statement of this program",
            "report this with the traceback that --verbose prints",
        ),
    ],
)
def test_an_error_of_a_database_behind_others_is_explained(
    error: sqlite3.Error, what: str, remedy: str
):
    explained = explain_error(chained(error))
    assert isinstance(explained, ConfigurationError)
    assert (explained.what, explained.found) == (what, str(error))
    assert remedy in explained.remedy


def with_option(postgres_url, option):
    return f"{postgres_url}&options=-c%20{option}"


def whole_text(error):
    return "".join(traceback.format_exception(error))


def test_a_connection_waits_for_a_server_that_was_there_before(postgres_url, open_at, tmp_path):
    address, _, folder = postgres_url.partition("?host=")
    (tmp_path / "server").symlink_to(folder)
    warehouse = open_at(f"{address}?host={tmp_path / 'server'}")
    with warehouse.reading() as before:
        assert before.scalar(text("SELECT 1")) == 1
        (tmp_path / "server").unlink()
        threading.Timer(0.2, (tmp_path / "server").symlink_to, [folder]).start()
        with warehouse.reading() as after:
            assert after.scalar(text("SELECT 2")) == 2


# URLs


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_each_way_to_write_a_postgresql_url_opens_it(scheme, postgres_url, own_schema, open_at):
    url = postgres_url.replace("postgresql:", f"{scheme}:")
    warehouse = open_at(url, schema=own_schema)
    warehouse.prepare(holds="real")
    with warehouse.reading() as connection:
        assert connection.dialect.driver == "psycopg"
        assert (
            inspect(connection).get_table_names(own_schema) == inspect(connection).get_table_names()
        )
        assert set(METADATA.tables) < set(inspect(connection).get_table_names())


@pytest.mark.slow
def test_another_driver_loads_the_same_rows_the_portable_way(
    postgres_url, own_schema, open_at, tmp_path
):
    url = postgres_url.replace("postgresql:", "postgresql+psycopg2:")
    warehouse = open_at(url, schema=own_schema)
    warehouse.prepare(holds="real")
    partition_loader = PartitionLoader(warehouse, tmp_path)
    partition_loader.write_batch(row("AAA"), row("ABCp"))
    most = (2**63 - 1) // 10**6  # shares are stored in millionths
    partition_loader.write_batch(row("AAA", share_quantity=most), version="v2")
    assert partition_loader.rows(
        finra_otc_weekly, "symbol", "share_quantity", "last_update_date"
    ) == [("AAA", most, datetime(2025, 12, 1, tzinfo=UTC).date())]


@pytest.mark.slow
def test_the_schema_setting_is_where_the_tables_are_made_and_others_do_not_see_them(
    postgres_url, open_at
):
    one, other = f"one_{uuid4().hex}", f"other_{uuid4().hex}"
    for schema, holds in ((one, "real"), (other, "demo")):
        open_at(postgres_url, schema=schema).prepare(holds=holds)
    with psycopg.connect(postgres_url) as connection:
        found = connection.execute(
            "SELECT table_schema, count(*) FROM information_schema.tables "
            "WHERE table_schema IN (%s, %s) GROUP BY 1 ORDER BY 1",
            (one, other),
        ).fetchall()
    made = len(METADATA.tables) + len(VIEWS) + 1  # the version's own table
    assert found == [(one, made), (other, made)]


@pytest.mark.parametrize("schema", ["a-b", 'a"; DROP TABLE x; --', "1a", "", "a" * 64])
def test_a_schema_that_is_no_plain_name_is_refused(schema):
    with pytest.raises(ConfigurationError, match="is not a plain name"):
        Warehouse("postgresql://127.0.0.1:1/x", clock=Clock(), schema=schema)


@pytest.mark.parametrize(
    "url",
    [
        *(f"me:{SECRET}@host/db", f"postgresql://me:x@host:{SECRET}/db", "", "C:\\data.sqlite"),
        *(f"postgresql://me:x@{SECRET}@host/db", f"postgresql://me:x@y/{SECRET}@host/db"),
    ],
)
def test_a_text_that_is_no_url_is_refused_without_being_quoted(url):
    with pytest.raises(ConfigurationError, match="invalid DATABASE_URL") as refusal:
        Warehouse(url, clock=Clock())
    assert SECRET not in whole_text(refusal.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///"])
def test_a_sqlite_database_in_memory_is_refused(url):
    with pytest.raises(ConfigurationError, match="without a file"):
        Warehouse(url, clock=Clock())


@pytest.mark.parametrize("scheme", ["nosuch", "mysql+nosuch", "oracle"])
def test_a_database_without_a_driver_is_refused_without_its_password(scheme):
    with pytest.raises(ConfigurationError, match="no driver for DATABASE_URL") as refusal:
        Warehouse(f"{scheme}://me:{SECRET}@host/db", clock=Clock())
    assert SECRET not in whole_text(refusal.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql://me:{SECRET}@db:5433/x", "postgresql+psycopg://me:***@db:5433/x"),
        (
            f"postgresql://db/x?user=me&password={SECRET}&sslpassword={SECRET}",
            "postgresql+psycopg://db/x?password=%2A%2A%2A&sslpassword=%2A%2A%2A&user=me",
        ),
    ],
)
def test_a_shown_url_has_no_password(url, shown):
    assert Warehouse(url, clock=Clock()).shown_url == shown


def test_a_relative_sqlite_file_lies_below_the_project_wherever_the_process_is(
    open_at, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert open_at("sqlite:///var/x.sqlite").shown_url == f"sqlite:///{PROJECT_ROOT}/var/x.sqlite"


@pytest.mark.slow
def test_the_folder_of_a_sqlite_file_is_made(open_at, tmp_path):
    open_at(f"sqlite:///{tmp_path}/a/b/c.sqlite").prepare(holds="real")
    assert (tmp_path / "a" / "b" / "c.sqlite").is_file()


# What the tables hold


def test_a_database_of_demo_data_refuses_real_data_and_keeps_its_own(warehouse):
    warehouse.prepare(holds="real")
    with pytest.raises(ConfigurationError) as refusal:
        warehouse.prepare(holds="demo")
    assert str(refusal.value).splitlines() == [
        "the database holds real data and would now get demo data",
        "  expected: a database for demo data",
        f"  found: {warehouse.shown_url}",
        "  what to do: set DATABASE_URL to another database, or DATA_PROFILE to what it holds",
    ]
    warehouse.prepare(holds="real")


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(warehouse):
    with warehouse.writing() as connection:
        connection.execute(text("UPDATE orchestration_project_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError) as refusal:
        warehouse.prepare(holds="real")
    first, expected, found = str(refusal.value).splitlines()[:3]
    assert first == "the database was made by a newer version of this project"
    assert re.fullmatch(r"  expected: version \d{4} or older", expected)
    assert found == "  found: version 9999"
    with warehouse.reading() as connection:
        found = connection.execute(text("SELECT version_num FROM orchestration_project_version"))
        assert found.scalars().all() == ["9999"]


@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_tables_that_a_newer_version_has_added_are_named(warehouse):
    with warehouse.writing() as connection:
        connection.execute(text("UPDATE orchestration_project_version SET version_num = '9999'"))
        for name in ("operations_newly_invented", "of_the_user"):
            connection.execute(text(f"CREATE TABLE {name} (a int)"))
    with pytest.raises(ConfigurationError) as refusal:
        warehouse.prepare(holds="real")
    assert refusal.value.found == (
        "version 9999, with operations_newly_invented that this version does not know"
    )


@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_an_upgrade_that_was_applied_in_part_is_refused_with_a_remedy(warehouse):
    with warehouse.writing() as connection:  # tables of a version that is not recorded
        connection.execute(text("DELETE FROM orchestration_project_version"))
    with pytest.raises(ConfigurationError, match="applied in part") as refusal:
        warehouse.upgrade(holds="real")
    assert "restore the backup of before the upgrade" in refusal.value.remedy


# Databases that cannot be used


def test_a_server_that_is_not_there_may_come_back(open_at):
    with pytest.raises(TransientError) as refusal:
        open_at(f"postgresql://me:{SECRET}@127.0.0.1:1/x").prepare(holds="real")
    message = str(refusal.value)
    assert message.startswith(
        "the database did not do what was asked\n  expected: a reachable, writable database at "
        "postgresql+psycopg://me:***@127.0.0.1:1/x\n  found: connection failed"
    )
    assert "Connection refused" in message
    assert SECRET not in whole_text(refusal.value)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("failed to resolve host: [Errno -3] Temporary failure in name resolution", TransientError),
        ("consuming input failed: SSL SYSCALL error: EOF detected", TransientError),
        ("consuming input failed: SSL error: unexpected eof while reading", TransientError),
        ("sending query failed: SSL SYSCALL error: Broken pipe", TransientError),
        ("consuming input failed: could not receive data: No route to host", TransientError),
        ("failed to resolve host: [Errno -2] Name or service not known", ConfigurationError),
    ],
)
def test_a_network_fault_is_retried_an_unknown_name_is_a_setting(said, kind, postgres_url, open_at):
    with pytest.raises(kind, match=re.escape(said)), open_at(postgres_url).reading():
        raise psycopg.OperationalError(said)  # as the driver does, and without a SQLSTATE


def test_a_database_that_the_server_does_not_have_is_a_wrong_setting(postgres_url, open_at):
    name = postgres_url.partition("?")[0].rpartition("/")[2]
    url = postgres_url.replace(name, "nowhere").replace("postgres:@", f"postgres:{SECRET}@")
    with pytest.raises(ConfigurationError, match='database "nowhere" does not exist') as refusal:
        open_at(url).prepare(holds="real")
    assert SECRET not in whole_text(refusal.value)


def test_a_connection_option_that_there_is_not_is_a_wrong_setting(postgres_url, open_at):
    with pytest.raises(ConfigurationError, match='invalid connection option "bad"'):
        open_at(f"{postgres_url}&bad=1").prepare(holds="real")


@pytest.mark.slow
def test_a_postgresql_that_may_only_be_read_is_read_and_refuses_to_be_written(
    postgres_url, own_schema, open_at, tmp_path
):
    url = with_option(postgres_url, "default_transaction_read_only=on")
    with pytest.raises(ConfigurationError, match="read-only transaction"):
        open_at(url, schema=own_schema).prepare(holds="real")
    open_at(postgres_url, schema=own_schema).prepare(holds="real")
    reader = open_at(url, schema=own_schema)
    reader.prepare(holds="real")
    with pytest.raises(ConfigurationError, match="read-only transaction"):
        PartitionLoader(reader, tmp_path).write_batch(row())


@pytest.mark.slow
def test_a_role_that_may_not_write_is_a_wrong_setting(postgres_url, own_schema, open_at, tmp_path):
    open_at(postgres_url, schema=own_schema).prepare(holds="real")
    role = f"role_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for statement in (
            f"CREATE ROLE {role} LOGIN",
            f"GRANT USAGE ON SCHEMA {own_schema} TO {role}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {own_schema} TO {role}",
        ):
            connection.execute(statement.encode())
    warehouse = open_at(postgres_url.replace("postgres:@", f"{role}:@"), schema=own_schema)
    warehouse.prepare(holds="real")
    with pytest.raises(ConfigurationError, match="permission denied"):
        PartitionLoader(warehouse, tmp_path).write_batch(row())


@pytest.mark.slow
def test_a_sqlite_file_that_may_only_be_read_is_read_and_refuses_to_be_written(open_at, tmp_path):
    file = tmp_path / "x.sqlite"
    open_at(f"sqlite:///{file}").prepare(holds="real")
    reader = open_at(f"sqlite:///file:{file}?mode=ro&uri=true")
    reader.prepare(holds="real")
    with pytest.raises(ConfigurationError, match="attempt to write a readonly database"):
        PartitionLoader(reader, tmp_path).write_batch(row())
    assert not (PROJECT_ROOT / "file:").exists()


def not_a_database(folder):
    (folder / "x.sqlite").write_bytes(b"not a database " * 100)
    return folder / "x.sqlite", "file is not a database"


def a_folder(folder):
    (folder / "x.sqlite").mkdir()
    return folder / "x.sqlite", "unable to open database file"


def below_a_file(folder):
    (folder / "file").touch()
    return folder / "file" / "below" / "x.sqlite", "Not a directory"


@pytest.mark.parametrize("make", [not_a_database, a_folder, below_a_file])
def test_a_sqlite_path_that_is_no_database_is_a_wrong_setting(make, open_at, tmp_path):
    file, found = make(tmp_path)
    with pytest.raises(ConfigurationError) as refusal:
        open_at(f"sqlite:///{file}").prepare(holds="real")
    assert refusal.value.found == found
    assert str(file.parent) in refusal.value.expected


@pytest.mark.slow
def test_a_sqlite_file_that_another_process_writes_for_long_may_come_free(open_at, tmp_path):
    open_at(f"sqlite:///{tmp_path}/x.sqlite").prepare(holds="real")
    warehouse = open_at(f"sqlite:///{tmp_path}/x.sqlite?timeout=0.05")
    other = sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    partition_loader = PartitionLoader(warehouse, tmp_path)
    with pytest.raises(TransientError, match="database is locked"):
        partition_loader.write_batch(row())
    other.close()
    partition_loader.write_batch(row())
    assert partition_loader.quantities() == {"AAA": 100}


@pytest.mark.slow
def test_a_postgresql_lock_that_another_holds_for_long_may_come_free(
    postgres_url, own_schema, open_at, tmp_path
):
    open_at(postgres_url, schema=own_schema).prepare(holds="real")
    patient = open_at(postgres_url, schema=own_schema)
    hasty = open_at(with_option(postgres_url, "lock_timeout=50ms"), schema=own_schema)
    PartitionLoader(patient, tmp_path).write_batch(row())
    with patient.writing() as connection:
        connection.execute(text("SELECT 1 FROM fences FOR UPDATE"))
        with pytest.raises(TransientError, match="lock timeout"):
            PartitionLoader(hasty, tmp_path).write_batch(row("BBB"))
        shown = connection.execute(text("SHOW lock_timeout")).scalar()
    assert shown == "2min"
    PartitionLoader(hasty, tmp_path).write_batch(row("BBB"))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["statement", "copy"])
def test_a_connection_that_is_cut_on_the_way_may_come_back_and_leaves_nothing(
    way, postgres_url, own_schema, open_at
):
    warehouse = open_at(postgres_url, schema=own_schema)
    warehouse.prepare(holds="real")
    labels = pl.DataFrame({"name": ["a"], "value": ["b"]})
    stored = warehouse.frame(select(database_labels), database_labels).rows()

    def write():
        with warehouse.writing() as connection:
            insert_frame(connection, database_labels, labels)
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
            with psycopg.connect(postgres_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (pid,))
            if way == "copy":
                insert_frame(connection, database_labels, labels)
            connection.execute(text("SELECT 1"))

    with pytest.raises(TransientError):
        write()
    found = warehouse.frame(select(database_labels), database_labels)  # on a new connection
    assert found.rows() == stored


def test_a_transaction_that_the_server_ends_as_it_is_idle_may_be_tried_again(postgres_url, open_at):
    warehouse = open_at(with_option(postgres_url, "idle_in_transaction_session_timeout=50ms"))

    def read_slowly():
        with warehouse.reading() as connection, psycopg.connect(postgres_url) as other:
            other.autocommit = True
            pid = connection.connection.driver_connection.info.backend_pid
            backend = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
            wait_for(lambda: not other.execute(backend, (pid,)).fetchone(), poll_seconds=0.01)
            connection.execute(select(1))

    with pytest.raises(TransientError, match="idle-in-transaction timeout") as ended:
        read_slowly()
    assert "raise the role's idle_in_transaction_session_timeout" in ended.value.remedy


def test_a_mistake_in_our_own_sql_stays_what_it_is(warehouse):
    with pytest.raises(Exception, match="nonsense") as mistake, warehouse.reading() as connection:
        connection.execute(text("nonsense"))
    assert type(mistake.value).__module__ == "sqlalchemy.exc"


@pytest.mark.slow
def test_an_error_leaves_no_connection_in_use(postgres_url, own_schema, open_at):
    warehouse = open_at(f"{postgres_url}", schema=own_schema)
    warehouse.prepare(holds="real")
    for _ in range(20):  # the pool has 15
        with pytest.raises(ZeroDivisionError), warehouse.reading():
            raise ZeroDivisionError
    warehouse.prepare(holds="real")


# How transactions behave


@pytest.mark.slow_on_postgresql
def test_a_reader_sees_one_state_of_the_database_however_often_it_asks(warehouse, tmp_path):
    partition_loader = PartitionLoader(warehouse, tmp_path)
    partition_loader.write_batch(row("AAA"))
    statement = select(finra_otc_weekly.c.symbol)
    with warehouse.reading() as connection:
        before = connection.execute(statement).scalars().all()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(partition_loader.write_batch, row("BBB"), version="v2").result()
        assert connection.execute(statement).scalars().all() == before == ["AAA"]
    assert partition_loader.quantities() == {"BBB": 100}


@pytest.mark.slow
def test_the_time_zone_of_the_server_changes_no_moment(postgres_url, own_schema, open_at, tmp_path):
    url = with_option(postgres_url, "TimeZone%3DAmerica/New_York")
    warehouse = open_at(url, schema=own_schema)
    warehouse.prepare(holds="real")
    twice = [datetime(2025, 11, 2, hour, 30, 0, 1, tzinfo=UTC) for hour in (5, 6)]
    partition_loader = PartitionLoader(warehouse, tmp_path)
    fetches = [
        partition_loader.capture(str(moment).encode(), fetched_at=moment) for moment in twice
    ]
    partition_loader.write_batch(row(), captures=fetches)
    found = warehouse.frame(
        select(METADATA.tables["captures"].c.fetched_at), METADATA.tables["captures"]
    )
    assert sorted(found["fetched_at"]) == twice


PREPARE = """
import sys
from pathlib import Path
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from tests.programs import wait_for
url, schema, folder, name = sys.argv[1:]
(Path(folder) / name).touch()
wait_for(lambda: len(list(Path(folder).iterdir())) == 3, poll_seconds=0.001)
with Warehouse(url, clock=Clock(), schema=schema or None) as warehouse:
    warehouse.upgrade(holds="real")
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"])
def test_processes_that_migrate_a_database_at_the_same_time_all_succeed(
    kind, tmp_path, own_schema, request, open_at
):
    url, schema = f"sqlite:///{tmp_path}/x.sqlite", ""
    if kind == "postgresql":
        url, schema = request.getfixturevalue("postgres_url"), own_schema
    (tmp_path / "ready").mkdir()
    program = [sys.executable, "-c", PREPARE, url, schema, str(tmp_path / "ready")]
    processes = [
        subprocess.Popen(  # noqa: S603 - our own program
            [*program, name],
            stderr=subprocess.PIPE,
            text=True,
            env=child_environment(PYTHONPATH=str(PROJECT_ROOT)),
        )
        for name in "abc"
    ]
    errors = [process.communicate(timeout=PATIENCE_SECONDS)[1] for process in processes]
    assert errors == ["", "", ""]
    with open_at(url, schema=schema or None).reading() as connection:
        assert differences(connection) == []


@pytest.mark.slow
def test_a_sqlite_file_that_another_process_is_just_making_is_waited_for(open_at, tmp_path):
    other = sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE x (y)")
    end = threading.Timer(0.3, other.close)
    end.start()
    open_at(f"sqlite:///{tmp_path}/x.sqlite").prepare(holds="real")
    end.join()


@pytest.mark.slow
def test_threads_that_make_a_sqlite_file_at_the_same_time_all_succeed(tmp_path, clock):
    barrier = threading.Barrier(4)

    def prepare(file):
        barrier.wait()
        with Warehouse(f"sqlite:///{file}", clock=clock) as warehouse:
            warehouse.prepare(holds="real")

    with ThreadPoolExecutor(4) as pool:
        for n in range(5):
            list(pool.map(prepare, [tmp_path / f"{n}.sqlite"] * 4))


# The database and the store that the settings name


def settings(tmp_path, **changes):
    return settings_class()(_env_file=None, state_dir=tmp_path, **changes)  # pyright: ignore[reportCallIssue] - pydantic's own argument


@pytest.mark.slow
@pytest.mark.parametrize("name", ["state", "with space", "a#b"])
def test_each_data_profile_has_a_database_of_its_own_below_state_dir(tmp_path, name):
    state = tmp_path / name
    for source in ("demo", "api"):
        with open_warehouse(settings(state, finra_source=source)) as warehouse:
            assert warehouse.state(finra_otc_weekly, "T1|2025-11-10").token == 0
    assert {path.name for path in state.glob("*.sqlite")} == {"demo.sqlite", "real.sqlite"}
    open_store(settings(state)).put("x", b"y")
    assert (state / "artifacts" / "x").read_bytes() == b"y"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.slow
def test_a_database_that_is_refused_is_closed_again(tmp_path):
    file = f"sqlite:///{tmp_path}/x.sqlite"
    with open_warehouse(settings(tmp_path, database_url=file, finra_source="demo")):
        pass
    with pytest.raises(ConfigurationError, match="holds demo data"):
        open_warehouse(settings(tmp_path, database_url=file, finra_source="api"))
    assert not (tmp_path / "x.sqlite-wal").exists()  # SQLite removes it with the last connection


def test_the_clock_of_a_process_goes_on_between_two_uses_of_it(tmp_path):
    at = settings(tmp_path, demo_clock_now=NOON)
    first = open_clock(at).now()
    assert NOON <= first <= open_clock(at).now()
    assert open_clock(at) is open_clock(settings(tmp_path, demo_clock_now=NOON))
    assert StoppedClock().now() == NOON
