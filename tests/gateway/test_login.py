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
from tests.gateway.door import Door, open_door

WRONG = "This key does not open anything."


def status(door: Door, cookie: str) -> int:
    return door.ask("GET", "/session", cookie=cookie).status


def test_the_page_asks_for_a_key_without_any_script(door: Door):
    page = door.ask("GET", "/login?next=/runs", Accept="text/html")
    assert (page.status, page.headers["cache-control"]) == (200, "no-store")
    assert '<html lang="en">' in page.text
    assert '<label for="key">Key</label>' in page.text
    assert '<input type="hidden" name="next" value="/runs">' in page.text
    assert "<script" not in page.text
    own, ours = page.headers["content-security-policy"], "frame-ancestors 'none'"
    assert "default-src 'none'" in own or ours in own


def test_a_right_key_opens_a_session_whose_cookie_no_script_and_no_other_site_gets(door: Door):
    answer = door.post("/login", {"key": f" {door.keys[Role.OPERATOR]} ", "next": "/runs?x=1"})
    assert (answer.status, answer.headers["location"]) == (303, "/runs?x=1")
    [cookie] = answer.cookies
    name_and_value, *attributes = cookie.split("; ")
    assert sorted(attributes) == ["HttpOnly", "Max-Age=86400", "Path=/", "SameSite=lax"]
    session = door.ask("GET", "/session", cookie=name_and_value).json
    assert session == {
        "user": "the operator",
        "role": "operator",
        "way": "session",
        "key_id": door.keys[Role.OPERATOR].key_id,
    }


def test_what_is_wrong_is_said_at_the_field_that_it_is_about(door: Door):
    page = door.post("/login", {"key": "op_wrong"}).text
    assert f'<p role="alert" id="problem">{WRONG}' in page
    assert 'aria-describedby="problem hint" aria-invalid="true"' in page
    assert 'aria-invalid="true"' not in door.ask("GET", "/login").text


def test_behind_tls_the_cookie_is_secure_and_of_this_host_alone(tmp_path):
    with open_door(tmp_path, is_secure=True) as door:
        answer = door.post("/login", {"key": str(door.keys[Role.ADMIN])})
        name, *attributes = answer.cookies[0].split("; ")
        assert name.startswith("__Host-session=")
        assert "Secure" in attributes
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert status(door, name) == 200
        assert status(door, name.removeprefix("__Host-")) == 401


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
def test_a_login_leads_to_a_page_of_ours_whatever_was_wanted(door: Door, wanted: str, led_to: str):
    answer = door.post("/login", {"key": str(door.keys[Role.VIEWER]), "next": wanted})
    assert (answer.status, len(answer.cookies)) == (303, 1)
    assert answer.headers["location"] == led_to.replace('"><script>', "%22%3E%3Cscript%3E")
    assert "x" not in answer.headers


def test_what_was_wanted_is_shown_in_the_page_as_text(door: Door):
    page = door.post("/login", {"key": "x", "next": '/"><script>alert(1)</script>'})
    assert "<script>" not in page.text
    assert "&quot;&gt;&lt;script&gt;" in page.text


def test_a_wrong_unknown_or_revoked_key_gets_the_same_answer(door: Door):
    revoked = door.key()
    door.key_ring.revoke(revoked.key_id)
    key = door.key()
    wrong = f"op_{key.key_id}_{'A' * 43}"
    unknown = f"op_{'0' * 12}_{key.secret}"
    answers = [
        door.post("/login", {"key": each}) for each in (wrong, unknown, str(revoked), "", "é", "x")
    ]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert WRONG in answers[0].text
    assert not any(answer.cookies for answer in answers)


def test_a_cookie_that_was_planted_before_the_login_is_worth_nothing_after_it(door: Door):
    planted = door.log_in(door.keys[Role.VIEWER])
    cookie = door.log_in(door.keys[Role.ADMIN], cookie=planted)
    assert cookie != planted
    assert (status(door, cookie), status(door, planted)) == (200, 401)
    synthetic = f"session={door.doors.signed('synthetic')}"
    other = door.log_in(door.keys[Role.ADMIN], cookie=synthetic)
    assert (status(door, other), status(door, synthetic)) == (200, 401)


