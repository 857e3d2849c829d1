"""FINRA's Query API: tokens, what is published, and a partition's pages.

Always POST: in a GET's query string filters are silently ignored. A page ends at 5000 records or
3 MB, so a short page is not the last one: paging goes by `Record-Total` and by the rows received.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

from orchestration_project.contracts import SourceName
from orchestration_project.domains.finra.contract import API_FIELDS
from orchestration_project.domains.finra.parsing import row_count
from orchestration_project.errors import ConfigurationError, MovedError, SourceError, TransientError
from orchestration_project.resources.captures import Capture, Captures, Fetched
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.finra.source import SourceVersion
from orchestration_project.resources.http import HttpClient, Response
from orchestration_project.settings import without_secrets

PAGE_ROWS = 5000
LARGEST_OFFSET = 500_000
GROUP = "otcMarket"
CURRENT, HISTORIC = "weeklySummary", "weeklySummaryHistoric"
"""The last 12 months, and the three years before; the latter takes no sort."""

SORT = ("issueSymbolIdentifier", "summaryTypeCode", "firmCRDNumber", "MPID")
"""Makes the order of pages certain, where FINRA allows a sort."""

KEPT_HEADERS = (
    "content-type",
    "finra-api-request-id",
    "record-limit",
    "record-offset",
    "record-total",
    "total-records-on-page",
)
"""What a capture keeps of an answer's headers: what FINRA says of the data."""


class TruncatedResponseError(TransientError):
    """An answer holds fewer rows than it says."""


