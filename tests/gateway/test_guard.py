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
from tests.expecting import expect_type
from tests.gateway.login_client import LIMITS, SECRET, LoginClient, open_login_client
from tests.programs import wait_for

NOT_KNOWN = "Log in at /login, or send a key as X-API-Key or Authorization: Bearer."

PRIVATE = [
    *("/", "/graphql", "/server_info", "/runs", "/session", "/logout", "/favicon.png"),
    *("/logs/x/y.err", "/download_debug/x", "/notebook", "/metrics", "/nothing", "/dagit_info"),
]


@pytest.mark.parametrize("path", PRIVATE)
def test_an_unknown_program_is_refused_without_details(login_client: LoginClient, path: str):
    answer = login_client.ask("GET", path)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json == {"errors": [{"message": NOT_KNOWN}]}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_no_method_gets_past_the_guard(login_client: LoginClient, method: str):
    assert login_client.ask(method, "/graphql", Content_Type="application/json").status == 401


def test_a_method_that_there_is_not_is_no_request(login_client: LoginClient):
    assert login_client.ask("ODD", "/graphql", key=login_client.keys[Role.ADMIN]).status == 400


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
def test_a_request_whose_end_a_proxy_may_see_elsewhere_is_refused(
    login_client: LoginClient, lines: bytes
):
    head = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" + lines
    assert b" 400 " in login_client.raw(head + b"\r\n0\r\n\r\n").split(b"\r\n")[0]


def test_a_browser_that_is_not_known_is_led_to_the_login_and_back(login_client: LoginClient):
    answer = login_client.ask("GET", "/runs/abc?tab=a%20b&x=1", Accept="text/html,*/*")
    assert answer.status == 303
    assert answer.headers["location"] == "/login?next=%2Fruns%2Fabc%3Ftab%3Da%2520b%26x%3D1"


def test_an_anonymous_websocket_is_refused_before_it_opens(login_client: LoginClient):
    with pytest.raises(InvalidStatus) as refused:
        login_client.websocket()
    assert refused.value.response.status_code == 403


def test_what_is_public_is_a_short_list_and_leads_to_dagster_nowhere(login_client: LoginClient):
    assert {
        *("/login", "/healthz", "/readyz", "/auth/oidc/login", "/auth/oidc/callback")
    } == PUBLIC_PATHS
    assert PUBLIC_PREFIXES == ("/hooks/",)
    for path in (*PUBLIC_PATHS - {"/login"}, "/hooks/x", "/hooks/graphql"):
        assert (login_client.ask("GET", path).status, login_client.ask("POST", path).status) == (
            404,
            404,
        )


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
def test_no_spelling_of_a_path_leads_around_the_guard(
    login_client: LoginClient, path: str, status: int
):
    assert login_client.ask("GET", path).status == status


def test_an_absolute_address_in_the_request_line_is_no_way_around(login_client: LoginClient):
    head = b"GET http://127.0.0.1/login/../graphql HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    assert b" 400 " in login_client.raw(head + b"Connection: close\r\n\r\n").split(b"\r\n")[0]


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
def test_a_machine_sends_its_key_in_either_header(login_client: LoginClient, header: str):
    key = str(login_client.keys[Role.VIEWER])
    value = key if header == "X-API-Key" else f"bearer {key}"
    answer = login_client.ask("GET", "/session", **{header: value})
    assert answer.json == {
        "user": "the viewer",
        "role": "viewer",
        "way": "key",
        "key_id": login_client.keys[Role.VIEWER].key_id,
    }


def wrong_keys(login_client: LoginClient) -> list[str]:
    key = login_client.key()
    other = login_client.key()
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


def test_a_key_that_is_not_whole_and_right_opens_nothing(login_client: LoginClient):
    keys = wrong_keys(login_client)[1:]
    assert len(keys) > 3
    for wrong in keys:
        assert login_client.ask("GET", "/session", X_API_Key=wrong).status == 401, wrong
        assert login_client.ask("GET", "/session", Authorization=f"Bearer {wrong}").status == 401, (
            wrong
        )


def test_an_authorization_of_another_kind_opens_nothing_even_with_a_right_key(
    login_client: LoginClient,
):
    key = login_client.keys[Role.ADMIN]
    assert login_client.ask("GET", "/session", Authorization=f"Basic {key}").status == 401
    assert login_client.ask("GET", "/session", key=key, Authorization=f"Bearer {key}").status == 400


def test_a_header_that_comes_twice_is_refused_rather_than_read_one_way(login_client: LoginClient):
    key = str(login_client.keys[Role.ADMIN]).encode()
    head = b"GET /session HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: x\r\nX-API-Key: " + key
    assert b" 400 " in login_client.raw(head + b"\r\nConnection: close\r\n\r\n").split(b"\r\n")[0]


