"""Login forms and cookies of crawls: what is sent, and where it may go."""

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from orchestration_project.domains.web.extraction import Page
from orchestration_project.domains.web.login import is_signed_in, read_form
from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.web.cookies import CookieJar

DECLARED = {
    "url": "/login",
    "user": "WEB_LOGIN_SHOP_USER",
    "password": "WEB_LOGIN_SHOP_PASSWORD",
    "signed_in": "a[href='/logout']",
}


def site_of(**login: Any) -> Site:
    item = {"key": ["id"], "fields": {"id": {"css": "i", "required": True}}}
    site = {"site": "shop", "base_url": "https://shop.example", "start": ["/"], "item": item}
    return read_site(yaml.safe_dump({**site, "login": {**DECLARED, **login}}))


def read_and_check_form(body: str, **login: Any) -> tuple[str, dict[str, str]]:
    declared = site_of(**login).login
    assert declared is not None
    root = Page("https://shop.example/login", body.encode(), "text/html").root
    found = read_form(root, declared, user="ann", password="planted-secret")
    assert "planted" not in repr(found)
    return found.action, dict(found.fields)


def test_hidden_inputs_are_kept_and_the_first_button_is_sent():
    body = """<form method=post action=/q><input name=user></form>
      <form method=POST action=" /session "><input type=hidden name=csrf value="a&amp;b">
      <input name=user value=old><input type=password name=password value=x>
      <input type=checkbox name=stay checked><input type=checkbox name=news>
      <input name=lang value=en><button name=go value=1>in</button>
      <input type=submit name=forgot value=2></form>"""
    assert read_and_check_form(body, fields={"lang": "de"}) == (
        "/session",
        {
            "csrf": "a&b",
            "user": "ann",
            "password": "planted-secret",
            "stay": "on",
            "lang": "de",
            "go": "1",
        },
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("<p>down", "expected a form form with inputs user and password"),
        ("<form method=post><input name=user></form>", "expected a form"),
        ("<form><input name=user><input name=password></form>", "expected a form that is sent by"),
    ],
)
def test_a_form_that_is_missing_or_sent_by_get_is_refused(body: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        read_and_check_form(body)


def test_the_sign_of_a_login_is_an_element():
    login = site_of().login
    assert login is not None
    for body, is_in in (("<a href='/logout'>out</a>", True), ("<form>", False)):
        page = Page("https://shop.example/", body.encode(), "text/html")
        assert is_signed_in(page.root, login) == is_in


@pytest.mark.parametrize("name", ["DATABASE_URL", "WEB_MASK_KEY", "JIRA_TOKEN", "WEB_LOGIN_", "x"])
def test_a_site_file_names_no_other_secret(name: str):
    with pytest.raises(ConfigurationError) as error:
        site_of(password=name)
    assert "login.password" in str(error.value.found)


NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


def jar_with(*cookies: str, url: str = "https://shop.example/a/b") -> CookieJar:
    jar = CookieJar(lambda: NOW)
    jar.store(url, {"set-cookie": ", ".join(cookies)})
    return jar


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://shop.example/a/c", "deep=3; own=1; all=2; tls=4"),
        ("https://SHOP.example:444/", "all=2; tls=4"),
        ("http://shop.example/ab", "all=2"),
        ("https://www.shop.example/a/c", None),
        ("https://evil.example/a/c", None),
    ],
)
def test_a_cookie_goes_back_to_its_host_and_path_alone(url: str, sent: str | None):
    jar = jar_with(
        "own=1",
        "all=2; Path=/; Domain=example; Expires=Wed, 04 Nov 2026 07:28:00 GMT",
        "tls=4; path=/; secure",
        "deep=3; Path=/a/c",
    )
    assert jar.headers(url).get("Cookie") == sent


def test_a_cookie_is_replaced_and_ends():
    jar = jar_with("a=1; Path=/", "b=2; Path=/", "c=3; Path=/")
    url = "https://shop.example/"
    ended = ("a=; Path=/; Max-Age=0", "b=x; Path=/; Expires=Thu, 01-Jan-1970 00:00:00 GMT", "c=4")
    jar.store(url, {"set-cookie": ", ".join(ended)})
    assert jar.headers(url) == {"Cookie": "c=4"}


def test_cookies_of_a_hostile_site_are_bounded():
    url = "https://shop.example/"
    jar = jar_with(*(f"c{number}={number}" for number in range(60)), url=url)
    assert len(jar.headers(url)["Cookie"].split("; ")) == 50
    jar.store(url, {"set-cookie": "c1=" + "x" * 5_000 + ", c2=\u00e4, (=1, c3"})
    assert "c1=1; c2=2; c3=3;" in jar.headers(url)["Cookie"]
    for number in range(2_000):
        jar.store(url, {"set-cookie": f"c0=v{number}"})
    assert "c0=v949;" in jar.headers(url)["Cookie"]  # 50 of 1,000 changes were made before
