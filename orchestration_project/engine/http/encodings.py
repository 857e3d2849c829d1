"""Content encodings of bodies, decoded up to a size: a small body may decode to gigabytes."""

import zlib
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Protocol

import zstandard

ACCEPTED = f"gzip, deflate, zstd{', br' if find_spec('brotli') else ''}"
"""Value of `Accept-Encoding`: what `decoded` decodes; brotli is a package of the extra `web`."""

MAX_ENCODINGS = 2
"""That a body may have, one in another."""

ZSTD_WINDOW_BYTES = 8 * 2**20  # the limit of RFC 9659 for content encodings
PIECE_BYTES = 64 * 2**10
ZSTD_INPUT_BYTES = 256  # of blocks of 4 bytes, each of which may decode to 128 KiB


class EncodingError(ValueError):
    """A body is not in the encoding that its headers name, or in one that is not accepted."""


class CutBodyError(EncodingError):
    """A body breaks off within its encoding: it did not come whole."""


class TooLargeError(ValueError):
    """A body decodes to more bytes than are accepted."""


class _Decoder(Protocol):
    """Decoder of one member of gzip, stream of zlib, or frame of zstd."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...


def decode_content(body: bytes, headers: Mapping[str, str], *, max_bytes: int) -> bytes:
    """Return a body without the encodings that `content-encoding` names.

    Args:
        body: The bytes as they were sent, whole.
        headers: Of the answer, by name in lower case.
        max_bytes: Largest size that is accepted, after each decoding.

    Raises:
        CutBodyError: The body breaks off.
        EncodingError: The body is damaged, or its encoding is not accepted.
        TooLargeError: It decodes to more than ``max_bytes``.
    """
    names = [part.strip().lower() for part in headers.get("content-encoding", "").split(",")]
    encodings = [text for text in names if text not in ("", "identity")]
    if len(encodings) > MAX_ENCODINGS:
        raise EncodingError(f"{len(encodings)} encodings")
    for name in reversed(encodings):
        body = _decode_body(body, name, max_bytes) if body else body
    return body


def _decode_body(body: bytes, name: str, max_bytes: int) -> bytes:
    try:
        match name:
            case "gzip" | "x-gzip":
                pieces = _inflate(body, zlib.MAX_WBITS | 16)
            case "deflate":
                pieces = _inflate(body, zlib.MAX_WBITS if _has_zlib_header(body) else -15)
            case "zstd":
                pieces = _expand(body)
            case "br" if "br" in ACCEPTED:
                pieces = _decode_brotli(body)
            case _:
                raise EncodingError(f"the encoding {name[:40]!a}")
        return _join_pieces(pieces, max_bytes)
    except (zlib.error, zstandard.ZstdError) as error:
        raise EncodingError(f"a damaged body: {error}") from error


def _join_pieces(pieces: Iterator[bytes], max_bytes: int) -> bytes:
    chunks, size = list[bytes](), 0
    for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise TooLargeError(f"more than {max_bytes} bytes")
        chunks.append(piece)
    return b"".join(chunks)


def _has_zlib_header(body: bytes) -> bool:
    """Whether `deflate` is zlib's format, as RFC 9110 says; some servers send it without."""
    return len(body) > 1 and body[0] & 15 == zlib.DEFLATED and (body[0] << 8 | body[1]) % 31 == 0


def _inflate(body: bytes, window_bits: int) -> Iterator[bytes]:
    remaining_chunk = body
    while remaining_chunk:
        decoder = zlib.decompressobj(window_bits)
        while not decoder.eof:
            piece = decoder.decompress(remaining_chunk, PIECE_BYTES)
            remaining_chunk = decoder.unconsumed_tail
            if not piece and not remaining_chunk and not decoder.eof:
                raise CutBodyError("a body that breaks off")
            yield piece
        remaining_chunk = _read_rest(decoder, may_follow=window_bits > zlib.MAX_WBITS)


def _expand(body: bytes) -> Iterator[bytes]:
    remaining_chunk = body
    while remaining_chunk:
        decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
        decoder, start = decompressor.decompressobj(), 0
        while not decoder.eof:
            if start >= len(remaining_chunk):
                raise CutBodyError("a body that breaks off")
            yield decoder.decompress(remaining_chunk[start : start + ZSTD_INPUT_BYTES])
            start += ZSTD_INPUT_BYTES
        remaining_chunk = _read_rest(decoder, may_follow=True) + remaining_chunk[start:]


def _decode_brotli(body: bytes) -> Iterator[bytes]:
    """Yield pieces of a stream, whose window has 16 MiB at most (RFC 7932)."""
    import brotli  # an extra

    decoder, remaining_chunk = brotli.Decompressor(), body
    try:
        while not decoder.is_finished():
            piece = decoder.process(remaining_chunk, output_buffer_limit=PIECE_BYTES)
            if not piece and decoder.can_accept_more_data() and not decoder.is_finished():
                raise CutBodyError("a body that breaks off")
            remaining_chunk = b""
            yield piece
    except brotli.error as error:
        raise EncodingError(f"a damaged body: {error}") from error


def _read_rest(decoder: _Decoder, *, may_follow: bool) -> bytes:
    """Return the bytes that follow a member; zeros after the last one are padding."""
    remaining_chunk = decoder.unused_data
    if not remaining_chunk.strip(b"\0"):
        return b""
    if not may_follow:
        raise EncodingError("a body with other bytes at its end")
    return remaining_chunk
