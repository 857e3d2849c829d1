"""Settings of the gateway: logins, roles, and trusted addresses."""

import re
from ipaddress import ip_network
from typing import ClassVar, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from orchestration_project.settings.values import (
    MAX_HOURS,
    MAX_MINUTES,
    Entries,
    Group,
    Words,
    about,
    require_one_each,
)

SHORTEST_SESSION_SECRET = 32
HOST_AND_PORT = re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}")


ACTIONS = {"accept", "erase", "grant"}
"""Actions that may need a second person."""


class AccessSettings(BaseSettings, defer_build=True):
    """The gateway's door."""

    group: ClassVar[Group] = "security"
    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            "gateway_auth",
            "session_secret",
            "session_idle_minutes",
            "session_hours",
            "trusted_proxies",
            "allowed_hosts",
            "http_allowed_networks",
            "http_filtering_proxies",
            "oidc_discovery_url",
            "oidc_client_id",
            "oidc_client_secret",
            "oidc_allowed_domains",
            "oidc_hosted_domain",
            "oidc_roles",
            "four_eyes",
        }
    )

    gateway_auth: Literal["on", "off"] = Field(
        "on",
        description="Whether the UI requires a login; off is accepted only on a loopback address.",
    )
    session_secret: SecretStr | None = Field(
        None,
        description="Key that signs session cookies, at least 32 random characters.",
        json_schema_extra=about(
            default="(generated, stored in STATE_DIR)",
            required_when="the UI is served on a non-loopback address",
        ),
    )
    session_idle_minutes: int = Field(
        480,
        ge=1,
        le=MAX_MINUTES,
        description="Time without a request after which a session expires.",
        json_schema_extra=about(unit="minutes"),
    )
    session_hours: int = Field(
        24,
        ge=1,
        le=MAX_HOURS,
        description="Maximum duration of a session.",
        json_schema_extra=about(unit="hours"),
    )
    trusted_proxies: Words = Field(
        (),
        description="IP addresses or networks (CIDR) of reverse proxies whose X-Forwarded-For and "
        "-Proto headers are trusted.",
        json_schema_extra=about(required_when="the UI is served on a non-loopback address"),
    )
    allowed_hosts: Words = Field(
        (),
        description="Host names of the UI besides that of PUBLIC_URL and the loopback names.",
    )
    http_allowed_networks: Words = Field(
        (),
        description="IP addresses or networks (CIDR), not global, that requests to URLs declared "
        "by users may reach; sources that a setting names need no entry.",
    )
    http_filtering_proxies: Words = Field(
        (),
        description="Proxies, as host:port, that refuse requests to private networks themselves; "
        "requests to URLs declared by users use no other proxy.",
    )
    oidc_discovery_url: str | None = Field(
        None,
        description="Discovery document URL of the OpenID Connect provider, e.g. "
        "https://accounts.google.com/.well-known/openid-configuration.",
        json_schema_extra=about(
            default="(none: login with access keys only)",
            required_when="OIDC_CLIENT_ID or OIDC_CLIENT_SECRET is set",
        ),
    )
    oidc_client_id: str | None = Field(
        None,
        description="OpenID Connect client ID registered with the provider.",
        json_schema_extra=about(required_when="OIDC_DISCOVERY_URL is set"),
    )
    oidc_client_secret: SecretStr | None = Field(
        None,
        description="OpenID Connect client secret.",
        json_schema_extra=about(required_when="OIDC_DISCOVERY_URL is set"),
    )
    oidc_allowed_domains: Words = Field(
        (),
        description="Domains of verified email addresses that may log in.",
        json_schema_extra=about(default="(any)"),
    )
    oidc_hosted_domain: Literal["auto", "required", "off"] = Field(
        "auto",
        description="Whether an address of a domain of OIDC_ALLOWED_DOMAINS or OIDC_ROLES needs "
        "the claim hd with that domain, which Google gives to Workspace accounts only; auto: if "
        "the issuer is Google.",
    )
    oidc_roles: Entries = Field(
        (),
        description="Roles of OpenID Connect users, by email address, @domain or group; the "
        "highest matching role applies.",
        json_schema_extra=about(allowed="admin, operator or viewer=EMAIL, @DOMAIN or group:NAME"),
    )

    four_eyes: Words = Field(
        (),
        description="Actions that need a second person: erase (a subject), accept (a proposal, or "
        "a quarantined delivery) and grant (permissions of a plugin).",
        json_schema_extra=about(allowed="accept, erase, grant", default="(none)"),
    )

    @field_validator("session_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value and len(value.get_secret_value()) < SHORTEST_SESSION_SECRET:
            raise ValueError(f"expected at least {SHORTEST_SESSION_SECRET} characters")
        return value

    @field_validator("http_filtering_proxies")
    @classmethod
    def _hosts_with_ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not HOST_AND_PORT.fullmatch(name):
                raise ValueError(f"expected host:port, e.g. proxy.example.org:3128; found {name}")
        return value

    @field_validator("trusted_proxies", "http_allowed_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            try:
                ip_network(name)
            except ValueError as error:
                expected = "expected IP addresses or networks, e.g. 10.0.0.1,192.168.0.0/16"
                raise ValueError(f"{expected}; found {name}") from error
        return value

    @field_validator("four_eyes")
    @classmethod
    def _known_actions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted({*value} - ACTIONS):
            raise ValueError(f"expected {', '.join(sorted(ACTIONS))}; found {', '.join(unknown)}")
        return value

    @field_validator("oidc_roles")
    @classmethod
    def _one_role_each(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        require_one_each(value, "(admin|operator|viewer)=")
        return value

    @field_validator("oidc_client_secret")
    @classmethod
    def _all_three_or_none(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        other_pair = (info.data.get("oidc_discovery_url"), info.data.get("oidc_client_id"))
        if len({item is None for item in (value, *other_pair)}) > 1:
            raise ValueError(
                "expected OIDC_DISCOVERY_URL, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET, all or none"
            )
        return value
