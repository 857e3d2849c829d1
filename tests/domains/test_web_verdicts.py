"""Block and login pages with status 200, and pages of shops that only look like them."""

import pytest

from orchestration_project.domains.web.pages import judge
from orchestration_project.domains.web.verdicts import refusal_of

NAVIGATION = "".join(f"<a href=/category/{n}>Category {n}</a>" for n in range(12))
LOGIN_FORM = (
    "<form action=/login><label>Log in</label><input name=user><input type=password name=p>"
    "<button>Log in</button></form>"
)
TEXT = "<p>" + "A lamp of brass that lights a room of forty square metres. " * 30 + "</p>"


def refusal(body: str, url: str = "https://shop.example/product/7") -> str | None:
    found = refusal_of(url, f"<!doctype html>{body}".encode(), "text/html")
    return None if found is None else found.verdict


@pytest.mark.parametrize(
    "body",
    [
        "<title>Just a moment...</title><div id=challenge-running></div>",
        "<title>Attention Required! | Cloudflare</title><h1>Sorry, you have been blocked</h1>",
        "<title>Access Denied</title><h1>Access Denied</h1>No permission. Reference #18",
        "<title>Shop</title><h1>Are you a robot?</h1><div class=g-recaptcha></div>",
        "<title>Shop</title><form><div class=h-captcha></div><button>Continue</button></form>",
        "<title>shop.example</title><iframe src=https://geo.captcha-delivery.com/c></iframe>",
        "<p>Our systems have detected unusual traffic from your computer network.</p>",
        "<title>Shop</title>Enter the characters you see below <input type=text name=c>",
        "<noscript>Enable JavaScript and cookies to continue</noscript>",
    ],
)
def test_a_block_page_is_reported(body: str):
    assert refusal(body) == "blocked"


@pytest.mark.parametrize(
    ("body", "url"),
    [
        (f"<title>Log in - Shop</title>{LOGIN_FORM}", "https://shop.example/product/7"),
        (f"<title>Shop</title><h1>Sign in</h1>{NAVIGATION}{LOGIN_FORM}", "https://shop.example/x"),
        (f"<title>Shop</title>{NAVIGATION}{LOGIN_FORM}", "https://shop.example/account/login?to=/"),
        (f"<title>Shop</title>{LOGIN_FORM}", "https://shop.example/product/7"),
        ("<title>Anmelden</title><input type='PASSWORD'>", "https://shop.example/"),
    ],
)
def test_a_login_page_is_reported(body: str, url: str):
    assert refusal(body, url) == "login"


@pytest.mark.parametrize(
    "body",
    [
        f"<title>Lamp</title>{NAVIGATION}<a href=/login>Log in</a>{TEXT}",
        f"<title>Lamp</title>{NAVIGATION}{LOGIN_FORM}<h1>Lamp</h1>{TEXT}",
        f"<title>Lamp</title>{LOGIN_FORM}<h1>Lamp</h1><i itemprop=sku>P7</i><b>1,00</b>",
        f"<title>Register</title>{LOGIN_FORM}<input type=password name=repeated>",
        "<title>Contact</title><form><textarea></textarea><div class=g-recaptcha></div></form>",
        f"<title>CAPTCHA explained</title>{NAVIGATION}<h1>CAPTCHA explained</h1>{TEXT}",
        f"<title>Access Denied T-shirt</title>{NAVIGATION}<b class=price>1,00</b>{TEXT}",
        "<title>Access Denied T-shirt</title><i itemprop=price content=1.00></i>",
        "<title>Human anatomy</title><p>A book about humans and robots.</p>",
        "<title>Shop</title><p>You may log in with your password.</p>",
    ],
)
def test_a_page_of_a_shop_is_not_taken_for_one(body: str):
    assert refusal(body) is None


def test_a_host_or_query_named_login_is_not_a_login_page():
    body = f"<title>Shop</title>{NAVIGATION}{LOGIN_FORM}"
    for url in ("https://login/", "https://login.example/", "https://x.example/p?to=/login"):
        assert refusal(body, url) is None


def test_json_is_never_one():
    body = b'{"title": "Just a moment", "type": "password", "captcha": "unusual traffic from your"}'
    assert refusal_of("https://shop.example/login", body, "application/json") is None


def test_a_text_that_is_not_html_is_judged_without_an_error():
    for body in (b"", b"\x00captcha", b"<" * 10_000 + b"captcha", b"captcha " * 10_000):
        assert refusal_of("https://shop.example/", body, "text/html") is None


VERDICTS = {404: "gone", 410: "gone", 401: "login", 407: "login", 403: "blocked"}
FAILED = {202, 204, 205, 206, 226, 408, 425, 429}


@pytest.mark.parametrize("is_conditional", [False, True])
def test_of_all_statuses_only_404_and_410_say_that_a_page_is_gone(is_conditional: bool):
    for status in range(100, 1000):
        found = judge(status, b"<p>text", "text/html", is_conditional=is_conditional).verdict
        if status in VERDICTS:
            assert found == VERDICTS[status]
        elif status == 304 and is_conditional:
            assert found == "unchanged"
        elif 400 <= status < 500 and status not in FAILED:
            assert found == "refused"
        else:
            is_page = 200 <= status < 300 and status not in FAILED
            assert found == ("page" if is_page else "failed"), status


@pytest.mark.parametrize(
    ("body", "content_type", "verdict"),
    [
        (b"", "text/html", "failed"),
        (b"\xef\xbb\xbf\r\n", "", "failed"),
        (b'{"items": [', "application/json", "failed"),
        (b"<h1>We will be back", "application/json; charset=utf-8", "failed"),
        (b"[" * 100_000, "application/json", "page"),  # its items are rejects: it is too deep
        (b"{}", "application/json", "page"),
        (b"0", "text/plain", "page"),
    ],
)
def test_a_body_that_cannot_be_read_is_not_a_page(body: bytes, content_type: str, verdict: str):
    assert judge(200, body, content_type, is_conditional=False).verdict == verdict
