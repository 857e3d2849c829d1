"""A database that drops, refuses or blocks what a load asks of it, while the load is under way."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import psycopg
import pytest

from tests import databases, programs
from tests.expecting import expect_present
from tests.faults.file_loads import Ended, Files, Loads
from tests.faults.matrix import Fault, Outcome, strikes
from tests.faults.proxy import Act, Moment, Proxy, Strike, once
from tests.faults.servers import OwnServer

pytestmark = pytest.mark.faults

REFUSED = "the database did not do what was asked"
SECRET = "hush-hush"

SECONDS_AWAY = 12
"""Longer than a driver, Dagster and the pause between two attempts take by themselves."""


def execute(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Execute SQL as an administrator would; return what the last statement finds."""
    with psycopg.connect(url, autocommit=True) as connection:
        *before, last = statements
        for name in before:
            connection.execute(name.encode())
        cursor = connection.execute(last.encode())
        return cursor.fetchall() if cursor.description else []


def in_database(url: str, setting: str) -> None:
    """Have new connections to the database begin with ``setting``."""
    execute(url, f'ALTER DATABASE "{url.partition("?")[0].rpartition("/")[2]}" SET {setting}')


@pytest.fixture
def url(loads: Loads, new_database: Callable[[], str]) -> str:
    """The URL of a PostgreSQL that has the file's first version; the load will find the second."""
    return load_without_failure(loads, new_database())


def load_without_failure(loads: Loads, url: str) -> str:
    loads.deliver(loads.files.good)
    assert loads.run(url).is_well
    loads.deliver(loads.files.restated)
    return url


def assert_it_failed(ended: Ended, files: Files, url: str, *said: str, attempts: int) -> None:
    """The error names what failed, on which input, and no secret; readers see what was there."""
    assert ended.attempts == attempts
    assert [text for text in (REFUSED, "what to do: ", *said) if text not in ended.message] == [], (
        ended.message
    )
    assert files.are_named_in(ended.message), ended.message
    assert SECRET not in ended.message
    assert "Traceback" not in ended.message
    assert files.quantities(url) == files.before


# Connections


def drops(url: str, seen: Callable[[], object]) -> Mapping[str, Strike]:
    """Return what strikes at each stage; ``seen`` is called just before."""

    def terminate() -> None:
        seen()
        execute(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )

    return {
        "while rows are copied, by the network": once(Moment.COPY, Act.CUT, seen),
        "while rows are copied, by the server": once(Moment.COPY, Act.PASS, terminate),
        "before COMMIT arrives": once(Moment.COMMIT, Act.CUT, seen),
        "after COMMIT, before its answer": once(Moment.COMMIT, Act.CUT_AFTER, seen),
    }


@pytest.mark.parametrize(
    "stage", [fault.stage for fault, _ in strikes("the connection is dropped")]
)
def test_a_load_whose_connection_is_dropped_commits_once(
    stage: str, url: str, loads: Loads, both_versions
):
    seen_meanwhile = []
    strike = drops(url, lambda: seen_meanwhile.append(loads.files.quantities(url)))[stage]
    with Proxy(url, strike) as proxy:
        ended = loads.run(proxy.url)
    assert ended == Ended("", attempts=2)
    assert seen_meanwhile == [loads.files.before]
    assert loads.files.quantities(url) == loads.files.after
    assert databases.contents(url) == both_versions


@pytest.mark.slow
def test_a_load_whose_server_is_restarted_commits_once(
    loads: Loads, own_server: OwnServer, both_versions
):
    assert strikes("the server is restarted at once")
    url = load_without_failure(loads, own_server.url)
    with Proxy(url, once(Moment.COPY, Act.PASS, own_server.restart)) as proxy:
        ended = loads.run(proxy.url)
    assert ended == Ended("", attempts=2)
    assert databases.contents(url) == both_versions


@pytest.mark.slow
def test_a_load_waits_for_a_server_that_is_away_for_some_time(
    loads: Loads, own_server: OwnServer, both_versions
):
    assert strikes("the server is stopped, and started later")
    url = load_without_failure(loads, own_server.url)

    def stop_for_a_time() -> None:
        own_server.stop()
        threading.Timer(SECONDS_AWAY, own_server.start).start()

    with Proxy(url, once(Moment.COPY, Act.PASS, stop_for_a_time)) as proxy:
        ended = loads.run(proxy.url)
    assert ended == Ended("", attempts=2)
    assert databases.contents(url) == both_versions


