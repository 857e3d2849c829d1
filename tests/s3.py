"""Fixtures of a server of S3's protocol: moto, or the one that S3_TEST_ENDPOINT names.

Of such a server, S3_TEST_BUCKET, S3_TEST_ACCESS_KEY_ID and S3_TEST_SECRET_ACCESS_KEY are needed,
too. Each test has a prefix of its own; nothing is deleted there.
"""

import urllib.request
from collections.abc import Iterator
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer

from orchestration_project.settings import child_environment

GIVEN_ENDPOINT = child_environment().get("S3_TEST_ENDPOINT")


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of a server of S3's protocol."""
    if GIVEN_ENDPOINT:
        yield GIVEN_ENDPOINT
        return
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty prefix of a bucket, reached as the AWS_… variables say."""
    given = child_environment()
    values = {
        "ENDPOINT_URL": s3_endpoint,
        "ALLOW_HTTP": "true",
        "REGION": "us-east-1",
        "ACCESS_KEY_ID": given.get("S3_TEST_ACCESS_KEY_ID", "me"),
        "SECRET_ACCESS_KEY": given.get("S3_TEST_SECRET_ACCESS_KEY", "s3cr3t-w0rd"),
    }
    for name in given:
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    if GIVEN_ENDPOINT:
        return f"s3://{given['S3_TEST_BUCKET']}/{uuid4().hex}/prefix"
    bucket = f"bucket-{uuid4().hex}"
    request = urllib.request.Request(f"{s3_endpoint}/{bucket}", method="PUT")  # noqa: S310 - http
    urllib.request.urlopen(request).close()  # noqa: S310 - http
    return f"s3://{bucket}/some/prefix"
