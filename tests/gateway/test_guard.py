"""Authentication: unknown callers are refused, whatever they request."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from itsdangerous import Signer
from sqlalchemy import select
from websockets.exceptions import ConnectionClosed, InvalidStatus

from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.gateway.guard import PUBLIC_PATHS, PUBLIC_PREFIXES, RECHECK_SECONDS
from orchestration_project.services.access.rules.credentials import hash_of
from orchestration_project.services.access.rules.members import AccessRule, Member
from orchestration_project.tables.access import access_sessions
from tests.gateway.door import LIMITS, SECRET, Door, open_door
from tests.programs import wait_for

NOT_KNOWN = "Log in at /login, or send a key as X-API-Key or Authorization: Bearer."

PRIVATE = [
    *("/", "/graphql", "/server_info", "/runs", "/session", "/logout", "/favicon.png"),
    *("/logs/x/y.err", "/download_debug/x", "/notebook", "/metrics", "/nothing", "/dagit_info"),
]


@pytest.mark.parametrize("path", PRIVATE)
def test_an_unknown_program_is_refused_without_details(door: Door, path: str):
    answer = door.ask("GET", path)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json == {"errors": [{"message": NOT_KNOWN}]}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_no_method_gets_past_the_guard(door: Door, method: str):
    assert door.ask(method, "/graphql", Content_Type="application/json").status == 401


def test_a_method_that_there_is_not_is_no_request(door: Door):
    assert door.ask("ODD", "/graphql", key=door.keys[Role.ADMIN]).status == 400


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 1\r\nContent-Length: 2\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length: +1\r\n",
        b"Content-Length : 1\r\n",
        b"X: a\n b\r\n",
        b"X: a\rY: b\r\n",
    ],
)
def test_a_request_whose_end_a_proxy_may_see_elsewhere_is_refused(door: Door, lines: bytes):
    head = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" + lines
    assert b" 400 " in door.raw(head + b"\r\n0\r\n\r\n").split(b"\r\n")[0]


def test_a_browser_that_is_not_known_is_led_to_the_login_and_back(door: Door):
    answer = door.ask("GET", "/runs/abc?tab=a%20b&x=1", Accept="text/html,*/*")
    assert answer.status == 303
    assert answer.headers["location"] == "/login?next=%2Fruns%2Fabc%3Ftab%3Da%2520b%26x%3D1"


def test_a_websocket_of_nobody_is_refused_before_it_opens(door: Door):
    with pytest.raises(InvalidStatus) as refused:
        door.websocket()
    assert refused.value.response.status_code == 403


def test_what_is_public_is_a_short_list_and_leads_to_dagster_nowhere(door: Door):
    assert {
        *("/login", "/healthz", "/readyz", "/auth/oidc/login", "/auth/oidc/callback")
    } == PUBLIC_PATHS
    assert PUBLIC_PREFIXES == ("/hooks/",)
    for path in (*PUBLIC_PATHS - {"/login"}, "/hooks/x", "/hooks/graphql"):
        assert (door.ask("GET", path).status, door.ask("POST", path).status) == (404, 404)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("//graphql", 400),
        ("/login/../graphql", 400),
        ("/login/%2e%2e/graphql", 400),
        ("/hooks/../graphql", 400),
        ("/hooks/%2E%2e/graphql", 400),
        ("/hooks/..%2fgraphql", 400),
        ("/hooks//graphql", 400),
        ("/hooks/%5c..%5cgraphql", 400),
        ("/hooks/%00", 400),
        ("/./graphql", 400),
        ("/logs/../../../etc/passwd", 400),
        ("/LOGIN", 401),
        ("/Hooks/x", 401),
        ("/login/", 401),
        ("/login%2f", 401),
        ("/login;x", 401),
        ("/graphql%3f", 401),
        ("/GRAPHQL", 401),
        ("/%67raphql", 401),
        ("/hooks", 401),
    ],
)
def test_no_spelling_of_a_path_leads_around_the_guard(door: Door, path: str, status: int):
    assert door.ask("GET", path).status == status


def test_an_absolute_address_in_the_request_line_is_no_way_around(door: Door):
    head = b"GET http://127.0.0.1/login/../graphql HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    assert b" 400 " in door.raw(head + b"Connection: close\r\n\r\n").split(b"\r\n")[0]


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
def test_a_machine_sends_its_key_in_either_header(door: Door, header: str):
    key = str(door.keys[Role.VIEWER])
    value = key if header == "X-API-Key" else f"bearer {key}"
    answer = door.ask("GET", "/session", **{header: value})
    assert answer.json == {
        "user": "the viewer",
        "role": "viewer",
        "way": "key",
        "key_id": door.keys[Role.VIEWER].key_id,
    }


def wrong_keys(door: Door) -> list[str]:
    key = door.key()
    other = door.key()
    flipped = "A" if key.secret[20] != "A" else "B"
    return [
        "",
        "op_",
        "x",
        f"op_{key.key_id}_",
        str(key)[:-1],
        f"{key}A",
        f"op_{key.key_id}_{key.secret[:20]}{flipped}{key.secret[21:]}",
        f"op_{other.key_id}_{key.secret}",
        f"op_{'0' * 12}_{key.secret}",
        str(key).upper(),
        "op_é_ÿ",
        f"Basic {key}",
    ]


def test_a_key_that_is_not_whole_and_right_opens_nothing(door: Door):
    keys = wrong_keys(door)[1:]
    assert len(keys) > 3
    for wrong in keys:
        assert door.ask("GET", "/session", X_API_Key=wrong).status == 401, wrong
        assert door.ask("GET", "/session", Authorization=f"Bearer {wrong}").status == 401, wrong


def test_an_authorization_of_another_kind_opens_nothing_even_with_a_right_key(door: Door):
    key = door.keys[Role.ADMIN]
    assert door.ask("GET", "/session", Authorization=f"Basic {key}").status == 401
    assert door.ask("GET", "/session", key=key, Authorization=f"Bearer {key}").status == 400


def test_a_header_that_comes_twice_is_refused_rather_than_read_one_way(door: Door):
    key = str(door.keys[Role.ADMIN]).encode()
    head = b"GET /session HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: x\r\nX-API-Key: " + key
    assert b" 400 " in door.raw(head + b"\r\nConnection: close\r\n\r\n").split(b"\r\n")[0]


def test_a_revoked_key_opens_nothing_at_the_next_request_nor_do_its_sessions(door: Door):
    key = door.key()
    cookie = door.log_in(key)
    assert door.ask("GET", "/session", key=key).status == 200
    assert door.ask("GET", "/session", cookie=cookie).status == 200
    door.key_ring.revoke(key.key_id)
    assert door.ask("GET", "/session", key=key).status == 401
    assert door.ask("GET", "/session", cookie=cookie).status == 401
    assert door.post("/login", {"key": str(key)}).status == 401


def test_a_key_ends_by_itself_and_its_sessions_with_it(door: Door):
    key = door.key_ring.create(owner="x", role=Role.VIEWER, lasts=timedelta(minutes=5))
    cookie = door.log_in(key)
    door.clock.ahead += timedelta(minutes=4)
    assert door.ask("GET", "/session", key=key).status == 200
    door.clock.ahead += timedelta(minutes=2)
    assert door.ask("GET", "/session", key=key).status == 401
    assert door.ask("GET", "/session", cookie=cookie).status == 401


def test_a_rotated_key_ends_after_its_overlap_and_the_new_one_has_its_owner_and_role(door: Door):
    old = door.key(Role.OPERATOR, "the loader")
    hour = timedelta(hours=1)
    new = door.key_ring.rotate(old.key_id, lasts=10 * hour, overlap=hour)
    session = door.ask("GET", "/session", key=new).json
    assert (session["user"], session["role"]) == ("the loader", "operator")
    assert door.ask("GET", "/session", key=old).status == 200
    door.clock.ahead += hour
    assert door.ask("GET", "/session", key=old).status == 401
    assert door.ask("GET", "/session", key=new).status == 200


def test_a_session_that_lies_unused_ends_and_one_that_is_used_goes_on(door: Door):
    used, unused = (door.log_in(door.key()) for _ in range(2))
    for _ in range(3):
        door.clock.ahead += LIMITS.idle / 2
        use(door, used)
    assert door.ask("GET", "/session", cookie=unused).status == 401


def use(door: Door, cookie: str) -> None:
    """Ask with ``cookie``, and wait until that is written down, which it is after the answer."""
    asked_at = door.clock.now()
    assert door.ask("GET", "/session", cookie=cookie).status == 200
    token = door.doors.token_of({"headers": [(b"cookie", cookie.encode())]})
    wanted = select(access_sessions.c.seen_at).where(
        access_sessions.c.session_hash == hash_of(str(token))
    )

    def is_written() -> bool:
        with door.warehouse.reading() as connection:
            return connection.execute(wanted).scalar_one() >= asked_at

    wait_for(is_written)


def test_a_session_ends_in_any_case_however_much_it_is_used(door: Door):
    key = door.key_ring.create(owner="x", role=Role.VIEWER, lasts=timedelta(days=9))
    cookie = door.log_in(key)
    for _ in range(4):
        door.clock.ahead += LIMITS.absolute / 5
        use(door, cookie)
    door.clock.ahead += LIMITS.absolute / 5
    assert door.ask("GET", "/session", cookie=cookie).status == 401


def test_a_cookie_that_we_did_not_sign_opens_nothing(door: Door):
    cookie = door.log_in(door.key())
    name, _, value = cookie.partition("=")
    token, _, signature = value.rpartition(".")
    middle = "A" if value[20] != "A" else "B"
    forged = [
        f"{name}=",
        f"{name}={token}",
        f"{name}={token}.",
        f"{name}={value[:-5]}",
        f"{name}={value[:20]}{middle}{value[21:]}",
        f"{name}=.{signature}",
        f"{name}={Signer('another').sign(token).decode()}",
        f"{name}={Signer(SECRET, salt='another').sign(token).decode()}",
        f"{name}={door.doors.signed('no-such-session')}",
        f"{name}=\xff\xfe",
        f"other={value}",
    ]
    assert door.ask("GET", "/session", cookie=cookie).status == 200
    for each in forged:
        assert door.ask("GET", "/session", cookie=each).status == 401, each


def test_a_role_that_changes_holds_at_the_next_request(door: Door):
    member = Member("1", "me@example.org", ["team"])
    principal = Principal(member.name, Role.OPERATOR, "session")
    token = door.access.begin(principal, "10.0.0.1", member=member)
    cookie = f"session={door.doors.signed(token)}"
    assert door.ask("GET", "/session", cookie=cookie).json["role"] == "operator"
    rule, door.access.rules[0] = door.access.rules[0], door.access.rules[1]  # pyright: ignore[reportIndexIssue] - a list
    assert door.ask("GET", "/session", cookie=cookie).json["role"] == "viewer"
    door.access.rules[0] = rule  # pyright: ignore[reportIndexIssue]


def test_a_key_that_is_sent_counts_and_not_the_cookie_beside_it(door: Door):
    cookie = door.log_in(door.keys[Role.ADMIN])
    both = door.ask("GET", "/session", key=door.keys[Role.VIEWER], cookie=cookie)
    assert both.json["role"] == "viewer"
    assert door.ask("GET", "/session", key="op_wrong", cookie=cookie).status == 401


def test_who_asks_is_believed_of_a_trusted_proxy_alone(door: Door):
    answer = door.ask("GET", "/session", key="op_wrong", address="203.0.113.7")
    [row] = door.audit(answer.headers["x-request-id"])
    assert (row["address"], row["operation"]) == ("203.0.113.7", "GET /session")


def test_a_host_that_is_not_ours_is_not_answered(door: Door):
    key = door.keys[Role.ADMIN]
    assert door.ask("GET", "/session", key=key, Host="door.example.org").status == 200
    assert door.ask("GET", "/session", key=key, Host="127.0.0.1:99").status == 200
    for host in ("evil.example.org", "", "127.0.0.1@evil", "127.0.0.1.evil", "[::1", "a b"):
        assert door.ask("GET", "/login", Host=host).status in (400, 421), host


def revoked(door: Door) -> tuple[dict[str, str], Callable[[], object]]:
    key = door.key()
    return {"X_API_Key": str(key)}, lambda: door.key_ring.revoke(key.key_id)


def revoked_after_its_login(door: Door) -> tuple[dict[str, str], Callable[[], object]]:
    key = door.key()
    return {"Cookie": door.log_in(key)}, lambda: door.key_ring.revoke(key.key_id)


def logged_out(door: Door) -> tuple[dict[str, str], Callable[[], object]]:
    cookie = door.log_in(door.key())
    return {"Cookie": cookie}, lambda: door.post("/logout", {}, cookie=cookie)


def logged_out_everywhere(door: Door) -> tuple[dict[str, str], Callable[[], object]]:
    key = door.key(owner="everywhere")
    cookie, other = door.log_in(key), door.log_in(key)
    everywhere = {"everywhere": "yes"}
    return {"Cookie": cookie}, lambda: door.post("/logout", everywhere, cookie=other)


def of_another_role(door: Door) -> tuple[dict[str, str], Callable[[], object]]:
    member = Member("2", "other@example.org", ["team"])
    principal = Principal(member.name, Role.OPERATOR, "session")
    token = door.access.begin(principal, "10.0.0.1", member=member)
    return {"Cookie": f"session={door.doors.signed(token)}"}, lambda: rules_of(door).pop(0)


def rules_of(door: Door) -> list[AccessRule]:
    assert isinstance(door.access.rules, list)
    return door.access.rules


@pytest.fixture
def same_rules(door: Door):
    before = list(door.access.rules)
    yield
    rules_of(door)[:] = before


@pytest.mark.usefixtures("same_rules")
@pytest.mark.parametrize(
    "ending", [revoked, revoked_after_its_login, logged_out, logged_out_everywhere, of_another_role]
)
def test_a_websocket_ends_soon_after_who_opened_it_may_no_more(door: Door, ending: Any):
    way, end = ending(door)
    with door.websocket(**way) as websocket:
        websocket.send('{"type": "connection_init"}')
        assert websocket.recv() == '{"type":"connection_ack"}'
        end()
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=10)
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 4401


def test_it_is_looked_at_least_every_ten_seconds_whether_a_websocket_may_go_on():
    assert 0 < RECHECK_SECONDS < 10


def test_a_websocket_of_another_site_is_refused_with_cookie_and_with_key(door: Door):
    cookie = door.log_in(door.keys[Role.ADMIN])
    with door.websocket(Cookie=cookie):
        pass
    ways = [{"Cookie": cookie}, {"X_API_Key": str(door.keys[Role.ADMIN])}]
    for way in ways:
        with pytest.raises(InvalidStatus):
            door.websocket(origin="http://evil.example.org", **way)
    with pytest.raises(InvalidStatus):
        door.websocket(origin=None, Cookie=cookie)


@pytest.mark.slow
def test_where_nobody_is_asked_everybody_is_an_admin_but_no_page_of_another_site(tmp_path):
    with open_door(tmp_path, is_open=True) as door:
        assert door.ask("GET", "/session").json["role"] == "admin"
        query = "mutation {setNuxSeen}"
        assert door.graphql(query).status == 200
        assert door.graphql(query, Origin="http://evil.example.org").status == 403
        assert door.graphql(query, Sec_Fetch_Site="cross-site").status == 403
        assert door.ask("GET", "/session", Host="evil.example.org").status == 421
        door.instance.create_run_for_job(job_def=empty)
        [run] = door.instance.get_runs()
        assert "user" not in run.tags


@dg.job
def empty(): ...