def test_a_revoked_key_opens_nothing_at_the_next_request_nor_do_its_sessions(
    login_client: LoginClient,
):
    key = login_client.key()
    cookie = login_client.log_in_without_failure(key)
    assert login_client.ask("GET", "/session", key=key).status == 200
    assert login_client.ask("GET", "/session", cookie=cookie).status == 200
    login_client.key_ring.revoke(key.key_id)
    assert login_client.ask("GET", "/session", key=key).status == 401
    assert login_client.ask("GET", "/session", cookie=cookie).status == 401
    assert login_client.post("/login", {"key": str(key)}).status == 401


def test_a_key_ends_by_itself_and_its_sessions_with_it(login_client: LoginClient):
    key = login_client.key_ring.create(owner="x", role=Role.VIEWER, lasts=timedelta(minutes=5))
    cookie = login_client.log_in_without_failure(key)
    login_client.clock.ahead += timedelta(minutes=4)
    assert login_client.ask("GET", "/session", key=key).status == 200
    login_client.clock.ahead += timedelta(minutes=2)
    assert login_client.ask("GET", "/session", key=key).status == 401
    assert login_client.ask("GET", "/session", cookie=cookie).status == 401


def test_a_rotated_key_ends_after_its_overlap_and_the_new_one_has_its_owner_and_role(
    login_client: LoginClient,
):
    old = login_client.key(Role.OPERATOR, "the loader")
    hour = timedelta(hours=1)
    new = login_client.key_ring.rotate(old.key_id, lasts=10 * hour, overlap=hour)
    session = login_client.ask("GET", "/session", key=new).json
    assert (session["user"], session["role"]) == ("the loader", "operator")
    assert login_client.ask("GET", "/session", key=old).status == 200
    login_client.clock.ahead += hour
    assert login_client.ask("GET", "/session", key=old).status == 401
    assert login_client.ask("GET", "/session", key=new).status == 200


def test_a_session_that_lies_unused_ends_and_one_that_is_used_goes_on(login_client: LoginClient):
    used, unused = (login_client.log_in_without_failure(login_client.key()) for _ in range(2))
    for _ in range(3):
        login_client.clock.ahead += LIMITS.idle / 2
        use_without_failure(login_client, used)
    assert login_client.ask("GET", "/session", cookie=unused).status == 401


def use_without_failure(login_client: LoginClient, cookie: str) -> None:
    """Ask with ``cookie``, and wait until that is written down, which it is after the answer."""
    requested_at = login_client.clock.now()
    assert login_client.ask("GET", "/session", cookie=cookie).status == 200
    token = login_client.auth_services.token_of({"headers": [(b"cookie", cookie.encode())]})
    wanted = select(access_sessions.c.seen_at).where(
        access_sessions.c.session_hash == hash_of(str(token))
    )

    def is_written() -> bool:
        with login_client.warehouse.reading() as connection:
            return connection.execute(wanted).scalar_one() >= requested_at

    wait_for(is_written)


def test_a_session_ends_in_any_case_however_much_it_is_used(login_client: LoginClient):
    key = login_client.key_ring.create(owner="x", role=Role.VIEWER, lasts=timedelta(days=9))
    cookie = login_client.log_in_without_failure(key)
    for _ in range(4):
        login_client.clock.ahead += LIMITS.absolute / 5
        use_without_failure(login_client, cookie)
    login_client.clock.ahead += LIMITS.absolute / 5
    assert login_client.ask("GET", "/session", cookie=cookie).status == 401


def test_a_cookie_that_we_did_not_sign_opens_nothing(login_client: LoginClient):
    cookie = login_client.log_in_without_failure(login_client.key())
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
        f"{name}={login_client.auth_services.signed('no-such-session')}",
        f"{name}=\xff\xfe",
        f"other={value}",
    ]
    assert login_client.ask("GET", "/session", cookie=cookie).status == 200
    for address in forged:
        assert login_client.ask("GET", "/session", cookie=address).status == 401, address


def test_a_role_that_changes_holds_at_the_next_request(login_client: LoginClient):
    member = Member("1", "me@example.org", ["team"])
    principal = Principal(member.name, Role.OPERATOR, "session")
    token = login_client.access.begin(principal, "10.0.0.1", member=member)
    cookie = f"session={login_client.auth_services.signed(token)}"
    assert login_client.ask("GET", "/session", cookie=cookie).json["role"] == "operator"
    rule, login_client.access.rules[0] = login_client.access.rules[0], login_client.access.rules[1]  # pyright: ignore[reportIndexIssue] - a list
    assert login_client.ask("GET", "/session", cookie=cookie).json["role"] == "viewer"
    login_client.access.rules[0] = rule  # pyright: ignore[reportIndexIssue]


def test_a_key_that_is_sent_counts_and_not_the_cookie_beside_it(login_client: LoginClient):
    cookie = login_client.log_in_without_failure(login_client.keys[Role.ADMIN])
    both = login_client.ask("GET", "/session", key=login_client.keys[Role.VIEWER], cookie=cookie)
    assert both.json["role"] == "viewer"
    assert login_client.ask("GET", "/session", key="op_wrong", cookie=cookie).status == 401


