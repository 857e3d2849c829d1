"""Role of a user whom an OpenID Connect provider authenticated."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration_project.domains.access.roles import Role
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
            return _domain(member.email) == self.who[1:].lower()
        return self.who == "*" or (member.email != "" and member.email == self.who.lower())


SEVERAL = re.compile(rf"\s({'|'.join(Role)})=")
"""A second rule in an entry: the comma before it is missing."""


def read_rules(entries: Iterable[str]) -> list[AccessRule]:
    """Read the entries ``role=who`` of OIDC_ROLES.

    Raises:
        ConfigurationError: An entry is malformed.
    """
    return [_rule(entry) for entry in entries]


def _rule(entry: str) -> AccessRule:
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


def member_of(claims: Mapping[str, Any]) -> Member:
    """Return what the claims of an ID token say, once its signature was verified."""
    groups = claims.get("groups", [])
    named = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    is_verified = claims.get("email_verified") in (True, "true")
    email = str(claims.get("email", "")).lower() if is_verified else ""
    return Member(str(claims["sub"]), email, [str(each) for each in named])


def role_of(
    member: Member, rules: Sequence[AccessRule], allowed_domains: Sequence[str]
) -> Role | None:
    """Return the highest role that a rule gives, None if there is none or the domain is refused."""
    if allowed_domains and _domain(member.email) not in allowed_domains:
        return None
    found = [rule.role for rule in rules if rule.fits(member)]
    return max(found, key=list(Role).index, default=None)


def _domain(email: str) -> str:
    return email.rpartition("@")[2] if "@" in email else ""
