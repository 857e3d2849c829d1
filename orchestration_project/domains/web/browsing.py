"""Requests that a rendered page makes: which of them leave, and with which headers."""

import re
from collections.abc import Collection, Mapping

RENDERING = ("document", "script", "stylesheet", "xhr", "fetch")
"""Kinds of requests that change a page's text; images, fonts, media and beacons do not."""

URL = re.compile(r"(https?://[^/?#@\s\\]+)([/?#].*)?", re.IGNORECASE | re.DOTALL)

METHODS = ("GET", "HEAD")
"""A crawl changes nothing at a site."""

SCRIPTED = ("xhr", "fetch")
"""Kinds of requests that scripts make, of which a site file may allow POST."""

MAX_POST_BYTES = 100_000
"""Body of a script's POST, at most."""

SENT_BY_US = {
    *("accept-encoding", "connection", "content-length", "cookie", "host", "referer", "te"),
    *("transfer-encoding", "upgrade", "user-agent"),
}
"""Headers that are the HTTP client's to send, or that say more than a site needs to know."""

OF_THE_WIRE = {
    *("connection", "content-encoding", "content-length", "keep-alive", "set-cookie"),
    *("transfer-encoding", "upgrade"),
}
"""Headers of an answer that are about bytes which the browser does not get."""


def is_blocked(resource_type: str) -> bool:
    """Whether requests of this kind, in Playwright's words, are never made."""
    return resource_type not in RENDERING


def refusal_of(
    method: str, url: str, origins: Collection[str], *, allows_post: bool = False
) -> str:
    """Return why a page's request is not made; empty: it is, if robots.txt and the guard allow.

    Args:
        method: Of HTTP.
        url: Absolute.
        origins: Scheme and host of all pages of the site.
        allows_post: Whether POST is a method of the site's lists, as its file says.
    """
    match = URL.fullmatch(url)
    if match is None:
        return f"not a URL of a page: {url[:200]}"
    if match[1].lower() not in origins:
        return f"another host: {match[1][:200]}"
    if method not in METHODS and not (allows_post and method == "POST"):
        return f"the method {method[:20]} may change the site: {url[:200]}"
    return ""


def post_refusal_of(resource_type: str, byte_count: int) -> str:
    """Return why a POST of a page is not sent although its site file allows POST; empty: it is.

    Args:
        resource_type: Kind of the request, in Playwright's words.
        byte_count: Size of its body, bytes.
    """
    if resource_type not in SCRIPTED:
        return f"a POST of the kind {resource_type[:20]}, which is not a script's"
    if byte_count > MAX_POST_BYTES:
        return f"a POST of {byte_count} bytes, more than {MAX_POST_BYTES}"
    return ""


def sent_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers of a page's request that are sent; names are in lower case."""
    return {
        name: value
        for name, value in headers.items()
        if name not in SENT_BY_US
        and not name.startswith(("sec-", ":", "if-"))
        and value.isascii()
        and value.isprintable()
    }


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of an answer that the browser gets; names are in lower case."""
    return {name: value for name, value in headers.items() if name not in OF_THE_WIRE}
