"""The bar above Dagster's pages: installation, shortcuts, user, role and log-out."""

from html.parser import HTMLParser

import httpx
import pytest

from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.gateway.bar import SHORTCUTS, Installation, installation_of, with_bar
from orchestration_project.services.access.rules.credentials import Key
from orchestration_project.settings import load_settings
from tests.gateway.login_client import DAY, LoginClient, open_login_client

EVIL = """<img src=x onerror=alert(1)>"'&<script>alert(2)</script>"""


class Elements(HTMLParser):
    """Tags of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.text = list[tuple[str, dict[str, str | None]]](), ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def bar_of(page: str) -> Elements:
    start = page.index('<header id="installation-bar">')
    return Elements(page[start : page.index("</header>")])


def page_of(login_client: LoginClient, key: Key, path: str = "/runs"):
    return login_client.ask("GET", path, key=key, Accept="text/html")


@pytest.mark.parametrize("role", list(Role))
def test_each_role_reads_who_it_is_on_every_page_of_dagster(login_client: LoginClient, role: Role):
    for path in ("/", "/assets/a/b", "/locations/x/jobs/y/playground"):
        bar = bar_of(page_of(login_client, login_client.keys[role], path).text)
        assert f"the {role} ({role})" in bar.text
        assert "Market <data>" in bar.text
        assert "demo data" in bar.text


def test_the_bar_leads_to_shortcuts_the_session_and_out(login_client: LoginClient):
    bar = bar_of(page_of(login_client, login_client.keys[Role.VIEWER]).text)
    links = [attributes["href"] for tag, attributes in bar.tags if tag == "a"]
    assert links == [*SHORTCUTS.values(), "/session"]
    assert ("form", {"method": "post", "action": "/logout"}) in bar.tags


def test_names_of_users_are_shown_as_text(login_client: LoginClient):
    key = login_client.key_ring.create(owner=EVIL, role=Role.VIEWER, lasts=DAY)
    page = page_of(login_client, key).text
    bar = bar_of(page)
    assert f"{EVIL} (viewer)" in bar.text
    assert {tag for tag, _ in bar.tags}.isdisjoint({"img", "script"})
    assert not any(name.startswith("on") for _, found in bar.tags for name in found)
    assert EVIL not in page


def test_dagsters_page_and_its_policy_stay_as_they_are(login_client: LoginClient):
    key = str(login_client.keys[Role.VIEWER])
    answer = httpx.get(
        f"{login_client.origin}/runs", headers={"X-API-Key": key, "Accept": "text/html"}
    )
    policies = answer.headers.get_list("content-security-policy")
    assert any(
        "script-src 'nonce-" in policy and "'strict-dynamic'" in policy for policy in policies
    )
    before, _, rest = answer.text.partition('<header id="installation-bar">')
    assert before.endswith("<body>")
    assert rest.partition("</header>")[2].startswith('<div id="__next"><div id="root">')
    assert answer.text.count('<link rel="stylesheet"') == 1
    style = login_client.ask("GET", "/bar.css", key=login_client.keys[Role.VIEWER])
    assert (style.status, style.headers["content-type"]) == (200, "text/css; charset=utf-8")


@pytest.mark.slow
def test_where_no_login_is_needed_there_is_no_log_out(tmp_path):
    with open_login_client(tmp_path, is_open=True) as login_client:
        bar = bar_of(login_client.ask("GET", "/", Accept="text/html").text)
    assert "anybody (admin)" in bar.text
    assert "form" not in {tag for tag, _ in bar.tags}


def test_the_login_page_names_the_installation_and_its_data(login_client: LoginClient):
    page = Elements(login_client.ask("GET", "/login", Accept="text/html").text)
    assert "Installation Market <data>, demo data" in page.text


def test_a_pause_in_effect_is_a_banner_below_the_bar_as_text():
    user = Principal("ada", Role.VIEWER, "session")
    shown = Installation("Market", "demo", lambda: [f"finra is paused by ada: {EVIL}"])
    page = with_bar("<head></head><body></body>", shown, user)
    banner = Elements(page[page.index("</header>") :])
    assert banner.tags == [("p", {"id": "pause-banner", "role": "status"})]
    assert banner.text == f"finra is paused by ada: {EVIL}"
    assert "pause-banner" not in with_bar(
        "<head></head><body></body>", Installation("Market", "demo"), user
    )


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({}, "127.0.0.1:3000"),
        ({"PUBLIC_URL": "https://data.example.org/"}, "data.example.org"),
        ({"PUBLIC_URL": "https://data.example.org/", "INSTALLATION_NAME": "Desk 1"}, "Desk 1"),
    ],
)
def test_an_installation_without_a_name_has_that_of_its_host(monkeypatch, variables, shown):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert installation_of(load_settings()).name == shown
