"""XLS files encrypted by RC4 as [MS-OFFCRYPTO] 2.3.5 and 2.3.6 and [MS-XLS] 2.2.10 define it."""

import struct
from collections.abc import Callable, Iterator
from hashlib import md5, sha1
from io import BytesIO
from typing import Literal

from olefile import OleFileIO
from orchestration_demo.documents.compound import SMALL_STREAM, compound

Method = Literal["RC4", "CryptoAPI"]

SALT, VERIFIER = bytes(range(16)), bytes(range(16, 32))
BOF, FILE_PASS, BOUND_SHEET = 0x0809, 0x002F, 0x0085
BLOCK = 1024
"""Bytes of the stream that one key encrypts."""


def _rc4(key: bytes, count: int) -> bytes:
    """Return the first bytes of RC4's key stream."""
    state, other = list(range(256)), 0
    for place in range(256):
        other = (other + state[place] + key[place % len(key)]) % 256
        state[place], state[other] = state[other], state[place]
    out, other = bytearray(), 0
    for number in range(1, count + 1):
        place = number % 256
        other = (other + state[place]) % 256
        state[place], state[other] = state[other], state[place]
        out.append(state[(state[place] + state[other]) % 256])
    return bytes(out)


def _xor(content: bytes, stream: bytes) -> bytes:
    return bytes(each ^ other for each, other in zip(content, stream, strict=True))


def _key_of_rc4(password: str, block: int) -> bytes:
    start = md5(password.encode("utf-16-le")).digest()[:5]  # noqa: S324 - the format's own
    salted = md5((start + SALT) * 16).digest()[:5]  # noqa: S324
    return md5(salted + struct.pack("<I", block)).digest()  # noqa: S324


def _key_of_crypto_api(password: str, block: int) -> bytes:
    start = sha1(SALT + password.encode("utf-16-le")).digest()  # noqa: S324 - the format's own
    return sha1(start + struct.pack("<I", block)).digest()[:16]  # noqa: S324


def _file_pass(method: Method, key: bytes) -> bytes:
    """Return the record with the verifier of the password."""
    hashed = (md5 if method == "RC4" else sha1)(VERIFIER).digest()
    verifier = _xor(VERIFIER + hashed, _rc4(key, 16 + len(hashed)))
    if method == "RC4":
        return struct.pack("<HHH", 1, 1, 1) + SALT + verifier
    provider = "Microsoft Enhanced Cryptographic Provider v1.0\0".encode("utf-16-le")
    header = struct.pack("<8I", 4, 0, 0x6801, 0x8004, 128, 1, 0, 0) + provider
    start = struct.pack("<HHHII", 1, 2, 2, 4, len(header)) + header
    return (
        start + struct.pack("<I", 16) + SALT + verifier[:16] + struct.pack("<I", 20) + verifier[16:]
    )


def _records(stream: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(stream):
        number, size = struct.unpack_from("<HH", stream, place)
        yield number, stream[place + 4 : place + 4 + size]
        place += 4 + size


def encrypted_xls(content: bytes, password: str, method: Method) -> bytes:
    """Return an XLS file encrypted: headers of records, and where sheets begin, stay readable."""
    with OleFileIO(BytesIO(content)) as file:
        workbook = file.openstream("Workbook").read().rstrip(b"\0") + bytes(3)  # of its last EOF
        properties = file.openstream("\x05SummaryInformation").read()
    key_of: Callable[[str, int], bytes] = _key_of_rc4 if method == "RC4" else _key_of_crypto_api
    file_pass = _file_pass(method, key_of(password, 0))
    first, *others = _records(workbook)
    records = [first, (FILE_PASS, file_pass), *others]
    plain_bytes = len(workbook) + 4 + len(file_pass)
    stream = b"".join(
        _rc4(key_of(password, block), BLOCK) for block in range(plain_bytes // BLOCK + 1)
    )
    out = b""
    for number, data in records:
        out += struct.pack("<HH", number, len(data))
        plain = len(data) if number in (BOF, FILE_PASS) else 4 if number == BOUND_SHEET else 0
        kept = data[:plain]
        if number == BOUND_SHEET:
            (place,) = struct.unpack("<I", kept)
            kept = struct.pack("<I", place + 4 + len(file_pass))
        start = len(out) + plain
        out += kept + _xor(data[plain:], stream[start : start + len(data) - plain])
    missing = max(4, SMALL_STREAM - len(out))
    padding = struct.pack("<HH", 0, missing - 4) + bytes(missing - 4)
    return compound({"Workbook": out + padding, "\x05SummaryInformation": properties})
