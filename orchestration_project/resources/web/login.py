"""Login of a crawl: the form is fetched, filled and sent; nothing of it is captured or logged."""

import logging
from urllib.parse import urlencode

from orchestration_project.domains.web.extraction import Page
from orchestration_project.domains.web.login import Login, is_signed_in, read_form
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.web.access import (
    Answer,
    SiteAccess,
    base_of,
    parse_origin,
    resolved,
)
from orchestration_project.resources.web.crawl import CrawlState
from orchestration_project.settings import read_secrets

logger = logging.getLogger("orchestration_project.web")


class LoginFailedError(Exception):
    """A login did not work; the message says at which step, without what was sent."""


def sign_in(access: SiteAccess, state: CrawlState) -> int:
    """Log in for a crawl; one that fails ends the crawl as `login`.

    Returns:
        The requests that were made; 0: the site has no login.
    """
    login = access.site.login
    if login is None:
        return 0
    attempt = _Attempt(access, login)
    try:
        attempt.run()
    except LoginFailedError as error:
        state.end("login", f"the login failed: {error}")
    except OrchestrationError as error:
        state.end("login", f"the login failed: {error.line}")
    logger.info(
        "%s: the login %s",
        access.site.site,
        "failed" if state.stop else "worked",
        extra={"event": "web_login_ended"},
    )
    return attempt.request_count


class _Attempt:
    def __init__(self, access: SiteAccess, login: Login) -> None:
        self._access = access
        self._login = login
        self.request_count = 0

    def run(self) -> None:
        """Log in.

        Raises:
            LoginFailedError: A setting is missing, the form is not as declared, or the page after
                it lacks the sign.
            OrchestrationError: A request failed.
        """
        login = self._login
        secrets = read_secrets(login.user, login.password)
        missing = [name for name in (login.user, login.password) if name not in secrets]
        if missing:
            raise LoginFailedError(f"expected the settings {' and '.join(missing)}")
        url = resolved(f"{self._access.site.base_url}/", login.url)
        if url is None:
            raise LoginFailedError(f"expected a URL, found {login.url[:200]!r}")
        page = self._page(self._access.get(url, {}), "the page with the form")
        try:
            form = read_form(
                page.root, login, user=secrets[login.user], password=secrets[login.password]
            )
        except ValueError as error:
            raise LoginFailedError(str(error)) from None
        action = resolved(base_of(page), form.action) if form.action else page.url
        if action is None or parse_origin(action) not in self._access.site.origins:
            raise LoginFailedError("expected a form that is sent to the site")
        body = urlencode(form.fields).encode()
        answer = self._access.submit(action, body, page_url=page.url)
        if not is_signed_in(self._page(answer, "the page after the form").root, login):
            raise LoginFailedError(f"expected {login.signed_in} in the page after it")

    def _page(self, answer: Answer, name: str) -> Page:
        self.request_count += answer.request_count
        response = answer.response
        if response is None or answer.refusal or response.status != 200:
            status = response.status if response else "no answer"
            reason = answer.reason[:200] or f"status {status}"
            raise LoginFailedError(f"expected {name}, found {reason}")
        page = Page(answer.final_url, response.body, response.headers.get("content-type", ""))
        if page.is_json or page.is_too_deep:
            raise LoginFailedError(f"expected {name}, found another type of content")
        return page
