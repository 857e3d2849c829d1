"""Objects of an S3 bucket under any key, listed by pages and read in ranges of one version.

The library of the artifact store stops at keys such as ``a//b``, ``..`` or a control character. A
bucket that others write to has such keys, so this client signs its requests by itself.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote, unquote_plus, urlsplit
from xml.etree import ElementTree

from orchestration_project.engine.http.client import HttpClient, Response
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.redaction import hide
from orchestration_project.settings import without_secrets

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

DOTS = re.compile(r"(?<=/)\.{1,2}(?=/|$)")
"""Segments of a path that a client or server would remove."""

OK, PARTIAL, NOT_FOUND, PRECONDITION_FAILED, RANGE_INVALID = 200, 206, 404, 412, 416


class ObjectError(Exception):
    """An object that cannot be read.

    Attributes:
        reason: ``vanished``, ``changed`` or ``refused``.
        detail: What was found.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ListedObject(NamedTuple):
    """Object of a listing: its key below the prefix, size (bytes), time of its put, and ETag."""

    key: str
    byte_count: int
    modified_at: datetime
    etag: str | None = None


class ObjectVersion(NamedTuple):
    """Version of an object: its ETag (the store decides how it is made), and its size (bytes)."""

    etag: str
    byte_count: int


@dataclass(frozen=True)
class S3Credentials:
    """Credentials of AWS_… variables; without ``key_id`` requests are not signed."""

    key_id: str
    secret: str
    session_token: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "S3Credentials":
        """Return those of the environment; they are kept out of logs."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        found = cls(*(environment.get(name, "") for name in names))
        hide(*(text for text in (found.secret, found.session_token) if text))
        return found


class S3Bucket:
    """Objects of a bucket below a prefix.

    Args:
        url: ``s3://bucket/prefix``.
        setting: What gives the URL, for messages.
        http: Sends the requests.
        environment: Has the AWS_… variables: endpoint, region and credentials.
        now: The present in UTC.
        page_size: Objects of a page of the listing, at most.

    Raises:
        ConfigurationError: The URL or the endpoint cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        setting: str,
        http: HttpClient,
        environment: Mapping[str, str],
        now: Callable[[], datetime],
        page_size: int = 1_000,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc or parts.username or parts.query:
            raise ConfigurationError(
                f"invalid {setting}: expected s3://bucket/prefix, "
                "e.g. s3://company-files/documents",
                found=without_secrets(url),
            )
        prefix = url.partition("://")[2].partition("/")[2].strip("/")
        self.url = f"s3://{parts.netloc}/{prefix}".rstrip("/")
        self._setting = setting
        self._prefix = f"{prefix}/" if prefix else ""
        names = ("AWS_REGION", "AWS_DEFAULT_REGION")
        self._region = next(
            (text for name in names if (text := environment.get(name))), "us-east-1"
        )
        self._endpoint = _read_endpoint(environment, self._region)
        self._bucket = parts.netloc
        self._credentials = S3Credentials.of(environment)
        self._http = http
        self._now = now
        self._page_size = page_size

    def pages(self) -> Iterator[Sequence[ListedObject]]:
        """Yield the objects below the prefix by pages, in the order of the store.

        Objects without bytes whose key ends in ``/`` stand for folders and are left out.

        Raises:
            ConfigurationError: The bucket cannot be listed.
            TransientError: It does not answer, or by something else than a listing.
        """
        query = {
            "list-type": "2",
            "encoding-type": "url",
            "max-keys": str(self._page_size),
            "prefix": self._prefix,
        }
        token = ""
        while True:
            given_names = {**query, "continuation-token": token} if token else query
            answer = self._send("", given_names)
            if answer.status != OK:
                raise self._unusable(answer)
            page, following = self._read_page(answer.body)
            yield page
            if not following:
                return
            if following == token:
                raise self._malformed("the same continuation token twice")
            token = following

    def version(self, key: str) -> ObjectVersion:
        """Return the present version of an object.

        Raises:
            ObjectError: It is gone, or cannot be read.
            TransientError: The store does not answer.
        """
        answer = self._read(key, {"Range": "bytes=0-0"})
        if answer.status == RANGE_INVALID:  # it has no bytes
            answer = self._read(key, {})
        _require(answer, (OK, PARTIAL))
        total = answer.headers.get("content-range", "").rpartition("/")[2]
        size = int(total) if total.isascii() and total.isdecimal() else len(answer.body)
        return ObjectVersion(answer.headers.get("etag", ""), size)

    def read_range(self, key: str, version: ObjectVersion, start: int, size: int) -> bytes:
        """Return bytes of a version of an object, at most ``size``, fewer at its end.

        Raises:
            ObjectError: It is gone, cannot be read, or is another version by now.
            TransientError: The store does not answer.
        """
        size = min(size, version.byte_count - start)
        if size <= 0:
            return b""
        headers = {"Range": f"bytes={start}-{start + size - 1}"}
        if version.etag:
            headers["If-Match"] = version.etag
        answer = self._read(key, headers)
        _require(answer, (OK, PARTIAL))
        if answer.headers.get("etag", "") != version.etag or len(answer.body) != size:
            raise ObjectError("changed", f"{len(answer.body):,} bytes of {size:,}, or another ETag")
        return answer.body

    def _read(self, key: str, headers: Mapping[str, str]) -> Response:
        return self._send(self._prefix + key, {}, headers)

    def _send(
        self, key: str, query: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Response:
        path = f"/{self._bucket}" + (f"/{key}" if key else "")
        written = "&".join(
            f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in sorted(query.items())
        )
        path = quote(path, safe="/~")
        parts = urlsplit(self._endpoint)
        signed = signed_headers(
            parts.netloc,
            parts.path + path,
            written,
            headers or {},
            credentials=self._credentials,
            region=self._region,
            at=self._now(),
        )
        sent = DOTS.sub(lambda found: found[0].replace(".", "%2E"), path)
        url = f"{self._endpoint}{sent}" + (f"?{written}" if written else "")
        return self._http.request("GET", url, headers=signed)

    def _read_page(self, body: bytes) -> tuple[Sequence[ListedObject], str]:
        """Return the objects of a page, and the token of the next one; empty: it is the last."""
        if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
            raise self._malformed("a document type, which no listing has")
        try:
            root = ElementTree.fromstring(body)  # noqa: S314 - no document type, no entities
            if root.tag.rpartition("}")[2] != "ListBucketResult":
                raise ValueError(f"<{root.tag[:100]}>")
            texts = [
                {name.tag.rpartition("}")[2]: name.text or "" for name in entry}
                for entry in root
                if entry.tag.rpartition("}")[2] == "Contents"
            ]
            names = {name.tag.rpartition("}")[2]: name.text or "" for name in root}
            listed_objects = [
                ListedObject(
                    unquote_plus(text["Key"]).removeprefix(self._prefix),
                    int(text["Size"]),
                    datetime.fromisoformat(text["LastModified"]),
                    text.get("ETag") or None,
                )
                for text in texts
            ]
        except (ElementTree.ParseError, KeyError, ValueError) as error:
            raise self._malformed(f"{type(error).__name__}: {error}"[:200]) from error
        files = [
            listed_object
            for listed_object in listed_objects
            if listed_object.key and (listed_object.byte_count or listed_object.key[-1] != "/")
        ]
        is_truncated, token = names.get("IsTruncated"), names.get("NextContinuationToken", "")
        if is_truncated not in ("true", "false") or (is_truncated == "true" and not token):
            raise self._malformed(f"IsTruncated {is_truncated} with the token {token!r}"[:200])
        return files, token if is_truncated == "true" else ""

    def _unusable(self, answer: Response) -> ConfigurationError:
        code = re.search(rb"<Code>(\w{1,60})</Code>", answer.body)
        return ConfigurationError(
            f"the bucket of {self._setting} cannot be listed",
            expected=f"a bucket that we may list and read at {self.url}",
            found=f"HTTP {answer.status}" + (f", {code[1].decode()}" if code else ""),
            remedy=f"check {self._setting}, the AWS_… variables and the endpoint",
        )

    def _malformed(self, found: str) -> TransientError:
        return TransientError(
            f"the endpoint of {self._setting} did not answer with a listing",
            expected="XML of ListObjectsV2",
            found=found,
            remedy="check AWS_ENDPOINT_URL",
        )


def signed_headers(
    host: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    credentials: S3Credentials,
    region: str,
    at: datetime,
) -> Mapping[str, str]:
    """Return the headers of a request without a body, with the signature of AWS, version 4.

    Args:
        host: Name of the host, with its port if it is not the usual one.
        path: The path, percent-encoded.
        query: The parameters in the order of their names, percent-encoded.
        headers: Further headers, which are signed too.
        credentials: Whose; without a key the headers are returned as they are.
        region: The region of the bucket.
        at: The present in UTC.
    """
    if not credentials.key_id:
        return headers
    time, scope = f"{at:%Y%m%dT%H%M%SZ}", (f"{at:%Y%m%d}", region, "s3", "aws4_request")
    texts = {
        **{name.lower(): value.strip() for name, value in headers.items()},
        "host": host,
        "x-amz-content-sha256": EMPTY_SHA256,
        "x-amz-date": time,
    }
    if credentials.session_token:
        texts["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(texts))
    lines = "".join(f"{name}:{texts[name]}\n" for name in sorted(texts))
    request = f"GET\n{path}\n{query}\n{lines}\n{names}\n{EMPTY_SHA256}"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{time}\n{'/'.join(scope)}\n{digest}"
    key = f"AWS4{credentials.secret}".encode()
    for part in (*scope, text):
        key = hmac.digest(key, part.encode(), "sha256")
    texts["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.key_id}/{'/'.join(scope)}, "
        f"SignedHeaders={names}, Signature={key.hex()}"
    )
    del texts["host"]
    return texts


def _read_endpoint(environment: Mapping[str, str], region: str) -> str:
    """Return the URL of the store, without a slash at its end.

    Raises:
        ConfigurationError: It is invalid, or has no TLS although AWS_ALLOW_HTTP is not set.
    """
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    text = next((found for name in names if (found := environment.get(name))), "")
    if not text:
        return f"https://s3.{region}.amazonaws.com"
    parts = urlsplit(text)
    schemes = ("https", "http") if environment.get("AWS_ALLOW_HTTP") == "true" else ("https",)
    if parts.scheme not in schemes or not parts.hostname or parts.username or parts.query:
        raise ConfigurationError(
            "invalid AWS_ENDPOINT_URL: expected https://host, e.g. https://s3.example.org",
            found=without_secrets(text),
            remedy="correct it, or set AWS_ALLOW_HTTP=true for one without TLS",
        )
    return text.rstrip("/")


def _require(answer: Response, statuses: Sequence[int]) -> None:
    """Check the status of a read.

    Raises:
        ObjectError: It is not one of ``statuses``.
    """
    if answer.status in statuses:
        return
    reasons = {NOT_FOUND: "vanished", PRECONDITION_FAILED: "changed", RANGE_INVALID: "changed"}
    raise ObjectError(reasons.get(answer.status, "refused"), f"HTTP {answer.status}")
