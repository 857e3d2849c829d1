"""Access tokens of OAuth 2 by the client credentials grant (RFC 6749, section 4.4)."""

import json
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from urllib.parse import urlencode

from orchestration_project.engine.http.client import HttpClient, Response
from orchestration_project.errors import ConfigurationError, SourceError
from orchestration_project.redaction import hide

REFUSALS = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
"""Answers to a client that is unknown, or may not have what it requests."""


class AccessTokens:
    """Requests a token when one is needed, and keeps it until it is refused.

    Args:
        http: Sends the requests.
        url: Address of the token service.
        credentials: Returns the client's ID and secret.
        label: Whose token service it is, such as FINRA.
        settings: Where the ID, the secret and the address are set, for messages.
        form: Fields of the request's body; None: the grant is in the query of ``url``.
        may_pass: Whether a refusal is temporary.
    """

    def __init__(
        self,
        http: HttpClient,
        url: str,
        credentials: Callable[[], tuple[str, str]],
        *,
        label: str,
        settings: Sequence[str],
        form: dict[str, str] | None = None,
        may_pass: Callable[[Response], bool] = lambda _: False,
    ) -> None:
        self._http = http
        self._url = url
        self._credentials = credentials
        self._label = label
        self._settings = settings
        self._form = form
        self._may_pass = may_pass
        self._lock = threading.Lock()
        self._token: str | None = None

    def header(self) -> dict[str, str]:
        """Return the header with the token; the first use requests one.

        Raises:
            ConfigurationError: The client is refused.
            SourceError: The answer has no token.
        """
        with self._lock:
            if self._token is None:
                self._token = self._requested()
            return {"Authorization": f"Bearer {self._token}"}

    def forget(self, refused: str) -> None:
        """Forget the token of a header that was refused, unless another has replaced it."""
        with self._lock:
            if refused == f"Bearer {self._token}":
                self._token = None

    def _requested(self) -> str:
        client_id, client_secret = self._credentials()
        if self._form is None:
            body, headers = None, {}
        else:
            body = urlencode({"grant_type": "client_credentials", **self._form}).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
        response = self._http.request(
            "POST",
            self._url,
            headers={"Accept": "application/json", **headers},
            content=body,
            basic_auth=(client_id, client_secret),
            may_pass=self._may_pass,
        )
        id_setting, secret_setting, url_setting = self._settings
        if response.status in REFUSALS:
            raise ConfigurationError(
                f"{self._label} refuses the client {client_id} with HTTP {response.status}",
                expected="an access token",
                remedy=f"check {id_setting} and {secret_setting}",
                url=response.url,
            )
        try:
            token = json.loads(response.body)["access_token"]
        except (ValueError, KeyError, TypeError):
            token = None
        if not isinstance(token, str) or not token:
            raise SourceError(
                f"the token service of {self._label} answered without a token",
                expected='{"access_token": …}',
                found=f"HTTP {response.status}, {len(response.body)} bytes",
                remedy=f"check {url_setting}",
                url=response.url,
            )
        hide(token)
        return token
