"""Own addresses: targets after a login, and origins of requests."""

import re
from collections.abc import Collection, Sequence
from ipaddress import ip_address

OWN_NAMES = ("127.0.0.1", "localhost", "::1")
HOME = "/"

HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?")
URL = re.compile(r"(https?://[^/?#@\s]+)(?:[/?#].*)?", re.IGNORECASE)

MAX_PARTS, MAX_PART_BYTES = 16, 200
"""Maximum number of parts of a log's key, and of bytes per part."""

LOGIN_PATHS = ("/login", "/logout", "/session", "/auth/")
"""Pages that lead nowhere after a login."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server at ``host``."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    # A socket for both versions shows 127.0.0.1 as ::ffff:127.0.0.1.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def choose_next_path(wanted: str) -> str:
    """Return the path to go to after a login: ``wanted`` if it is one of ours, or the first page.

    A browser takes `//host`, `/\\host` and `/<tab>/host` for other hosts.
    """
    leads_away = not wanted.startswith("/") or wanted.startswith("//") or "\\" in wanted
    is_odd = any(ord(letter) <= ord(" ") or ord(letter) > ord("~") for letter in wanted)
    return HOME if leads_away or is_odd or wanted.startswith(LOGIN_PATHS) else wanted


def is_plain_path(path: str) -> bool:
    """Whether a decoded path means what it says: no `.`, `..` or empty part, no odd letter."""
    parts = path.split("/")
    if parts[0] or not path.isprintable() or "\\" in path:
        return False
    return not any(part in (".", "..") for part in parts) and "" not in parts[1:-1]


def parse_host(host: str) -> str:
    """Return the name in a Host header, in lower case and without the port; empty if it is none."""
    match = HOST.fullmatch(host)
    return (match[1] or match[2]).lower() if match else ""


def parse_origin(url: str) -> str:
    """Return scheme, host and port of ``url`` as a browser sends them in Origin; empty: none."""
    match = URL.fullmatch(url)
    return match[1].lower() if match else ""


def is_same_origin(
    origins: Sequence[str], own: Collection[str], *, is_needed: bool, fetch_site: str = ""
) -> bool:
    """Whether a request comes from a page of ours, or from no page at all.

    Args:
        origins: The Origin headers of the request; a browser sends one with whatever may change.
        own: The origins that are ours.
        is_needed: Whether it must say so: it bears a cookie, which a browser adds by itself.
        fetch_site: Its Sec-Fetch-Site, empty if there is none.
    """
    if fetch_site not in ("", "same-origin", "none"):
        return False
    if not origins:
        return not is_needed
    return len(origins) == 1 and origins[0].lower() in own


def is_log_key(parts: Sequence[str]) -> bool:
    """Whether a log may have this key, each part of which is a name of a folder or a file."""
    return 0 < len(parts) <= MAX_PARTS and all(
        part.isprintable()
        and "/" not in part
        and part not in ("", ".", "..")
        and len(part.encode()) <= MAX_PART_BYTES
        for part in parts
    )
