"""FINRA's Query API as such: tokens, listings, and the pages of a query.

Always POST: in a GET's query string filters are silently ignored. A page ends at 5000 records or
3 MB, so a short page is not the last one: paging goes by `Record-Total` and by the rows received.
"""

import json
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from orchestration_project.domains.finra.declaration import FIXED_INCOME, PAGING
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.delimited import count_data_rows
from orchestration_project.engine.contracts.queries import FieldList, Listing, Paging
from orchestration_project.engine.contracts.rules import escape_bytes
from orchestration_project.engine.http import HttpClient, Response
from orchestration_project.engine.http.access_tokens import AccessTokens
from orchestration_project.engine.source import JSON, RecordPages, parse_fields, parse_names
from orchestration_project.errors import ConfigurationError, SourceError, TransientError
from orchestration_project.redaction import redacted
from orchestration_project.settings import without_secrets

Filter = Mapping[str, object]
"""A condition on a field, in the words of the Query API."""

TEXT = "text/plain"

KEPT_HEADERS = (
    "content-encoding",
    "content-type",
    "finra-api-request-id",
    "record-limit",
    "record-offset",
    "record-total",
    "total-records-on-page",
)
"""Response headers that a capture keeps: those of FINRA about the data."""


class QueryApi:
    """Client of FINRA's Query API, or of another server of the same protocol.

    Attributes:
        name: Source name in captures and loads: demo or api.
        pages: What fetches the pages of its queries.
    """

    def __init__(
        self,
        http: HttpClient,
        captures: Captures,
        clock: Clock,
        *,
        name: str,
        api_url: str,
        token_url: str,
        credentials: tuple[str, str] | None,
        concurrent_requests: int,
        api_key: SecretStr | None = None,
        paging: Paging = PAGING,
    ) -> None:
        self.name = name
        self._http = http
        self._api_url = api_url.rstrip("/")
        self.pages = RecordPages(
            send=self._probe_or_page,
            captures=captures,
            clock=clock,
            paging=paging,
            accept=TEXT,
            concurrent_requests=concurrent_requests,
            count_rows=count_page_rows,
            unusable=partial(self.unusable, expected="delimited text"),
            kept_headers=KEPT_HEADERS,
        )
        self._api_key = api_key
        self._tokens = (
            None
            if api_key or credentials is None
            else AccessTokens(
                http,
                f"{token_url}?grant_type=client_credentials",
                lambda: credentials,
                label="FINRA",
                settings=("FINRA_CLIENT_ID", "FINRA_CLIENT_SECRET", "FINRA_TOKEN_URL"),
                may_pass=partial(may_pass, is_anonymous=False),
            )
        )
        self._listing_lock = threading.Lock()
        self._listed: dict[str, frozenset[tuple[str, ...]]] = {}

    def fetch_again(self, path: str, query: Mapping[str, object]) -> bytes:
        """Request a page that was captured, and return its bytes; nothing is stored.

        Args:
            path: Path of the query, such as /data/group/otcMarket/name/weeklySummary.
            query: The recorded request.

        Raises:
            OrchestrationError: FINRA does not answer with data.
        """
        return self.send(path, query, TEXT).body

    def fields_of(self, listed: FieldList) -> Mapping[str, str] | None:
        """Return the type of each field of a dataset, by name, as FINRA lists them.

        None where the list is closed to callers without credentials.
        """
        response, is_anonymous = self._answer("GET", listed.url)
        if response.status == 401 and is_anonymous:
            return None
        self._judge(response, is_anonymous=is_anonymous)
        fields = parse_fields(_parse_json_or_none(response), listed)
        if not fields:
            expected = '{"fields": [{"name": …, "type": …}, …]}, each name once'
            raise self.unusable(response, expected)
        return fields

    def list_values(self, listing: Listing, width: int = 2) -> frozenset[tuple[str, ...]]:
        """Return the listing of a dataset whose partitions are named by ``width`` fields.

        It is asked for once, whichever thread needs it first.
        """
        with self._listing_lock:
            if listing.url not in self._listed:
                response = self.send(listing.url)
                names = parse_names(_parse_json_or_none(response), listing)
                if names is None or any(len(name) != width for name in names):
                    expected = '{"availablePartitions": [{"partitions": …}]}'
                    raise self.unusable(response, expected)
                self._listed[listing.url] = names
            return self._listed[listing.url]

    def rows_of(self, response: Response) -> list[dict[str, Any]]:
        """Return the records of an answer in JSON.

        Raises:
            SourceError: It has other content.
            TransientError: It reports a failure of the server.
        """
        if response.status == 204:
            return []
        try:
            rows = json_of(response)
            return [dict(row) for row in rows]
        except (ValueError, TypeError):
            raise self.unusable(response, "a JSON list of records") from None

    def send(
        self, url: str, query: Mapping[str, object] | None = None, accept: str = JSON
    ) -> Response:
        """Send a query, or a request without one, and return the answer.

        Raises:
            OrchestrationError: FINRA does not answer with data.
        """
        method = "GET" if query is None else "POST"
        response, is_anonymous = self._answer(method, url, query=query, accept=accept)
        self._judge(response, is_anonymous=is_anonymous)
        return response

    def _probe_or_page(self, url: str, query: Mapping[str, object] | None, accept: str) -> Response:
        """Send a query as `RecordPages` does; an answer in JSON is a list of records."""
        response = self.send(url, query, accept)
        if accept == JSON and response.body.strip():
            self.rows_of(response)
        return response

    def _answer(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, object] | None = None,
        accept: str = JSON,
    ) -> tuple[Response, bool]:
        """Send a request; if the token is refused, repeat it with a new one.

        Returns the answer, and whether it is one to a request without credentials.
        """
        authorization = self._authorization()

        def send() -> Response:
            return self._http.request(
                method,
                self._api_url + urlsplit(url).path,
                headers={"Accept": accept, **authorization},
                json=query,
                may_pass=partial(may_pass, is_anonymous=not authorization),
            )

        response = send()
        if response.status == 401 and self._tokens is not None:
            self._tokens.forget(authorization["Authorization"])
            authorization = self._authorization()
            response = send()
        return response, not authorization

    def _judge(self, response: Response, *, is_anonymous: bool) -> None:
        if response.status in (401, 403) and not is_html(response):
            raise _build_access_error(response, is_anonymous=is_anonymous)
        if response.status not in (200, 204):
            raise self.unusable(response, "HTTP 200 or 204")

    def _authorization(self) -> dict[str, str]:
        if self._api_key is not None:
            return {"Authorization": f"Bearer {self._api_key.get_secret_value()}"}
        return {} if self._tokens is None else self._tokens.header()

    def unusable(self, response: Response, expected: str) -> SourceError | TransientError:
        """Return the error of an answer without data; a statusCode from 500 on is transient."""
        kind = TransientError if status_code_in(response) >= 500 else SourceError
        return kind(
            "FINRA's answer cannot be used",
            expected=expected,
            found=shown(response),
            remedy="try again later"
            if kind is TransientError
            else "check FINRA_API_URL and any proxy; if FINRA itself answers so, report it",
            url=response.url,
        )


