"""Requests of the client: its key, its retries, and problems as exceptions.

A transport of its own: that in `engine/http` shares rate and breaker of a source by files below
STATE_DIR, which a program elsewhere does not have.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date
from typing import Any, BinaryIO, NamedTuple, Self
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from orchestration_project.engine.contracts.api.models import Problem
from orchestration_project.engine.contracts.api.runs import RunStatus
from orchestration_project.redaction import hide

PATH = "/api/v1"
ATTEMPTS = 4
LOG_ATTEMPTS = 8
"""For a log, which is followed for hours: about a minute, in which a gateway restarts."""

FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.5, 30.0
INCOMPLETE = 308
"""Status of a piece of an upload that is not the last one."""

RETRIED_STATUSES = frozenset({429, 502, 503})
"""Statuses after which the same may work."""

STREAM_SILENCE_SECONDS = 45.0
"""Three heartbeats: who says nothing for so long is gone."""


class ApiError(Exception):
    """The gateway did not do what it was asked for; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        names = {"expected": problem.expected, "found": problem.found, "what to do": problem.remedy}
        lines = [f"{problem.status} {problem.title}: {problem.detail}"]
        lines += [f"  {label}: {text}" for label, text in names.items() if text]
        lines += [f"  {error.field}: {error.problem}" for error in problem.errors]
        super().__init__("\n".join(lines))
        self.problem = problem


class RunFailedError(Exception):
    """A run that was waited for did not succeed; ``status`` is how it ended."""

    def __init__(self, status: RunStatus) -> None:
        why = f": {status.error_category}\n{status.error}" if status.error else ""
        super().__init__(f"the run {status.run_id} of {status.job} ended with {status.status}{why}")
        self.status = status


class ServerEvent(NamedTuple):
    """A server-sent event, or a comment.

    Attributes:
        id: ID of the latest event that has one; None: there was none.
        type: Its type.
        data: Its JSON; empty: a comment.
    """

    id: str | None
    type: str
    data: str


class Transport:
    """Asks the gateway at ``url``, as whoever ``key`` is.

    Args:
        url: Where the UI is, such as https://orchestration.example.org.
        key: A key, as `keys create` printed it.
        timeout_seconds: How long is waited for an answer, or its next part.
        transport: How bytes go there; of tests.
        sleep: How time passes between attempts.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_seconds: float,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        _require_secret(url)
        hide(key)
        self._sleep = sleep
        self._timeout_seconds = timeout_seconds
        self._client = httpx.Client(
            base_url=url.rstrip("/") + PATH,
            headers={"x-api-key": key},
            timeout=timeout_seconds,
            transport=transport,
            trust_env=url.startswith("https://"),  # what is in clear goes to no proxy
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> httpx.Response:
        """Return the answer; a read, or a launch with an Idempotency-Key, is tried several times.

        Raises:
            ApiError: The gateway did not do it.
            httpx.TransportError: It could not be reached.
        """
        request = self._client.build_request(
            method,
            path,
            params=_build_query(query or {}),
            json=None if body is None else to_json_value(body),
            headers={"idempotency-key": key} if key else {},
        )
        attempts = ATTEMPTS if method == "GET" or key else 1
        for number in range(1, attempts):
            wait = self._wait(request, number)
            if isinstance(wait, httpx.Response):
                return _check_answer(wait)
            self._sleep(wait)
        return _check_answer(self._client.send(request))

    def put(
        self, path: str, content: bytes | BinaryIO, headers: Mapping[str, str]
    ) -> httpx.Response:
        """Send bytes once, and return the answer, also one that requests the rest of them.

        Raises:
            ApiError: The gateway did not take them.
            httpx.TransportError: It could not be reached.
        """
        answer = self._client.put(path, content=content, headers=dict(headers))
        return answer if answer.status_code == INCOMPLETE else _check_answer(answer)

    def pause(self, number: int) -> None:
        """Wait as long as after so many failures in a row."""
        self._sleep(_compute_wait(number))

    def _wait(self, request: httpx.Request, number: int) -> httpx.Response | float:
        """Return the answer, or how long to wait for another attempt."""
        backoff = _compute_wait(number)
        try:
            answer = self._client.send(request)
        except httpx.TransportError:
            return backoff
        if answer.status_code not in RETRIED_STATUSES:
            return answer
        retry_after = answer.headers.get("retry-after", "")
        return min(float(retry_after), MAX_WAIT_SECONDS) if retry_after.isdecimal() else backoff

    def follow(
        self, path: str, query: Mapping[str, Any] | None = None, *, last: str | None = None
    ) -> Iterator[ServerEvent]:
        """Yield server-sent events, without an end; a stream that ends or breaks off is resumed.

        Args:
            path: Its path below the API's.
            query: Its parameters.
            last: ID of the event after which it begins; None: where the stream does.

        Raises:
            ApiError: The gateway did not do it.
            httpx.TransportError: For a minute it could not be reached, or sent nothing.
        """
        failures = 0
        while True:
            try:
                for event in self._events(path, _build_query(query or {}), last):
                    last, failures = event.id, 0
                    yield event
                raise httpx.RemoteProtocolError("the stream broke off")
            except (ApiError, httpx.TransportError) as error:
                failures += 1
                is_passing = (
                    not isinstance(error, ApiError) or error.problem.status in RETRIED_STATUSES
                )
                if not is_passing or failures == LOG_ATTEMPTS:
                    raise
            self.pause(failures)

    def _events(
        self, path: str, query: Mapping[str, Any], last: str | None
    ) -> Iterator[ServerEvent]:
        headers = {} if last is None else {"last-event-id": last}
        timeout = httpx.Timeout(self._timeout_seconds, read=STREAM_SILENCE_SECONDS)
        with self._client.stream(
            "GET", path, params=query, headers=headers, timeout=timeout
        ) as answer:
            if not answer.is_success:
                answer.read()
            event_type = data = ""
            for line in _check_answer(answer).iter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    last = value
                elif name == "event":
                    event_type = value
                elif name == "data":
                    data = value
                elif not line:
                    yield ServerEvent(last, event_type, data)
                    event_type = data = ""


def to_json_value(value: Any) -> Any:
    """Return a value as JSON has it: days and times as ISO texts, what has several as a list."""
    if isinstance(value, date):  # or a datetime
        return value.isoformat()
    if isinstance(value, Mapping):
        return {name: to_json_value(item) for name, item in value.items()}
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        return [to_json_value(item) for item in value]
    return value


def _build_query(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the query parameters of a request; None omits a parameter."""
    return {name: to_json_value(value) for name, value in given.items() if value is not None}


def _compute_wait(number: int) -> float:
    return min(FIRST_WAIT_SECONDS * 2 ** (number - 1), MAX_WAIT_SECONDS)


def _require_secret(url: str) -> None:
    """Refuse an address to which a key would go in clear, over more than this machine."""
    parts = urlsplit(url)
    is_here = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_here):
        raise ValueError("the gateway's address begins with https://, or is of this machine")


def _check_answer(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        text = f"{answer.reason_phrase or 'no problem details'}, from something before the gateway"
        problem = Problem(
            title=answer.reason_phrase, status=answer.status_code, detail=text, category="request"
        )
    raise ApiError(problem)
