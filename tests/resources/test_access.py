"""Keys, sessions and failures in the database: each database gives the same answers."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import func, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.redaction import hide
from orchestration_project.services.access import (
    Access,
    AccessLog,
    AccessLogEntry,
    DeniedCaller,
    Keys,
    KnownCaller,
    read_session_secret,
)
from orchestration_project.services.access.audit import MAX_TEXT_LENGTH
from orchestration_project.services.access.rules.credentials import (
    ADDRESS_LIMIT,
    KEY_LIMIT,
    WINDOW,
    LoginLimits,
)
from orchestration_project.services.access.rules.members import AccessRule, Member
from orchestration_project.tables.access import (
    access_audit,
    access_failures,
    access_keys,
    access_sessions,
)

HOUR = timedelta(hours=1)
ME = Principal("me", Role.VIEWER, "session")


@pytest.fixture(params=["sqlite", "postgresql"])
def warehouse(request, tmp_path, prepared):
    url, schema = prepared.sqlite(tmp_path / "x.sqlite"), None
    with ExitStack() as stack:
        if request.param == "postgresql":
            url, schema = stack.enter_context(prepared.schema())
        warehouse = stack.enter_context(Warehouse(url, clock=Clock(), schema=schema))
        warehouse.prepare(holds="demo")
        yield warehouse


@pytest.fixture
def access(warehouse) -> Access:
    return Access(warehouse, Clock(), LoginLimits(HOUR, 2 * HOUR), [AccessRule(Role.VIEWER, "*")])


def test_a_key_opens_and_is_noted_and_ends_with_its_revocation(warehouse, access):
    keys = Keys(warehouse, Clock())
    key = keys.create(owner="me", role=Role.OPERATOR, lasts=HOUR)
    found = access.by_key(str(key), "10.0.0.1")
    assert found == KnownCaller(Principal("me", Role.OPERATOR, "key", key.key_id), is_to_note=True)
    access.note_use(found.principal)
    assert access.by_key(str(key), "10.0.0.1").is_to_note is False
    session = access.by_session(access.begin(found.principal, "10.0.0.1"))
    assert session
    assert (session.principal.role, session.principal.key_id) == (Role.OPERATOR, key.key_id)
    keys.revoke(key.key_id)
    assert access.by_key(str(key), "10.0.0.1") == DeniedCaller(key.key_id, is_over=True)
    assert access.by_session("no such token") is None


def test_failures_lock_the_key_and_are_forgotten_after_their_window(warehouse, access):
    key_id = uuid4().hex[:12]
    for number in range(KEY_LIMIT):
        guess = f"op_{key_id}_{number:043d}"
        assert access.by_key(guess, f"10.0.{number}.1") == DeniedCaller(key_id)
    locked = access.by_key(f"op_{key_id}_{0:043d}", "10.9.9.9")
    assert locked.until is not None
    later = Access(warehouse, LaterClock(WINDOW), access.limits)
    assert later.by_key(f"op_{key_id}_{0:043d}", "10.9.9.9") == DeniedCaller(key_id)
    with warehouse.reading() as connection:
        subjects = connection.execute(select(access_failures.c.subject)).scalars().all()
    assert sorted(subjects) == ["address 10.9.9.9", f"key {key_id}"]


def test_of_failures_at_one_moment_each_counts(warehouse, access):
    key_id = uuid4().hex[:12]
    guesses = [f"op_{key_id}_{number:043d}" for number in range(KEY_LIMIT - 1)]
    with ThreadPoolExecutor(len(guesses)) as pool:
        found = list(pool.map(lambda guess: access.by_key(guess, "10.0.0.1"), guesses))
    assert found == [DeniedCaller(key_id)] * len(guesses)
    with warehouse.reading() as connection:
        counts = connection.execute(select(access_failures.c.failure_count)).scalars().all()
    assert counts == [len(guesses)] * 2


class LaterClock(Clock):
    """The real time, and some more."""

    def __init__(self, more):
        super().__init__()
        self.more = more

    def now(self):
        return super().now() + self.more


def test_an_address_is_locked_before_the_database_is_asked_for_a_key(access):
    for _ in range(ADDRESS_LIMIT):
        access.by_key("no key", "10.1.1.1")
    assert access.by_key("no key", "10.1.1.1").until is not None


def test_a_session_of_a_provider_has_the_role_of_the_rules_now(warehouse, access):
    token = access.begin(ME, "10.0.0.1", member=Member("7", "me@example.org", ["a\u00e9\0"]))
    assert access.by_session(token).principal.role is Role.VIEWER
    without_rules = Access(warehouse, Clock(), access.limits, [])
    assert without_rules.by_session(token) is None


@pytest.mark.slow
def test_a_session_goes_on_where_the_server_ended_all_connections(postgres_url):
    with Warehouse(postgres_url, clock=Clock()) as warehouse:
        warehouse.prepare(holds="demo")
        access = Access(
            warehouse, Clock(), LoginLimits(HOUR, 2 * HOUR), [AccessRule(Role.VIEWER, "*")]
        )
        token = access.begin(ME, "10.0.0.1", member=Member("7"))
        assert access.by_session(token)
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert access.by_session(token)
        access.end(token)
        assert access.by_session(token) is None


@pytest.mark.slow
def test_sessions_and_keys_lie_in_the_schema_that_is_set(postgres_url):
    with Warehouse(postgres_url, clock=Clock(), schema=f"own_{uuid4().hex}") as warehouse:
        warehouse.prepare(holds="demo")
        access = Access(
            warehouse, Clock(), LoginLimits(HOUR, 2 * HOUR), [AccessRule(Role.VIEWER, "*")]
        )
        token = access.begin(ME, "10.0.0.1", member=Member("7"))
        assert access.by_session(token)


def test_sessions_end_one_by_one_and_all_at_once_and_old_ones_are_cleared_away(warehouse, access):
    member = Member("7")
    tokens = [access.begin(ME, "10.0.0.1", member=member) for _ in range(3)]
    access.end(tokens[0])
    assert [access.by_session(token) is None for token in tokens] == [True, False, False]
    access.end_everywhere(ME)
    assert [access.by_session(token) for token in tokens] == [None] * 3
    Access(warehouse, LaterClock(3 * HOUR), access.limits).begin(ME, "10.0.0.1", member=member)
    with warehouse.reading() as connection:
        left = connection.execute(select(func.count()).select_from(access_sessions)).scalar_one()
    assert left == 1


def test_the_first_key_is_the_only_one_that_is_made_unasked(warehouse):
    keys = Keys(warehouse, Clock())
    with warehouse.writing() as connection:
        connection.execute(access_keys.delete())
    first = keys.create_first(owner="admin", lasts=HOUR)
    assert first
    assert keys.create_first(owner="admin", lasts=HOUR) is None


def test_the_audit_keeps_what_callers_wrote_cut_and_without_what_a_database_refuses(warehouse):
    request_id = uuid4().hex
    said = "x\0\ud800" * 1000
    AccessLog(warehouse, Clock()).record(
        AccessLogEntry(request_id, said, said, "refused", target=said)
    )
    with warehouse.reading() as connection:
        wanted = select(access_audit).where(access_audit.c.request_id == request_id)
        row = connection.execute(wanted).mappings().one()
    assert {len(row[name]) <= 7000 for name in ("address", "operation", "target")} == {True}
    assert row["operation"].startswith("x\\ud800x")


def test_the_audit_keeps_no_beginning_of_a_secret_that_it_cuts(warehouse):
    secret, request_id = uuid4().hex, uuid4().hex
    hide(secret)
    said = "x" * (MAX_TEXT_LENGTH - 12) + secret
    AccessLog(warehouse, Clock()).record(
        AccessLogEntry(request_id, "", "launchRun", "asked", target=said)
    )
    with warehouse.reading() as connection:
        wanted = select(access_audit.c.target).where(access_audit.c.request_id == request_id)
        assert connection.execute(wanted).scalar_one() == "x" * (MAX_TEXT_LENGTH - 12) + "***"


@pytest.mark.slow
def test_the_secret_of_sessions_is_made_once_for_its_owner_alone(demo_settings):
    secret = read_session_secret(demo_settings)
    assert len(secret) == 64
    assert read_session_secret(demo_settings) == secret
    file = demo_settings.state_path / "session_secret"
    assert oct(file.stat().st_mode)[-3:] == "600"
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="may be read by others"):
        read_session_secret(demo_settings)
