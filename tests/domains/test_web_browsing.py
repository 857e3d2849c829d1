"""Requests of rendered pages: which are made, and with which headers."""

import pytest

from orchestration_project.domains.web.browsing import (
    MAX_POST_BYTES,
    is_blocked,
    post_refusal_of,
    refusal_of,
    sent_headers,
    shown_headers,
)

ORIGINS = ["https://shop.example", "https://cdn.example:8443"]


@pytest.mark.parametrize(
    "url",
    [
        *("https://shop.example", "https://shop.example/", "https://SHOP.example/a?b=c#d"),
        *("https://cdn.example:8443/x.js", "https://shop.example?page=2"),
    ],
)
def test_requests_of_the_site_are_made(url: str):
    assert refusal_of("GET", url, ORIGINS) == ""
    assert refusal_of("HEAD", url, ORIGINS) == ""


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://elsewhere.example/x.js", "another host: https://elsewhere.example"),
        ("http://shop.example/", "another host"),
        ("https://shop.example:8443/", "another host"),
        ("https://cdn.example/", "another host"),
        ("https://shop.example.evil.example/", "another host"),
        ("http://169.254.169.254/latest/meta-data", "another host"),
        ("http://127.0.0.1/", "another host"),
        ("http://[::1]/", "another host"),
        ("https://shop.example@10.0.0.1/", "not a URL of a page"),
        ("https://shop.example\\@10.0.0.1/", "not a URL of a page"),
        ("file:///etc/passwd", "not a URL of a page"),
        ("data:text/html,x", "not a URL of a page"),
        ("blob:https://shop.example/1", "not a URL of a page"),
        ("wss://shop.example/", "not a URL of a page"),
        ("https://", "not a URL of a page"),
    ],
)
def test_any_other_request_is_refused_with_its_reason(url: str, reason: str):
    assert refusal_of("GET", url, ORIGINS).startswith(reason)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get"])
def test_a_method_that_may_change_the_site_is_refused(method: str):
    assert "may change the site" in refusal_of(method, "https://shop.example/basket", ORIGINS)


def test_a_post_of_a_script_is_sent_where_the_site_file_allows_it():
    url = "https://shop.example/list"
    assert refusal_of("POST", url, ORIGINS, allows_post=True) == ""
    assert refusal_of("PUT", url, ORIGINS, allows_post=True).startswith("the method PUT")
    assert refusal_of("POST", "http://10.0.0.1/", ORIGINS, allows_post=True) == (
        "another host: http://10.0.0.1"
    )
    assert post_refusal_of("fetch", MAX_POST_BYTES) == post_refusal_of("xhr", 0) == ""
    assert "is not a script's" in post_refusal_of("document", 3)
    assert "100001 bytes, more than 100000" in post_refusal_of("fetch", MAX_POST_BYTES + 1)


def test_kinds_of_requests_that_change_no_text_are_blocked():
    kinds = ("document", "script", "stylesheet", "xhr", "fetch", "image", "font", "media", "ping")
    made = [kind for kind in kinds if not is_blocked(kind)]
    assert made == ["document", "script", "stylesheet", "xhr", "fetch"]
    assert is_blocked("websocket")
    assert is_blocked("eventsource")
    assert is_blocked("other")


def test_headers_of_the_connection_and_of_the_browser_are_not_sent():
    headers = {
        "accept": "application/json",
        "x-requested-with": "XMLHttpRequest",
        "cookie": "a=b",
        "host": "elsewhere.example",
        "user-agent": "Mozilla/5.0",
        "sec-ch-ua": "x",
        "if-none-match": '"x"',
        "x-bad": "a\r\nb: c",
        "x-wide": "\u20ac",
    }
    kept = {"accept": "application/json", "x-requested-with": "XMLHttpRequest"}
    assert sent_headers(headers) == kept
    answer = {"content-type": "text/html", "content-encoding": "gzip", "set-cookie": "a=b"}
    assert shown_headers(answer) == {"content-type": "text/html"}
