"""Masking of secrets in answers to requests of plugins, plain and in usual encodings."""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from html import escape
from urllib.parse import quote, quote_plus

HIDDEN = b"***"
MIN_FRAGMENT_BYTES = 4
"""Shorter fragments of Base64 are part of too many texts."""

PARTIAL_STATUS = 206
PARTIAL_TYPE = "multipart/byteranges"


def encodings_of(secret: str) -> frozenset[bytes]:
    """Return a secret in each encoding that is masked, in lower case.

    Plain and reversed, in JSON, HTML, URLs and forms, in hexadecimal, in UTF-16, and in Base64 of
    both alphabets, also within a longer text.
    """
    plain = secret.encode()
    in_json = json.dumps(secret)[1:-1]
    texts = [
        *(in_json, in_json.replace("/", "\\/"), json.dumps(secret, ensure_ascii=False)[1:-1]),
        *(escape(secret), escape(secret, quote=False)),
        *(quote(secret, safe=""), quote(secret), quote_plus(secret), secret[::-1]),
        "".join(f"%{byte:02x}" for byte in plain),
    ]
    chunks = {plain, plain[::-1], *(text.encode() for text in texts), plain.hex().encode()}
    chunks |= {secret.encode("utf-16-le"), secret.encode("utf-16-be")}
    fragments = {_encode_base64_within(plain, offset) for offset in range(3)}
    in_base64 = {fragment for fragment in fragments if len(fragment) >= MIN_FRAGMENT_BYTES}
    for encoded in in_base64 | {b64encode(plain)}:
        chunks |= {encoded, encoded.translate(bytes.maketrans(b"+/", b"-_"))}
    return frozenset(encoding.lower() for encoding in chunks)


def _encode_base64_within(content: bytes, offset: int) -> bytes:
    """Return the part of a Base64 text that depends on ``content`` alone, after so many bytes."""
    encoded = b64encode(bytes(offset) + content)
    return encoded[-(-offset * 8 // 6) : (offset + len(content)) * 8 // 6]


def hide_secrets(content: bytes, secrets: Iterable[str]) -> bytes:
    """Replace each encoding of secrets by ``***``, in upper and lower case."""
    lowered = content.lower()
    encodings = {
        encoding for secret in secrets for encoding in encodings_of(secret) if encoding in lowered
    }
    if not encodings:
        return content
    longest_first = sorted(encodings, key=len, reverse=True)
    return re.sub(b"|".join(map(re.escape, longest_first)), HIDDEN, content, flags=re.IGNORECASE)


def hide_in_headers(headers: Mapping[str, str], secrets: Iterable[str]) -> dict[str, str]:
    """Return headers without encodings of secrets in their names and values."""
    names = list(secrets)

    def hide(text: str) -> str:
        return hide_secrets(text.encode(), names).decode(errors="replace")

    return {hide(name): hide(value) for name, value in headers.items()}


def is_partial(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether an answer is a part of a body, which could end within a secret."""
    types = [value for name, value in headers.items() if name.lower() == "content-type"]
    return status == PARTIAL_STATUS or any(PARTIAL_TYPE in text.lower() for text in types)
