"""Logging in by OpenID Connect: at a real provider, and at one that lies."""

import http.client
import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from oidc_provider_mock import User, run_server_in_thread
from starlette.routing import BaseRoute

from orchestration_project.engine.contracts.roles import Role
from orchestration_project.gateway.guard import AuthServices
from orchestration_project.gateway.oidc import Provider
from orchestration_project.services.access.rules.credentials import ADDRESS_LIMIT
from tests.gateway.login_client import SECRET, Answer, LoginClient, open_login_client

CLIENT = {"client_id": "us", "client_secret": "its-secret"}
MEMBERS = [
    User(sub="1", claims={"email": "me@example.org", "email_verified": True, "groups": ["team"]}),
    User(sub="2", claims={"email": "You@Example.org", "email_verified": True}),
    User(sub="3", claims={"email": "you@example.org", "email_verified": False}),
    User(sub="4", claims={"email": "me@elsewhere.org", "email_verified": True}),
]


def provider_at(url: str, hosted_domain: str = "auto") -> Any:
    def routes(auth_services: AuthServices) -> list[BaseRoute]:
        discovery = f"{url}/.well-known/openid-configuration"
        provider = Provider(
            auth_services,
            discovery_url=discovery,
            secret=SECRET,
            hosted_domain=hosted_domain,
            **CLIENT,
        )
        return provider.routes()

    return routes


@pytest.fixture(scope="module")
def login_client(tmp_path_factory) -> Iterator[LoginClient]:
    """A gateway with a real provider."""
    with (
        run_server_in_thread(require_nonce=True, user_claims=MEMBERS) as server,
        open_login_client(
            tmp_path_factory.mktemp("gateway"),
            public=provider_at(f"http://localhost:{server.server_port}"),
            has_provider=True,
        ) as login_client,
    ):
        yield login_client


def cookies_of(answer: Answer) -> str:
    found = [SimpleCookie(cookie) for cookie in answer.cookies]
    return "; ".join(f"{n}={m.value}" for cookies in found for n, m in cookies.items() if m.value)


def begin_and_expect_redirect(login_client: LoginClient, wanted: str = "/runs") -> tuple[str, str]:
    """Return where the provider is asked, and the cookie that holds what was asked."""
    answer = login_client.ask("GET", f"/auth/oidc/login?{urlencode({'next': wanted})}")
    assert answer.status == 302, answer.text
    return answer.headers["location"], cookies_of(answer)


def back_from(location: str, sub: str) -> str:
    """Log in at the provider as a browser does, and return the path that it leads back to."""
    parts = urlsplit(location)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", f"{parts.path}?{parts.query}", urlencode({"sub": sub}), form)
    response = connection.getresponse()
    response.read()
    connection.close()
    led = urlsplit(str(response.headers["location"]))
    return f"{led.path}?{led.query}"


@pytest.mark.slow
def test_somebody_whom_the_provider_knows_is_in_with_the_role_of_their_group(
    login_client: LoginClient,
):
    location, cookie = begin_and_expect_redirect(login_client)
    answer = login_client.ask("GET", back_from(location, "1"), cookie=cookie)
    assert (answer.status, answer.headers["location"]) == (303, "/runs")
    session = cookies_of(answer)
    assert login_client.ask("GET", "/session", cookie=session).json == {
        "user": "me@example.org",
        "role": "operator",
        "way": "session",
        "key_id": None,
    }
    [row] = login_client.audit(answer.headers["x-request-id"])
    assert (row["operation"], row["user_name"], row["role"]) == (
        "login",
        "me@example.org",
        "operator",
    )
    login_client.post("/logout", {"everywhere": "yes"}, cookie=session)
    assert login_client.ask("GET", "/session", cookie=session).status == 401


@pytest.mark.slow
def test_the_page_offers_the_provider_and_keeps_where_to_go(login_client: LoginClient):
    page = login_client.ask("GET", "/login?next=/runs%3Fa%3D1").text
    assert '<a class="button second" href="/auth/oidc/login?next=%2Fruns%3Fa%3D1">' in page


