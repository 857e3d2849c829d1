"""What the parts of the client share: a question, and its answer as a model."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import BaseModel

from orchestration_project.client.transport import Transport

Answer = TypeVar("Answer", bound=BaseModel)


class PageOfAnswer(Protocol):
    """A model that is one page of several."""

    @property
    def next_cursor(self) -> str | None:
        """What the next page is asked for with; None: this is the last."""
        ...

    @classmethod
    def model_validate_json(cls, json_data: bytes) -> Self:
        """Return the page that a JSON text describes."""
        ...


Paged = TypeVar("Paged", bound=PageOfAnswer)


class Asking:
    """Asks a gateway at ``url`` as whoever ``key`` is; closed at the end of a `with`."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_seconds: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = Transport(
            url, key, timeout_seconds=timeout_seconds, transport=transport, sleep=sleep
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.__exit__()

    def _get(self, path: str, model: type[Answer], **query: Any) -> Answer:
        answer = self._transport.ask("GET", path, query=query)
        return model.model_validate_json(answer.content)

    def _pages(self, path: str, model: type[Paged], **query: Any) -> Iterator[Paged]:
        """Yield as many pages as are asked for."""
        cursor: str | None = None
        while True:
            answer = self._transport.ask("GET", path, query={**query, "cursor": cursor})
            page = model.model_validate_json(answer.content)
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return

    def _post(
        self,
        path: str,
        body: Mapping[str, Any],
        model: type[Answer],
        *,
        key: str | None = None,
    ) -> Answer:
        said = {name: value for name, value in body.items() if value is not None}
        answer = self._transport.ask("POST", path, body=said, key=key)
        return model.model_validate_json(answer.content)


def quoted(name: str) -> str:
    """Return a name as one part of a path."""
    return quote(name, safe="")


def new_key() -> str:
    """Return a key of this call alone, so that it may be repeated where an answer was lost."""
    return uuid4().hex
