"""Logging in by key, the session that follows, and logging out."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestration_project.engine.contracts.roles import Role
from orchestration_project.services.access.rules.credentials import (
    ADDRESS_LIMIT,
    KEY_LIMIT,
    WINDOW,
    hash_of,
)
from orchestration_project.tables.access import access_keys, access_sessions
from tests.gateway.login_client import LoginClient, open_login_client

WRONG = "This key does not open anything."


def status(login_client: LoginClient, cookie: str) -> int:
    return login_client.ask("GET", "/session", cookie=cookie).status


def test_the_page_asks_for_a_key_without_any_script(login_client: LoginClient):
    page = login_client.ask("GET", "/login?next=/runs", Accept="text/html")
    assert (page.status, page.headers["cache-control"]) == (200, "no-store")
    assert '<html lang="en">' in page.text
    assert '<label for="key">Key</label>' in page.text
    assert '<input type="hidden" name="next" value="/runs">' in page.text
    assert "<script" not in page.text
    own, ours = page.headers["content-security-policy"], "frame-ancestors 'none'"
    assert "default-src 'none'" in own or ours in own


def test_a_right_key_opens_a_session_whose_cookie_no_script_and_no_other_site_gets(
    login_client: LoginClient,
):
    answer = login_client.post(
        "/login", {"key": f" {login_client.keys[Role.OPERATOR]} ", "next": "/runs?x=1"}
    )
    assert (answer.status, answer.headers["location"]) == (303, "/runs?x=1")
    [cookie] = answer.cookies
    name_and_value, *attributes = cookie.split("; ")
    assert sorted(attributes) == ["HttpOnly", "Max-Age=86400", "Path=/", "SameSite=lax"]
    session = login_client.ask("GET", "/session", cookie=name_and_value).json
    assert session == {
        "user": "the operator",
        "role": "operator",
        "way": "session",
        "key_id": login_client.keys[Role.OPERATOR].key_id,
    }


def test_what_is_wrong_is_said_at_the_field_that_it_is_about(login_client: LoginClient):
    page = login_client.post("/login", {"key": "op_wrong"}).text
    assert f'<p role="alert" id="problem">{WRONG}' in page
    assert 'aria-describedby="problem hint" aria-invalid="true"' in page
    assert 'aria-invalid="true"' not in login_client.ask("GET", "/login").text


def test_behind_tls_the_cookie_is_secure_and_of_this_host_alone(tmp_path):
    with open_login_client(tmp_path, is_secure=True) as login_client:
        answer = login_client.post("/login", {"key": str(login_client.keys[Role.ADMIN])})
        name, *attributes = answer.cookies[0].split("; ")
        assert name.startswith("__Host-session=")
        assert "Secure" in attributes
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert status(login_client, name) == 200
        assert status(login_client, name.removeprefix("__Host-")) == 401


@pytest.mark.parametrize(
    ("wanted", "led_to"),
    [
        ("/runs?a=1&b=%2F%2Fx", "/runs?a=1&b=%2F%2Fx"),
        ("", "/"),
        ("runs", "/"),
        ("//evil.example.org", "/"),
        ("/\\evil.example.org", "/"),
        ("\\/evil.example.org", "/"),
        ("/\t/evil.example.org", "/"),
        ("/\r\nSet-Cookie: x=y", "/"),
        ("https://evil.example.org", "/"),
        ("https:evil.example.org", "/"),
        ("javascript:alert(1)", "/"),
        (" //evil.example.org", "/"),
        ("/é", "/"),
        ("/login?next=/login", "/"),
        ("/logout", "/"),
        ('/"><script>', '/"><script>'),
    ],
)
def test_a_login_leads_to_a_page_of_ours_whatever_was_wanted(
    login_client: LoginClient, wanted: str, led_to: str
):
    answer = login_client.post(
        "/login", {"key": str(login_client.keys[Role.VIEWER]), "next": wanted}
    )
    assert (answer.status, len(answer.cookies)) == (303, 1)
    assert answer.headers["location"] == led_to.replace('"><script>', "%22%3E%3Cscript%3E")
    assert "x" not in answer.headers


def test_what_was_wanted_is_shown_in_the_page_as_text(login_client: LoginClient):
    page = login_client.post("/login", {"key": "x", "next": '/"><script>alert(1)</script>'})
    assert "<script>" not in page.text
    assert "&quot;&gt;&lt;script&gt;" in page.text


def test_a_wrong_unknown_or_revoked_key_gets_the_same_answer(login_client: LoginClient):
    revoked = login_client.key()
    login_client.key_ring.revoke(revoked.key_id)
    key = login_client.key()
    wrong = f"op_{key.key_id}_{'A' * 43}"
    unknown = f"op_{'0' * 12}_{key.secret}"
    answers = [
        login_client.post("/login", {"key": typed_key})
        for typed_key in (wrong, unknown, str(revoked), "", "é", "x")
    ]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert WRONG in answers[0].text
    assert not any(answer.cookies for answer in answers)


def test_a_cookie_that_was_planted_before_the_login_is_worth_nothing_after_it(
    login_client: LoginClient,
):
    planted = login_client.log_in_without_failure(login_client.keys[Role.VIEWER])
    cookie = login_client.log_in_without_failure(login_client.keys[Role.ADMIN], cookie=planted)
    assert cookie != planted
    assert (status(login_client, cookie), status(login_client, planted)) == (200, 401)
    synthetic = f"session={login_client.auth_services.signed('synthetic')}"
    other = login_client.log_in_without_failure(login_client.keys[Role.ADMIN], cookie=synthetic)
    assert (status(login_client, other), status(login_client, synthetic)) == (200, 401)


def test_two_logins_at_once_in_one_browser_both_open_and_the_session_before_is_over(
    login_client: LoginClient,
):
    before = login_client.log_in_without_failure(login_client.keys[Role.VIEWER])
    with ThreadPoolExecutor(2) as pool:
        logins = [
            pool.submit(
                login_client.log_in_without_failure, login_client.keys[Role.ADMIN], cookie=before
            )
            for _ in range(2)
        ]
    after = [login.result() for login in logins]
    assert [status(login_client, cookie) for cookie in (*after, before)] == [200, 200, 401]


def test_logging_out_ends_this_session_and_a_copy_of_its_cookie(login_client: LoginClient):
    cookie, other = (
        login_client.log_in_without_failure(login_client.keys[Role.VIEWER]) for _ in range(2)
    )
    answer = login_client.post("/logout", {}, cookie=cookie)
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert 'session="";' in answer.cookies[0]
    assert (status(login_client, cookie), status(login_client, other)) == (401, 200)


def test_logging_out_everywhere_ends_all_sessions_of_theirs_and_no_others(
    login_client: LoginClient,
):
    key = login_client.key(owner="one")
    cookies = [
        login_client.log_in_without_failure(key),
        login_client.log_in_without_failure(key),
        login_client.log_in_without_failure(login_client.key(owner="two")),
    ]
    login_client.post("/logout", {"everywhere": "yes"}, cookie=cookies[0])
    assert [status(login_client, cookie) for cookie in cookies] == [401, 401, 200]


def test_the_page_of_a_session_names_who_it_is_and_lets_them_out(login_client: LoginClient):
    cookie = login_client.log_in_without_failure(login_client.key(Role.VIEWER, "<b>me</b>"))
    page = login_client.ask("GET", "/session", cookie=cookie, Accept="text/html").text
    assert "<strong>&lt;b&gt;me&lt;/b&gt;</strong>, with the role <strong>viewer</strong>." in page
    assert '<form method="post" action="/logout">' in page
    assert login_client.ask("GET", "/logout", cookie=cookie).headers["location"] == "/session"
    assert status(login_client, cookie) == 200


FOREIGN = [
    {"Origin": "http://evil.example.org"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_page_of_another_site_cannot_log_in_or_out(
    login_client: LoginClient, headers: dict[str, str]
):
    cookie = login_client.log_in_without_failure(login_client.keys[Role.VIEWER])
    fields = {"key": str(login_client.keys[Role.VIEWER])}
    assert login_client.post("/login", fields, **headers).status == 403
    assert login_client.post("/logout", {}, cookie=cookie, **headers).status == 403
    assert status(login_client, cookie) == 200


def test_a_login_takes_a_small_form_alone(login_client: LoginClient):
    json = login_client.ask(
        "POST", "/login", "{}", Content_Type="application/json", Origin=login_client.origin
    )
    assert json.status == 415
    assert login_client.post("/login", {"key": "x" * 17_000}).status == 413


def test_who_guesses_keys_is_locked_out_by_their_address(login_client: LoginClient):
    address = "203.0.113.1"
    for _ in range(ADDRESS_LIMIT):
        assert login_client.post("/login", {"key": "op_guess"}, address=address).status == 401
    fields = {"key": str(login_client.keys[Role.VIEWER])}
    locked = login_client.post("/login", fields, address=address)
    assert (locked.status, locked.cookies) == (429, [])
    assert 0 < int(locked.headers["retry-after"]) <= WINDOW.total_seconds() + 1
    header = login_client.ask(
        "GET", "/session", key=login_client.keys[Role.VIEWER], address=address
    )
    assert header.status == 429
    assert login_client.post("/login", fields).status == 303  # from elsewhere
    login_client.clock.ahead += WINDOW
    assert login_client.post("/login", fields, address=address).status == 303


def test_a_key_whose_secret_is_guessed_at_is_locked_from_everywhere(login_client: LoginClient):
    key = login_client.key()
    for number in range(KEY_LIMIT):
        guess = f"op_{key.key_id}_{number:043d}"
        assert login_client.post("/login", {"key": guess}).status == 401
    assert login_client.post("/login", {"key": str(key)}).status == 429
    login_client.clock.ahead += WINDOW
    assert login_client.post("/login", {"key": str(key)}).status == 303


def test_an_address_of_ipv6_counts_with_its_whole_network(login_client: LoginClient):
    for number in range(ADDRESS_LIMIT):
        address = f"2001:db8:1:1::{number:x}"
        assert login_client.post("/login", {"key": "op_guess"}, address=address).status == 401
    assert (
        login_client.post("/login", {"key": "op_guess"}, address="2001:db8:1:1:f::1").status == 429
    )
    assert login_client.post("/login", {"key": "op_guess"}, address="2001:db8:1:2::1").status == 401


def test_a_machine_with_an_expired_key_locks_no_caller_out(login_client: LoginClient):
    key = login_client.key_ring.create(owner="x", role=Role.VIEWER, lasts=timedelta(seconds=-1))
    address = "203.0.113.9"
    for _ in range(ADDRESS_LIMIT + 1):
        assert login_client.ask("GET", "/session", key=key, address=address).status == 401


def test_a_machine_with_a_key_that_ended_is_in_the_audit_once_a_minute(login_client: LoginClient):
    def expect_refusal_and_count_rows() -> int:
        answer = login_client.ask("GET", "/session", key=key)
        assert answer.status == 401
        return len(login_client.audit(answer.headers["x-request-id"]))

    key = login_client.key_ring.create(owner="x", role=Role.VIEWER, lasts=timedelta(seconds=-1))
    assert [expect_refusal_and_count_rows() for _ in range(3)] == [1, 0, 0]
    login_client.clock.ahead += timedelta(minutes=1)
    assert [expect_refusal_and_count_rows() for _ in range(2)] == [1, 0]


def test_logins_and_refusals_are_in_the_audit_with_all_but_the_secret(login_client: LoginClient):
    key = login_client.key(Role.OPERATOR, "me")
    done = login_client.post("/login", {"key": str(key)}, address="203.0.113.3")
    [row] = login_client.audit(done.headers["x-request-id"])
    assert {name: row[name] for name in ("user_name", "role", "key_id", "address")} == {
        "user_name": "me",
        "role": "operator",
        "key_id": key.key_id,
        "address": "203.0.113.3",
    }
    assert (row["operation"], row["outcome"], row["step_number"]) == ("login", "done", 1)
    refused = login_client.post("/login", {"key": f"op_{key.key_id}_{'A' * 43}"})
    [row] = login_client.audit(refused.headers["x-request-id"])
    assert (row["user_name"], row["key_id"]) == (None, key.key_id)
    assert (row["operation"], row["outcome"], row["reason"]) == ("login", "refused", "key")
    cookie = login_client.log_in_without_failure(key)
    out = login_client.post("/logout", {"everywhere": "yes"}, cookie=cookie)
    [row] = login_client.audit(out.headers["x-request-id"])
    assert (row["operation"], row["target"], row["user_name"]) == ("logout", "everywhere", "me")


def test_what_is_stored_opens_nothing(login_client: LoginClient):
    key = login_client.key()
    cookie = login_client.log_in_without_failure(key)
    with login_client.warehouse.reading() as connection:
        stored = [
            str(value)
            for table in (access_keys, access_sessions)
            for row in connection.execute(select(table))
            for value in row
        ]
    token = cookie.partition("=")[2].rpartition(".")[0]
    assert {hash_of(key.secret), hash_of(token)} <= set(stored)
    assert not {key.secret, str(key), token} & set(stored)


def test_every_answer_bears_the_headers_that_keep_other_pages_out(login_client: LoginClient):
    pages = [("/login", {}), ("/", {"key": login_client.keys[Role.VIEWER]}), ("/x", {})]
    for path, how in pages:
        headers = login_client.ask("GET", path, **how).headers
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert len(headers["x-request-id"]) == 32
        assert "server" not in headers
        assert "strict-transport-security" not in headers


def test_dagsters_own_policy_stands_beside_ours(login_client: LoginClient):
    key = str(login_client.keys[Role.VIEWER]).encode()
    head = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-API-Key: " + key
    lines = login_client.raw(head + b"\r\n\r\n").partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    policies = [line for line in lines if line.startswith(b"content-security-policy:")]
    assert len(policies) == 2
    assert b"script-src 'nonce-" in policies[0]
    assert b"frame-ancestors 'none'; form-action 'self'" in policies[1]
