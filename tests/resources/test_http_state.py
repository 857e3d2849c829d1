"""State of requests that processes share, in a SQLite file and in PostgreSQL."""

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from orchestration_project.engine.environment import open_shared_state, read_systems
from orchestration_project.engine.http.limits import Breaker, BreakerPolicy, RateLimiter, Tally
from orchestration_project.engine.http.shared_state import (
    CLOSED,
    MARGIN_MS,
    BreakerState,
    Count,
    HostKey,
    QuotaCount,
    Rate,
    SharedState,
    SqliteState,
    SystemState,
    Window,
)
from orchestration_project.engine.http_state import PostgresqlState
from orchestration_project.engine.warehouse.connecting import parse_url
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.settings import load_settings
from tests.faulty_server import FaultyServer, Reply
from tests.http_clients import make_client
from tests.postgres import new_database
from tests.prepared import Prepared

KEY = HostKey("api.example.org", "example")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FORK = multiprocessing.get_context("fork")

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


@dataclass(frozen=True)
class Store:
    """Where state lies; it can be handed to another process."""

    state_dir: Path
    url: str | None = None
    schema: str | None = None

    def __call__(self) -> SharedState:
        if self.url is None:
            return SqliteState(self.state_dir)
        return PostgresqlState(parse_url(self.url), self.schema)

    def shift_window(self, seconds: float) -> None:
        """Have the latest request been admitted so much later, as before a clock was set back."""
        later = "UPDATE {} SET window_ms = '{{' || (trim(window_ms, '{{}}') + %s) || '}}'"
        if self.url is None:
            with closing(sqlite3.connect(self.state_dir / "http" / "http.sqlite")) as connection:
                connection.execute(later.format("http_hosts").replace("%s", "?"), [seconds * 1000])
                connection.commit()
            return
        later = later.replace("trim(window_ms, '{{}}')", "trim(both '{{}}' from window_ms)::bigint")
        table = Identifier(str(self.schema), "http_hosts")
        with psycopg.connect(self.url) as connection:
            connection.execute(SQL(later).format(table), [int(seconds * 1000)])


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path, prepared: Prepared) -> Iterator[Store]:
    if request.param == "sqlite":
        yield Store(tmp_path)
        return
    with prepared.schema() as (url, schema):
        yield Store(tmp_path, url, schema)


@pytest.fixture
def postgresql(tmp_path: Path, prepared: Prepared) -> Iterator[Store]:
    with prepared.schema() as (url, schema):
        yield Store(tmp_path, url, schema)


@pytest.fixture
def opened(store: Store) -> Iterator[Callable[[], SharedState]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(store()))


def breaker_of(state: SharedState, now: Callable[[], datetime] = lambda: NOW) -> Breaker:
    return Breaker(state, KEY, BreakerPolicy(failures=2), now=now)


# --- the decision


def admitted(rate: Rate, times: list[int]) -> list[int]:
    """Return at which of these times, ms, a request is let through."""
    window, found = Window(), []
    for now in times:
        window, wait_ms = window.admit(rate, now)
        found += [] if wait_ms else [now]
    return found


def test_an_interval_and_its_margin_have_no_more_requests_than_the_rate():
    assert admitted(Rate(2), [0, 0, 0, 1100, 1101, 1101, 1101]) == [0, 0, 1101, 1101]
    assert admitted(Rate(1, 10), [0, 5000, 10100, 10101, 20201, 20202]) == [0, 10101, 20202]


def test_a_refused_request_waits_until_the_oldest_one_has_left():
    window, _ = Window().admit(Rate(2), 1000)
    window, _ = window.admit(Rate(2), 1400)
    assert window.admit(Rate(2), 1500) == (window, 1000 + 1000 + MARGIN_MS + 1 - 1500)