class FinraApi:
    """Reads FINRA's Query API, or whatever speaks it at another address."""

    def __init__(
        self,
        http: HttpClient,
        captures: Captures,
        clock: Clock,
        *,
        name: SourceName,
        api_url: str,
        token_url: str,
        credentials: tuple[str, str] | None,
        concurrent_requests: int,
    ) -> None:
        self.name: SourceName = name
        self._http = http
        self._captures = captures
        self._clock = clock
        self._api_url = api_url.rstrip("/")
        self._token_url = token_url
        self._credentials = credentials
        self._concurrent_requests = concurrent_requests
        self._lock = threading.Lock()
        self._token: str | None = None
        self._listed: dict[str, frozenset[tuple[str, str]]] = {}

    def published(self) -> Sequence[tuple[str, str]]:
        """Return (weekStartDate, tierIdentifier) of every partition of both datasets."""
        return sorted(self._partitions(CURRENT) | self._partitions(HISTORIC))

    def version(self, week_start: date, tier: str) -> SourceVersion:
        """Ask for the number of records and the newest change of a partition: one request."""
        dataset = self._dataset_of(week_start, tier)
        query = _query(week_start, tier, fields=["lastUpdateDate"], limit=1)
        if dataset == CURRENT:
            query["sortFields"] = ["-lastUpdateDate"]
        response = self._post(dataset, query, accept="application/json")
        rows = self._rows(response) if response.status != 204 else []
        if not rows:
            raise SourceError(
                f"{dataset} is empty for {tier}, week {week_start}",
                expected="records, as /partitions lists this week",
                found=f"HTTP {response.status}, no record",
                remedy="ask again later; if it stays so, report it to FINRA",
                url=response.url,
            )
        total = self._record_total(response)
        newest = f", updated {rows[0].get('lastUpdateDate')}" if dataset == CURRENT else ""
        return SourceVersion(f"{dataset}: {total} records{newest}", dataset, total)

    def fetch(
        self, week_start: date, tier: str, version: SourceVersion, kept: list[Capture]
    ) -> Sequence[Capture]:
        """Fetch all pages, several at once, and make sure that nothing moved meanwhile."""
        total = version.record_total or 0
        if total > LARGEST_OFFSET + PAGE_ROWS:
            raise SourceError(
                f"{tier}, week {week_start}, has more records than FINRA lets one page to",
                expected=f"at most {LARGEST_OFFSET + PAGE_ROWS}",
                found=f"Record-Total {total}",
                remedy="report it: a week of this size needs another way of asking",
            )
        query = _query(week_start, tier, fields=API_FIELDS, limit=PAGE_ROWS)
        query |= {"delimiter": "|", "quoteValues": False}
        if version.dataset == CURRENT:
            query["sortFields"] = list(SORT)

        def pages_from(offset: int) -> list[Capture]:
            until = min(offset + PAGE_ROWS, total)
            return self._pages(version, query, offset, until, kept)

        with ThreadPoolExecutor(self._concurrent_requests) as pool:
            slots = list(pool.map(pages_from, range(0, total, PAGE_ROWS)))
        after = self.version(week_start, tier)
        if after != version:
            raise _moved(version.text, after.text)
        return [page for slot in slots for page in slot]

    def _pages(
        self,
        version: SourceVersion,
        query: Mapping[str, object],
        offset: int,
        until: int,
        kept: list[Capture],
    ) -> list[Capture]:
        """Fetch the rows from ``offset`` to ``until``: one page, or more when they come short."""
        pages: list[Capture] = []
        while offset < until:
            asked = {**query, "offset": offset, "limit": until - offset}
            response = self._post(version.dataset, asked, accept="text/plain")
            page = self._captures.keep(self._fetched(response, asked))
            kept.append(page)
            rows = self._page_rows(response, version)
            if rows == 0:
                raise TruncatedResponseError(
                    "the pages ended before all records came",
                    expected=f"Record-Total {version.record_total}",
                    found=f"no record at offset {offset}",
                    remedy="it is tried once more; if it stays so, report it to FINRA",
                    url=response.url,
                )
            pages.append(page)
            offset += rows
        return pages

    def _fetched(self, response: Response, asked: Mapping[str, object]) -> Fetched:
        return Fetched(
            body=response.body,
            url=response.url,
            request=asked,
            response_headers={
                name: value for name, value in response.headers.items() if name in KEPT_HEADERS
            },
            http_status=response.status,
            row_count=None if _is_html(response) else row_count(response.body),
            fetched_at=self._clock.now(),
        )

    def _page_rows(self, response: Response, version: SourceVersion) -> int:
        """Return how many rows a page holds, having made sure that it is one."""
        if response.status == 204:
            return 0
        if _is_html(response) or response.body.lstrip().startswith(b"{"):
            raise _unusable(response, "delimited text")
        total = self._record_total(response)
        if total != version.record_total:
            raise _moved(f"Record-Total {version.record_total}", f"Record-Total {total}")
        rows = row_count(response.body)
        said = response.headers.get("total-records-on-page", "").strip()
        if said and int(said) != rows:
            raise TruncatedResponseError(
                "a page was cut short",
                expected=f"Total-Records-On-Page {said}",
                found=f"{rows} rows in {len(response.body)} bytes",
                remedy="it is tried once more; if it stays so, report it to FINRA",
                url=response.url,
            )
        return rows

    def _record_total(self, response: Response) -> int:
        text = response.headers.get("record-total", "")
        if not text.isdecimal():
            raise SourceError(
                "an answer does not say how many records there are",
                expected="the header Record-Total with a number",
                found=f"Record-Total {text!r}",
                remedy="check FINRA_API_URL: something between here and FINRA may drop headers",
                url=response.url,
            )
        return int(text)

    def _dataset_of(self, week_start: date, tier: str) -> str:
        wanted = (week_start.isoformat(), tier)
        for dataset in (CURRENT, HISTORIC):
            if wanted in self._partitions(dataset):
                return dataset
        newest = max((week for week, of in self._partitions(CURRENT) if of == tier), default="none")
        raise SourceError(
            f"FINRA has not published {tier}, week {week_start}, or has it no more",
            expected=f"a week that /partitions lists; the newest of {tier} is {newest}",
            found=f"no such week in {CURRENT} and {HISTORIC}",
            remedy="ask for another week, or wait for its publication",
        )

    def _partitions(self, dataset: str) -> frozenset[tuple[str, str]]:
        if dataset not in self._listed:
            response = self._send("GET", f"/partitions/group/{GROUP}/name/{dataset}")
            try:
                listed = json.loads(response.body)["availablePartitions"]
                self._listed[dataset] = frozenset(
                    (str(week), str(tier)) for week, tier in (each["partitions"] for each in listed)
                )
            except (ValueError, KeyError, TypeError):
                raise _unusable(response, '{"availablePartitions": [{"partitions": …}]}') from None
        return self._listed[dataset]

    def _rows(self, response: Response) -> list[dict[str, Any]]:
        try:
            rows = json.loads(response.body)
            return [dict(row) for row in rows]
        except (ValueError, TypeError):
            raise _unusable(response, "a JSON list of records") from None

    def _post(self, dataset: str, query: Mapping[str, object], *, accept: str) -> Response:
        path = f"/data/group/{GROUP}/name/{dataset}"
        return self._send("POST", path, query=query, accept=accept)

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        accept: str = "application/json",
    ) -> Response:
        """Send a request; where the token is refused, once more with a new one."""
        url = self._api_url + path
        headers = {"Accept": accept, **self._authorization()}
        response = self._http.request(method, url, headers=headers, json=query)
        if response.status == 401 and self._credentials is not None:
            self._forget(headers.get("Authorization", ""))
            headers = {"Accept": accept, **self._authorization()}
            response = self._http.request(method, url, headers=headers, json=query)
        if response.status in (200, 204):
            return response
        if response.status in (401, 403) and not _is_html(response):
            raise ConfigurationError(
                f"FINRA refuses access with HTTP {response.status}",
                expected="a client that may read this dataset, or none for public data",
                found=_quoted(response),
                remedy="check FINRA_CLIENT_ID, FINRA_CLIENT_SECRET and what they may read",
                url=response.url,
            )
        raise _unusable(response, "HTTP 200 or 204")

    def _authorization(self) -> dict[str, str]:
        if self._credentials is None:
            return {}
        with self._lock:
            if self._token is None:
                self._token = self._new_token(self._credentials)
            return {"Authorization": f"Bearer {self._token}"}

    def _forget(self, refused: str) -> None:
        with self._lock:
            if refused == f"Bearer {self._token}":
                self._token = None

    def _new_token(self, credentials: tuple[str, str]) -> str:
        response = self._http.request(
            "POST",
            f"{self._token_url}?grant_type=client_credentials",
            basic_auth=credentials,
        )
        if response.status in (400, 401, 403):
            raise ConfigurationError(
                f"FINRA refuses the client {credentials[0]} with HTTP {response.status}",
                expected="an access token",
                remedy="check FINRA_CLIENT_ID and FINRA_CLIENT_SECRET",
                url=response.url,
            )
        try:
            return str(json.loads(response.body)["access_token"])
        except (ValueError, KeyError, TypeError):
            raise SourceError(
                "FINRA's token service answered without a token",
                expected='{"access_token": …}',
                found=f"HTTP {response.status}, {len(response.body)} bytes",
                remedy="check FINRA_TOKEN_URL",
                url=without_secrets(response.url),
            ) from None


