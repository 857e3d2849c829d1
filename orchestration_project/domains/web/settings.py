"""Settings of sites: where their files are, and how crawls introduce themselves."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator

from orchestration_project.settings.profile import require_profile
from orchestration_project.settings.settings import Settings
from orchestration_project.settings.values import (
    PROXY_URL,
    Words,
    about,
    default_path,
    split_entries,
)

MIN_MASK_KEY_LENGTH = 16
MAX_PROXIES = 20


class WebSettings(Settings):
    """Crawls of sites that YAML files declare."""

    domain: ClassVar[str] = "web"
    indicators: ClassVar[frozenset[str]] = frozenset({"freshness"})
    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            *("web_sites_dir", "web_contact", "web_concurrency", "web_proxies"),
            "web_allowed_ports",
            *("web_browser_path", "web_browser_user"),
        }
    )

    web_source: Annotated[Literal["demo", "http"] | None, AfterValidator(require_profile)] = Field(
        None,
        description="Source of pages: the embedded demo's shop, or sites of the internet.",
        json_schema_extra=about(
            default="(demo; none if DATA_PROFILE=real)",
            required_when="DATA_PROFILE=real, for web jobs",
        ),
    )
    web_sites_dir: Path = Field(
        Path("config/sites"),
        description="Folder of site files, <site>.yaml.",
    )
    web_contact: str | None = Field(
        None,
        pattern=r"^[!-~]{3,200}$",
        description="Address or URL in the User-Agent of crawls, for owners of sites.",
        json_schema_extra=about(required_when="WEB_SOURCE=http"),
    )
    web_mask_key: SecretStr | None = Field(
        None,
        description="Key of the hashes that replace personal values of items. "
        "Without it all of them are ***.",
        json_schema_extra=about(group="security", allowed="16 characters or more"),
    )
    web_allowed_ports: Words = Field(
        (),
        description="Ports of sites that crawls may request, beside 80 and 443.",
        json_schema_extra=about(group="security", allowed="comma-separated numbers, e.g. 8080"),
    )
    web_concurrency: int = Field(
        32,
        ge=1,
        le=1_000,
        description="Limit of requests in flight, of all sites on this machine.",
        json_schema_extra=about(unit="requests"),
    )
    web_proxies: SecretStr | None = Field(
        None,
        description="Proxies of sites with `proxy: allowed`, e.g. "
        "http://user:password@proxy.example.org:3128.",
        json_schema_extra=about(
            group="security", allowed="comma-separated http:// or https:// URLs with a port"
        ),
    )
    web_browser_path: Path | None = Field(
        None,
        description="Program of Chromium, for sites with `engine: browser`.",
        json_schema_extra=about(default="(chromium in PATH)"),
    )
    web_browser_user: str | None = Field(
        None,
        pattern=r"^[a-z_][a-z0-9_-]{0,31}$",
        description="User of Chromium's processes, if the run is root's.",
        json_schema_extra=about(default="(user ID 65534)"),
    )
    demo_shop_products: int = Field(
        400,
        ge=20,
        le=100_000,
        description="Number of products of the embedded demo's shop.",
        json_schema_extra=about(group="demo", unit="products"),
    )
    demo_shop_new_layout_from: date = Field(
        date(2026, 11, 3),
        description="Day from which the embedded demo's shop has another layout.",
        json_schema_extra=about(group="demo"),
    )

    @field_validator("web_mask_key")
    @classmethod
    def _a_long_mask_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < MIN_MASK_KEY_LENGTH:
            raise ValueError(f"expected {MIN_MASK_KEY_LENGTH} characters or more")
        return value

    @field_validator("web_proxies")
    @classmethod
    def _proxies_with_ports(cls, value: SecretStr | None) -> SecretStr | None:
        entries = split_entries(value.get_secret_value()) if value is not None else ()
        if len(entries) > MAX_PROXIES or not all(map(PROXY_URL.fullmatch, entries)):
            raise ValueError(
                f"expected up to {MAX_PROXIES} http:// or https:// URLs with a port, e.g. "
                "http://proxy.example.org:3128"
            )
        return value

    @field_validator("web_allowed_ports")
    @classmethod
    def _are_web_ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for port in value:
            if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65_536):
                raise ValueError(f"expected ports from 1 to 65535, e.g. 8080; found {port}")
        return value

    @property
    def proxy_urls(self) -> Sequence[str]:
        """URLs of proxies, with their passwords."""
        return split_entries(self.web_proxies.get_secret_value()) if self.web_proxies else ()

    @property
    def mask_key(self) -> bytes:
        """Secret by which personal values are masked; empty: there is none."""
        return self.web_mask_key.get_secret_value().encode() if self.web_mask_key else b""

    @property
    def web_sites_path(self) -> Path:
        """The folder of site files, absolute."""
        return default_path(self.web_sites_dir)
