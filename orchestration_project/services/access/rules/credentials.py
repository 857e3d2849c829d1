"""How long sessions, keys and lock-outs hold."""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

USE_RECORD_INTERVAL = timedelta(minutes=1)
"""A use is written down this long after the last that was: not every request is a write."""


@dataclass(frozen=True)
class LoginLimits:
    """Idle timeout and maximum age of a session."""

    idle: timedelta
    absolute: timedelta


def has_ended(
    now: datetime,
    limits: LoginLimits,
    *,
    expires_at: datetime,
    seen_at: datetime,
    ended_at: datetime | None,
) -> bool:
    """Whether a session is over: ended, too old, or unused for too long."""
    return ended_at is not None or now >= expires_at or now >= seen_at + limits.idle


def is_usable(now: datetime, *, expires_at: datetime, revoked_at: datetime | None) -> bool:
    """Whether a key still opens anything."""
    return revoked_at is None and now < expires_at


def is_to_be_noted(now: datetime, last: datetime | None) -> bool:
    """Whether a use at ``now`` is written down."""
    return last is None or now >= last + USE_RECORD_INTERVAL


ID_BYTES = 6
SECRET_BYTES = 32
"""256 bits cannot be guessed, so a plain hash protects them as well as a slow one."""

WRITTEN = re.compile(r"op_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")

NO_HASH = "0" * 64
"""Compared with where no key has the id: a wrong secret and an unknown id go the same way."""


class Key(NamedTuple):
    """The two parts of a key: what it is found by, and what proves it."""

    key_id: str
    secret: str

    def __str__(self) -> str:
        return f"op_{self.key_id}_{self.secret}"


def build_key(random_id: bytes, random_secret: bytes) -> Key:
    """Return the key of these random bytes: ID_BYTES and SECRET_BYTES of them."""
    if (len(random_id), len(random_secret)) != (ID_BYTES, SECRET_BYTES):
        raise ValueError("a key is made of as many random bytes as it has room for")
    return Key(random_id.hex(), urlsafe_b64encode(random_secret).rstrip(b"=").decode())


def read_key(text: str) -> Key | None:
    """Return the parts of a key as it is written, None if it is none."""
    match = WRITTEN.fullmatch(text)
    return Key(match[1], match[2]) if match else None


def hash_of(secret: str) -> str:
    """Return the hash that is stored in place of ``secret``: its SHA-256, in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_valid_secret(stored_hash: str | None, secret: str) -> bool:
    """Whether ``secret`` is the stored one, compared in constant time."""
    return hmac.compare_digest((stored_hash or NO_HASH).encode(), hash_of(secret).encode())


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


def list_subjects(key_id: str | None, address: str) -> list[str]:
    """Return whom a failed login is counted for: the address, and the key's id if there is one."""
    names = [f"address {derive_network(address)}"]
    return [*names, f"key {key_id}"] if key_id else names


def derive_network(address: str) -> str:
    """Return ``address``, of IPv6 its network; other text is returned unchanged."""
    try:
        known = ip_address(address)
    except ValueError:
        return address
    if isinstance(known, IPv6Address):
        return str(ip_network((known, IPV6_NETWORK_BITS), strict=False))
    return str(known)


def add_failure(earlier: Failures | None, now: datetime) -> Failures:
    """Return the failures of a subject with one more at ``now``."""
    if earlier is None or not _is_within(earlier, now):
        return Failures(1, now)
    return Failures(earlier.count + 1, earlier.since)


def find_lock_end(subject: str, failures: Failures, now: datetime) -> datetime | None:
    """Return until when a subject is locked, None if it is not."""
    limit = KEY_LIMIT if subject.startswith("key ") else ADDRESS_LIMIT
    is_locked = failures.count >= limit and _is_within(failures, now)
    return failures.since + WINDOW if is_locked else None


def _is_within(failures: Failures, now: datetime) -> bool:
    """Whether the window still runs; one that begins long after now is of before the clock was set
    back, another gateway's clock is just a little ahead."""
    return abs(now - failures.since) < WINDOW