@pytest.mark.slow
def test_what_is_asked_has_state_nonce_and_a_challenge_whose_answer_stays_here(
    login_client: LoginClient,
):
    location, cookie = begin_and_expect_redirect(login_client)
    requested = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    assert requested["code_challenge_method"] == "S256"
    assert min(len(requested[name]) for name in ("state", "nonce", "code_challenge")) >= 20
    assert requested["redirect_uri"] == f"{login_client.origin}/auth/oidc/callback"
    assert requested["scope"] == "openid email profile"
    other, _ = begin_and_expect_redirect(login_client)
    assert requested["state"] not in other
    assert "its-secret" not in location + cookie


@pytest.mark.slow_after_first
@pytest.mark.parametrize(("sub", "name"), [("3", "3"), ("4", "me@elsewhere.org"), ("new", "new")])
def test_a_person_without_a_role_is_refused_and_in_the_audit(
    login_client: LoginClient, sub: str, name: str
):
    location, cookie = begin_and_expect_redirect(login_client)
    answer = login_client.ask("GET", back_from(location, sub), cookie=cookie)
    assert (answer.status, "session=" in cookies_of(answer)) == (403, False)
    assert "no role is assigned to you here" in answer.text
    [row] = login_client.audit(answer.headers["x-request-id"])
    assert (row["outcome"], row["target"], row["reason"]) == ("refused", name, "no role")


def test_an_address_is_compared_in_lower_case(login_client: LoginClient):
    location, cookie = begin_and_expect_redirect(login_client)
    session = cookies_of(login_client.ask("GET", back_from(location, "2"), cookie=cookie))
    session_data = login_client.ask("GET", "/session", cookie=session).json
    assert (session_data["user"], session_data["role"]) == ("you@example.org", "viewer")


def test_an_unrequested_login_answer_is_refused(login_client: LoginClient):
    location, cookie = begin_and_expect_redirect(login_client)
    path = back_from(location, "1")
    _, other = begin_and_expect_redirect(login_client)
    query = parse_qs(urlsplit(path).query)
    tries = [
        (path, None),
        (path, other),
        (path, cookie[:-9] + ("B" if cookie[-9] == "A" else "A") + cookie[-8:]),
        (path.replace(query["state"][0], "x"), cookie),
        (path.replace(query["code"][0], "x"), cookie),
        ("/auth/oidc/callback", cookie),
        ("/auth/oidc/callback?error=access_denied", cookie),
        ("/auth/oidc/callback?error=<script>alert(1)</script>", cookie),
    ]
    for wrong, brought in tries:
        answer = login_client.ask("GET", wrong.replace("<", "%3C"), cookie=brought)
        assert (answer.status, "session=" in cookies_of(answer)) == (401, False), wrong
        assert "<script" not in answer.text


def test_unrequested_login_answers_fill_no_audit_and_lock_no_one(login_client: LoginClient):
    path = "/auth/oidc/callback?state=x&code=y"
    for _ in range(ADDRESS_LIMIT + 1):
        answer = login_client.ask("GET", path, address="203.0.113.61")
        assert (answer.status, login_client.audit(answer.headers["x-request-id"])) == (401, [])


def test_answers_that_fail_are_in_the_audit_until_their_address_is_locked(
    login_client: LoginClient,
):
    location, cookie = begin_and_expect_redirect(login_client)
    state = parse_qs(urlsplit(location).query)["state"][0]
    caller = {"cookie": cookie, "address": "203.0.113.62"}
    for _ in range(ADDRESS_LIMIT):
        answer = login_client.ask("GET", f"/auth/oidc/callback?state={state}x&code=y", **caller)
        [row] = login_client.audit(answer.headers["x-request-id"])
        assert (answer.status, row["operation"], row["outcome"]) == (401, "login", "refused")
    locked = login_client.ask("GET", f"/auth/oidc/callback?state={state}x&code=y", **caller)
    assert (locked.status, login_client.audit(locked.headers["x-request-id"])) == (429, [])
    assert int(locked.headers["retry-after"]) > 0


def test_a_code_is_good_for_one_login(login_client: LoginClient):
    location, cookie = begin_and_expect_redirect(login_client)
    path = back_from(location, "1")
    first = login_client.ask("GET", path, cookie=cookie)
    assert first.status == 303
    assert login_client.ask("GET", path, cookie=cookie).status == 401
    assert login_client.ask("GET", path, cookie=cookies_of(first)).status == 401