def test_who_asks_is_believed_of_a_trusted_proxy_alone(login_client: LoginClient):
    answer = login_client.ask("GET", "/session", key="op_wrong", address="203.0.113.7")
    [row] = login_client.audit(answer.headers["x-request-id"])
    assert (row["address"], row["operation"]) == ("203.0.113.7", "GET /session")


def test_a_host_that_is_not_ours_is_not_answered(login_client: LoginClient):
    key = login_client.keys[Role.ADMIN]
    assert login_client.ask("GET", "/session", key=key, Host="door.example.org").status == 200
    assert login_client.ask("GET", "/session", key=key, Host="127.0.0.1:99").status == 200
    for host in ("evil.example.org", "", "127.0.0.1@evil", "127.0.0.1.evil", "[::1", "a b"):
        assert login_client.ask("GET", "/login", Host=host).status in (400, 421), host


def revoked(login_client: LoginClient) -> tuple[dict[str, str], Callable[[], object]]:
    key = login_client.key()
    return {"X_API_Key": str(key)}, lambda: login_client.key_ring.revoke(key.key_id)


def revoked_after_its_login(
    login_client: LoginClient,
) -> tuple[dict[str, str], Callable[[], object]]:
    key = login_client.key()
    return {
        "Cookie": login_client.log_in_without_failure(key)
    }, lambda: login_client.key_ring.revoke(key.key_id)


def logged_out(login_client: LoginClient) -> tuple[dict[str, str], Callable[[], object]]:
    cookie = login_client.log_in_without_failure(login_client.key())
    return {"Cookie": cookie}, lambda: login_client.post("/logout", {}, cookie=cookie)


def logged_out_everywhere(login_client: LoginClient) -> tuple[dict[str, str], Callable[[], object]]:
    key = login_client.key(owner="everywhere")
    cookie, other = (
        login_client.log_in_without_failure(key),
        login_client.log_in_without_failure(key),
    )
    everywhere = {"everywhere": "yes"}
    return {"Cookie": cookie}, lambda: login_client.post("/logout", everywhere, cookie=other)


def of_another_role(login_client: LoginClient) -> tuple[dict[str, str], Callable[[], object]]:
    member = Member("2", "other@example.org", ["team"])
    principal = Principal(member.name, Role.OPERATOR, "session")
    token = login_client.access.begin(principal, "10.0.0.1", member=member)
    return {"Cookie": f"session={login_client.auth_services.signed(token)}"}, lambda: rules_of(
        login_client
    ).pop(0)


def rules_of(login_client: LoginClient) -> list[AccessRule]:
    return expect_type(login_client.access.rules, list)


@pytest.fixture
def same_rules(login_client: LoginClient):
    before = list(login_client.access.rules)
    yield
    rules_of(login_client)[:] = before


@pytest.mark.slow_after_first
@pytest.mark.usefixtures("same_rules")
@pytest.mark.parametrize(
    "ending", [revoked, revoked_after_its_login, logged_out, logged_out_everywhere, of_another_role]
)
def test_a_websocket_ends_soon_after_who_opened_it_may_no_more(
    login_client: LoginClient, ending: Any
):
    way, end = ending(login_client)
    with login_client.websocket(**way) as websocket:
        websocket.send('{"type": "connection_init"}')
        assert websocket.recv(timeout=30) == '{"type":"connection_ack"}'
        end()
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=10)
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 4401


def test_it_is_looked_at_least_every_ten_seconds_whether_a_websocket_may_go_on():
    assert 0 < RECHECK_SECONDS < 10


def test_a_websocket_of_another_site_is_refused_with_cookie_and_with_key(login_client: LoginClient):
    cookie = login_client.log_in_without_failure(login_client.keys[Role.ADMIN])
    with login_client.websocket(Cookie=cookie):
        pass
    ways = [{"Cookie": cookie}, {"X_API_Key": str(login_client.keys[Role.ADMIN])}]
    for way in ways:
        with pytest.raises(InvalidStatus):
            login_client.websocket(origin="http://evil.example.org", **way)
    with pytest.raises(InvalidStatus):
        login_client.websocket(origin=None, Cookie=cookie)


@pytest.mark.slow
def test_without_login_all_are_admins_but_no_page_of_another_site(tmp_path):
    with open_login_client(tmp_path, is_open=True) as login_client:
        assert login_client.ask("GET", "/session").json["role"] == "admin"
        query = "mutation {setNuxSeen}"
        assert login_client.graphql(query).status == 200
        assert login_client.graphql(query, Origin="http://evil.example.org").status == 403
        assert login_client.graphql(query, Sec_Fetch_Site="cross-site").status == 403
        assert login_client.ask("GET", "/session", Host="evil.example.org").status == 421
        login_client.instance.create_run_for_job(job_def=empty)
        [run] = login_client.instance.get_runs()
        assert "user" not in run.tags


@dg.job
def empty(): ...