@pytest.mark.parametrize("limit", [1, 7, 50, 51, 120, 333, 5000])
def test_no_window_has_more_than_the_limit_whatever_it_is(limit: int):
    rate = Rate(limit)
    step = max(1, 700 // limit)
    found = admitted(rate, [now for now in range(0, 4500, step) for _ in range(limit // 500 + 3)])
    span = 1000 + MARGIN_MS
    most = max(bisect_right(found, now + span) - bisect_left(found, now) for now in found)
    assert 0.8 * limit <= most <= limit


def test_a_window_has_a_bounded_number_of_times():
    window = Window()
    for now in range(3000):
        window, _ = window.admit(Rate(5000), now)
    assert len(window.times) <= 50


def test_a_time_of_the_future_comes_from_a_clock_that_was_set_back():
    assert Window((10_000_000,), 1).admit(Rate(1), 5000) == (Window((5000,), 1), 0)
    assert Window((5500,), 1).admit(Rate(1), 5000)[1] > 0


@pytest.mark.parametrize(("count", "seconds"), [(0, 1), (1, 0), (1, -1.0), (1, float("nan"))])
def test_a_rate_without_requests_or_time_is_refused(count: int, seconds: float):
    with pytest.raises(ValueError, match=r"expected positive numbers, e\.g\. Rate\(1, 10\)"):
        Rate(count, seconds)


# --- both stores


def test_both_stores_decide_alike(opened: Callable[[], SharedState]):
    one, other = opened(), opened()
    rate = Rate(3, 60)
    assert [one.admit(KEY, rate), other.admit(KEY, rate), one.admit(KEY, rate)] == [0, 0, 0]
    wait_ms = other.admit(KEY, rate)
    assert 50_000 < wait_ms <= 60_000 + MARGIN_MS + 1
    for others in (HostKey("other.example.org", "example"), HostKey("api.example.org", "other")):
        assert one.admit(others, rate) == 0


def test_requests_of_a_great_rate_are_counted_together_up_to_its_limit(
    opened: Callable[[], SharedState],
):
    state = opened()
    waits = [state.admit(KEY, Rate(120, 60)) for _ in range(125)]
    assert [bool(wait) for wait in waits] == [False] * 120 + [True] * 5


def test_a_short_interval_passes(opened: Callable[[], SharedState]):
    limiter = RateLimiter(opened(), KEY, Rate(2, 0.05))
    begun = time.monotonic()
    for _ in range(5):
        limiter.wait()
    assert time.monotonic() - begun >= 2 * 0.05


def test_a_clock_that_was_set_back_does_not_stop_requests(
    store: Store, opened: Callable[[], SharedState]
):
    limiter = RateLimiter(opened(), KEY, Rate(1))
    limiter.wait()
    store.shift_window(3600)
    waiter = threading.Thread(target=limiter.wait, daemon=True)
    waiter.start()
    waiter.join(20)
    assert not waiter.is_alive()


def test_a_breaker_that_one_opened_refuses_in_the_other(opened: Callable[[], SharedState]):
    clock = [NOW]
    one, other = breaker_of(opened(), lambda: clock[0]), breaker_of(opened(), lambda: clock[0])
    assert one.failed("status 503") == 0
    assert other.admit(url="u").is_news
    assert other.failed("status 504") == 60
    with pytest.raises(TransientError, match="failed 2 requests in a row") as refused:
        one.admit(url="u")
    assert "open since 2026-01-01T00:00:00+00:00" in refused.value.found
    assert refused.value.retry_in_seconds == 60
    clock[0] += timedelta(seconds=60)
    probe = one.admit(url="u")
    with pytest.raises(TransientError):  # while the first one tries
        other.admit(url="u")
    one.give_up(probe)
    assert other.admit(url="u").probe_until == NOW + timedelta(seconds=120)
    other.succeeded()
    assert not one.admit(url="u").is_news


class Closing(SqliteState):
    """Stands for another process that closes the breaker between a look at it and the change."""

    def change_breaker(
        self, key: HostKey, decide: Callable[[BreakerState], tuple[BreakerState, Any]]
    ) -> Any:
        super().change_breaker(key, lambda _: (CLOSED, None))
        return super().change_breaker(key, decide)


def test_a_breaker_that_closed_meanwhile_stays_closed(tmp_path: Path):
    with closing(SqliteState(tmp_path)) as state, closing(Closing(tmp_path)) as closed:
        for _ in range(2):
            breaker_of(state).failed("status 503")
        assert not breaker_of(closed).admit(url="u").is_news
        assert state.breaker(KEY) == CLOSED


def _fail_often(store: Store, times: int) -> None:
    with closing(store()) as state:
        breaker = Breaker(state, KEY, BreakerPolicy(failures=10_000), now=lambda: NOW)
        for _ in range(times):
            breaker.failed("status 503")


@pytest.mark.slow_after_first
def test_failures_of_processes_at_once_are_all_counted(store: Store):
    with closing(store()) as state:
        workers = [FORK.Process(target=_fail_often, args=(store, 40)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert state.breaker(KEY) == BreakerState(80, "status 503")


def test_counts_of_clients_add_up_by_system(opened: Callable[[], SharedState]):
    for host in ("a.example.org", "b.example.org"):
        tally = Tally(opened(), HostKey(host, "example"))
        tally.add("200", is_retry=False)
        tally.add("503", is_retry=True)
        tally.flush()
    state = opened()
    assert state.systems() == {"example": SystemState({"200": 2, "503": 2}, 2, is_open=False)}
    for _ in range(2):
        breaker_of(state).failed("status 503")
    assert state.systems()["example"].is_open


def test_counts_are_added_all_or_none(opened: Callable[[], SharedState]):
    state = opened()
    state.add_counts(KEY, [])
    state.add_counts(KEY, [Count("503", 2, 1), Count("200", 3, 0)])
    with pytest.raises(UnicodeEncodeError):
        state.add_counts(KEY, [Count("200", 1, 0), Count("\ud800", 1, 0)])
    state.add_counts(KEY, [Count("200", 1, 1)])
    assert state.systems()["example"] == SystemState({"200": 4, "503": 2}, 2)


def test_a_quota_ends_at_its_limit_or_when_the_vendor_says_so(opened: Callable[[], SharedState]):
    one, other = opened(), opened()
    day = date(2026, 3, 2)
    assert [client.take_from_quota("v", day, 3) for client in (one, other, one, other)] == [
        *(True, True, True, False)
    ]
    assert other.quota("v", day) == QuotaCount(3, is_over=False)
    assert other.quota("w", day) == QuotaCount()
    assert not one.take_from_quota("w", day, 0)
    one.end_quota("v", day)
    assert not other.take_from_quota("v", day, None)
    later = day + timedelta(days=1)
    assert other.take_from_quota("v", later, None)
    assert one.quota("v", day) == QuotaCount()


def _hold(store: Store, held: threading.Event) -> None:
    def decide(state: BreakerState) -> tuple[BreakerState, None]:
        held.set()
        signal.pause()
        return state, None

    with closing(store()) as state, ExitStack() as writing:
        state.admit(KEY, Rate(10))
        if store.url is None:  # as within a write
            file = store.state_dir / "http" / "http.sqlite"
            other = writing.enter_context(closing(sqlite3.connect(file, isolation_level=None)))
            other.execute("BEGIN IMMEDIATE")
        state.change_breaker(KEY, decide)


@pytest.mark.slow_after_first
def test_a_killed_holder_does_not_stop_the_others(store: Store, opened: Callable[[], SharedState]):
    limiter = RateLimiter(opened(), KEY, Rate(10))
    held = FORK.Event()
    holder = FORK.Process(target=_hold, args=(store, held), daemon=True)
    holder.start()
    assert held.wait(30)
    waiter = threading.Thread(target=limiter.wait, daemon=True)
    waiter.start()
    waiter.join(0.1)
    if store.url is None:
        assert waiter.is_alive()  # the file is held
    holder.kill()
    waiter.join(10)
    assert not waiter.is_alive()
    holder.join()


def _admit_for_ever(store: Store, begun: threading.Event) -> None:
    state = store()
    while True:
        state.admit(KEY, Rate(1_000_000))
        begun.set()


@pytest.mark.slow_on_postgresql
def test_a_process_killed_while_it_decides_leaves_no_lock(
    store: Store, opened: Callable[[], SharedState]
):
    state = opened()
    for _ in range(5):
        begun = FORK.Event()
        killed = FORK.Process(target=_admit_for_ever, args=(store, begun), daemon=True)
        killed.start()
        assert begun.wait(30)
        killed.kill()
        killed.join()
        answered = threading.Event()
        waiter = threading.Thread(
            target=lambda done=answered: state.admit(KEY, Rate(1_000_000)) or done.set(),
            daemon=True,
        )
        waiter.start()
        assert answered.wait(10)
        waiter.join()


def test_a_forked_process_uses_a_connection_of_its_own(opened: Callable[[], SharedState]):
    state = opened()
    rate = Rate(3, 60)
    state.admit(KEY, rate)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        code = b"x"
        try:
            code = b"%d" % bool(state.admit(KEY, rate))
        finally:
            os.write(writer, code)
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1) == b"0"
    assert state.admit(KEY, rate) == 0
    assert state.admit(KEY, rate) > 0


# --- two folders of state on one database

PER_SECOND = 20


def _take(store: Store, seconds: float, ready: Any, taken: Any) -> None:
    """Report of each request between which times it was admitted."""
    with closing(store()) as state:
        state.breaker(KEY)
        ready.wait()
        end, times = time.monotonic() + seconds, []
        while (before := time.monotonic()) < end:
            if wait_ms := state.admit(KEY, Rate(PER_SECOND)):
                time.sleep(wait_ms / 1000)
            else:
                times.append((before, time.monotonic()))
        taken.put(times)


@pytest.mark.slow
def test_two_state_folders_with_two_processes_each_keep_one_rate(postgresql: Store, tmp_path: Path):
    """Of more than fit into a second, the first was asked for a second before the last came.

    When exactly one was admitted is known to the database alone.
    """
    ready, taken = FORK.Barrier(4), FORK.Queue()
    stores = [
        Store(tmp_path / folder, postgresql.url, postgresql.schema) for folder in ("a", "b")
    ] * 2
    workers = [FORK.Process(target=_take, args=(each, 2.3, ready, taken)) for each in stores]
    for worker in workers:
        worker.start()
    found = sorted(
        (time_taken for _ in workers for time_taken in taken.get(timeout=60)), key=itemgetter(1)
    )
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert not list(tmp_path.rglob("*.sqlite"))
    assert len(found) > 2 * PER_SECOND  # three bursts
    for last in range(PER_SECOND, len(found)):
        too_many = found[last - PER_SECOND : last + 1]
        assert found[last][1] - min(before for before, _ in too_many) >= 1


def test_the_database_s_clock_decides(postgresql: Store, monkeypatch: pytest.MonkeyPatch):
    with closing(postgresql()) as state:
        state.admit(KEY, Rate(1, 60))
        monkeypatch.setattr(time, "time_ns", lambda: 0)
        assert state.admit(KEY, Rate(1, 60)) > 50_000


# --- PostgreSQL away, restarted, without tables


def test_a_database_that_is_away_is_a_transient_error(tmp_path: Path):
    url = parse_url("postgresql://me:s3cr3t-word@127.0.0.1:9/x")
    with closing(PostgresqlState(url, None)) as state:
        for ask in (lambda: state.admit(KEY, Rate(1)), lambda: state.breaker(KEY), state.systems):
            with pytest.raises(TransientError) as away:
                ask()
            assert "a reachable, writable database at postgresql+psycopg" in away.value.expected
            assert "s3cr3t-word" not in str(away.value)
            assert away.value.remedy


def test_a_connection_that_ended_is_made_again(postgresql: Store):
    with closing(postgresql()) as state, psycopg.connect(str(postgresql.url)) as admin:
        state.admit(KEY, Rate(2, 60))
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert state.admit(KEY, Rate(2, 60)) == 0
        assert state.admit(KEY, Rate(2, 60)) > 0


def test_a_session_that_others_get_as_well_keeps_no_setting(
    postgresql: Store, monkeypatch: pytest.MonkeyPatch
):
    """As behind a pooler, to whose next client the session goes."""
    monkeypatch.setattr("orchestration_project.engine.http_state.is_pooled", lambda _: True)
    sessions: list[psycopg.Connection] = []
    connect = psycopg.connect
    monkeypatch.setattr(
        psycopg, "connect", lambda **how: sessions.append(connect(**how)) or sessions[-1]
    )
    with closing(postgresql()) as state:
        assert [state.admit(KEY, Rate(1, 60)) > 0 for _ in range(8)] == [False] + [True] * 7
        breaker_of(state).failed("status 503")
        assert state.breaker(KEY).failure_count == 1
        (session,) = sessions
        for setting, usual in (("statement_timeout", "0"), ("synchronous_commit", "on")):
            assert session.execute(SQL("SHOW {}").format(Identifier(setting))).fetchone() == (
                usual,
            )


def test_a_held_row_is_not_waited_for_for_ever(postgresql: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("orchestration_project.engine.http_state.BUSY_SECONDS", 0.2)
    with closing(postgresql()) as state, psycopg.connect(str(postgresql.url)) as admin:
        state.admit(KEY, Rate(1))
        table = Identifier(str(postgresql.schema), "http_hosts")
        admin.execute(SQL("SELECT 1 FROM {} FOR UPDATE").format(table))
        with pytest.raises(TransientError, match="statement timeout"):
            state.admit(KEY, Rate(1))


@pytest.mark.slow
@pytest.mark.parametrize("is_pooled", [False, True])
def test_missing_tables_are_made_at_the_first_write_and_not_by_a_read(
    postgres_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_pooled: bool
):
    postgres_url = new_database(postgres_server, f"untouched_{uuid4().hex}")
    if is_pooled:
        monkeypatch.setattr("orchestration_project.engine.http_state.is_pooled", lambda _: True)
    for name, value in (
        ("STATE_DIR", str(tmp_path)),
        ("DATABASE_URL", postgres_url),
        ("DATA_PROFILE", "real"),
    ):
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert read_systems(settings) == {}
    with closing(open_shared_state(settings)) as state:
        assert state.breaker(KEY) == CLOSED
        with psycopg.connect(postgres_url) as admin:
            assert admin.execute("SELECT to_regclass('http_hosts')").fetchone() == (None,)
        assert state.admit(KEY, Rate(1)) == 0
    assert not list(tmp_path.rglob("*.sqlite"))


def test_a_demo_keeps_its_state_in_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "postgresql://me@127.0.0.1:9/x")
    monkeypatch.setenv("DATA_PROFILE", "demo")
    settings = load_settings()
    with closing(open_shared_state(settings)) as state:
        assert state.admit(KEY, Rate(1)) == 0
    assert read_systems(settings) == {}
    assert (tmp_path / "http" / "http.sqlite").is_file()


# --- the file


def test_a_file_that_another_process_is_just_making_is_waited_for(tmp_path: Path):
    (tmp_path / "http").mkdir()
    other = sqlite3.connect(tmp_path / "http" / "http.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # for which SQLite does not wait when a log is made
    opened: list[SqliteState] = []
    waiter = threading.Thread(target=lambda: opened.append(SqliteState(tmp_path)), daemon=True)
    waiter.start()
    waiter.join(0.1)
    assert waiter.is_alive()
    other.execute("COMMIT")
    waiter.join(10)
    (state,) = opened
    state.close()
    other.close()


def test_a_damaged_file_is_a_configuration_error(tmp_path: Path):
    (tmp_path / "http").mkdir()
    (tmp_path / "http" / "http.sqlite").write_text("damaged " * 1000)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        SqliteState(tmp_path)


# --- the client


def test_a_host_has_the_rate_that_it_asks_for(tmp_path: Path):
    requested: list[str] = []

    def rate_of(host: str) -> Rate:
        requested.append(host)
        return Rate(1, 0.2)

    with (
        FaultyServer(lambda _: Reply(body=b"x")) as server,
        make_client(
            tmp_path,
            "test",
            now=lambda: NOW,
            use_environment=False,
            rate_of=rate_of,
            max_attempts=5,
            wait_seconds=0.5,
        ) as client,
    ):
        begun = time.monotonic()
        client.request("GET", server.url)
        client.request("GET", server.url)
        assert time.monotonic() - begun >= 0.2
    assert requested == ["127.0.0.1"]
