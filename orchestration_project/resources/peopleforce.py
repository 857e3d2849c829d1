"""PeopleForce's API v3: its tasks, page by page or one by one, and their completion."""

import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from orchestration_project.contracts import SourceName
from orchestration_project.domains.saas.peopleforce import (
    SYSTEM,
    Pagination,
    pagination_of,
    task_of,
)
from orchestration_project.domains.saas.records import Task
from orchestration_project.domains.saas.wire import storable
from orchestration_project.errors import ContractError, MovedError
from orchestration_project.resources.captures import Capture, Captures, Fetched
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.http import HttpClient, Response
from orchestration_project.resources.saas.answers import json_in, refusal
from orchestration_project.resources.saas.systems import Unreadable

CREDENTIALS = "PEOPLEFORCE_API_KEY"
KEPT_HEADERS = ("content-type", "date")


class PeopleForce:
    """Reads PeopleForce, or whatever speaks its API at another address.

    ``unreadable`` tells of the records that are no tasks, among those that were listed last.
    """

    system = SYSTEM

    def __init__(
        self,
        http: HttpClient,
        captures: Captures,
        clock: Clock,
        *,
        origin: SourceName,
        url: str,
        api_key: SecretStr,
    ) -> None:
        self.origin: SourceName = origin
        self.unreadable: list[Unreadable] = []
        self._http = http
        self._captures = captures
        self._clock = clock
        self._url = url.rstrip("/")
        self._api_key = api_key

    def tasks(self, *, completed: bool | None, kept: list[Capture]) -> Iterator[Sequence[Task]]:
        """Yield all tasks page by page, each once; None: whether completed or not.

        A task that a later page repeats, since another came before it meanwhile, is left out. Where
        there are fewer tasks than a page before, some moved to that page, which is read again.

        Raises:
            MovedError: Fewer came than there are: pages skip some, or one came twice.
        """
        seen: set[str] = set()
        unreadable: dict[str, Unreadable] = {}
        self.unreadable = []
        counts: list[int] = []
        page, pages = 1, 1
        while page <= pages and len(counts) <= 2 * pages:
            records, said = self._page(page, completed, kept)
            tasks = _tasks_in(records, kept[-1].sha256, unreadable)
            fresh = [each for each in tasks if each.entity_id not in seen]
            seen |= {each.entity_id for each in fresh}
            yield fresh
            is_back = page > 1 and said.count < counts[-1]
            page, pages = page + (-1 if is_back else 1), said.pages
            counts.append(said.count)
            self.unreadable = list(unreadable.values())
        if page <= pages or len(seen) + len(unreadable) < min(counts[0], counts[-1]):
            raise MovedError(
                "the pages of PeopleForce's tasks do not hold all of them",
                expected=f"{counts[-1]} tasks, as the last page says",
                found=f"{len(seen)} different ones in {len(counts)} pages",
                remedy="nothing: they are read again; if it goes on, tasks are deleted faster than "
                "they are read",
            )

    def count(self) -> int:
        """Return how many tasks there are: one request, nothing is kept of it."""
        return pagination_of(self._object(self._ask("GET", "/tasks?page=1"))).count

    def task(self, entity_id: str) -> Task | None:
        """Return a task as it is now; None: it was deleted."""
        response = self._ask("GET", f"/tasks/{quote(entity_id, safe='')}")
        if response.status == 404:
            return None
        return task_of(self._object(response).get("data"))

    def complete(self, entity_id: str) -> None:
        """Say that a task is completed; one that is already stays so.

        Raises:
            RefusedError: There is no such task (404), or it may not be completed.
        """
        response = self._ask("PUT", f"/tasks/{quote(entity_id, safe='')}/complete")
        if response.status == 404:
            raise refusal("PeopleForce", response, credentials=CREDENTIALS)
        self._object(response)  # a proxy's page has not completed anything

    def _page(
        self, page: int, completed: bool | None, kept: list[Capture]
    ) -> tuple[list[Any], Pagination]:
        asked = {} if completed is None else {"completed": str(completed).lower()}
        asked |= {"page": str(page)}
        query = "&".join(f"{name}={value}" for name, value in asked.items())
        response = self._ask("GET", f"/tasks?{query}")
        kept.append(self._captures.keep(self._fetched(response, asked)).without_body())
        found = self._object(response)
        records = found.get("data")
        if not isinstance(records, list):
            raise ContractError(
                "a page of PeopleForce's tasks is none",
                expected='{"data": [...], "metadata": ...}',
                found=f"data is a {type(records).__name__}",
                remedy="check PEOPLEFORCE_URL: is it version 3 of the API?",
                url=response.url,
            )
        said = pagination_of(found)
        if said.page != page:
            raise MovedError(
                "PeopleForce answered with another page than the one that was asked for",
                expected=f"page {page}",
                found=f"page {said.page}",
                remedy="nothing: all are read again",
                url=response.url,
            )
        return records, said

    def _fetched(self, response: Response, asked: dict[str, str]) -> Fetched:
        headers = {name: each for name, each in response.headers.items() if name in KEPT_HEADERS}
        return Fetched(
            body=response.body,
            url=response.url,
            request=asked,
            response_headers=headers,
            http_status=response.status,
            row_count=None,
            fetched_at=self._clock.now(),
        )

    def _object(self, response: Response) -> Any:
        if response.status != 200:
            raise refusal("PeopleForce", response, credentials=CREDENTIALS)
        found = json_in(response)
        if not isinstance(found, dict):
            storable(found, "an answer of PeopleForce")
        return found

    def _ask(self, method: str, path: str) -> Response:
        """Send a request; completing twice is completing once, so all of them may be repeated."""
        headers = {"Accept": "application/json", "X-API-KEY": self._api_key.get_secret_value()}
        return self._http.request(method, self._url + path, headers=headers)


def _tasks_in(records: Sequence[Any], sha256: str, unreadable: dict[str, Unreadable]) -> list[Task]:
    """Return the tasks on a page; one bad record holds no other one back."""
    tasks: list[Task] = []
    for number, each in enumerate(records, start=1):
        try:
            tasks.append(task_of(each))
        except ContractError as error:
            record = json.dumps(each)
            unreadable[record] = Unreadable(sha256, number, record, f"{error.what}: {error.found}")
    return tasks