def test_two_logins_at_once_in_one_browser_both_open_and_the_session_before_is_over(door: Door):
    before = door.log_in(door.keys[Role.VIEWER])
    with ThreadPoolExecutor(2) as pool:
        logins = [pool.submit(door.log_in, door.keys[Role.ADMIN], cookie=before) for _ in range(2)]
    after = [login.result() for login in logins]
    assert [status(door, each) for each in (*after, before)] == [200, 200, 401]


def test_logging_out_ends_this_session_and_a_copy_of_its_cookie(door: Door):
    cookie, other = (door.log_in(door.keys[Role.VIEWER]) for _ in range(2))
    answer = door.post("/logout", {}, cookie=cookie)
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert 'session="";' in answer.cookies[0]
    assert (status(door, cookie), status(door, other)) == (401, 200)


def test_logging_out_everywhere_ends_all_sessions_of_theirs_and_no_others(door: Door):
    key = door.key(owner="one")
    cookies = [door.log_in(key), door.log_in(key), door.log_in(door.key(owner="two"))]
    door.post("/logout", {"everywhere": "yes"}, cookie=cookies[0])
    assert [status(door, cookie) for cookie in cookies] == [401, 401, 200]


def test_the_page_of_a_session_names_who_it_is_and_lets_them_out(door: Door):
    cookie = door.log_in(door.key(Role.VIEWER, "<b>me</b>"))
    page = door.ask("GET", "/session", cookie=cookie, Accept="text/html").text
    assert "<strong>&lt;b&gt;me&lt;/b&gt;</strong>, with the role <strong>viewer</strong>." in page
    assert '<form method="post" action="/logout">' in page
    assert door.ask("GET", "/logout", cookie=cookie).headers["location"] == "/session"
    assert status(door, cookie) == 200


