"""Requests of a dlt resource: sent by our client and recorded, or answered from what was recorded.

Authentication is applied to what is sent alone: an address is recorded as it was before, so that
the same request of a replay, which has no secret, finds its answer.
"""

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from io import BytesIO
from threading import Lock, local
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.http import HttpClient
from orchestration_project.errors import SourceError
from orchestration_project.redaction import MASK, Secrets
from orchestration_project.settings import without_secrets

READING_METHODS = ("GET", "HEAD", "OPTIONS")
"""Methods of requests that may be sent again after a fault."""

NOT_RECORDED = ("set-cookie", "www-authenticate")
"""Headers of answers that are not recorded."""

ENCODED_MASK = re.compile(re.escape(MASK).replace(r"\*", r"(?:\*|%2[Aa])"))


THREAD = local()
"""Has ``authenticates`` while a thread fetches a token, which is not recorded."""


class Question(NamedTuple):
    """A request as it is recorded, which its answer is found by."""

    method: str
    url: str
    body_sha256: str


@dataclass(frozen=True)
class Answer:
    """An answer of HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Exchanges(Protocol):
    """Answers requests."""

    is_live: bool
    """Whether requests are sent, and so authenticated."""

    def question(self, request: requests.PreparedRequest, url: str) -> Question:
        """Return a request as it is recorded; ``url`` is that without authentication."""
        ...

    def answer(self, request: requests.PreparedRequest, question: Question) -> Answer:
        """Return the answer to a request."""
        ...

    def answer_unrecorded(self, request: requests.PreparedRequest) -> Answer:
        """Return the answer to a request for a token, which is a secret."""
        ...


class AnswerSession(requests.Session):
    """A session of requests whose answers come from `Exchanges`, as a whole."""

    def __init__(self, exchanges: Exchanges, *, raise_for_status: bool) -> None:
        super().__init__()
        self.trust_env = False
        self.headers = CaseInsensitiveDict[str]()
        self.raise_for_status = raise_for_status
        self._exchanges = exchanges
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(self))

    def request(self, *arguments: Any, **more: Any) -> requests.Response:
        """Send a request; raise an error for a status of one where the client does so."""
        response = super().request(*arguments, **more)
        if self.raise_for_status:
            response.raise_for_status()
        return response

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Return a request with authentication, and the address that it has without."""
        pair = (request.auth, self.auth)
        request.auth = self.auth = None
        try:
            plain = super().prepare_request(request)
        finally:
            request.auth, self.auth = pair
        prepared = plain
        if self._exchanges.is_live and any(pair):
            with _mark_token_requests():
                prepared = super().prepare_request(request)
        vars(prepared)["plain_url"] = plain.url
        return prepared

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Refuse a redirect to another host: headers with secrets would follow it."""
        redirected, answering = (urlsplit(str(item.url)) for item in (prepared_request, response))
        if redirected[:2] != answering[:2]:
            raise SourceError(
                "an answer redirects to another host",
                expected=f"an answer of {answering.hostname}",
                found=f"a redirect to {redirected.hostname}",
                remedy="if that is right, declare its address",
            )

    def answer(self, request: requests.PreparedRequest) -> requests.Response:
        """Return the answer to a request."""
        plain_url = vars(request).get("plain_url") or request.url
        question = self._exchanges.question(request, str(plain_url))
        if getattr(THREAD, "authenticates", False):
            unrecorded = self._exchanges.answer_unrecorded(request)
        else:
            unrecorded = self._exchanges.answer(request, question)
        response = requests.Response()
        response.status_code = unrecorded.status
        response.headers = CaseInsensitiveDict(unrecorded.headers)
        response.headers.pop("content-encoding", None)  # it is decoded
        response.encoding = requests.utils.get_encoding_from_headers(response.headers)
        response.reason = _find_phrase(unrecorded.status)
        response.url = question.url
        response.request = request
        response.raw = BytesIO(unrecorded.body)
        response._content = unrecorded.body
        return response


@contextmanager
def _mark_token_requests() -> Iterator[None]:
    """Have requests of this thread be those for a token, by whatever session."""
    THREAD.authenticates = True
    try:
        yield
    finally:
        THREAD.authenticates = False


def _find_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


class _Adapter(BaseAdapter):
    """Has a session answer what would be sent over a connection."""

    def __init__(self, session: AnswerSession) -> None:
        super().__init__()
        self._session = session

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Return the answer to a request."""
        return self._session.answer(request)

    def close(self) -> None:
        """Close nothing."""