def test_a_login_by_a_provider_leads_to_no_other_site(login_client: LoginClient):
    for wanted in ("//evil.example.org", "https://evil.example.org", "/\\evil"):
        location, cookie = begin_and_expect_redirect(login_client, wanted)
        answer = login_client.ask("GET", back_from(location, "1"), cookie=cookie)
        assert answer.headers["location"] == "/"


@pytest.mark.slow
def test_a_provider_that_does_not_answer_is_said_and_keys_go_on(tmp_path):
    with open_login_client(tmp_path, public=provider_at("http://127.0.0.1:9")) as login_client:
        answer = login_client.ask("GET", "/auth/oidc/login")
        assert (answer.status, "did not confirm" in answer.text) == (502, True)
        assert login_client.log_in_without_failure(login_client.keys[Role.VIEWER])


KEY, OTHER_KEY = (RSAKey.generate_key(2048, {"kid": "1"}) for _ in range(2))


class Liar:
    """A provider whose ID tokens are as a test wants them; it checks the challenge."""

    def __init__(self) -> None:
        self.url = ""
        self.claims: dict[str, Any] = {}
        self.key: Any = KEY
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "1"}
        self.has_token = True
        self.requested: dict[str, str] = {}

    def get(self, path: str) -> Any:
        if path == "/jwks":
            return {"keys": [KEY.as_dict(private=False)]}
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        }

    def token(self, form: dict[str, list[str]]) -> Any:
        challenge = urlsafe_b64encode(sha256(form["code_verifier"][0].encode()).digest())
        if challenge.rstrip(b"=").decode() != self.requested["code_challenge"]:
            raise ValueError("the verifier is not of the challenge")
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": "us",
            "sub": "1",
            "exp": now + 600,
            "iat": now,
            "nonce": self.requested["nonce"],
            "groups": ["team"],
        }
        claims = {
            name: value for name, value in (claims | self.claims).items() if value is not None
        }
        answer = {"access_token": "x", "token_type": "Bearer"}
        if not self.has_token:
            return answer
        if self.header["alg"] == "none":
            parts = [json.dumps(part).encode() for part in (self.header, claims)]
            unsigned = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in parts)
            return answer | {"id_token": unsigned.decode() + "."}
        algorithms = [self.header["alg"]]
        return answer | {
            "id_token": jwt.encode(self.header, claims, self.key, algorithms=algorithms)
        }


