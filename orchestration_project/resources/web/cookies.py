"""Cookies of one crawl: each host gets back its own, and none is stored beyond the crawl."""

import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlsplit

NEXT_COOKIE = re.compile(r",\s*(?=[!#$%&'*+.^_`|~0-9A-Za-z-]+=)")
"""Border of two `Set-Cookie` values that are joined by a comma."""

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
MAX_COOKIES_PER_HOST = 50
MAX_VALUE_LENGTH = 4_096
MAX_CHANGES = 1_000
"""Cookies that a crawl stores; later changes do not count. Each value is hidden in logs, which
takes longer with each."""


class _Cookie(NamedTuple):
    value: str
    path: str
    is_secure: bool


class CookieJar:
    """Cookies of one crawl by host; safe to use from several threads.

    A cookie goes back to the host that set it, below its path, and over TLS alone if it is secure.
    Its domain does not count: other hosts of a site get none of it.

    Args:
        now: The present in UTC, by which cookies have expired.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._hosts: dict[str, dict[tuple[str, str], _Cookie]] = {}
        self._changes_left = MAX_CHANGES

    def headers(self, url: str) -> Mapping[str, str]:
        """Return the header with the cookies for a URL; none without cookies."""
        parts = urlsplit(url)
        with self._lock:
            found = [
                (name, host)
                for (name, _), host in self._hosts.get(_extract_host(url), {}).items()
                if _is_below(parts.path or "/", host.path)
                and (parts.scheme == "https" or not host.is_secure)
            ]
        found.sort(key=lambda pair: -len(pair[1].path))
        text = "; ".join(f"{name}={cookie.value}" for name, cookie in found)
        return {"Cookie": text} if text else {}

    def store(self, url: str, headers: Mapping[str, str]) -> None:
        """Store the cookies of an answer.

        Args:
            url: Of the request.
            headers: Of the answer, by name in lower case; repeated ones joined by a comma.
        """
        text = headers.get("set-cookie", "")
        if not text:
            return
        with self._lock:
            for part in NEXT_COOKIE.split(text):
                self._store(url, part)

    def _store(self, url: str, text: str) -> None:
        pair, *remaining = text.split(";")
        name, _, value = (word.strip() for word in pair.partition("="))
        attributes = {
            key.strip().lower(): item.strip()
            for key, _, item in (word.partition("=") for word in remaining)
        }
        is_valid = value.isascii() and value.isprintable() and len(value) <= MAX_VALUE_LENGTH
        if not NAME.fullmatch(name) or not is_valid:
            return
        path = attributes.get("path", "")
        path = path if path.startswith("/") else _derive_path(url)
        setdefault = self._hosts.setdefault(_extract_host(url), {})
        if self._is_expired(attributes):
            setdefault.pop((name, path), None)
            return
        cookie = _Cookie(value, path, "secure" in attributes)
        is_full = (name, path) not in setdefault and len(setdefault) >= MAX_COOKIES_PER_HOST
        if setdefault.get((name, path)) != cookie and not is_full and self._changes_left > 0:
            self._changes_left -= 1
            setdefault[name, path] = cookie

    def _is_expired(self, attributes: Mapping[str, str]) -> bool:
        age = attributes.get("max-age", "")
        if re.fullmatch(r"-?\d{1,12}", age, re.ASCII):
            return int(age) <= 0
        try:
            expires = parsedate_to_datetime(attributes["expires"].replace("-", " "))
        except (KeyError, ValueError, OverflowError):
            return False
        return expires.replace(tzinfo=UTC) <= self._now()


def _extract_host(url: str) -> str:
    parts = urlsplit(url)
    return (parts.hostname or "").lower().rstrip(".")


def _derive_path(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[0] or "/"


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else f"{prefix}/")