# What the server refuses


def strike_in_history(files: Files, url: str, statement: str, times: int) -> None:
    """Have ``statement`` executed the first ``times`` that rows come into the history.

    A sequence goes on also where the transaction is rolled back.
    """
    execute(
        url,
        "CREATE SEQUENCE strikes",
        f"""CREATE FUNCTION strike() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('strikes') <= {times} THEN {statement}; END IF; RETURN NULL; END $$""",
        f"CREATE TRIGGER strike AFTER INSERT ON {files.table}_history "
        "FOR EACH STATEMENT EXECUTE FUNCTION strike()",
    )


class Holder:
    """Another session, which holds the lock of the partition's row in `fences`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = psycopg.connect(url)
        self._connection.execute("SELECT 1 FROM fences FOR UPDATE")

    def let_go(self) -> None:
        self._connection.close()

    def let_go_when_somebody_gave_up(self) -> None:
        programs.wait_for(lambda: waiting(self._url))
        programs.wait_for(lambda: not waiting(self._url))
        self.let_go()


def waiting(url: str) -> list[tuple[Any, ...]]:
    """Return the sessions of the database that wait for a lock."""
    return execute(
        url,
        "SELECT pid FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )


@contextmanager
def refusing(fault: Fault, files: Files, url: str) -> Iterator[None]:
    """Have the database do what the matrix says, until the context is left."""
    is_once = fault.outcome is Outcome.LOADS
    times = 1 if is_once else 1_000_000
    if fault.name == "a lock_timeout":
        in_database(url, "lock_timeout = '2s'")
        holder = Holder(url)
        if is_once:
            thread = threading.Thread(target=holder.let_go_when_somebody_gave_up)
            thread.start()
            yield
            thread.join()
        else:
            yield
            holder.let_go()
        return
    if fault.name == "a serialization failure":
        raising = "RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'"
        strike_in_history(files, url, raising, times)
    else:
        in_database(url, "statement_timeout = '3s'")
        strike_in_history(files, url, "PERFORM pg_sleep(60)", times)
    yield
    execute(url, "DROP FUNCTION strike CASCADE")


SAID = {
    "a serialization failure": ("could not serialize access", "what else writes to our tables"),
    "a statement_timeout": ("due to statement timeout", "see what slows the database"),
    "a lock_timeout": ("due to lock timeout", "end the session that holds the lock"),
}


def refusals(name: str, *marks: pytest.MarkDecorator) -> list[Any]:
    """Return name and stage of each of the matrix's rows."""
    return [pytest.param(name, fault.stage, marks=marks) for fault, _ in strikes(name)]


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        *refusals("a serialization failure"),
        *refusals("a statement_timeout", pytest.mark.slow),
        *refusals("a lock_timeout", pytest.mark.slow),
    ],
)
def test_a_load_that_the_server_refuses_is_retried_once(
    name: str, stage: str, url: str, loads: Loads, both_versions
):
    (fault,) = [fault for fault, _ in strikes(name) if fault.stage == stage]
    with refusing(fault, loads.files, url), Proxy(url, lambda _: Act.PASS) as proxy:
        ended = loads.run(proxy.url)
    if fault.outcome is Outcome.FAILS:
        assert_it_failed(ended, loads.files, url, *SAID[name], attempts=2)
        assert loads.run(url).is_well
    else:
        assert ended == Ended("", attempts=2)
    assert databases.contents(url) == both_versions


