"""How senders sign what they deliver, and whether a delivery is signed.

The signature is always over the body as it came, HMAC with SHA-256 and nothing else: what a header
says of another algorithm does not count. The package standardwebhooks is what the tests sign and
verify with. What this project delivers itself is signed here, too.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, Self

Headers = Mapping[str, str]
"""By their names in lower case, as `headers_of` gives them."""

Verdict = Literal["valid", "unsigned", "invalid", "stale"]
"""Verdict on a delivery: signed by a secret of its source, without a signature, with a wrong one,
or signed outside of the time tolerance."""

TOLERANCE = timedelta(minutes=5)
"""Clock tolerance of a signature's time, as in Standard Webhooks and Stripe."""

UNIX_SECONDS = re.compile(r"[0-9]{1,11}", re.ASCII)


@dataclass(frozen=True)
class SignatureClaim:
    """Claims of a signature header.

    Attributes:
        signatures: Of which one must be right; senders send several while they change a secret.
        prefix: What is signed before the body.
        timestamp: When it was signed, Unix seconds as text; None where the scheme has none.
    """

    signatures: Sequence[str]
    prefix: str = ""
    timestamp: str | None = None


@dataclass(frozen=True)
class Place:
    """Place of a value in a delivery: the header ``name``, or the JSON field ``path``."""

    header: str = ""
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scheme:
    """A way to sign deliveries.

    Attributes:
        signature: The header that has the signature.
        read: Takes the header apart; given the others and the scheme, too.
        encoded: How a MAC is written.
        key: Makes the key of a secret; raises ValueError where that is none.
        delivery_id: Where the sender's own id of a delivery is, if it has one.
        kind: Where it names the kind of event, if it does.
        kept: Other headers that are worth keeping.
        signed_id: The header whose id is signed; empty: no id is signed.
        signed_time: The header whose time is signed; empty: none, or the signature's has it.
    """

    signature: str
    read: Callable[[str, Headers, "Scheme"], SignatureClaim]
    encoded: Callable[[bytes], bytes]
    key: Callable[[str], bytes]
    delivery_id: Place | None
    kind: Place | None
    kept: tuple[str, ...] = ()
    signed_id: str = ""
    signed_time: str = ""

    def with_headers(self, names: Mapping[str, str]) -> Self:
        """Return the scheme with other header names: ``names`` maps its own ones to them."""

        def name_of(header: str) -> str:
            return names.get(header, header)

        by_header = self.delivery_id is not None and self.delivery_id.header
        return replace(
            self,
            signature=name_of(self.signature),
            delivery_id=Place(name_of(by_header)) if by_header else self.delivery_id,
            kept=tuple(name_of(header) for header in self.kept),
            signed_id=name_of(self.signed_id),
            signed_time=name_of(self.signed_time),
        )


def verify(
    scheme: Scheme,
    headers: Headers,
    body: bytes,
    keys: Sequence[bytes],
    *,
    now: datetime,
) -> Verdict:
    """Return whether ``body`` is signed with one of ``keys``, in constant time.

    Args:
        scheme: How the source signs.
        headers: What came with it.
        body: The bytes as they came.
        keys: Of the present secret, and of the one before it while both are in use.
        now: The present.
    """
    value = headers.get(scheme.signature)
    if not value:
        return "unsigned"
    signed = scheme.read(value, headers, scheme)
    given_chunks = [signature.encode("latin-1", "replace") for signature in signed.signatures]
    expected = [_compute_mac(scheme, key, signed.prefix, body) for key in keys]
    matches = [hmac.compare_digest(one, other) for one in expected for other in given_chunks]
    if not any(matches):
        return "invalid"
    return "valid" if signed.timestamp is None or _is_now(signed.timestamp, now) else "stale"


def build_standard_headers(key: bytes, message_id: str, body: bytes, *, now: datetime) -> Headers:
    """Return the headers that sign ``body`` by Standard Webhooks.

    Args:
        key: As the scheme `standard` makes it of a secret.
        message_id: Equal for all attempts to deliver the same, so that a receiver drops repeats.
        body: The bytes that are sent.
        now: The present.
    """
    timestamp = str(int(now.timestamp()))
    signature = _compute_mac(SCHEMES["standard"], key, f"{message_id}.{timestamp}.", body).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }


