"""A request as it goes over the wire."""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote, urlsplit

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from orchestration_project.connections.http.question import Question
from orchestration_project.connections.http.refusals import malformed, no_http_url


@dataclass(frozen=True)
class Request:
    """What is sent; ``url`` is without credentials, which are among the ``headers``."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None

    @classmethod
    def of(
        cls,
        question: Question,
        url: str,
        headers: Mapping[str, str],
        content: object,
        basic_auth: tuple[str, str] | None,
        *,
        user_agent: str,
    ) -> Self:
        """Return the request that asks ``question``, with ``content`` as JSON.

        Raises:
            SourceError: ``url`` is not for HTTP.
            ConfigurationError: HTTP cannot express the method or a header.
        """
        own = {"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "identity"}
        body = None
        if content is not None:
            body = json.dumps(
                content, ensure_ascii=False, separators=(",", ":"), allow_nan=False
            ).encode()
            own["Content-Type"] = "application/json"
        address, credentials = _without_credentials(question, url)
        if user_and_password := basic_auth or credentials:
            own["Authorization"] = (
                f"Basic {b64encode(':'.join(user_and_password).encode()).decode()}"
            )
        given = {name.lower() for name in headers}
        sent = {name: value for name, value in own.items() if name.lower() not in given} | {
            **headers
        }
        if not all(text.isascii() and text.isprintable() for text in (*sent, *sent.values())):
            raise malformed(question)
        return cls(question.method, address, sent, body)


def _without_credentials(question: Question, url: str) -> tuple[str, tuple[str, str] | None]:
    try:
        parse_url(url)
        parts = urlsplit(url)
    except (ValueError, LocationParseError):
        raise no_http_url(question) from None  # its text quotes the URL
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise no_http_url(question)
    if parts.username is None:
        return url, None
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return address, (unquote(parts.username), unquote(parts.password or ""))