def _build_access_error(response: Response, *, is_anonymous: bool) -> ConfigurationError:
    expected = "an answer for a client that may read this dataset"
    remedy = (
        "check FINRA_CLIENT_ID and FINRA_CLIENT_SECRET, or FINRA_ACCESS_TOKEN, or of a licensed "
        "feed FINRA_BONDS_ACCESS_TOKEN, and what they may read"
    )
    if is_anonymous:
        expected = "an answer to a request without credentials, as for public data"
        remedy = (
            "run it again later; if it stays so, this dataset needs credentials: see "
            "docs/how-to/add-a-dataset.md"
        )
    if is_anonymous and f"/group/{FIXED_INCOME}/" in response.url:
        expected = f"a credential, which FINRA's group {FIXED_INCOME} needs and which is free"
        remedy = (
            "register at developer.finra.org, and set FINRA_CLIENT_ID and FINRA_CLIENT_SECRET: see "
            "docs/how-to/load-finra-datasets.md"
        )
    return ConfigurationError(
        f"FINRA refuses access with HTTP {response.status}",
        expected=expected,
        found=shown(response),
        remedy=remedy,
        url=response.url,
    )


def compared(field: str, how: str, value: str) -> Filter:
    """Return the condition that a field compares so to a value, such as "EQUAL" or "LESSER"."""
    return {"fieldName": field, "fieldValue": value, "compareType": how}


