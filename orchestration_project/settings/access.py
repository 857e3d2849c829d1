"""Who may come in, and from where: the settings of the gateway's door."""

from ipaddress import ip_network
from typing import ClassVar, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from orchestration_project.settings.values import MOST_HOURS, MOST_MINUTES

SHORTEST_SESSION_SECRET = 32


class AccessSettings(BaseSettings):
    """The gateway's door."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            "gateway_auth",
            "session_secret",
            "session_idle_minutes",
            "session_hours",
            "trusted_proxies",
            "allowed_hosts",
            "oidc_discovery_url",
            "oidc_client_id",
            "oidc_client_secret",
            "oidc_allowed_domains",
            "oidc_roles",
        }
    )

    gateway_auth: Literal["on", "off"] = Field(
        "on", description="Whether the UI asks who comes; off only on a loopback address."
    )
    session_secret: SecretStr | None = Field(
        None,
        description="What session cookies are signed with, 32 or more random characters; default: "
        "made once and kept in STATE_DIR, on a loopback address alone.",
    )
    session_idle_minutes: int = Field(
        480,
        ge=1,
        le=MOST_MINUTES,
        description="Minutes without a request after which a session ends: a work day.",
    )
    session_hours: int = Field(
        24,
        ge=1,
        le=MOST_HOURS,
        description="Hours after its login at which a session ends in any case.",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks of the proxies in front, with blanks between: only they "
        "are believed who a request comes from, and that it came by TLS.",
    )
    allowed_hosts: str = Field(
        "",
        description="Other names than that of PUBLIC_URL and this machine's loopback by which the "
        "UI may be asked for, with blanks between.",
    )
    oidc_discovery_url: str | None = Field(
        None,
        description="Where an OpenID Connect provider describes itself, such as "
        "https://accounts.google.com/.well-known/openid-configuration; without it, keys alone.",
    )
    oidc_client_id: str | None = Field(None, description="What the provider knows us by.")
    oidc_client_secret: SecretStr | None = Field(None, description="The secret of that client.")
    oidc_allowed_domains: str = Field(
        "", description="Domains of verified e-mail addresses that may log in; empty: any."
    )
    oidc_roles: str = Field(
        "",
        description="Roles with blanks between, as in admin=me@example.org "
        "operator=group:data%20team viewer=@example.org; the highest that fits holds.",
    )

    @field_validator("session_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value and len(value.get_secret_value()) < SHORTEST_SESSION_SECRET:
            raise ValueError(f"shorter than {SHORTEST_SESSION_SECRET} characters")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        for each in value.split():
            ip_network(each)
        return value

    @field_validator("oidc_client_secret")
    @classmethod
    def _all_three_or_none(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        others = (info.data.get("oidc_discovery_url"), info.data.get("oidc_client_id"))
        if len({each is None for each in (value, *others)}) > 1:
            raise ValueError(
                "set OIDC_DISCOVERY_URL, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET all, or none"
            )
        return value
