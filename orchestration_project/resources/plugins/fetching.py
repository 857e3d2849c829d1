"""Requests of plugins: made by the host, with secrets that the plugin never sees."""

import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from orchestration_project.domains.plugins.judging import filled, secret_names
from orchestration_project.domains.plugins.manifest import Budget
from orchestration_project.domains.plugins.protocol import Fetch
from orchestration_project.engine.environment import build_address_guard, open_client
from orchestration_project.engine.http import (
    AnswerLimits,
    Hooks,
    HttpClient,
    Network,
    RetryPolicy,
)
from orchestration_project.engine.http.client import Response
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.resources.plugins.secret_masking import (
    hide_in_headers,
    hide_secrets,
    is_partial,
)
from orchestration_project.settings import Settings, read_secrets

MIB = 2**20
REQUEST_SECONDS = 60
MAX_BODY_BYTES = 64 * MIB
REPEATABLE = ("GET", "HEAD")
SECRET_PREFIX = "PLUGIN_SECRET_"  # noqa: S105 - the prefix of settings


def secret_value(name: str) -> str:
    """Return the value of a secret of plugins.

    Raises:
        ConfigurationError: It is not set.
    """
    setting = f"{SECRET_PREFIX}{name}"
    text = read_secrets(setting).get(setting)
    if not text:
        raise ConfigurationError(
            f"{setting} is not set",
            expected=f"{setting} or {setting}_FILE",
            remedy="set it, or disable the plugin",
        )
    return text


@dataclass(frozen=True)
class Fetcher:
    """Makes the requests that were allowed.

    Attributes:
        http: Client with the guard of addresses.
    """

    http: HttpClient

    def fetch(self, message: Fetch) -> Response:
        """Return the answer to a request; secrets that it repeats are hidden in it.

        Raises:
            ContractError: The request has a secret, and its answer is a part of a body.
            OrchestrationError: There is none, or a secret is not set.
        """
        secrets = {name: secret_value(name) for name in secret_names(message)}
        request = filled(message, secrets.__getitem__, lambda value: quote(value, safe=""))
        response = self.http.request(
            request.method,
            request.url,
            headers=request.headers,
            content=None if request.body is None else request.body.encode("utf-8", "replace"),
            is_repeatable=request.method in REPEATABLE,
        )
        if not secrets:
            return response
        if is_partial(response.status, response.headers):
            raise ContractError(
                "the host answered with a part of a body",
                expected="a whole body, as the request has a secret",
                found=f"HTTP {response.status}",
                remedy="request an address that the host answers as a whole",
            )
        values = list(secrets.values())
        headers = hide_in_headers(response.headers, values)
        body = hide_secrets(response.body, values)
        return Response(response.url, response.status, headers, body)


@contextmanager
def open_fetcher(
    settings: Settings,
    *,
    plugin: str,
    budget: Budget,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Fetcher]:
    """Give the fetcher of a run; its client asks no proxy of the environment on loopback.

    Args:
        settings: Settings.
        plugin: ID of the plugin, by which requests are counted.
        budget: Limits of the run.
        check: Called while a request waits; its error ends the request.
    """
    with open_client(
        settings,
        f"plugin_{plugin}",
        retries=RetryPolicy(max_attempts=3),
        limits=AnswerLimits(
            deadline_seconds=min(REQUEST_SECONDS, budget.seconds),
            max_body_bytes=min(MAX_BODY_BYTES, max(budget.bytes, 1)),
            accepts_encodings=True,
        ),
        hooks=Hooks(before_sending=check),
        network=Network(use_environment=not settings.is_demo, guard=build_address_guard(settings)),
    ) as http:
        yield Fetcher(http)


def reply_of(message: Fetch, response: Response) -> dict[str, Any]:
    """Return the message with an answer: its body as text, or as Base64 where it is not UTF-8."""
    reply: dict[str, Any] = {
        "type": "response",
        "id": message.id,
        "status": response.status,
        "headers": response.headers,
    }
    try:
        return {**reply, "body": response.body.decode()}
    except UnicodeDecodeError:
        return {**reply, "body_base64": b64encode(response.body).decode()}


class Stopwatch:
    """Measures the duration of a call."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._start
