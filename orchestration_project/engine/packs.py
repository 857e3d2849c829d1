"""Blobs that lie together in one object of the artifact store.

A pack is a sequence of zstd frames, one of each blob. An object costs a flush to disk or a request,
whatever its size: 10,000 bodies of 20 KB are stored as 13 objects.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import zstandard

PACKED_BYTES = 256 * 2**10
"""Size from which a body is an object of its own."""

PACK_BYTES = 16 * 2**20
"""Maximum size of a pack as stored."""

PACKS = "blobs/packs/"
"""Prefix of the names of packs."""


class Blob(NamedTuple):
    """One row of `blobs`: captured bytes and where the store has them, sizes in bytes.

    Attributes:
        sha256: SHA-256 of the bytes, hex.
        byte_count: Their size.
        stored_byte_count: Size of their zstd frame.
        storage_uri: The name of the stored object.
        byte_offset: Where the frame begins in a pack; None: the object is the frame.
    """

    sha256: str
    byte_count: int
    stored_byte_count: int
    storage_uri: str
    byte_offset: int | None = None


class Pack(NamedTuple):
    """An object to store, and the blobs in it."""

    name: str
    content: bytes
    blobs: tuple[Blob, ...]


def make_packs(bodies: Mapping[str, bytes]) -> Iterator[Pack]:
    """Yield packs of the bodies, which are given by SHA-256; each is below `PACKED_BYTES`."""
    compressor = zstandard.ZstdCompressor(level=1)
    yield from pack_frames(
        (sha256, len(body), compressor.compress(body)) for sha256, body in bodies.items()
    )


def pack_frames(frames: Iterator[tuple[str, int, bytes]]) -> Iterator[Pack]:
    """Yield packs of frames: SHA-256 and size of the bytes, and the frame."""
    some: list[tuple[str, int, bytes]] = []
    size = 0
    for frame in frames:
        if some and size + len(frame[2]) > PACK_BYTES:
            yield _pack(some)
            some, size = [], 0
        some.append(frame)
        size += len(frame[2])
    if some:
        yield _pack(some)


def hash_of_pack(name: str) -> str:
    """Return the SHA-256 of a pack, which its name has, hex."""
    return name.removesuffix(".pack").rpartition("/")[2]


def measure_object(blobs: Sequence[Blob]) -> int:
    """Return the size of the object that holds these blobs, bytes."""
    return max((blob.byte_offset or 0) + blob.stored_byte_count for blob in blobs)


def _pack(frames: list[tuple[str, int, bytes]]) -> Pack:
    content = b"".join(frame for _, _, frame in frames)
    sha256 = hashlib.sha256(content).hexdigest()
    name = f"{PACKS}{sha256[:2]}/{sha256}.pack"
    blobs: list[Blob] = []
    offset = 0
    for of_body, byte_count, frame in frames:
        blobs.append(Blob(of_body, byte_count, len(frame), name, offset))
        offset += len(frame)
    return Pack(name, content, tuple(blobs))