def _query(week_start: date, tier: str, *, fields: Sequence[str], limit: int) -> dict[str, object]:
    return {
        "fields": list(fields),
        "compareFilters": [
            {"fieldName": name, "fieldValue": value, "compareType": "EQUAL"}
            for name, value in (
                ("weekStartDate", week_start.isoformat()),
                ("tierIdentifier", tier),
            )
        ],
        "limit": limit,
        "offset": 0,
    }


def _is_html(response: Response) -> bool:
    start = response.body[:200].lstrip().lower()
    return start.startswith((b"<!doctype", b"<html", b"<"))


def _quoted(response: Response) -> str:
    return f"HTTP {response.status}: {response.body[:200].decode('utf-8', 'backslashreplace')}"


def _moved(before: str, after: str) -> MovedError:
    return MovedError(
        "the source changed while it was read",
        expected=before,
        found=after,
        remedy="nothing: it is read again; if it goes on, run the partition later",
    )


def _unusable(response: Response, expected: str) -> SourceError | TransientError:
    """An answer that is no data; a statusCode of 500 and above in its body may pass."""
    try:
        code = json.loads(response.body).get("statusCode", 0)
    except (ValueError, AttributeError):
        code = 0
    kind = TransientError if isinstance(code, int) and code >= 500 else SourceError
    return kind(
        "FINRA's answer cannot be used",
        expected=expected,
        found=_quoted(response),
        remedy="try again later"
        if kind is TransientError
        else "check FINRA_API_URL and any proxy; if FINRA itself answers so, report it",
        url=response.url,
    )
