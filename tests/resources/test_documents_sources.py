"""Sources of documents: a folder and a bucket list and read files under any name alike."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.engine.connections.artifacts import S3Store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.http import HttpClient
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.resources.documents.bucket import BYTES_PER_REQUEST, DocumentBucket
from orchestration_project.resources.documents.folder import DocumentFolder
from orchestration_project.resources.documents.s3_bucket import (
    S3Bucket,
    S3Credentials,
    signed_headers,
)
from orchestration_project.resources.documents.source import DocumentSource
from orchestration_project.settings import child_environment
from tests.faulty_server import FaultyServer, Reply, Request
from tests.http_clients import make_client

Put = Callable[[str, bytes], None]

PAGE_SIZE = 5


@pytest.fixture
def http(tmp_path: Path) -> Iterator[HttpClient]:
    with make_client(
        tmp_path / "state", "documents_s3", max_attempts=1, use_environment=False
    ) as http:
        yield http


def bucket_of(url: str, http: HttpClient, **environment: str) -> DocumentBucket:
    bucket = S3Bucket(
        url,
        setting="DOCUMENTS_URL",
        http=http,
        environment=child_environment() | environment,
        now=Clock().now,
        page_size=PAGE_SIZE,
    )
    return DocumentBucket(bucket, "DOCUMENTS_URL")


@pytest.fixture(params=["folder", "s3"])
def source(
    request: pytest.FixtureRequest, tmp_path: Path, http: HttpClient
) -> tuple[DocumentSource, Put]:
    """An empty source, and what puts a file into it."""
    if request.param == "folder":
        folder = tmp_path / "files"
        folder.mkdir()

        def write(name: str, content: bytes) -> None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

        return DocumentFolder(folder, "DOCUMENTS_DIR"), write
    url = request.getfixturevalue("s3")
    store = S3Store(url)
    return bucket_of(url, http), store.put


def check_order_and_list(source: DocumentSource) -> dict[str, int]:
    files = list(source.listing().files)
    assert [file[0] for file in files] == sorted(file[0] for file in files)
    assert all(file[2].replace(tzinfo=UTC) > datetime(2020, 1, 1, tzinfo=UTC) for file in files)
    return {path: byte_count for path, byte_count, *_ in files}


NAMES = ["a.txt", "a/b.txt", "a-b.txt", "a/c/d.txt", "é.txt", " .txt", "100%.txt", "a+b & c=d.txt"]


def test_files_are_listed_in_order_and_read_whole(source):
    files, put = source
    for name in NAMES:
        put(name, name.encode())
    found = check_order_and_list(files)
    assert found == {name.replace("%", "%25"): len(name.encode()) for name in NAMES}
    for name in NAMES:
        assert files.read(name.replace("%", "%25"), max_bytes=100) == name.encode()


def test_a_large_file_is_refused_and_can_be_read_in_pieces(source):
    files, put = source
    content = os.urandom(BYTES_PER_REQUEST + 1000)
    put("large.bin", content)
    with pytest.raises(DocumentError) as refused:
        files.read("large.bin", max_bytes=1000)
    assert refused.value.reason_code == "too_large"
    with files.open("large.bin") as file:
        assert file.read(10) == content[:10]
        file.seek(0)
        assert b"".join(iter(lambda: file.read(2**20), b"")) == content
    assert files.read("large.bin", max_bytes=2 * BYTES_PER_REQUEST) == content


def test_an_empty_file_is_read_and_one_that_is_gone_has_a_reason(source):
    files, put = source
    put("empty.txt", b"")
    assert (check_order_and_list(files), files.read("empty.txt", max_bytes=10)) == (
        {"empty.txt": 0},
        b"",
    )
    with pytest.raises(DocumentError) as missing:
        files.read("nothing.txt", max_bytes=10)
    assert missing.value.reason_code == "vanished"


def test_a_bucket_with_more_objects_than_a_page_is_listed_whole(s3, http, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "t0k3n")
    store = S3Store(s3)
    names = [f"{number:04}.txt" for number in range(2 * PAGE_SIZE + 1)]
    for name in names:
        store.put(name, b"x")
    assert list(check_order_and_list(bucket_of(s3, http))) == names


def test_a_missing_bucket_says_so(s3, http):
    with pytest.raises(ConfigurationError, match="NoSuchBucket"):
        check_order_and_list(bucket_of("s3://absent/prefix", http))


PAGE = """<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<IsTruncated>{truncated}</IsTruncated><NextContinuationToken>same</NextContinuationToken>{objects}
</ListBucketResult>"""
OBJECT = (
    "<Contents><Key>{}</Key><Size>{}</Size>"
    "<LastModified>2026-03-02T10:00:00.000Z</LastModified></Contents>"
)
HOSTILE = {
    "p/line\nbreak.txt": "line%0Abreak.txt",
    "p/../../etc/passwd": "../../etc/passwd",
    "p/x/./y": "x/./y",
    "p//two": "%2Ftwo",
    "p/a\u202egnp.txt": "a%E2%80%AEgnp.txt",
    "p/a\x01b": "a%01b",
}


class OddStore:
    """A store whose keys no folder has; it serves a body of each."""

    def __init__(self) -> None:
        self.etags: list[str] = ['"1"']

    def __call__(self, request: Request) -> Reply:
        target = request.target
        if "list-type=2" in target:
            placeholder = OBJECT.format("p%2Ffolder%2F", 0)
            texts = [OBJECT.format(quote(key, safe=""), 4) for key in HOSTILE]
            body = PAGE.format(truncated="false", objects=placeholder + "".join(texts))
            return Reply(body=body.encode())
        etag = self.etags.pop(0) if len(self.etags) > 1 else self.etags[0]
        if request.headers.get("if-match", etag) != etag:
            return Reply(412)
        first, _, last = request.headers["range"].partition("=")[2].partition("-")
        body = b"body"[int(first) : int(last) + 1]
        headers = {"ETag": etag, "Content-Range": f"bytes {first}-{last}/4"}
        return Reply(206, headers, body)


def odd_bucket(server: FaultyServer, http: HttpClient, **environment: str) -> DocumentBucket:
    given = {"AWS_ENDPOINT_URL": server.url, "AWS_ALLOW_HTTP": "true"} | environment
    return bucket_of("s3://bucket/p", http, **given)


def test_hostile_keys_are_data_and_placeholders_of_folders_are_left_out(http):
    with FaultyServer(OddStore()) as server:
        bucket = odd_bucket(server, http)
        found = [path for path, *_ in bucket.listing().files]
        assert found == list(HOSTILE.values())
        for key, path in HOSTILE.items():
            assert bucket.read(path, max_bytes=10) == b"body"
            sent = server.requests[-1].target
            assert "/../" not in sent
            assert "/./" not in sent
            expected = quote(f"/bucket/{key}", safe="/")
            assert sent.replace("%2E", ".") == expected


def test_an_object_that_changes_while_it_is_read_has_its_own_reason(http):
    store = OddStore()
    store.etags = ['"1"', '"2"']
    with FaultyServer(store) as server, pytest.raises(DocumentError) as changed:
        odd_bucket(server, http).read("x/./y", max_bytes=10)
    assert changed.value.reason_code == "changed_while_read"


@pytest.mark.parametrize(
    ("reply", "code"), [(Reply(403), "unreadable"), (Reply(500), "unreadable")]
)
def test_an_object_that_is_refused_costs_no_other_file(http, reply, code):
    with FaultyServer(lambda _: reply) as server, pytest.raises(DocumentError) as refused:
        odd_bucket(server, http).read("a", max_bytes=10)
    assert refused.value.reason_code == code


BROKEN: list[Any] = [
    b"<html>",
    b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    b"<html><body>We will be back soon</body></html>",
    b"<Error><Code>SlowDown</Code></Error>",
    PAGE.format(truncated="true", objects="").encode(),
    PAGE.format(truncated="false", objects="").replace("IsTruncated", "Truncated").encode(),
    b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
    PAGE.format(truncated="false", objects=OBJECT.format("p/a", "many")).encode(),
]


@pytest.mark.parametrize("body", BROKEN)
def test_what_is_no_listing_is_refused(http, body):
    with (
        FaultyServer(lambda _: Reply(body=body)) as server,
        pytest.raises(TransientError, match="listing"),
    ):
        check_order_and_list(odd_bucket(server, http))


def test_a_signature_is_that_of_the_published_example():
    """Amazon's example GET Bucket (List Objects) of signature version 4 in a header."""
    signed = signed_headers(
        "examplebucket.s3.amazonaws.com",
        "/",
        "max-keys=2&prefix=J",
        {},
        credentials=S3Credentials(
            "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""
        ),
        region="us-east-1",
        at=datetime(2013, 5, 24, tzinfo=UTC),
    )
    expected = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    assert signed["authorization"].endswith(f"Signature={expected}")