FOREIGN = [
    {"Origin": "http://evil.example.org"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_page_of_another_site_can_log_nobody_in_or_out(door: Door, headers: dict[str, str]):
    cookie = door.log_in(door.keys[Role.VIEWER])
    fields = {"key": str(door.keys[Role.VIEWER])}
    assert door.post("/login", fields, **headers).status == 403
    assert door.post("/logout", {}, cookie=cookie, **headers).status == 403
    assert status(door, cookie) == 200


def test_a_login_takes_a_small_form_alone(door: Door):
    json = door.ask("POST", "/login", "{}", Content_Type="application/json", Origin=door.origin)
    assert json.status == 415
    assert door.post("/login", {"key": "x" * 17_000}).status == 413


def test_who_guesses_keys_is_locked_out_by_their_address(door: Door):
    address = "203.0.113.1"
    for _ in range(ADDRESS_LIMIT):
        assert door.post("/login", {"key": "op_guess"}, address=address).status == 401
    fields = {"key": str(door.keys[Role.VIEWER])}
    locked = door.post("/login", fields, address=address)
    assert (locked.status, locked.cookies) == (429, [])
    assert 0 < int(locked.headers["retry-after"]) <= WINDOW.total_seconds() + 1
    header = door.ask("GET", "/session", key=door.keys[Role.VIEWER], address=address)
    assert header.status == 429
    assert door.post("/login", fields).status == 303  # from elsewhere
    door.clock.ahead += WINDOW
    assert door.post("/login", fields, address=address).status == 303


def test_a_key_whose_secret_is_guessed_at_is_locked_from_everywhere(door: Door):
    key = door.key()
    for number in range(KEY_LIMIT):
        guess = f"op_{key.key_id}_{number:043d}"
        assert door.post("/login", {"key": guess}).status == 401
    assert door.post("/login", {"key": str(key)}).status == 429
    door.clock.ahead += WINDOW
    assert door.post("/login", {"key": str(key)}).status == 303


def test_an_address_of_ipv6_counts_with_its_whole_network(door: Door):
    for number in range(ADDRESS_LIMIT):
        address = f"2001:db8:1:1::{number:x}"
        assert door.post("/login", {"key": "op_guess"}, address=address).status == 401
    assert door.post("/login", {"key": "op_guess"}, address="2001:db8:1:1:f::1").status == 429
    assert door.post("/login", {"key": "op_guess"}, address="2001:db8:1:2::1").status == 401


def test_a_machine_with_a_key_that_ended_locks_nobody_out(door: Door):
    key = door.key_ring.create(owner="x", role=Role.VIEWER, lasts=timedelta(seconds=-1))
    address = "203.0.113.9"
    for _ in range(ADDRESS_LIMIT + 1):
        assert door.ask("GET", "/session", key=key, address=address).status == 401


def test_a_machine_with_a_key_that_ended_is_in_the_audit_once_a_minute(door: Door):
    def rows() -> int:
        answer = door.ask("GET", "/session", key=key)
        assert answer.status == 401
        return len(door.audit(answer.headers["x-request-id"]))

    key = door.key_ring.create(owner="x", role=Role.VIEWER, lasts=timedelta(seconds=-1))
    assert [rows() for _ in range(3)] == [1, 0, 0]
    door.clock.ahead += timedelta(minutes=1)
    assert [rows() for _ in range(2)] == [1, 0]


def test_logins_and_refusals_are_in_the_audit_with_all_but_the_secret(door: Door):
    key = door.key(Role.OPERATOR, "me")
    done = door.post("/login", {"key": str(key)}, address="203.0.113.3")
    [row] = door.audit(done.headers["x-request-id"])
    assert {name: row[name] for name in ("user_name", "role", "key_id", "address")} == {
        "user_name": "me",
        "role": "operator",
        "key_id": key.key_id,
        "address": "203.0.113.3",
    }
    assert (row["operation"], row["outcome"], row["step_number"]) == ("login", "done", 1)
    refused = door.post("/login", {"key": f"op_{key.key_id}_{'A' * 43}"})
    [row] = door.audit(refused.headers["x-request-id"])
    assert (row["user_name"], row["key_id"]) == (None, key.key_id)
    assert (row["operation"], row["outcome"], row["reason"]) == ("login", "refused", "key")
    cookie = door.log_in(key)
    out = door.post("/logout", {"everywhere": "yes"}, cookie=cookie)
    [row] = door.audit(out.headers["x-request-id"])
    assert (row["operation"], row["target"], row["user_name"]) == ("logout", "everywhere", "me")


def test_what_is_stored_opens_nothing(door: Door):
    key = door.key()
    cookie = door.log_in(key)
    with door.warehouse.reading() as connection:
        stored = [
            str(value)
            for table in (access_keys, access_sessions)
            for row in connection.execute(select(table))
            for value in row
        ]
    token = cookie.partition("=")[2].rpartition(".")[0]
    assert {hash_of(key.secret), hash_of(token)} <= set(stored)
    assert not {key.secret, str(key), token} & set(stored)


def test_every_answer_bears_the_headers_that_keep_other_pages_out(door: Door):
    pages = [("/login", {}), ("/", {"key": door.keys[Role.VIEWER]}), ("/x", {})]
    for path, how in pages:
        headers = door.ask("GET", path, **how).headers
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert len(headers["x-request-id"]) == 32
        assert "server" not in headers
        assert "strict-transport-security" not in headers


def test_dagsters_own_policy_stands_beside_ours(door: Door):
    key = str(door.keys[Role.VIEWER]).encode()
    head = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-API-Key: " + key
    lines = door.raw(head + b"\r\n\r\n").partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    policies = [line for line in lines if line.startswith(b"content-security-policy:")]
    assert len(policies) == 2
    assert b"script-src 'nonce-" in policies[0]
    assert b"frame-ancestors 'none'; form-action 'self'" in policies[1]
