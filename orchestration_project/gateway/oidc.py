"""Logging in by OpenID Connect with PKCE, at any provider that describes itself."""

import logging
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from authlib.oidc.core import CodeIDToken
from joserfc.errors import BadSignatureError, ClaimError, JoseError
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.addresses import choose_next_path
from orchestration_project.engine.contracts.roles import Principal
from orchestration_project.gateway.guard import AuthServices
from orchestration_project.gateway.login import begin_session
from orchestration_project.gateway.pages import login_page
from orchestration_project.services.access.rules.members import (
    check_hosted_domain,
    decide_role,
    format_claim,
    format_claim_error,
    is_google,
    parse_member,
    read_subject_name,
)

LOG = logging.getLogger(__name__)

FLOW_SECONDS = 600
"""For a person to log in at the provider."""

CALLBACK = "/auth/oidc/callback"
SCOPES = "openid email profile"
HTTP = import_module("httpx2" if find_spec("httpx2") else "httpx")
"""HTTP library of Authlib: httpx2, if another program installed it, or else httpx."""

PROVIDER_ERRORS = (AuthlibBaseError, JoseError, HTTP.HTTPError, KeyError, ValueError)
"""Errors of a provider that does not respond, or responds without claim, JSON or key."""

ALGORITHMS = ["EdDSA", *(f"{kind}{n}" for kind in ("RS", "ES", "PS") for n in (256, 384, 512))]
"""Accepted signature algorithms: those that only a provider can make."""

NOT_COMPLETE = "Your organisation did not confirm who you are. Try again."
NO_ROLE = "Your organisation confirmed who you are, but no role is assigned to you here."


class ClaimRefusedError(Exception):
    """An ID token with a valid signature has an invalid claim."""

    def __init__(self, problem: str, subject: str | None) -> None:
        super().__init__(problem)
        self.subject = subject


class CheckedIDToken(CodeIDToken):
    """ID token whose refusal names the claim and the person."""

    def validate(self, now: int | None = None, leeway: int = 0) -> None:
        """Check all claims.

        Raises:
            ClaimRefusedError: A claim is invalid or missing.
        """
        try:
            super().validate(now, leeway)
        except ClaimError as error:
            time = Clock().now().isoformat(timespec="seconds")
            expected = {
                "exp": f"a time after {time}",
                "nbf": f"a time before {time}",
                "iat": f"a time before {time}",
                "iss": self.options["iss"]["value"],
                "aud": self.options["aud"]["value"],
                "azp": self.options["aud"]["value"],
                "nonce": "the nonce of this login",
                "at_hash": "the hash of the access token",
            }
            problem = format_claim_error(
                error.claim, self, expected.get(error.claim, "a valid value")
            )
            raise ClaimRefusedError(problem, read_subject_name(self)) from error


