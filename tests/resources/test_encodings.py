"""Bodies in a content encoding: decoded where the client asks, and never beyond its bound."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard

from orchestration_project.engine.http import HttpClient
from orchestration_project.engine.http.encodings import (
    EncodingError,
    TooLargeError,
    decode_content,
)
from orchestration_project.errors import SourceError, TransientError
from tests.faulty_server import FaultyServer, Reply
from tests.http_clients import make_client

TEXT = b"a shop has 400 products. " * 400


def raw_deflate(body: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


def zstd(body: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(body)


def brotlied(body: bytes) -> bytes:
    return brotli.compress(body, quality=1)


def decode(body: bytes, encoding: str, max_bytes: int = 1_000_000) -> bytes:
    return decode_content(body, {"content-encoding": encoding}, max_bytes=max_bytes)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("GZip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
        ("x-gzip", gzip.compress(TEXT) + b"\0" * 512),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("zstd", zstd(TEXT)),
        ("zstd", zstd(TEXT[:100]) + zstd(TEXT[100:])),
        ("br", brotli.compress(TEXT)),
        ("br", brotli.compress(TEXT, quality=1, lgwin=24)),
        ("gzip, zstd", zstd(gzip.compress(TEXT))),
        ("br, gzip", gzip.compress(brotli.compress(TEXT))),
        ("identity", TEXT),
        ("", TEXT),
    ],
    ids=range(13),
)
def test_a_body_is_decoded_by_its_header(encoding: str, body: bytes):
    assert decode(body, encoding) == TEXT


def test_a_body_without_bytes_is_empty_in_any_encoding():
    assert decode(b"", "gzip") == b""


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(TEXT)[:-9]),
        ("gzip", TEXT),
        ("gzip", gzip.compress(TEXT) + b"more"),
        ("deflate", zlib.compress(TEXT)[:-5]),
        ("deflate", raw_deflate(TEXT) + b"more"),
        ("zstd", zstd(TEXT)[:-3]),
        ("zstd", TEXT),
        ("br", TEXT),
        ("br", brotli.compress(TEXT)[:-3]),
        ("br", brotli.compress(TEXT) + b"more"),
        ("compress", TEXT),
        ("gzip, gzip, gzip", TEXT),
    ],
    ids=range(12),
)
def test_a_body_that_is_not_in_its_encoding_is_refused(encoding: str, body: bytes):
    with pytest.raises(EncodingError):
        decode(body, encoding)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("encoding", "make"),
    [("gzip", gzip.compress), ("deflate", raw_deflate), ("zstd", zstd), ("br", brotlied)],
    ids=["gzip", "deflate", "zstd", "br"],
)
def test_a_bomb_is_refused_and_a_body_of_just_the_bound_is_whole(
    encoding: str, make: Callable[[bytes], bytes]
):
    bomb = make(bytes(50_000_000))
    assert len(bomb) < 100_000
    with pytest.raises(TooLargeError, match="more than 1000000 bytes"):
        decode(bomb, encoding)
    assert decode(make(TEXT), encoding, len(TEXT)) == TEXT
    with pytest.raises(TooLargeError):
        decode(make(TEXT), encoding, len(TEXT) - 1)


def test_a_window_beyond_the_standards_is_refused():
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=25)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(EncodingError, match="memory"):
        decode(compressor.compress(TEXT) + compressor.flush(), "zstd")


Client = Callable[..., HttpClient]


@pytest.fixture
def client_of(tmp_path: Path) -> Iterator[Client]:
    with ExitStack() as stack:

        def make(**options: Any) -> HttpClient:
            return stack.enter_context(
                make_client(
                    tmp_path,
                    "site",
                    now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
                    use_environment=False,
                    **options,
                )
            )

        yield make


def test_a_client_that_accepts_encodings_returns_decoded_bodies(client_of: Client):
    reply = Reply(headers={"Content-Encoding": "gzip"}, body=gzip.compress(TEXT))
    with FaultyServer(lambda _: reply) as server:
        assert client_of(accepts_encodings=True).request("GET", server.url).body == TEXT
        assert client_of().request("GET", server.url).body == reply.body
        sent = [request.headers["accept-encoding"] for request in server.requests]
    assert sent == ["gzip, deflate, zstd, br", "identity"]


def test_a_bomb_and_a_damaged_body_are_errors_of_the_source(client_of: Client):
    bomb = Reply(headers={"Content-Encoding": "gzip"}, body=gzip.compress(bytes(10_000_000)))
    damaged = Reply(headers={"Content-Encoding": "compress"}, body=TEXT)
    replies = iter([bomb, damaged])
    with FaultyServer(lambda _: next(replies)) as server:
        client = client_of(accepts_encodings=True, max_body_bytes=1_000_000)
        with pytest.raises(SourceError, match="without end") as refused:
            client.request("GET", server.url)
        assert "decode to more than 1000000 bytes" in refused.value.found
        with pytest.raises(SourceError, match="cannot be decoded") as refused:
            client.request("GET", server.url)
        assert "the encoding 'compress'" in refused.value.found
        assert len(server.requests) == 2


def test_the_caller_chooses_the_statuses_that_are_retried(client_of: Client):
    replies = iter([Reply(429, body=b"slow"), Reply(503, body=b"wall"), Reply(500), Reply(500)])
    with FaultyServer(lambda _: next(replies)) as server:
        client = client_of(statuses=[500])
        assert client.request("GET", server.url).body == b"slow"
        assert client.request("GET", server.url).body == b"wall"
        with pytest.raises(TransientError):
            client.request("GET", server.url)
        assert len(server.requests) == 4