@pytest.mark.slow
def test_a_load_after_a_deadlock_commits_in_its_second_attempt(
    url: str, loads: Loads, both_versions
):
    """The other session holds a row that the load will delete, and then wants the load's fence."""
    assert strikes("a deadlock")
    in_database(url, "deadlock_timeout = '3s'")

    def embrace() -> None:
        with psycopg.connect(url) as other:
            other.execute("SET LOCAL deadlock_timeout = '60s'")
            other.execute(f"SELECT 1 FROM {loads.files.table} FOR UPDATE".encode())  # noqa: S608
            is_holding.set()
            programs.wait_for(lambda: waiting(url))
            other.execute("SELECT 1 FROM fences FOR UPDATE")
            other.rollback()

    is_holding = threading.Event()
    thread = threading.Thread(target=embrace)
    thread.start()
    is_holding.wait()
    ended = loads.run(url)
    thread.join()
    assert ended == Ended("", attempts=2)
    log = execute(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert log == [(1,)]
    assert databases.contents(url) == both_versions


def test_a_load_whose_role_has_lost_a_right_says_which_and_is_not_tried_again(
    url: str, loads: Loads, both_versions
):
    assert strikes("the role has lost a right")
    role = f"role_{uuid4().hex}"
    rights = f"SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
    execute(
        url,
        f"CREATE ROLE {role} LOGIN",
        f"GRANT {rights}",
        f"REVOKE DELETE ON {loads.files.table} FROM {role}",
    )
    own = url.replace("postgres:@", f"{role}:{SECRET}@")
    ended = loads.run(own)
    said = (f"permission denied for table {loads.files.table}", "grant the role its rights")
    assert_it_failed(ended, loads.files, url, *said, attempts=1)
    execute(url, f"GRANT {rights}")
    assert loads.run(own).is_well
    assert databases.contents(url) == both_versions


def test_a_load_into_a_database_fails_while_it_is_read_only(url: str, loads: Loads, both_versions):
    assert strikes("the database is read-only")
    in_database(url, "default_transaction_read_only = on")
    try:
        ended = loads.run(url)
        said = ("read-only transaction", "let it take writes again")
        assert_it_failed(ended, loads.files, url, *said, attempts=1)
    finally:
        execute(url, "SET default_transaction_read_only = off", writable(url))
    assert loads.run(url).is_well
    assert databases.contents(url) == both_versions


def writable(url: str) -> str:
    name = url.partition("?")[0].rpartition("/")[2]
    return f'ALTER DATABASE "{name}" RESET default_transaction_read_only'


# SQLite


HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@dataclass
class Locker:
    """A process that holds SQLite's one lock for writers."""

    file: Path

    def __enter__(self) -> "Locker":
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", HOLD, str(self.file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        first_line = expect_present(self._process.stdout).readline()
        if first_line != b"held\n":
            raise RuntimeError(f"the file is not locked: {first_line}")
        return self

    def let_go(self) -> None:
        self._process.communicate()

    def let_go_when(self, is_time: Callable[[], Any]) -> None:
        programs.wait_for(is_time)
        self.let_go()

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def has_been_refused(loads: Loads) -> bool:
    """Say whether the newest run waits for its second attempt."""
    [run] = loads.instance.get_runs(limit=1)
    retries = dg.DagsterEventType.STEP_UP_FOR_RETRY
    return bool(loads.instance.all_logs(run.run_id, of_type=retries))


@pytest.mark.parametrize(
    ("stage", "timeout_seconds", "attempts"),
    [
        ("for less than the timeout", 30, 1),
        pytest.param("for more than the timeout", 0.5, 2, marks=pytest.mark.slow),
        pytest.param("for ever", 0.5, 2, marks=pytest.mark.slow),
    ],
)
def test_a_load_into_a_file_that_another_process_locks_waits_and_then_says_so(
    stage: str, timeout_seconds: float, attempts: int, loads: Loads, tmp_path: Path, both_versions
):
    [fault] = [
        fault for fault, _ in strikes("another process locks the file") if fault.stage == stage
    ]
    file = tmp_path / "x.sqlite"
    url = load_without_failure(loads, f"sqlite:///{file}")
    over = time.monotonic() + 3
    lets_go: Mapping[str, Callable[[], bool]] = {
        "for less than the timeout": lambda: time.monotonic() > over,
        "for more than the timeout": lambda: has_been_refused(loads),
    }
    with Locker(file) as locker:
        if stage in lets_go:
            threading.Thread(target=locker.let_go_when, args=(lets_go[stage],)).start()
        ended = loads.run(f"{url}?timeout={timeout_seconds}")
    if fault.outcome is Outcome.FAILS:
        said = ("database is locked", str(file), "see which process has the file open")
        assert_it_failed(ended, loads.files, url, *said, attempts=attempts)
        assert loads.run(url).is_well
    else:
        assert ended == Ended("", attempts=attempts)
    assert databases.contents(url) == both_versions
