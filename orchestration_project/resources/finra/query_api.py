"""FINRA's Query API as such: tokens, listings, and the pages of a query.

Always POST: in a GET's query string filters are silently ignored. A page ends at 5000 records or
3 MB, so a short page is not the last one: paging goes by `Record-Total` and by the rows received.
"""

import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from pydantic import SecretStr

from orchestration_project.connections.clock import Clock
from orchestration_project.connections.http import HttpClient, Response
from orchestration_project.connections.http.access_tokens import AccessTokens
from orchestration_project.contracts.delimited import row_count
from orchestration_project.contracts.rules import in_ascii
from orchestration_project.domains.finra.declaration import FIXED_INCOME
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.errors import ConfigurationError, MovedError, SourceError, TransientError
from orchestration_project.redaction import redacted
from orchestration_project.settings import without_secrets

Filter = Mapping[str, object]
"""A condition on a field, in the words of the Query API."""

PAGE_ROWS = 5000
LARGEST_OFFSET = 500_000
LONGEST_COUNT = 18

RECORDS_HELD = 300_000
"""Maximum records in memory; above it only the store has the pages, of more than 60 MiB."""

PAGE_START = 200
"""Bytes at the start of a response that identify a page."""

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


class TruncatedResponseError(TransientError):
    """An answer holds fewer rows than it says."""