def decode_headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by name, without duplicated ones, which are ambiguous."""
    names: dict[str, str] = {}
    twice: set[str] = set()
    for name, value in raw:
        key = name.decode("latin-1").lower()
        if key in names:
            twice.add(key)
        names[key] = value.decode("latin-1")
    return {name: value for name, value in names.items() if name not in twice}


def _compute_mac(scheme: Scheme, key: bytes, prefix: str, body: bytes) -> bytes:
    mac = hmac.new(key, prefix.encode("latin-1", "replace"), hashlib.sha256)
    mac.update(body)
    return scheme.encoded(mac.digest())


def _is_now(timestamp: str, now: datetime) -> bool:
    if not UNIX_SECONDS.fullmatch(timestamp):
        return False
    signed_at = datetime.fromtimestamp(0, UTC) + timedelta(seconds=int(timestamp))
    return abs(now - signed_at) <= TOLERANCE


def _encode_hex(mac: bytes) -> bytes:
    return mac.hex().encode()


def _parse_sha256(value: str, _: Headers, _scheme: Scheme) -> SignatureClaim:
    """Read ``sha256=<hex>``."""
    algorithm, _equals, signature = value.partition("=")
    return SignatureClaim([signature] if algorithm == "sha256" else [])


def _parse_standard(value: str, headers: Headers, scheme: Scheme) -> SignatureClaim:
    """Read ``v1,<base64> v1,<base64>``; what is signed is id, time and body."""
    versions = (part.partition(",") for part in value.split(" "))
    timestamp = headers.get(scheme.signed_time, "")
    prefix = f"{headers.get(scheme.signed_id, '')}.{timestamp}."
    return SignatureClaim(
        [name for version, _, name in versions if version == "v1"], prefix, timestamp
    )


def _parse_timestamped(value: str, _: Headers, _scheme: Scheme) -> SignatureClaim:
    """Read ``t=<time>,v1=<hex>``; what is signed is time and body."""
    pairs = [part.partition("=") for part in value.split(",")]
    times = [item for name, _, item in pairs if name == "t"]
    timestamp = times[0] if len(times) == 1 else ""
    signatures = [item for name, _, item in pairs if name == "v1"]
    return SignatureClaim(signatures, f"{timestamp}.", timestamp)


def _encode_key(secret: str) -> bytes:
    return secret.encode()


def _decode_key(secret: str) -> bytes:
    encoded = secret.removeprefix("whsec_")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("no Base64, with or without whsec_ before it") from error


SCHEMES: Mapping[str, Scheme] = {
    "standard": Scheme(
        "webhook-signature",
        _parse_standard,
        base64.b64encode,
        _decode_key,
        Place("webhook-id"),
        Place(path=("type",)),
        ("webhook-id", "webhook-timestamp"),
        signed_id="webhook-id",
        signed_time="webhook-timestamp",
    ),
    "github": Scheme(
        "x-hub-signature-256",
        _parse_sha256,
        _encode_hex,
        _encode_key,
        Place("x-github-delivery"),
        Place("x-github-event"),
        ("x-github-delivery", "x-github-event", "x-github-hook-id"),
    ),
    "jira": Scheme(
        "x-hub-signature",
        _parse_sha256,
        _encode_hex,
        _encode_key,
        Place("x-atlassian-webhook-identifier"),
        Place(path=("webhookEvent",)),
        ("x-atlassian-webhook-identifier", "x-atlassian-webhook-retry"),
    ),
    "peopleforce": Scheme(
        "x-peopleforce-signature",
        _parse_sha256,
        _encode_hex,
        _encode_key,
        None,
        Place(path=("action",)),
    ),
    "stripe": Scheme(
        "stripe-signature",
        _parse_timestamped,
        _encode_hex,
        _encode_key,
        Place(path=("id",)),
        Place(path=("type",)),
    ),
}
"""By the name that webhooks.yaml gives them."""
