"""PeopleForce's API v3: its tasks, page by page or one by one, and their completion."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from orchestration_project.domains.saas.peopleforce import (
    SYSTEM,
    pagination_of,
    task_of,
)
from orchestration_project.domains.saas.records import Task
from orchestration_project.domains.saas.wire import storable
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.http import HttpClient, Response
from orchestration_project.errors import ContractError, MovedError
from orchestration_project.resources.saas.answers import json_in, refusal
from orchestration_project.resources.saas.pages import CachedPage, PageMemory
from orchestration_project.resources.saas.prefetch import PagePrefetcher
from orchestration_project.resources.saas.systems import DigestScheme, SourcePage, UnreadableRecord

CREDENTIALS = "PEOPLEFORCE_API_KEY"
KEPT_HEADERS = ("content-type", "date")


IN_FLIGHT = 4
"""Pages that are requested at once; the rate is limited beside that."""


@dataclass(frozen=True)
class _Answer:
    """A page as it came."""

    response: Response
    capture: Capture


@dataclass(frozen=True)
class _TaskPage:
    """Contents of a page: totals, tasks, and records that are not tasks."""

    cached: CachedPage
    read: Callable[[], Sequence[Task]]
    unreadable: Sequence[UnreadableRecord] = ()


class PeopleForce:
    """Reads PeopleForce, or whatever speaks its API at another address.

    ``unreadable`` lists the records of the last listing that are not tasks.
    """

    system = SYSTEM

    def __init__(
        self,
        http: HttpClient,
        captures: Captures,
        clock: Clock,
        memory: PageMemory,
        *,
        origin: str,
        url: str,
        api_key: SecretStr,
    ) -> None:
        self.origin: str = origin
        self.unreadable: list[UnreadableRecord] = []
        self._http = http
        self._captures = captures
        self._clock = clock
        self._memory = memory
        self._url = url.rstrip("/")
        self._api_key = api_key

    def pages(self, digesting: DigestScheme, *, kept: list[Capture]) -> Iterator[SourcePage]:
        """Yield all tasks page by page, each once.

        A task that a later page repeats, since another came before it meanwhile, is left out. Where
        there are fewer tasks than a page before, some moved to that page, which is read again.

        Raises:
            MovedError: Fewer came than there are: pages skip some, or one came twice.
        """
        name = f"{digesting.name} of {self._clock.now():%Y-%m-%d}"  # once a day all are read
        pages_kept = self._memory.recalled(name)
        cached_pages: dict[str, CachedPage] = {}
        names: set[str] = set()
        unreadable: dict[str, UnreadableRecord] = {}
        self.unreadable = []
        counts: list[int] = []
        page, pages = 1, 1
        with PagePrefetcher(self._answer, IN_FLIGHT) as ahead:
            while page <= pages and len(counts) <= 2 * pages:
                answer = ahead.take(page, pages)
                kept.append(answer.capture.without_body())
                listed = self._listed(page, answer, pages_kept, digesting)
                unreadable |= {
                    unreadable_record.record: unreadable_record
                    for unreadable_record in listed.unreadable
                }
                self.unreadable = list(unreadable.values())
                if not listed.unreadable:
                    cached_pages[answer.capture.sha256] = listed.cached
                digests = listed.cached.digests
                yield SourcePage(
                    {key: digests[key] for key in digests if key not in names}, listed.read
                )
                names.update(digests)
                is_back = page > 1 and listed.cached.count < counts[-1]
                page, pages = page + (-1 if is_back else 1), listed.cached.pages
                counts.append(listed.cached.count)
        if page <= pages or len(names) + len(unreadable) < min(counts[0], counts[-1]):
            raise MovedError(
                "the pages of PeopleForce's tasks do not hold all of them",
                expected=f"{counts[-1]} tasks, as the last page says",
                found=f"{len(names)} different ones in {len(counts)} pages",
                remedy="nothing: they are read again; if it goes on, tasks are deleted faster than "
                "they are read",
            )
        if cached_pages.keys() != pages_kept.keys():
            self._memory.keep(name, cached_pages)

    def count(self) -> int:
        """Return how many tasks there are: one request, nothing is kept of it."""
        return pagination_of(self._object(self._fetch("GET", "/tasks?page=1"))).count

    def task(self, entity_id: str) -> Task | None:
        """Return a task as it is now; None: it was deleted.

        A 404 counts only from what lists tasks: a proxy, or another API, has none of them.
        """
        response = self._fetch("GET", f"/tasks/{quote(entity_id, safe='')}")
        if response.status == 404:
            self.count()
            return None
        return task_of(self._object(response).get("data"))

    def complete(self, entity_id: str) -> None:
        """Say that a task is completed; one that is already stays so.

        Raises:
            RefusedError: The task does not exist (404), or it may not be completed.
        """
        response = self._fetch("PUT", f"/tasks/{quote(entity_id, safe='')}/complete")
        if response.status == 404:
            raise refusal("PeopleForce", response, credentials=CREDENTIALS)
        self._object(response)  # a proxy's page has not completed anything

    def _answer(self, page: int) -> _Answer:
        """Return a page as it came, its bytes kept."""
        requested_names = {"page": str(page)}
        response = self._fetch("GET", f"/tasks?page={page}")
        return _Answer(response, self._keep(response, requested_names))

    def _listed(
        self, page: int, answer: _Answer, known: Mapping[str, CachedPage], digesting: DigestScheme
    ) -> _TaskPage:
        """Return the task page of an answer; one whose bytes are known is not read."""
        sha256, response = answer.capture.sha256, answer.response
        cached = known.get(sha256) if response.status == 200 else None
        if cached is not None and cached.page == page:
            return _TaskPage(cached, lambda: _read_tasks(self._object(response)["data"], sha256)[0])
        found = self._object(response)
        records, pagination = _read_records(found, response.url), pagination_of(found)
        if pagination.page != page:
            raise MovedError(
                "PeopleForce answered with another page than the one that was requested",
                expected=f"page {page}",
                found=f"page {pagination.page}",
                remedy="nothing: all are read again",
                url=response.url,
            )
        tasks, unreadable = _read_tasks(records, sha256)
        digests = {task.entity_id: digesting.digest(task) for task in tasks}
        return _TaskPage(
            CachedPage(page, pagination.pages, pagination.count, digests), lambda: tasks, unreadable
        )

    def _keep(self, response: Response, requested: dict[str, str]) -> Capture:
        headers = {
            name: header for name, header in response.headers.items() if name in KEPT_HEADERS
        }
        return self._captures.keep(
            response.body,
            url=response.url,
            request=requested,
            response_headers=headers,
            http_status=response.status,
            fetched_at=self._clock.now(),
        )

    def _object(self, response: Response) -> Any:
        if response.status != 200:
            raise refusal("PeopleForce", response, credentials=CREDENTIALS)
        found = json_in(response)
        if not isinstance(found, dict):
            storable(found, "an answer of PeopleForce")
        return found

    def _fetch(self, method: str, path: str) -> Response:
        """Send a request; completing twice is completing once, so all of them may be repeated."""
        headers = {"Accept": "application/json", "X-API-KEY": self._api_key.get_secret_value()}
        return self._http.request(method, self._url + path, headers=headers)


def _read_records(page: Any, url: str) -> list[Any]:
    records = page.get("data")
    if not isinstance(records, list):
        raise ContractError(
            "a page of PeopleForce's tasks is none",
            expected='{"data": [...], "metadata": ...}',
            found=f"data is a {type(records).__name__}",
            remedy="check PEOPLEFORCE_URL: is it version 3 of the API?",
            url=url,
        )
    return records


def _read_tasks(records: Sequence[Any], sha256: str) -> tuple[list[Task], list[UnreadableRecord]]:
    """Return the tasks on a page, and what is none; one bad record holds no other one back."""
    tasks: list[Task] = []
    unreadable: list[UnreadableRecord] = []
    for number, record in enumerate(records, start=1):
        try:
            tasks.append(task_of(record))
        except ContractError as error:
            reason = f"{error.what}: {error.found}"
            entity_id = str(record["id"]) if isinstance(record, dict) and "id" in record else None
            unreadable.append(
                UnreadableRecord(sha256, number, json.dumps(record), reason, entity_id)
            )
    return tasks, unreadable