GZIP = b"\x1f\x8b"

STARTS_WITHIN = 200
"""Number of leading bytes, including whitespace, that show the format of a body."""


def is_html(response: Response) -> bool:
    """Whether it is a page for people, as proxies and the CDN send."""
    return response.body[:STARTS_WITHIN].lstrip().startswith(b"<")


def count_page_rows(response: Response) -> int | None:
    """Return the lines of a page below its header; None: it is not delimited text."""
    start = response.body[:STARTS_WITHIN].lstrip()
    is_text = not start.startswith((b"<", b"{", b"[")) and not _detect_compression(response)
    return count_data_rows(response.body) if is_text else None


def json_of(response: Response) -> Any:
    """Return the JSON value of the body.

    Raises:
        ValueError: It is none; neither are NaN, infinities, lists nested without end, and texts
            that no database takes: with NUL, or half a character.
    """
    try:
        document = json.loads(response.body, parse_constant=_reject_constant)
        text = json.dumps(document, ensure_ascii=False)
    except RecursionError as error:
        raise ValueError("nested without end") from error
    text.encode()
    if r"\u0000" in text.replace(r"\\", ""):
        raise ValueError("NUL in a text")
    return document


def _parse_json_or_none(response: Response) -> Any:
    """Return the content of a body in JSON; None: it is not JSON."""
    try:
        return json_of(response)
    except ValueError:
        return None


def status_code_in(response: Response) -> int:
    """Return the statusCode that a body of JSON says; 0 where it says none."""
    if not response.body[:STARTS_WITHIN].lstrip().startswith(b"{"):
        return 0
    try:
        code = json_of(response).get("statusCode")
        return int(code) if isinstance(code, int | str) else 0
    except ValueError:
        return 0


def may_pass(response: Response, *, is_anonymous: bool) -> bool:
    """Whether FINRA or its CDN gives such an answer now and then, and another when asked again.

    Such are a redirect, a web page or an error of the server with status 200, and a refusal by the
    CDN, or of a request without credentials.
    """
    status = response.status
    if status == 200:
        return is_html(response) or status_code_in(response) >= 500
    if status in (401, 403):
        return is_html(response) or (status == 401 and is_anonymous)
    return 300 <= status < 400


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def shown(response: Response) -> str:
    """Return status and start of an answer as ASCII; a source may send our secrets back."""
    target = redacted(response.headers.get("location", ""))
    text = redacted(response.body.decode(errors="surrogateescape"))  # before it is cut
    body = text.encode(errors="surrogateescape")
    names = [f"HTTP {response.status}"]
    if target:
        names.append(f"a redirect to {without_secrets(target)[:200]}, which is not followed")
    if compression := _detect_compression(response):
        names.append(f"compressed ({compression}) although that was not requested")
    return f"{', '.join(names)}: {escape_bytes(body, 200)}"


def _detect_compression(response: Response) -> str:
    """Return how the body is compressed, blank where it is not."""
    if response.body.startswith(GZIP):
        return "gzip"
    text = response.headers.get("content-encoding", "").strip().lower()
    return "" if text == "identity" else text[:60]
