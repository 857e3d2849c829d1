"""FINRA's Query API: tokens, what is published, and a partition's pages.

Always POST: in a GET's query string filters are silently ignored. A page ends at 5000 records or
3 MB, so a short page is not the last one: paging goes by `Record-Total` and by the rows received.
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

from pydantic import SecretStr

from orchestration_project.contracts import SourceName
from orchestration_project.domains.finra.calendar import first_week_published_since
from orchestration_project.domains.finra.contract import API_FIELDS
from orchestration_project.domains.finra.parsing import row_count
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.errors import ConfigurationError, MovedError, SourceError, TransientError
from orchestration_project.redaction import hide
from orchestration_project.resources.captures import Capture, Captures, Fetched
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.finra.answers import (
    fields_in,
    is_html,
    is_no_text,
    json_of,
    shown,
)
from orchestration_project.resources.finra.source import SourceVersion
from orchestration_project.resources.finra.updates import updates_query
from orchestration_project.resources.http import HttpClient, Response

PAGE_ROWS = 5000
LARGEST_OFFSET = 500_000
LONGEST_COUNT = 18
GROUP = "otcMarket"
CURRENT, HISTORIC = "weeklySummary", "weeklySummaryHistoric"
"""The last 12 months, and the three years before; the latter takes no sort."""

SORT = ("issueSymbolIdentifier", "summaryTypeCode", "firmCRDNumber", "MPID")
"""Makes the order of pages certain, where FINRA allows a sort."""

KEPT_HEADERS = (
    "content-encoding",
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
        api_key: SecretStr | None = None,
    ) -> None:
        self.name: SourceName = name
        self._http = http
        self._captures = captures
        self._clock = clock
        self._api_url = api_url.rstrip("/")
        self._token_url = token_url
        self._credentials = None if api_key else credentials
        self._concurrent_requests = concurrent_requests
        self._token_lock = threading.Lock()
        self._token = api_key.get_secret_value() if api_key else None
        self._listing_lock = threading.Lock()
        self._listed: dict[str, frozenset[tuple[str, str]]] = {}

    def published(self, *, since: date | None = None) -> Sequence[tuple[str, str]]:
        """Return (weekStartDate, tierIdentifier) of every partition of both datasets.

        Where the current dataset reaches back to ``since``, one request tells.
        """
        listed, start = self._partitions(CURRENT), since.isoformat() if since else ""
        if since is None or not any(week <= start for week, _ in listed):
            listed |= self._partitions(HISTORIC)
        return sorted((week, tier) for week, tier in listed if week >= start)

    def maybe_changed(
        self, known: Collection[TierWeek], *, since: date, until: date
    ) -> Sequence[TierWeek]:
        """Ask each tier for rows that FINRA updated: one request, and no page after it.

        Weeks that came out since then carry such dates in every row, so they are not asked for but
        returned unseen. So are all weeks of a tier whose answer is longer than a page: without a
        sort, which FINRA refuses here, further pages could miss a week.
        """
        retained = self._partitions(CURRENT)
        held = [each for each in known if (each.week_start.isoformat(), each.tier) in retained]
        found: list[TierWeek] = []
        for tier in sorted({each.tier for each in held}):
            weeks = [each for each in held if each.tier == tier]
            settled_before = first_week_published_since(since, tier)
            updated = self._updated(tier, settled_before, since, until)
            found += [
                each
                for each in weeks
                if each.week_start >= settled_before
                or updated is None
                or each.week_start.isoformat() in updated
            ]
        return sorted(found)

    def _updated(self, tier: str, before: date, since: date, until: date) -> set[str] | None:
        """Return the weeks before ``before`` with updated rows, or None: too many rows to tell."""
        query = updates_query(tier, before=before, since=since, until=until, limit=PAGE_ROWS)
        response = self._post(CURRENT, query, accept="application/json")
        rows = self._rows(response) if response.status != 204 else []
        if rows and len(rows) < self._record_total(response):
            return None
        updated = {str(row.get("weekStartDate")) for row in rows}
        if not updated <= {week for week, _ in self._partitions(CURRENT)}:
            raise self._unusable(response, "a weekStartDate that /partitions lists, in each record")
        return updated

    def fields(self) -> Mapping[str, str]:
        """Return the type of each field of the current dataset, by name, as FINRA lists them."""
        response = self._send("GET", f"/metadata/group/{GROUP}/name/{CURRENT}")
        found = fields_in(response)
        if not found:
            expected = '{"fields": [{"name": …, "type": …}, …]}, each name once'
            raise self._unusable(response, expected)
        return found

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

        slots: dict[int, list[Capture]] = {offset: [] for offset in range(0, total, PAGE_ROWS)}

        def fill(offset: int) -> None:
            until = min(offset + PAGE_ROWS, total)
            self._fetch_pages(version, query, offset, until, slots[offset])

        try:
            with ThreadPoolExecutor(self._concurrent_requests) as pool:
                list(pool.map(fill, slots))  # the first error stops what is not yet under way
        finally:
            pages = [page for slot in slots.values() for page in slot]
            kept += pages  # in the order of the rows, however the answers came
        after = self.version(week_start, tier)
        if after != version:
            raise _moved(version.text, after.text)
        return pages

    def _fetch_pages(
        self,
        version: SourceVersion,
        query: Mapping[str, object],
        offset: int,
        until: int,
        pages: list[Capture],
    ) -> None:
        """Fetch the rows from ``offset`` to ``until``: one page, or more when they come short."""
        while offset < until:
            asked = {**query, "offset": offset, "limit": until - offset}
            response = self._post(version.dataset, asked, accept="text/plain")
            pages.append(self._captures.keep(self._fetched(response, asked)))
            rows = self._page_rows(response, version)
            if rows == 0:
                raise TruncatedResponseError(
                    "the pages ended before all records came",
                    expected=f"Record-Total {version.record_total}",
                    found=f"no record at offset {offset}",
                    remedy="it is tried once more; if it stays so, report it to FINRA",
                    url=response.url,
                )
            offset += rows

    def _fetched(self, response: Response, asked: Mapping[str, object]) -> Fetched:
        return Fetched(
            body=response.body,
            url=response.url,
            request=asked,
            response_headers={
                name: value for name, value in response.headers.items() if name in KEPT_HEADERS
            },
            http_status=response.status,
            row_count=None if is_no_text(response) else row_count(response.body),
            fetched_at=self._clock.now(),
        )

    def _page_rows(self, response: Response, version: SourceVersion) -> int:
        """Return how many rows a page holds, having made sure that it is one."""
        if response.status == 204 or response.body.strip() == b"[]":
            return 0
        if is_no_text(response) or response.body.lstrip().startswith((b"{", b"[")):
            raise self._unusable(response, "delimited text")
        total = self._record_total(response)
        if total != version.record_total:
            raise _moved(f"Record-Total {version.record_total}", f"Record-Total {total}")
        rows = row_count(response.body)
        said = response.headers.get("total-records-on-page", "").strip()
        if said and said != str(rows):
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
        if not text.isdecimal() or len(text) > LONGEST_COUNT:
            raise SourceError(
                "an answer does not say how many records there are",
                expected="the header Record-Total with a number",
                found=f"Record-Total {text[:60]!r}",
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
        """Return what is listed of a dataset; asked for once, whichever thread needs it first."""
        with self._listing_lock:
            if dataset not in self._listed:
                response = self._send("GET", f"/partitions/group/{GROUP}/name/{dataset}")
                self._listed[dataset] = self._listed_in(response)
            return self._listed[dataset]

    def _listed_in(self, response: Response) -> frozenset[tuple[str, str]]:
        try:
            listed = json_of(response)["availablePartitions"]
            pairs = [each["partitions"] for each in listed]
            return frozenset((str(week), str(tier)) for week, tier in pairs)
        except (ValueError, KeyError, TypeError):
            expected = '{"availablePartitions": [{"partitions": …}]}'
            raise self._unusable(response, expected) from None

    def _rows(self, response: Response) -> list[dict[str, Any]]:
        try:
            rows = json_of(response)
            return [dict(row) for row in rows]
        except (ValueError, TypeError):
            raise self._unusable(response, "a JSON list of records") from None

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
        if response.status in (401, 403) and not is_html(response):
            raise ConfigurationError(
                f"FINRA refuses access with HTTP {response.status}",
                expected="a client that may read this dataset, or none for public data",
                found=shown(response),
                remedy="check FINRA_CLIENT_ID, FINRA_CLIENT_SECRET or FINRA_API_KEY, and what they "
                "may read",
                url=response.url,
            )
        raise self._unusable(response, "HTTP 200 or 204")

    def _authorization(self) -> dict[str, str]:
        if self._credentials is None and self._token is None:
            return {}
        with self._token_lock:
            if self._token is None and self._credentials is not None:
                self._token = self._new_token(self._credentials)
            return {"Authorization": f"Bearer {self._token}"}

    def _forget(self, refused: str) -> None:
        with self._token_lock:
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
            token = json_of(response)["access_token"]
        except (ValueError, KeyError, TypeError):
            token = None
        if not isinstance(token, str) or not token:
            raise SourceError(
                "FINRA's token service answered without a token",
                expected='{"access_token": …}',
                found=f"HTTP {response.status}, {len(response.body)} bytes",
                remedy="check FINRA_TOKEN_URL",
                url=response.url,
            )
        hide(token)
        return token

    def _unusable(self, response: Response, expected: str) -> SourceError | TransientError:
        """An answer that is no data; a statusCode of 500 and above in its body may pass."""
        try:
            code = json_of(response).get("statusCode", 0)
        except (ValueError, AttributeError):
            code = 0
        kind = TransientError if isinstance(code, int) and code >= 500 else SourceError
        return kind(
            "FINRA's answer cannot be used",
            expected=expected,
            found=shown(response),
            remedy="try again later"
            if kind is TransientError
            else "check FINRA_API_URL and any proxy; if FINRA itself answers so, report it",
            url=response.url,
        )


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


def _moved(before: str, after: str) -> MovedError:
    return MovedError(
        "the source changed while it was read",
        expected=before,
        found=after,
        remedy="nothing: it is read again; if it goes on, run the partition later",
    )
