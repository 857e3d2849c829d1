"""What a key looks like, and how it is compared: `op_<id>_<secret>`."""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from typing import NamedTuple

ID_BYTES = 6
SECRET_BYTES = 32
"""256 bits: nobody guesses them, so a plain hash keeps them as well as a slow one would."""

WRITTEN = re.compile(r"op_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")

NO_HASH = "0" * 64
"""Compared with where no key has the id: a wrong secret and an unknown id go the same way."""


class Key(NamedTuple):
    """The two parts of a key: what it is found by, and what proves it."""

    key_id: str
    secret: str

    def __str__(self) -> str:
        return f"op_{self.key_id}_{self.secret}"


def new_key(random_id: bytes, random_secret: bytes) -> Key:
    """Return the key of these random bytes: ID_BYTES and SECRET_BYTES of them."""
    if (len(random_id), len(random_secret)) != (ID_BYTES, SECRET_BYTES):
        raise ValueError("a key is made of as many random bytes as it has room for")
    return Key(random_id.hex(), urlsafe_b64encode(random_secret).rstrip(b"=").decode())


def read_key(text: str) -> Key | None:
    """Return the parts of a key as it is written, None if it is none."""
    found = WRITTEN.fullmatch(text)
    return Key(found[1], found[2]) if found else None


def hash_of(secret: str) -> str:
    """Return what is stored in place of ``secret``: its SHA-256, in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(stored_hash: str | None, secret: str) -> bool:
    """Whether ``secret`` is the one that was stored, in a time that does not tell how nearly."""
    return hmac.compare_digest((stored_hash or NO_HASH).encode(), hash_of(secret).encode())
