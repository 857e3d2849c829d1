"""Secrets are masked in answers, plain and in usual encodings, and nothing else is."""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from html import escape
from urllib.parse import quote, quote_plus

import pytest

from orchestration_project.resources.plugins.secret_masking import (
    hide_in_headers,
    hide_secrets,
    is_partial,
)

SECRETS = ["planted-secret-1234", 'a"b\\c/d+e f&g<h>', "pässwörd-ß", "??>>~~ÿÿ"]
ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "upper": lambda secret: secret.upper().encode() if secret.isascii() else secret.encode(),
    "lower": lambda secret: secret.lower().encode() if secret.isascii() else secret.encode(),
    "reversed": lambda secret: secret[::-1].encode(),
    "JSON": lambda secret: json.dumps(secret).encode(),
    "JSON in UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False).encode(),
    "HTML": lambda secret: escape(secret).encode(),
    "URL": lambda secret: quote(secret, safe="").encode(),
    "URL in lower case": lambda secret: quote(secret, safe="").lower().encode(),
    "form": lambda secret: quote_plus(secret).encode(),
    "hex": lambda secret: secret.encode().hex().encode(),
    "HEX": lambda secret: secret.encode().hex().upper().encode(),
    "Base64": lambda secret: b64encode(secret.encode()),
    "Base64 of URLs": lambda secret: urlsafe_b64encode(secret.encode()),
    "UTF-16": lambda secret: secret.encode("utf-16-le"),
}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_encoding_of_a_secret_is_masked(secret: str, encoding: str):
    encoded = ENCODINGS[encoding](secret).strip(b'"')
    assert hide_secrets(b"<" + encoded + b">", [secret]) == b"<***>"


@pytest.mark.parametrize("before", ["", "u", "us", "user:", "user1:"])
@pytest.mark.parametrize("after", ["", "x", "xy", "xyz"])
def test_base64_of_a_text_with_a_secret_keeps_at_most_its_ends(before: str, after: str):
    secret = SECRETS[0]
    encoded = b64encode(f"{before}{secret}{after}".encode())
    hidden = hide_secrets(encoded, [secret])
    assert b"***" in hidden
    assert len(hidden) - len(b"***") <= 4 * (len(before + after) // 3 + 2)


def test_other_bytes_stay_as_they_are():
    content = bytes(range(256)) * 10
    assert hide_secrets(content, [SECRETS[0]]) == content
    assert hide_secrets(b"a planted tree", [SECRETS[0]]) == b"a planted tree"


def test_names_and_values_of_headers_are_masked():
    headers = {"X-Planted-Secret-1234": "a", "Location": "/?key=planted-secret-1234", "ETag": "b"}
    assert hide_in_headers(headers, [SECRETS[0]]) == {
        "X-***": "a",
        "Location": "/?key=***",
        "ETag": "b",
    }


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, {"content-type": "text/plain"}, False),
        (206, {}, True),
        (200, {"Content-Type": "Multipart/ByteRanges; boundary=x"}, True),
    ],
)
def test_a_part_of_a_body_is_recognized(status: int, headers: dict[str, str], expected: bool):
    assert is_partial(status, headers) is expected
