"""Role of a user whom an OpenID Connect provider authenticated."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from orchestration_project.engine.contracts.roles import Role
from orchestration_project.errors import ConfigurationError

EXAMPLE = "admin=me@example.org,operator=group:data team,viewer=@example.org"


@dataclass(frozen=True)
class Member:
    """Claims of a provider about a user.

    Attributes:
        subject: The provider's own, lasting id of them.
        email: Their address in lower case; empty where the provider did not verify it.
        groups: The groups that it named.
    """

    subject: str
    email: str = ""
    groups: Sequence[str] = ()

    @property
    def name(self) -> str:
        """How they are called here."""
        return self.email or self.subject


@dataclass(frozen=True)
class AccessRule:
    """``role`` for whoever ``who`` means: an address, ``@domain``, ``group:name`` or ``*``."""

    role: Role
    who: str

    def fits(self, member: Member) -> bool:
        """Whether the rule means ``member``."""
        if self.who.startswith("group:"):
            return self.who.removeprefix("group:") in member.groups
        if self.who.startswith("@"):
            return _extract_domain(member.email) == self.who[1:].lower()
        return self.who == "*" or (member.email != "" and member.email == self.who.lower())


SEVERAL = re.compile(rf"\s({'|'.join(Role)})=")
"""A second rule in an entry: the comma before it is missing."""


def read_rules(entries: Iterable[str]) -> list[AccessRule]:
    """Read the entries ``role=who`` of OIDC_ROLES.

    Raises:
        ConfigurationError: An entry is malformed.
    """
    return [_parse_rule(entry) for entry in entries]


def _parse_rule(entry: str) -> AccessRule:
    role, _, who = entry.partition("=")
    known = who == "*" or "@" in who or who.startswith("group:")
    is_address = not who.startswith("group:")
    has_spaces = SEVERAL.search(who) or (is_address and " " in who)
    if role not in list(Role) or not known or who in ("@", "group:") or has_spaces:
        raise ConfigurationError(
            f"invalid OIDC_ROLES entry {entry!r}",
            expected=f"entries separated by commas, e.g. {EXAMPLE}",
            remedy="correct it: viewer, operator or admin, then an address, @domain, group: or *",
        )
    return AccessRule(Role(role), who)


def parse_member(claims: Mapping[str, Any]) -> Member:
    """Return the member that the claims of an ID token name, once its signature was verified."""
    groups = claims.get("groups", [])
    named = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    is_verified = claims.get("email_verified") in (True, "true")
    email = str(claims.get("email", "")).lower() if is_verified else ""
    return Member(str(claims["sub"]), email, [str(name) for name in named])


def decide_role(
    member: Member, rules: Sequence[AccessRule], allowed_domains: Sequence[str]
) -> Role | None:
    """Return the highest role that a rule gives, None if there is none or the domain is refused."""
    if allowed_domains and _extract_domain(member.email) not in allowed_domains:
        return None
    roles = [rule.role for rule in rules if rule.fits(member)]
    return max(roles, key=list(Role).index, default=None)


def _extract_domain(email: str) -> str:
    return email.rpartition("@")[2] if "@" in email else ""


GOOGLE_ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})

MAX_CLAIM_CHARACTERS = 200
"""Longest part of the value of a claim that a message quotes."""

TIME_CLAIMS = ("exp", "nbf", "iat")


def is_google(issuer: str) -> bool:
    """Whether an issuer is Google, which states the domain of an account in the claim ``hd``."""
    return issuer in GOOGLE_ISSUERS


def check_hosted_domain(
    claims: Mapping[str, Any], rules: Sequence[AccessRule], allowed_domains: Sequence[str]
) -> str | None:
    """Return why the claim ``hd`` does not fit an address of a configured domain, or None.

    An address of another domain needs no ``hd``: no rule of a domain means it.
    """
    domain = _extract_domain(str(claims.get("email", "")).lower())
    named = {rule.who[1:].lower() for rule in rules if rule.who.startswith("@")}
    if domain not in named | set(allowed_domains):
        return None
    if str(claims.get("hd", "")).lower() == domain:
        return None
    return format_claim_error("hd", claims, domain)


def format_claim_error(claim: str, claims: Mapping[str, Any], expected: str) -> str:
    """Return the message about an invalid claim of an ID token."""
    value = claims.get(claim)
    text = format_claim(_format_time(value) if claim in TIME_CLAIMS else value)
    return f"invalid claim {claim}: expected {expected}, found {text}"


def format_claim(value: Any) -> str:
    """Return a value of a provider for a message, shortened and without control characters."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return "".join(
        character if character.isprintable() else "?" for character in text[:MAX_CLAIM_CHARACTERS]
    )


def read_subject_name(claims: Mapping[str, Any]) -> str | None:
    """Return the address or the id of the person whom an ID token names."""
    name = claims.get("email") or claims.get("sub")
    return None if name is None else format_claim(name)


def _format_time(value: Any) -> Any:
    try:
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    except (TypeError, ValueError, OverflowError, OSError):
        return value
