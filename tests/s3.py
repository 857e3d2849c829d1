"""Fixtures of a server of S3's protocol."""

import urllib.request
from collections.abc import Iterator
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer

from orchestration_project.settings import child_environment


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of a server of S3's protocol."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket, reached as the AWS_… variables say."""
    values = {
        "ENDPOINT_URL": s3_endpoint,
        "ALLOW_HTTP": "true",
        "REGION": "us-east-1",
        "ACCESS_KEY_ID": "me",
        "SECRET_ACCESS_KEY": "s3cr3t-w0rd",
    }
    for name in child_environment():
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    bucket = f"bucket-{uuid4().hex}"
    request = urllib.request.Request(f"{s3_endpoint}/{bucket}", method="PUT")  # noqa: S310 - http
    urllib.request.urlopen(request).close()  # noqa: S310 - http
    return f"s3://{bucket}/some/prefix"
