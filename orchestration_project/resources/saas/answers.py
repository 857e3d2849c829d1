"""Response parsing of both clients: JSON, or a typed error with the received text."""

from typing import Any

from orchestration_project.domains.saas.wire import json_of
from orchestration_project.engine.contracts.rules import escape_bytes
from orchestration_project.engine.http import Response
from orchestration_project.errors import ConfigurationError, ContractError, TransientError
from orchestration_project.redaction import redacted
from orchestration_project.resources.saas.systems import RefusedError

SHOWN_BYTES = 300


def json_in(response: Response) -> Any:
    """Return the JSON value of a good answer.

    Raises:
        TransientError: It is not JSON: a proxy's page, or one that was cut.
    """
    try:
        return json_of(response.body)
    except ContractError as error:
        raise TransientError(
            "a response is not JSON",
            expected=error.expected,
            found=f"{error.found}; {shown(response)}",
            remedy="it is retried; if it persists, check the proxies on the way",
            url=response.url,
        ) from error


def refusal(system: str, response: Response, *, credentials: str) -> Exception:
    """Return the error of a status that no further attempt would change.

    ``credentials`` are the settings to look at where it is about who asks.
    """
    if response.status == 401:
        return ConfigurationError(
            f"{system} does not know who asks",
            expected="an answer to our credentials",
            found=shown(response),
            remedy=f"check {credentials}",
            url=response.url,
        )
    return RefusedError(
        f"{system} refuses a request with HTTP {response.status}",
        http_status=response.status,
        expected="HTTP 200, 201 or 204",
        found=shown(response),
        remedy=f"read what it says; a 403 is about what {credentials} may do",
        url=response.url,
    )


def shown(response: Response) -> str:
    """Return status and start of an answer as ASCII; a system may send our secrets back."""
    text = redacted(response.body.decode(errors="surrogateescape"))
    body = text.encode(errors="surrogateescape")
    return f"HTTP {response.status}: {escape_bytes(body, SHOWN_BYTES)}"
