"""Block and login pages that a site answers with status 200, distinguished by markers.

A marker alone proves nothing: shops have forms to log in on every page, and CAPTCHAs in contact
forms. A page counts as one of them only if it has hardly anything else.
"""

import re
from functools import cached_property
from typing import Any, Literal, NamedTuple

from orchestration_project.domains.web.extraction import Page

MAX_CHALLENGE_WORDS, MAX_LOGIN_WORDS = 150, 80
"""Visible words of a page; one with more has content of its own."""

MAX_SEARCHED_BYTES = 500_000
"""Bytes of a page in which markers are looked for; a block page is small."""

MAX_NODES = 200
"""Elements of a kind that are read."""

MAX_LINKS = 10
"""Links of a page; one with more has a navigation."""

PASSWORD = b"password"
MARKERS = (
    *(b"captcha", b"cf-turnstile", b"challenge-form", b"challenge-running"),
    *(b"challenge-platform", b"_incapsula_", b"just a moment", b"attention required"),
    *(b"access denied", b"access to this page", b"access blocked", b"request blocked"),
    *(b"unusual traffic", b"a robot", b"robot check", b"bot verification", b"a human"),
    *(b"are human", b"human verification", b"security check", b"pardon our interruption"),
    *(b"checking your browser", b"characters you see", b"javascript and cookies"),
    *(b"zugriff verweigert", "sicherheitsüberprüfung".encode(), PASSWORD),
)
"""Bytes without which no page is parsed here; most pages have none of them."""

CHALLENGE_ELEMENTS = (
    ".g-recaptcha, .h-captcha, .cf-turnstile, #challenge-form, #challenge-running, #px-captcha, "
    "iframe[src*=recaptcha], iframe[src*=hcaptcha], iframe[src*=captcha-delivery], "
    "iframe[src*=_Incapsula_Resource], script[src*=captcha-delivery], "
    "script[src*=challenge-platform]"
)
FORM_INPUTS = "textarea, input[type=text], input[type=email], input[type=search], select"
"""A form with one of these asks for more than a proof of humanity."""

PRODUCT = "[itemprop=price], [itemprop=sku], [itemtype$='/Product']"
"""Elements of items; a page with them is the site's own."""

CHALLENGE_TITLE = re.compile(
    r"\s*(just a moment|attention required|access (to this page has been )?denied"
    r"|(request|access) blocked|are you (a )?(human|robot)|robot check|bot verification"
    r"|verify (that )?you are (a )?human|human verification|security check"
    r"|pardon our interruption|captcha|zugriff verweigert|sicherheitsüberprüfung)\b",
    re.IGNORECASE,
)
CHALLENGE_TEXT = re.compile(
    r"unusual traffic from your|verify (that )?you are (a )?human|you are not a robot"
    r"|checking your browser|enter the characters you see|complete the captcha"
    r"|solve the captcha|enable javascript and cookies to continue",
    re.IGNORECASE,
)
LOGIN_TITLE = re.compile(
    r"\s*(please )?(log[ -]?in|log[ -]?on|sign[ -]?in|anmelden|anmeldung|einloggen"
    r"|connexion|iniciar sesión)\b",
    re.IGNORECASE,
)
LOGIN_PATH = re.compile(
    r"https?://[^/?#]+(/[^?#]*)?/(log-?in|log-?on|sign-?in|anmelden|anmeldung)(\.\w{1,5})?/?([?#]|$)",
    re.IGNORECASE,
)
"""URL whose path ends as that of a login page."""


class Refusal(NamedTuple):
    """A page in the place of the one that was requested, and the marker that shows it."""

    verdict: Literal["blocked", "login"]
    reason: str


def refusal_of(url: str, body: bytes, content_type: str) -> Refusal | None:
    """Return the refusal that a block or login page with status 200 is; None: it is neither.

    JSON and pages with items never are.

    Args:
        url: URL after redirects.
        body: Its bytes.
        content_type: As its header says.
    """
    searched = body[:MAX_SEARCHED_BYTES].lower()
    has_navigation = searched.count(b"<a ") > MAX_LINKS  # then a title alone shows a login page
    if not any(name in searched for name in ((PASSWORD,) if has_navigation else MARKERS)):
        return None
    page = Page(url, body, content_type)
    root = None if page.is_json else page.root
    if root is None or root.css_first(PRODUCT) is not None:
        return None
    outline = _Outline(root)
    return _challenge(root, outline) or _detect_login(root, outline, url)


class _Outline:
    """Title, headings, number of links, and visible text of a page."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self.titles = [
            text for node in root.css("title, h1")[:5] if (text := (node.text() or "").strip())
        ]

    @cached_property
    def text(self) -> str:
        """All text, that of scripts included."""
        return " ".join((self._root.text(separator=" ") or "").split())

    @property
    def word_count(self) -> int:
        """Visible words, without the title."""
        hidden = self._root.css("script, style, noscript, template, title")[:MAX_NODES]
        hidden_count = sum(len((node.text() or "").split()) for node in hidden)
        return max(len(self.text.split()) - hidden_count, 0)

    def title_like(self, pattern: re.Pattern[str]) -> str:
        """Return the first title that begins with a pattern; empty: none does."""
        return next((title[:80] for title in self.titles if pattern.match(title)), "")

    def is_small(self, max_words: int) -> bool:
        """Whether there is hardly any text, and no navigation."""
        return len(self._root.css("a[href]")) <= MAX_LINKS and self.word_count <= max_words


def _challenge(root: Any, found: _Outline) -> Refusal | None:
    if not found.is_small(MAX_CHALLENGE_WORDS):
        return None
    if title := found.title_like(CHALLENGE_TITLE):
        return Refusal("blocked", f"a block page: its title is {title!a}")
    if text := CHALLENGE_TEXT.search(found.text):
        return Refusal("blocked", f"a block page: it says {text[0]!a}")
    if root.css_first(CHALLENGE_ELEMENTS) is not None and root.css_first(FORM_INPUTS) is None:
        return Refusal("blocked", "a block page: it asks for a CAPTCHA and for nothing else")
    return None


def _detect_login(root: Any, found: _Outline, url: str) -> Refusal | None:
    passwords = root.css("input[type=password i]")
    if len(passwords) != 1:  # a form with two registers or changes a password
        return None
    if title := found.title_like(LOGIN_TITLE):
        return Refusal("login", f"a login page: its title is {title!a}")
    if LOGIN_PATH.match(url):
        return Refusal("login", "a login page: its URL and a password field show it")
    if found.is_small(MAX_LOGIN_WORDS) and _has_login_text(root):
        return Refusal("login", "a login page: it asks for a password and for nothing else")
    return None


def _has_login_text(root: Any) -> bool:
    nodes = root.css("h2, h3, legend, button, label")[:MAX_NODES]
    texts = [node.text() or "" for node in nodes]
    texts += [node.attributes.get("value") or "" for node in root.css("input[type=submit i]")]
    return any(LOGIN_TITLE.match(text) for text in texts)
