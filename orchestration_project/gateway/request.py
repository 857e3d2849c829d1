"""Parts of a request that the gateway reads, its user, and refusals."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from orchestration_project.engine.contracts.addresses import is_same_origin, parse_origin
from orchestration_project.engine.contracts.roles import Principal
from orchestration_project.engine.tracing.traceparent import HIDDEN_PREFIX
from orchestration_project.engine.warehouse.frames import clean_text

CURRENT: ContextVar[Principal | None] = ContextVar("CURRENT", default=None)
"""User of this task; Dagster's part reads it where it makes runs and answers errors."""

KEY_TAG, BODY_TAG = "idempotency_key", f"{HIDDEN_PREFIX}idempotency_body"
"""Tags of a run or backfill: the key that it was asked for with, and the SHA-256 of what was."""

LAUNCH_TAGS: ContextVar[Mapping[str, str] | None] = ContextVar("LAUNCH_TAGS", default=None)
"""Tags of runs that the API launches in this task; callers cannot set them."""

REJECTED_TRACEPARENT: ContextVar[str | None] = ContextVar("REJECTED_TRACEPARENT", default=None)
"""The header `traceparent` of this task's request, where it was malformed; as it may be stored."""

REQUEST_ID = "orchestration_project.request_id"
"""Under this name a scope has the id of its request."""

REAUTHENTICATE = "orchestration_project.still_known"
"""Under this name a scope has a function that says whether who asked may still; of long answers."""


@contextmanager
def launch_tags(tags: Mapping[str, str]) -> Iterator[None]:
    """Give these tags to what this task launches meanwhile."""
    token = LAUNCH_TAGS.set(tags)
    try:
        yield
    finally:
        LAUNCH_TAGS.reset(token)


class Refusal(Exception):  # noqa: N818 - an answer, not a failure of ours
    """Ends a request with a status and a sentence, which never quotes what was sent."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return the answer, in the form that a client of GraphQL understands."""
        body = {"errors": [{"message": self.text}]}
        return JSONResponse(body, self.status, headers=self.headers)


@dataclass(frozen=True)
class Place:
    """Public address of the gateway.

    Attributes:
        hosts: The names by which we may be asked for.
        public_origin: Scheme and host behind a proxy that may rewrite the Host header; or empty.
        is_secure: Whether people reach us by TLS alone.
    """

    hosts: Collection[str]
    public_origin: str = ""
    is_secure: bool = False


def is_storable(given: object) -> bool:
    """Whether no text in what was read from JSON has NUL or half a character."""
    if isinstance(given, str):
        return clean_text(given) == given
    if isinstance(given, Mapping):
        return all(is_storable(item) for pair in given.items() for item in pair)
    return not isinstance(given, list) or all(map(is_storable, given))


def current_user() -> Principal:
    """Return who asks in this task, behind the guard."""
    user = CURRENT.get()
    if user is None:
        raise AssertionError("the guard admits only authenticated requests")
    return user


def headers_of(scope: Scope, name: str) -> list[str]:
    """Return the values of a header, of which there may be several; the name in lower case."""
    expected_chunk = name.encode()
    return [value.decode("latin-1") for key, value in scope["headers"] if key == expected_chunk]


def header_of(scope: Scope, name: str) -> str:
    """Return the value of a header, empty if there is none.

    Raises:
        Refusal: There are several, and a proxy would trust another than we do.
    """
    values = headers_of(scope, name)
    if len(values) > 1:
        raise Refusal(400, f"The request has more than one header {name}.")
    return values[0] if values else ""


def address_of(scope: Scope) -> str:
    """Return the IP address that asks; behind a trusted proxy, the one that it named."""
    return scope["client"][0] if scope.get("client") else "unknown"


def require_same_origin(scope: Scope, place: Place, *, is_needed: bool) -> None:
    """Refuse requests from pages of other sites that may change something.

    Raises:
        Refusal: The request comes from a page of another site, or does not say from where.
    """
    scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
    names = {parse_origin(f"{scheme}://{header_of(scope, 'host')}")}
    if place.public_origin:
        names.add(place.public_origin)
    fetch_site = header_of(scope, "sec-fetch-site")
    origins = headers_of(scope, "origin")
    if not is_same_origin(origins, names, is_needed=is_needed, fetch_site=fetch_site):
        raise Refusal(403, "Only a page of this site may send this request.")