class Provider:
    """The routes of logging in at a provider."""

    def __init__(
        self,
        doors: AuthServices,
        *,
        discovery_url: str,
        client_id: str,
        client_secret: str,
        secret: str,
        hosted_domain: str = "auto",
    ) -> None:
        """Keep the state between the two steps in a cookie that is signed with ``secret``."""
        self._hosted_domain = hosted_domain
        self._doors = doors
        self._secret = secret
        self._client_id = client_id
        registry: Any = OAuth()
        self._client: Any = registry.register(
            "provider",
            server_metadata_url=discovery_url,
            client_id=client_id,
            client_secret=client_secret,
            client_kwargs={"scope": SCOPES, "code_challenge_method": "S256", "timeout": 10},
        )

    def routes(self) -> list[BaseRoute]:
        """Return the routes that need no login."""
        cookie = [self._cookie()]
        return [
            Route("/auth/oidc/login", self._begin, methods=["GET"], middleware=cookie),
            Route(CALLBACK, self._complete, methods=["GET"], middleware=cookie),
        ]

    def _cookie(self) -> Middleware:
        """Return middleware with a cookie of its own that expires after a login's time limit."""
        return Middleware(
            SessionMiddleware,
            secret_key=self._secret,
            session_cookie="oidc_login",
            max_age=FLOW_SECONDS,
            path="/auth/oidc",
            same_site="lax",  # the provider leads back here, which strict would not survive
            https_only=self._doors.place.is_secure,
        )

    async def _begin(self, request: Request) -> Response:
        request.session.clear()
        request.session["next"] = choose_next_path(request.query_params.get("next", ""))
        base = self._doors.place.public_origin or str(request.base_url).rstrip("/")
        try:
            return await self._client.authorize_redirect(request, f"{base}{CALLBACK}")
        except PROVIDER_ERRORS as error:
            return self._page(502, NOT_COMPLETE, _explain_error(error))

    async def _complete(self, request: Request) -> Response:
        if not request.session:  # not in the audit, or anybody could fill the disk with it
            return self._page(401, NOT_COMPLETE, "no login was begun")
        text = choose_next_path(request.session.get("next", ""))
        try:
            claims = await self._claims(request)
        except (*PROVIDER_ERRORS, ClaimRefusedError) as error:
            await self._doors.count_failure(request.scope)
            subject = error.subject if isinstance(error, ClaimRefusedError) else None
            await self._record(request, _explain_error(error), subject)
            return self._page(401, NOT_COMPLETE, _explain_error(error), subject)
        finally:
            request.session.clear()
        member = parse_member(claims)
        role = decide_role(member, self._doors.access.rules, self._doors.access.domains)
        problem = self._hosted_domain_problem(claims) or (None if role else "no role")
        if role is None or problem:
            await self._record(request, problem or "no role", member.name)
            return self._page(403, NO_ROLE, problem or "no role", member.name)
        response = RedirectResponse(text, 303)
        who = Principal(member.name, role, "session")
        await begin_session(self._doors, request.scope, response, who, member)
        return response

    def _hosted_domain_problem(self, claims: Mapping[str, Any]) -> str | None:
        """Return why a private account with an address of a configured domain may not log in."""
        is_required = self._hosted_domain == "required"
        is_automatic = self._hosted_domain == "auto" and is_google(str(claims["iss"]))
        if not (is_required or is_automatic):
            return None
        access = self._doors.access
        return check_hosted_domain(claims, access.rules, access.domains)

    async def _claims(self, request: Request) -> Mapping[str, Any]:
        """Return the verified claims: signature, issuer, our client, state, nonce, time.

        Authlib checks all of them, the client only if ``aud`` is given. It would trust a
        token without a signature where the provider lists that among its algorithms.
        """
        metadata = await self._client.load_server_metadata()
        listed = metadata.get("id_token_signing_alg_values_supported") or []
        signed = [item for item in listed if item in ALGORITHMS]
        metadata["id_token_signing_alg_values_supported"] = signed or ["RS256"]
        options = {
            "iss": {"essential": True, "value": metadata["issuer"]},
            "aud": {"essential": True, "value": self._client_id},
        }
        token = await self._client.authorize_access_token(
            request, claims_options=options, claims_cls=CheckedIDToken
        )
        return token["userinfo"]

    async def _record(self, request: Request, reason: str, name: str | None = None) -> None:
        await self._doors.record(request.scope, "login", "refused", target=name, reason=reason)

    def _page(self, status: int, problem: str, reason: str, subject: str | None = None) -> Response:
        """Return a page without the reason, which is for the log."""
        LOG.warning(
            "rejected the login of %s by OpenID Connect: %s",
            subject or "an unknown person",
            reason,
            extra={"event": "oidc_login_rejected"},
        )
        installation = self._doors.installation
        return login_page(
            installation, wanted="/", has_provider=True, problem=problem, status=status
        )


def _explain_error(error: Exception) -> str:
    """Return why a login failed; messages of errors that may quote a token are left out."""
    if isinstance(error, ClaimRefusedError):
        return str(error)
    if isinstance(error, BadSignatureError):
        return "invalid ID token: expected a signature by a key of the provider"
    if isinstance(error, KeyError):
        return f"invalid response of the provider: expected {error.args[0]!r}, found nothing"
    if isinstance(error, AuthlibBaseError):
        return f"{type(error).__name__}: {format_claim(error.error)}"
    return type(error).__name__
