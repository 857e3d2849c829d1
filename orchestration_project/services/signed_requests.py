"""Requests signed by Standard Webhooks, which exports and routed actions send."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.addresses import OWN_NAMES
from orchestration_project.engine.contracts.webhooks.schemes import SCHEMES, build_standard_headers
from orchestration_project.engine.contracts.webhooks.sources import SHORTEST_SECRET_BYTES
from orchestration_project.engine.environment import build_address_guard, open_client
from orchestration_project.engine.http.addresses import AddressGuard
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import Settings

REQUEST_SECONDS = 60
"""Maximum time of a request with its answer."""


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """A receiver of signed requests.

    Attributes:
        name: Its name in messages, e.g. ``the target orders``.
        system: Its name in the shared state of requests.
        url: URL with https://, or with http:// on this machine.
        origin: File and variable that set the URL, for messages.
    """

    name: str
    system: str
    url: str
    origin: str

    def require_usable(self, guard: AddressGuard) -> None:
        """Refuse a URL whose host is forbidden or whose scheme is not secure; send nothing.

        Raises:
            ConfigurationError: The URL may not be requested.
        """
        guard.check(self.url)
        parts = urlsplit(self.url)
        if parts.scheme != "https" and parts.hostname not in OWN_NAMES:
            raise ConfigurationError(
                f"invalid url of {self.name}: expected https://, "
                "e.g. https://partner.example.org/hooks",
                remedy=f"correct {self.origin}",
            )


def read_signing_key(variable: str, secret: str) -> bytes:
    """Return the key of a secret, which ``variable`` sets.

    Raises:
        ConfigurationError: The secret is malformed or too short.
    """
    try:
        key = SCHEMES["standard"].key(secret)
    except ValueError:  # its cause may quote the secret
        key = b""
    if len(key) < SHORTEST_SECRET_BYTES:
        raise ConfigurationError(
            f"invalid {variable}: expected whsec_ and Base64 of {SHORTEST_SECRET_BYTES} bytes or "
            "more",
            remedy=f"correct {variable}",
        )
    return key


def post_signed(
    receiver: Receiver,
    key: bytes,
    message_id: str,
    body: bytes,
    settings: Settings,
    headers: Mapping[str, str] | None = None,
) -> int:
    """Send a JSON body in one signed request, and return the status of the answer.

    Args:
        receiver: The receiver.
        key: Signs the request.
        message_id: Equal for all attempts, so that a receiver drops repeats.
        body: The JSON.
        settings: Allowed addresses, and the place of the shared state of requests.
        headers: Further headers.

    Raises:
        ConfigurationError: The URL may not be requested.
        TransientError: The receiver did not answer.
    """
    from orchestration_project.engine.http import AnswerLimits, Network

    is_outside = urlsplit(receiver.url).hostname not in OWN_NAMES
    with open_client(
        settings,
        receiver.system,
        limits=AnswerLimits(deadline_seconds=REQUEST_SECONDS),
        network=Network(use_environment=is_outside, guard=build_address_guard(settings)),
    ) as http:
        response = http.request(
            "POST",
            receiver.url,
            headers={
                **build_standard_headers(key, message_id, body, now=Clock().now()),
                "Content-Type": "application/json",
                **(headers or {}),
            },
            content=body,
            is_repeatable=False,
        )
    return response.status
