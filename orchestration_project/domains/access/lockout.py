"""How many logins may fail before nothing is looked at any more, and for how long."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network

WINDOW = timedelta(minutes=15)
"""Failures count together within this time; that long a lock holds from the first of them."""

KEY_LIMIT, ADDRESS_LIMIT = 10, 30
"""Failures of a key's id, and of an address, behind which several people may be."""

IPV6_NETWORK_BITS = 64
"""A single customer has as many addresses of IPv6: they count as one."""


@dataclass(frozen=True)
class Failures:
    """The failures of one subject since the first of its window."""

    count: int
    since: datetime


def subjects(key_id: str | None, address: str) -> list[str]:
    """Return whom a failed login is counted for: the address, and the key's id if there is one."""
    return [f"address {network_of(address)}"] + [f"key {key_id}"] * bool(key_id)


def network_of(address: str) -> str:
    """Return ``address``, of IPv6 its network; text that is no address stays as it is."""
    try:
        known = ip_address(address)
    except ValueError:
        return address
    if isinstance(known, IPv6Address):
        return str(ip_network((known, IPV6_NETWORK_BITS), strict=False))
    return str(known)


def after_failure(earlier: Failures | None, now: datetime) -> Failures:
    """Return the failures of a subject with one more at ``now``."""
    if earlier is None or not _is_within(earlier, now):
        return Failures(1, now)
    return Failures(earlier.count + 1, earlier.since)


def locked_until(subject: str, failures: Failures, now: datetime) -> datetime | None:
    """Return until when a subject is locked, None if it is not."""
    limit = KEY_LIMIT if subject.startswith("key ") else ADDRESS_LIMIT
    is_locked = failures.count >= limit and _is_within(failures, now)
    return failures.since + WINDOW if is_locked else None


def _is_within(failures: Failures, now: datetime) -> bool:
    """Whether the window still runs; one that begins long after now is of before the clock was set
    back, another gateway's clock is just a little ahead."""
    return abs(now - failures.since) < WINDOW