class QueryApi:
    """Client of FINRA's Query API, or of another server of the same protocol.

    Attributes:
        captures: The store of answers.
        largest_offset: Offset to which one query can be paged.
        max_records: Records to which it can be paged.
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
        largest_offset: int = LARGEST_OFFSET,
    ) -> None:
        self._name = name
        self._http = http
        self.captures = captures
        self._clock = clock
        self._api_url = api_url.rstrip("/")
        self._concurrent_requests = concurrent_requests
        self.largest_offset = largest_offset
        self.max_records = largest_offset + PAGE_ROWS
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

    @property
    def name(self) -> str:
        """Source name in captures and loads: demo or api."""
        return self._name

    def fetch_again(self, path: str, query: Mapping[str, object]) -> bytes:
        """Request a page that was captured, and return its bytes; nothing is stored.

        Args:
            path: Path of the query, such as /data/group/otcMarket/name/weeklySummary.
            query: The recorded request.

        Raises:
            OrchestrationError: FINRA does not answer with data.
        """
        return self._send("POST", path, query=query, accept="text/plain").body

    def fields_of(self, group: str, dataset: str) -> Mapping[str, str] | None:
        """Return the type of each field of a dataset, by name, as FINRA lists them.

        None where the list is closed to callers without credentials.
        """
        response, is_anonymous = self._answer("GET", f"/metadata/group/{group}/name/{dataset}")
        if response.status == 401 and is_anonymous:
            return None
        self._judge(response, is_anonymous=is_anonymous)
        found = fields_in(response)
        if not found:
            expected = '{"fields": [{"name": …, "type": …}, …]}, each name once'
            raise self.unusable(response, expected)
        return found

    def fetch_pages(
        self,
        group: str,
        dataset: str,
        query: Mapping[str, object],
        *,
        total: int,
        kept: list[Capture],
    ) -> list[Capture]:
        """Fetch all pages of a query that has ``total`` rows, several at once, in their order."""
        slots: dict[int, list[Capture]] = {offset: [] for offset in range(0, total, PAGE_ROWS)}

        def fill(offset: int) -> None:
            until = min(offset + PAGE_ROWS, total)
            self._fetch_range(group, dataset, query, total, offset, until, slots[offset])

        try:
            with ThreadPoolExecutor(self._concurrent_requests) as pool:
                list(pool.map(fill, slots))  # the first error stops what is not yet under way
        finally:
            pages = [page for slot in slots.values() for page in slot]
            kept += pages  # in the order of the rows, however the answers came
        return pages

    def _fetch_range(
        self,
        group: str,
        dataset: str,
        query: Mapping[str, object],
        total: int,
        offset: int,
        until: int,
        pages: list[Capture],
    ) -> None:
        """Fetch the rows from ``offset`` to ``until``: one page, or more when they come short."""
        while offset < until:
            asked = {**query, "offset": offset, "limit": until - offset}
            response = self.post(group, dataset, asked, accept="text/plain")
            page = self._keep(response, asked)
            pages.append(page if total <= RECORDS_HELD else page.without_body())
            rows = self._page_rows(response, page.row_count, total)
            if rows == 0:
                raise TruncatedResponseError(
                    "the pages ended before all records came",
                    expected=f"Record-Total {total}",
                    found=f"no record at offset {offset}",
                    remedy="it is retried once; if it persists, report it to FINRA",
                    url=response.url,
                )
            offset += rows

    def _keep(self, response: Response, asked: Mapping[str, object]) -> Capture:
        return self.captures.keep(
            response.body,
            url=response.url,
            request=asked,
            response_headers={
                name: value for name, value in response.headers.items() if name in KEPT_HEADERS
            },
            http_status=response.status,
            row_count=None if is_no_text(response) else row_count(response.body),
            fetched_at=self._clock.now(),
        )

    def _page_rows(self, response: Response, rows: int | None, expected_total: int) -> int:
        """Return how many of its ``rows`` a page holds, having made sure that it is one."""
        start = response.body[:PAGE_START].strip()
        if response.status == 204 or (start == b"[]" and len(response.body) <= PAGE_START):
            return 0
        if rows is None or start.startswith((b"{", b"[")):
            raise self.unusable(response, "delimited text")
        total = self.record_total_of(response)
        if total != expected_total:
            raise moved(f"Record-Total {expected_total}", f"Record-Total {total}")
        said = response.headers.get("total-records-on-page", "").strip()
        if said and said != str(rows):
            raise TruncatedResponseError(
                "a page was cut short",
                expected=f"Total-Records-On-Page {said}",
                found=f"{rows} rows in {len(response.body)} bytes",
                remedy="it is retried once; if it persists, report it to FINRA",
                url=response.url,
            )
        return rows

    def record_total_of(self, response: Response) -> int:
        """Return the number of records that a query has.

        Raises:
            SourceError: The answer does not say it.
        """
        text = response.headers.get("record-total", "")
        if not text.isdecimal() or len(text) > LONGEST_COUNT:
            raise SourceError(
                "a response has no count of records",
                expected="the header Record-Total with a number",
                found=f"Record-Total {text[:60]!r}",
                remedy="check FINRA_API_URL: something between here and FINRA may drop headers",
                url=response.url,
            )
        return int(text)

    def list_values(self, group: str, dataset: str, width: int = 2) -> frozenset[tuple[str, ...]]:
        """Return what is listed of a dataset whose partitions are named by ``width`` fields.

        It is asked for once, whichever thread needs it first.
        """
        with self._listing_lock:
            path = f"/partitions/group/{group}/name/{dataset}"
            if path not in self._listed:
                self._listed[path] = self._listed_in(self._send("GET", path), width)
            return self._listed[path]

    def _listed_in(self, response: Response, width: int) -> frozenset[tuple[str, ...]]:
        try:
            listed = [each["partitions"] for each in json_of(response)["availablePartitions"]]
            found = frozenset(tuple(str(value) for value in each) for each in listed)
        except (ValueError, KeyError, TypeError):
            found = None
        if found is None or any(len(each) != width for each in found):
            expected = '{"availablePartitions": [{"partitions": …}]}'
            raise self.unusable(response, expected)
        return found

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

    def post(
        self, group: str, dataset: str, query: Mapping[str, object], *, accept: str
    ) -> Response:
        """Send a query of a dataset, and return the answer.

        Raises:
            OrchestrationError: FINRA does not answer with data.
        """
        path = f"/data/group/{group}/name/{dataset}"
        return self._send("POST", path, query=query, accept=accept)

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        accept: str = "application/json",
    ) -> Response:
        response, is_anonymous = self._answer(method, path, query=query, accept=accept)
        self._judge(response, is_anonymous=is_anonymous)
        return response

    def _answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        accept: str = "application/json",
    ) -> tuple[Response, bool]:
        """Send a request; if the token is refused, repeat it with a new one.

        Returns the answer, and whether it is one to a request without credentials.
        """
        authorization = self._authorization()

        def send() -> Response:
            return self._http.request(
                method,
                self._api_url + path,
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
            raise _no_access(response, is_anonymous=is_anonymous)
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


def _no_access(response: Response, *, is_anonymous: bool) -> ConfigurationError:
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


def moved(before: str, after: str) -> MovedError:
    """Return what says that a source changed while it was read."""
    return MovedError(
        "the source changed while it was read",
        expected=before,
        found=after,
        remedy="nothing: it is read again; if it goes on, run the partition later",
    )


GZIP = b"\x1f\x8b"

STARTS_WITHIN = 200
"""Number of leading bytes, including whitespace, that show the format of a body."""


def is_html(response: Response) -> bool:
    """Whether it is a page for people, as proxies and the CDN send."""
    return response.body[:STARTS_WITHIN].lstrip().startswith(b"<")


def is_no_text(response: Response) -> bool:
    """Whether its lines are not data."""
    return is_html(response) or bool(_compression(response))


def json_of(response: Response) -> Any:
    """Return what the body says in JSON.

    Raises:
        ValueError: It is none; neither are NaN, infinities, lists nested without end, and texts
            that no database takes: with NUL, or half a character.
    """
    try:
        found = json.loads(response.body, parse_constant=_no_constant)
        text = json.dumps(found, ensure_ascii=False)
    except RecursionError as error:
        raise ValueError("nested without end") from error
    text.encode()
    if r"\u0000" in text.replace(r"\\", ""):
        raise ValueError("NUL in a text")
    return found


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


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def fields_in(response: Response) -> Mapping[str, str]:
    """Return name and type of each field that a /metadata answer lists; nothing where it is none.

    A name that is listed twice makes it none: its type would be ambiguous.
    """
    try:
        listed = [(each["name"], each["type"]) for each in json_of(response)["fields"]]
    except (ValueError, KeyError, TypeError):
        return {}
    is_text = all(isinstance(text, str) and text for each in listed for text in each)
    return dict(listed) if is_text and len(dict(listed)) == len(listed) else {}


def shown(response: Response) -> str:
    """Return status and start of an answer as ASCII; a source may send our secrets back."""
    target = redacted(response.headers.get("location", ""))
    text = redacted(response.body.decode(errors="surrogateescape"))  # before it is cut
    body = text.encode(errors="surrogateescape")
    said = [f"HTTP {response.status}"]
    if target:
        said.append(f"a redirect to {without_secrets(target)[:200]}, which is not followed")
    if compression := _compression(response):
        said.append(f"compressed ({compression}) although that was not asked for")
    return f"{', '.join(said)}: {in_ascii(body, 200)}"


def _compression(response: Response) -> str:
    """Return how the body is compressed, blank where it is not."""
    if response.body.startswith(GZIP):
        return "gzip"
    said = response.headers.get("content-encoding", "").strip().lower()
    return "" if said == "identity" else said[:60]