@contextmanager
def lying() -> Iterator[Liar]:
    liar = Liar()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(liar.get(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(liar.token(parse_qs(body.decode())))

        def _answer(self, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    liar.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield liar
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def lying_provider(tmp_path_factory) -> Iterator[tuple[Liar, LoginClient]]:
    folder = tmp_path_factory.mktemp("lies")
    with lying() as liar, open_login_client(folder, public=provider_at(liar.url)) as login_client:
        yield liar, login_client


LIES = {
    "none": ({}, 303),
    "another client's": ({"claims": {"aud": "them"}}, 401),
    "another client's, for us": ({"claims": {"aud": "them", "azp": "us"}}, 401),
    "another issuer's": ({"claims": {"iss": "https://evil.example.org"}}, 401),
    "an old one": ({"claims": {"exp": 1_000_000}}, 401),
    "one of another login": ({"claims": {"nonce": "x"}}, 401),
    "one without a nonce": ({"claims": {"nonce": None}}, 401),
    "one without a subject": ({"claims": {"sub": None}}, 401),
    "another key's": ({"key": OTHER_KEY}, 401),
    "an unsigned one": ({"header": {"alg": "none"}}, 401),
    "one signed with what is public": (
        {
            "key": OctKey.import_key(str(KEY.as_dict(private=False)["n"])),
            "header": {"alg": "HS256", "kid": "1"},
        },
        401,
    ),
    "no token": ({"has_token": False}, 401),
}


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES)
def test_only_a_whole_new_token_for_us_by_the_provider_counts(lying_provider, lie: str):
    liar, login_client = lying_provider
    values, status = LIES[lie]
    location, cookie = begin_and_expect_redirect(login_client)
    requested = {name: value[0] for name, value in parse_qs(urlsplit(location).query).items()}
    fresh = Liar()
    fresh.url = liar.url
    vars(liar).update(vars(fresh) | values | {"requested": requested})
    answer = login_client.ask(
        "GET", f"/auth/oidc/callback?code=c&state={requested['state']}", cookie=cookie
    )
    assert (answer.status, "session=" in cookies_of(answer)) == (status, status == 303), lie


def callback(liar: Liar, login_client: LoginClient, **values: Any) -> Answer:
    """Log in with a token that has these claims, key or header."""
    location, cookie = begin_and_expect_redirect(login_client)
    requested = {name: value[0] for name, value in parse_qs(urlsplit(location).query).items()}
    fresh = Liar()
    fresh.url = liar.url
    vars(liar).update(vars(fresh) | values | {"requested": requested})
    path = f"/auth/oidc/callback?code=c&state={requested['state']}"
    return login_client.ask("GET", path, cookie=cookie)


REASONS = {
    "aud": ({"aud": "them"}, "invalid claim aud: expected us, found them"),
    "iss": ({"iss": "https://evil"}, "invalid claim iss: expected URL, found https://evil"),
    "nonce": ({"nonce": "x"}, "invalid claim nonce: expected the nonce of this login, found x"),
    "no nonce": (
        {"nonce": None},
        "invalid claim nonce: expected the nonce of this login, found none",
    ),
    "exp": ({"exp": 1_000_000}, "invalid claim exp: expected a time after NOW, found 1970-01-12"),
    "iat": ({"iat": 9_999_999_999}, "invalid claim iat: expected a time before NOW, found 2286"),
    "escapes": ({"aud": "a\x1b[2J\nb"}, "invalid claim aud: expected us, found a?[2J?b"),
}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("name", REASONS)
def test_a_refused_login_names_the_claim_and_the_person(lying_provider, caplog, name: str):
    liar, login_client = lying_provider
    claims, reason = REASONS[name]
    answer = callback(liar, login_client, claims={"email": "ada@example.org", **claims})
    [row] = login_client.audit(answer.headers["x-request-id"])
    first, _, last = reason.replace("URL", liar.url).partition("NOW")
    assert (answer.status, row["outcome"], row["target"]) == (401, "refused", "ada@example.org")
    assert row["reason"].startswith(first)
    assert last in row["reason"]
    assert "eyJ" not in row["reason"]  # as a token begins
    assert f"ada@example.org by OpenID Connect: {row['reason']}" in caplog.text


def test_a_token_of_another_key_is_refused_with_the_reason(lying_provider):
    liar, login_client = lying_provider
    answer = callback(liar, login_client, key=OTHER_KEY)
    [row] = login_client.audit(answer.headers["x-request-id"])
    expected = "invalid ID token: expected a signature by a key of the provider"
    assert (row["target"], row["reason"]) == (None, expected)


@pytest.fixture(scope="module")
def hosted(tmp_path_factory) -> Iterator[tuple[Liar, LoginClient]]:
    """A provider and a gateway that requires the claim hd."""
    folder = tmp_path_factory.mktemp("hosted")
    with (
        lying() as liar,
        open_login_client(folder, public=provider_at(liar.url, "required")) as login_client,
    ):
        yield liar, login_client


WORKSPACE = {"email": "ada@example.org", "email_verified": True, "groups": []}


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("claims", "status", "reason"),
    [
        ({"hd": "example.org"}, 303, None),
        ({}, 403, "invalid claim hd: expected example.org, found none"),
        ({"groups": ["team"]}, 403, "invalid claim hd: expected example.org, found none"),
        (
            {"hd": "elsewhere.org"},
            403,
            "invalid claim hd: expected example.org, found elsewhere.org",
        ),
    ],
)
def test_a_private_account_with_an_address_of_the_domain_is_outside(hosted, claims, status, reason):
    liar, login_client = hosted
    answer = callback(liar, login_client, claims=WORKSPACE | claims)
    [row] = login_client.audit(answer.headers["x-request-id"])
    assert (answer.status, row["reason"]) == (status, reason)