def _build_question(request: requests.PreparedRequest, url: str, secrets: Secrets) -> Question:
    text = ENCODED_MASK.sub(MASK, secrets.redacted(without_secrets(url)))
    body = secrets.redacted(_read_body(request).decode("latin-1"))
    digest = sha256(ENCODED_MASK.sub(MASK, body).encode()).hexdigest() if body else ""
    return Question(str(request.method), text, digest)


def _read_body(request: requests.PreparedRequest) -> bytes:
    body = request.body
    if body is None or isinstance(body, bytes):
        return body or b""
    if isinstance(body, str):
        return body.encode()
    raise SourceError(
        "a request of the resource cannot be recorded",
        expected="a body of text or bytes",
        found=type(body).__name__,
        remedy="send the body as a whole",
    )


Record = Callable[[Question, Answer], None]
"""Stores an answer, before anything reads it."""


@dataclass
class LiveExchanges:
    """Sends requests by our client, and records each answer.

    Attributes:
        secrets: Secrets of the resource, which are masked in addresses, headers and bodies.
    """

    http: HttpClient
    record: Record
    secrets: Secrets
    is_live: bool = True
    _lock: Lock = field(default_factory=Lock)

    def session(self, *, raise_for_status: bool) -> AnswerSession:
        """Return a session that requests are sent by."""
        return AnswerSession(self, raise_for_status=raise_for_status)

    def question(self, request: requests.PreparedRequest, url: str) -> Question:
        """Return a request without secrets."""
        return _build_question(request, url, self.secrets)

    def answer(self, request: requests.PreparedRequest, question: Question) -> Answer:
        """Send a request, and record its answer."""
        answer = self._without_secrets(self.answer_unrecorded(request))
        with self._lock:
            self.record(question, answer)
        return answer

    def answer_unrecorded(self, request: requests.PreparedRequest) -> Answer:
        """Send a request."""
        headers = {
            str(name): value if isinstance(value, str) else value.decode("latin-1")
            for name, value in (request.headers or {}).items()
            if name.lower() not in ("accept-encoding", "content-length", "host")
        }
        response = self.http.request(
            str(request.method),
            str(request.url),
            headers=headers,
            content=_read_body(request) or None,
            is_repeatable=request.method in READING_METHODS,
        )
        kept_names = {
            name: text for name, text in response.headers.items() if name not in NOT_RECORDED
        }
        return Answer(response.status, kept_names, response.body)

    def _without_secrets(self, answer: Answer) -> Answer:
        """Mask secrets that an answer repeats, as in the address of the next page."""
        headers = {name: self.secrets.redacted(text) for name, text in answer.headers.items()}
        text = answer.body.decode("utf-8", "surrogateescape")
        body = self.secrets.redacted(text)
        if body == text:
            return Answer(answer.status, headers, answer.body)
        return Answer(answer.status, headers, body.encode("utf-8", "surrogateescape"))


class RecordedExchanges:
    """Answers requests from captures: equal requests in the order in which they were recorded.

    Attributes:
        part_number: The part that was read last; the first one before that.
    """

    is_live = False

    def __init__(self, parts: Sequence[Part], secrets: Secrets) -> None:
        self._secrets = secrets
        self._lock = Lock()
        self._answers: dict[Question, deque[Part]] = defaultdict(deque)
        for part in parts:
            request = {str(name): str(text) for name, text in part.request.items()}
            question = Question(request["method"], part.url, request.get("body_sha256", ""))
            self._answers[question].append(part)
        self.part_number = parts[0].part_number

    def session(self, *, raise_for_status: bool) -> AnswerSession:
        """Return a session that requests are answered by."""
        return AnswerSession(self, raise_for_status=raise_for_status)

    def question(self, request: requests.PreparedRequest, url: str) -> Question:
        """Return a request without secrets."""
        return _build_question(request, url, self._secrets)

    def answer(self, request: requests.PreparedRequest, question: Question) -> Answer:
        """Return the recorded answer.

        Raises:
            SourceError: There is none.
        """
        with self._lock:
            answers = self._answers.get(question)
            if not answers:
                raise SourceError(
                    "the resource sends a request whose answer was not captured",
                    expected=", ".join(sorted({name.url for name in self._answers}))[:500],
                    found=f"{question.method} {question.url}",
                    remedy="let the resource send the same requests for the same partition; if it "
                    "cannot, declare capture='rows'",
                )
            part = answers.popleft()
            self.part_number = part.part_number
        return Answer(part.http_status or 0, part.response_headers, part.body)

    def answer_unrecorded(self, request: requests.PreparedRequest) -> Answer:
        """Return the answer of a request that is recorded: none is authenticated."""
        return self.answer(request, self.question(request, str(request.url)))
